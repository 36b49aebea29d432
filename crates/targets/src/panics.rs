//! Runtimes that panic on models they don't expect.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` and turns a panic into its message.
pub(crate) fn guarded<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    let before = GUARDED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    GUARDED.set(before);
    result.map_err(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied());
        format!("it panicked: {}", text.unwrap_or("no message"))
    })
}

/// Keeps the process's panic hook from reporting panics of runtimes, which this crate
/// catches and returns as errors. For programs to call once; libraries leave hooks alone.
pub fn silence_caught_panics() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !GUARDED.get() {
            report(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_errors() {
        silence_caught_panics();
        assert_eq!(guarded(|| 1), Ok(1));
        let err = guarded(|| -> u8 { panic!("no {}", "luck") });
        assert_eq!(err, Err("it panicked: no luck".into()));
    }
}
