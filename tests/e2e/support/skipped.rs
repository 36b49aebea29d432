//! Tests that can't run where they are.

use std::io::Write as _;

/// Says that the running test is skipped, in the line that `tests/run` counts:
/// `skipped: TEST: REASON`. The test returns after it.
///
/// The line goes to standard error itself: the harness keeps the output of the print macros.
#[track_caller]
pub fn skipped(reason: &str) {
    let caller = std::panic::Location::caller();
    let thread = std::thread::current();
    // A test has a thread of its name, but for a harness of one thread.
    let named = thread.name().filter(|name| *name != "main");
    let test = named.map_or_else(
        || format!("{}:{}", caller.file(), caller.line()),
        Into::into,
    );
    let line = format!("skipped: {test}: {reason}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}
