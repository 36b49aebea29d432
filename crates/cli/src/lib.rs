//! The command line of sepconv: arguments in, library calls, tables or JSON out.

mod args;
mod commands;
mod doubts;
mod error_line;
mod files;
mod global;
mod interrupt;
mod log;
mod output;
mod progress;
mod refusal;
mod verdict;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use output::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    sepconv::targets::silence_caught_panics();
    interrupt::heed();
    if cli.global.verbose > 1 {
        log::to_stderr();
    }
    let out = Output::new(&cli.global);
    let result = match &cli.command {
        Command::Inspect(args) => commands::inspect::run(args, &out),
        Command::Compress(args) => commands::compress::run(args, &out),
        Command::Sweep(args) => commands::sweep::run(args, &out),
        Command::Tune(args) => commands::tune::run(args, &out),
        Command::Quantize(args) => commands::quantize::run(args, &out),
        Command::Compare(args) => commands::compare::run(args, &out),
        Command::Eval(args) => commands::eval::run(args, &out),
        Command::Run(args) => commands::run::run(args, &out),
        Command::Bench(args) => commands::bench::run(args, &out),
        Command::Completions(args) => commands::generate::completions(args, &out),
        Command::Man => commands::generate::man(&out),
    };
    if let (true, Some(peak)) = (out.is_verbose(), sepconv::peak_memory()) {
        out.note(format!("peak memory {} MB", peak.div_ceil(1 << 20)));
    }
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast_ref() {
            Some(sepconv::Error::Cancelled) => {
                interrupt::tell();
                ExitCode::from(interrupt::exit_code())
            }
            _ => {
                out.error(&error);
                ExitCode::FAILURE
            }
        },
    }
}
