//! Errors, one line each.

use std::io::Write;

use anstyle::{AnsiColor, Style};

const RED: Style = AnsiColor::Red.on_default().bold();

/// Prints an error on one line of standard error.
pub fn print_error(text: &str) {
    let line = format!("{RED}error:{RED:#} {}\n", one_line(text));
    let _ = anstream::stderr().write_all(line.as_bytes());
}

/// A text without its line breaks.
pub fn one_line(text: &str) -> String {
    let lines = text.split(['\n', '\r']).map(str::trim);
    lines.collect::<Vec<_>>().join(" ")
}
