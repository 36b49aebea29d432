//! The library's progress as a bar.

use indicatif::{ProgressBar, ProgressStyle};
use sepconv::{Event, Progress};

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
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
