//! The command line of sepconv: arguments in, library calls, tables or JSON out.

mod args;
mod claims;
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

use std::ffi::OsString;

use clap::Parser;
use clap::error::ErrorKind;

use args::{Cli, Command};
use output::Output;

/// Exit codes of a command that was not interrupted.
const SUCCESS: u8 = 0;
const FAILURE: u8 = 1;
const USAGE: u8 = 2;

/// Runs one command in this process, and gives its exit code: 0 done, 1 refused or failed, 2 usage, 130 and 143
/// interrupted. The first argument is the name of the program.
///
/// It prints, and from here on it heeds signals: a program calls it once, and then ends.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let code = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => SUCCESS,
                _ => USAGE,
            };
            // Where nobody reads, nothing is left to be done.
            let _ = error.print();
            return code;
        }
    };
    sepconv::targets::silence_caught_panics();
    interrupt::heed();
    if cli.global.verbose > 1 {
        log::to_stderr();
    }
    let out = Output::new(&cli.global, files::command_line(&arguments));
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
        Ok(()) => SUCCESS,
        Err(error) => match error.downcast_ref() {
            Some(sepconv::Error::Cancelled) => {
                interrupt::tell();
                interrupt::exit_code()
            }
            _ => {
                out.error(&error);
                FAILURE
            }
        },
    }
}
