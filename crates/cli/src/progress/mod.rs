//! The library's progress: a bar on a terminal, lines elsewhere.

mod journal;

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use sepconv::{Event, Progress};

use crate::interrupt;
use journal::{Journal, duration};

/// Time between two looks for a line that is due.
const TICK: Duration = Duration::from_millis(250);

/// The bar that is on the terminal, to be taken away where the process ends meanwhile.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// The medium that progress is shown on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    Nothing,
    /// A bar.
    Terminal,
    /// A file or a pipe: lines.
    Log,
}

/// Shows progress on standard error until it is dropped.
pub struct Shown {
    view: Option<Arc<Mutex<View>>>,
    /// Ends the ticker.
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
}

/// The state of the display, and its medium.
struct View {
    journal: Journal,
    begun: Instant,
    place: Place,
}

enum Place {
    Bar(ProgressBar),
    Lines(Box<dyn Write + Send>),
}

impl Shown {
    /// `begun`: when the command was started.
    pub fn new(medium: Medium, begun: Instant) -> Self {
        let place = match medium {
            Medium::Nothing => None,
            Medium::Terminal => Some(Place::Bar(bar())),
            Medium::Log => Some(Place::Lines(Box::new(std::io::stderr()))),
        };
        let Some(place) = place else {
            let (view, ticker) = (None, None);
            return Self { view, ticker };
        };
        let view = Arc::new(Mutex::new(View {
            journal: Journal::default(),
            begun,
            place,
        }));
        let ticker = tick(Arc::clone(&view));
        Self {
            view: Some(view),
            ticker,
        }
    }
}

/// A thread that shows the lines that are due by the time alone.
fn tick(view: Arc<Mutex<View>>) -> Option<(Sender<()>, JoinHandle<()>)> {
    let (end, ended) = channel();
    let ticker = move || {
        while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            locked(&view).tick();
        }
    };
    let thread = thread::Builder::new().name("progress".into()).spawn(ticker);
    Some((end, thread.ok()?))
}

fn locked(view: &Mutex<View>) -> MutexGuard<'_, View> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = "{msg:>20} {bar:32} {pos}/{len} {prefix}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    *shown_bar() = Some(bar.clone());
    bar
}

fn shown_bar() -> MutexGuard<'static, Option<ProgressBar>> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes the bar off the terminal.
pub fn clear() {
    if let Some(bar) = shown_bar().take() {
        bar.finish_and_clear();
    }
}

impl View {
    fn on(&mut self, event: Event<'_>) {
        let line = self.journal.on(event, self.begun.elapsed());
        if let (Place::Bar(bar), Event::Foreseen(_), Some(line)) = (&self.place, event, &line) {
            bar.println(line);
        }
        self.show(line);
    }

    fn tick(&mut self) {
        let line = self.journal.tick(self.begun.elapsed());
        self.show(line);
    }

    fn show(&mut self, line: Option<String>) {
        match &mut self.place {
            Place::Bar(bar) => {
                let Some(stage) = self.journal.innermost() else {
                    return;
                };
                let left = stage.left(self.begun.elapsed());
                bar.set_length(stage.total() as u64);
                bar.set_message(stage.name().to_owned());
                bar.set_prefix(left.map_or(String::new(), |l| format!("{} left", duration(l))));
                bar.set_position(stage.done() as u64);
            }
            // A reader that is gone is no error of the work.
            Place::Lines(out) => {
                if let Some(line) = line {
                    let _ = out.write_all(format!("{line}\n").as_bytes());
                }
            }
        }
    }
}

impl Progress for Shown {
    fn on(&self, event: Event<'_>) {
        if let Some(view) = &self.view {
            locked(view).on(event);
        }
    }

    fn cancelled(&self) -> bool {
        interrupt::arrived()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.ticker.take() {
            drop(end);
            let _ = thread.join();
        }
        clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that is looked into.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_written_whole_and_at_the_time_that_has_passed() {
        let log = Log::default();
        let Some(begun) = Instant::now().checked_sub(Duration::from_secs(3600)) else {
            return;
        };
        let view = View {
            journal: Journal::default(),
            begun,
            place: Place::Lines(Box::new(log.clone())),
        };
        let view = Arc::new(Mutex::new(view));
        let shown = Shown {
            ticker: tick(Arc::clone(&view)),
            view: Some(view),
        };
        let written = || {
            let all = log.0.lock().unwrap_or_else(PoisonError::into_inner);
            String::from_utf8_lossy(&all).into_owned()
        };
        // Nobody reports a step; the ticker writes all the same.
        while written().is_empty() {
            thread::sleep(TICK / 8);
        }
        drop(shown);
        assert_eq!(written(), "60 min so far\n");
    }
}
