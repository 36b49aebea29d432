//! The binary `sepconv`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(sepconv_cli::run(std::env::args_os()))
}
