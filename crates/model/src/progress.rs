//! Progress of long work, told to the caller.

use crate::error::Error;

/// An event that a [`Progress`] is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A stage of `total` steps begins, within the one that goes on, if one does.
    Begin {
        /// Name of the stage, such as "decomposing".
        stage: &'a str,
        /// Number of steps; 0 where it is not known.
        total: usize,
    },
    /// So many steps of the innermost stage are done.
    Step {
        /// Steps done.
        done: usize,
    },
    /// The innermost stage has ended, with all its steps or without.
    End,
}

/// Listens to progress, and may ask for an end. `()` does neither.
pub trait Progress: Sync {
    /// Told of an event, possibly from several threads.
    fn on(&self, event: Event<'_>);

    /// True where the work is to end; asked after every step. It then fails with
    /// [`Error::Cancelled`], and nothing is left half done.
    fn cancelled(&self) -> bool {
        false
    }
}

/// A stage that goes on until this is dropped. Stages within stages end before those around them.
pub struct Stage<'a>(&'a dyn Progress);

impl<'a> Stage<'a> {
    /// Begins a stage of `total` steps; 0: nobody knows how many.
    pub fn begin(progress: &'a dyn Progress, stage: &str, total: usize) -> Self {
        progress.on(Event::Begin { stage, total });
        Self(progress)
    }

    /// Tells of steps that are done, and ends work that nobody wants any more.
    pub fn step(&self, done: usize) -> Result<(), Error> {
        self.0.on(Event::Step { done });
        still_wanted(self.0)
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.0.on(Event::End);
    }
}

/// A listener that is not told of anything, and may still ask for an end.
pub struct Untold<'a>(pub &'a dyn Progress);

impl Progress for Untold<'_> {
    fn on(&self, _: Event<'_>) {}

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}

/// Ends work that nobody wants any more.
pub fn still_wanted(progress: &dyn Progress) -> Result<(), Error> {
    match progress.cancelled() {
        true => Err(Error::Cancelled),
        false => Ok(()),
    }
}

impl Progress for () {
    fn on(&self, _: Event<'_>) {}
}
