//! Ctrl-C and polite kills: the work ends at its next step, or the process soon after.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::error_line::print_error;
use crate::progress;

/// Time that the work has to end by itself, within a forward pass say. The process then ends without
/// it, so that nobody waits for 2 s.
const GRACE: Duration = Duration::from_millis(1500);

/// The first signal that arrived; 0: none.
static SIGNAL: AtomicI32 = AtomicI32::new(0);
/// True once the end has been told.
static TOLD: AtomicBool = AtomicBool::new(false);
/// Files that the command may write, and how they looked before.
static WATCHED: Mutex<Vec<(PathBuf, Option<Look>)>> = Mutex::new(Vec::new());

/// The time at which a file was written, and its length.
type Look = (SystemTime, u64);

/// Heeds signals from here on. Where no handler can be set, the system's stays.
pub fn heed() {
    on_signal(|signal| {
        let first = SIGNAL.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
        if first.is_err() {
            // The second time, nobody wants to wait.
            end(signal);
        }
        let late = move || {
            thread::sleep(GRACE);
            end(signal);
        };
        if thread::Builder::new().spawn(late).is_err() {
            end(signal);
        }
    });
}

/// True once the work is to end.
pub fn arrived() -> bool {
    SIGNAL.load(Ordering::SeqCst) != 0
}

/// Exit code of a command that was interrupted, as shells give it: 128 and the signal's number.
pub fn exit_code() -> u8 {
    let signal = SIGNAL.load(Ordering::SeqCst);
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// Notes a file that the command may write: where it is interrupted with the file in its place, it says so.
pub fn watch(path: &Path) {
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    watched.push((path.to_owned(), look(path)));
}

/// `None` where there is no file.
fn look(path: &Path) -> Option<Look> {
    let found = path.symlink_metadata().ok()?;
    Some((found.modified().ok()?, found.len()))
}

/// The watched files that are others than before.
fn written() -> Vec<String> {
    let watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    let other = watched
        .iter()
        .filter(|(path, before)| look(path) != *before);
    other.map(|(path, _)| path.display().to_string()).collect()
}

/// Says on standard error, once, that the command was interrupted.
pub fn tell() {
    if TOLD.swap(true, Ordering::SeqCst) {
        return;
    }
    print_error(&message(&written()));
}

fn message(written: &[String]) -> String {
    match written {
        [] => "interrupted; nothing was written".into(),
        [one] => format!("interrupted; {one} was written before"),
        some => format!("interrupted; {} were written before", some.join(", ")),
    }
}

/// Ends the process whatever the work is at, and leaves no temporary file.
fn end(signal: i32) -> ! {
    sepconv::onnx::remove_temporary();
    progress::clear();
    tell();
    let _ = std::io::stdout().flush();
    exit(128 + signal)
}

/// Without destructors of libraries, which would run beside their own threads.
#[cfg(unix)]
fn exit(code: i32) -> ! {
    signal_hook::low_level::exit(code)
}

#[cfg(not(unix))]
#[allow(clippy::exit)]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}

#[cfg(unix)]
fn on_signal(act: impl Fn(i32) + Send + 'static) {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = vec![SIGINT, SIGTERM];
    // With nohup the command is to outlive its terminal.
    signals.extend(Some(SIGHUP).filter(|s| !is_ignored(*s)));
    if let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) {
        let _ = thread::Builder::new()
            .name("signals".into())
            .spawn(move || signals.forever().for_each(act));
    }
}

#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    // SAFETY: all zeros are a `sigaction`, which the call fills in; it changes nothing.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut now) == 0
            && now.sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(not(unix))]
fn on_signal(act: impl Fn(i32) + Send + 'static) {
    // Which one it was is not told: Ctrl-C is 2.
    let _ = ctrlc::set_handler(move || act(2));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_are_told_once_they_are_in_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["old", "replaced", "new"].map(|name| folder.path().join(name));
        std::fs::write(&files[0], b"old").unwrap();
        std::fs::write(&files[1], b"old").unwrap();
        files.iter().for_each(|path| watch(path));
        let ours = || {
            let inside = |path: &String| Path::new(path).starts_with(folder.path());
            written().into_iter().filter(inside).collect::<Vec<_>>()
        };
        assert_eq!(ours(), [""; 0]);
        std::fs::write(&files[1], b"other").unwrap();
        std::fs::write(&files[2], b"new").unwrap();
        let expected = files[1..].iter().map(|path| path.display().to_string());
        assert_eq!(ours(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn what_stays_is_named() {
        let names = |n: usize| vec!["a.onnx".to_owned(); n];
        assert_eq!(message(&names(0)), "interrupted; nothing was written");
        assert_eq!(message(&names(1)), "interrupted; a.onnx was written before");
        assert_eq!(
            message(&names(2)),
            "interrupted; a.onnx, a.onnx were written before"
        );
    }
}
