//! Flags that all commands have.

use clap::Args;

/// Flags of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Print JSON for machines instead of tables
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but errors: no progress, notes or warnings either
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print more: per-layer tables
    #[arg(long, short, global = true)]
    pub verbose: bool,
}
