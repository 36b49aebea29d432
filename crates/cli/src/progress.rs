//! The library's progress as a bar, and its end on Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use sepconv::{Event, Progress};

/// Whether Ctrl-C was pressed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C (and a polite kill) end the work at its next step, so that no temporary file
/// stays; the second one ends it at once. Where no handler can be set, the system's stays.
#[allow(clippy::exit)] // The second time, nobody wants to wait.
pub fn end_on_interrupt() {
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(INTERRUPT);
        }
    });
}

/// Exit code of a command that was interrupted, as shells give it.
pub const INTERRUPT: i32 = 130;

/// A progress bar on standard error, or nothing.
pub struct Bar(Option<ProgressBar>);

impl Bar {
    pub fn new(visible: bool) -> Self {
        Self(visible.then(|| {
            let bar = ProgressBar::new(0);
            let style = "{msg:>12} {bar:32} {pos}/{len} {eta}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar
        }))
    }
}

impl Progress for Bar {
    fn on(&self, event: Event<'_>) {
        let Some(bar) = &self.0 else { return };
        match event {
            Event::Begin { stage, total } => {
                bar.reset();
                bar.set_length(total as u64);
                bar.set_message(stage.to_owned());
            }
            Event::Step { done } => bar.set_position(done as u64),
            Event::End => bar.set_message(""),
        }
    }

    fn cancelled(&self) -> bool {
        INTERRUPTED.load(Ordering::SeqCst)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
