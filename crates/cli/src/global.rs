//! Flags that all commands have.

use clap::{ArgAction, Args};

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Messages")]
pub struct Global {
    /// Print JSON for machines instead of tables
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but errors: no progress, notes or warnings either
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print more: per-layer tables; twice, also the steps of the pipeline with their times and memory
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub verbose: u8,
}
