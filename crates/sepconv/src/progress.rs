//! Progress of long work, told to the caller.

use crate::error::Error;

/// What a [`Progress`] is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A stage of `total` steps begins.
    Begin {
        /// What is done, such as "decomposing".
        stage: &'a str,
        /// Number of steps.
        total: usize,
    },
    /// So many steps of the stage are done.
    Step {
        /// Steps done.
        done: usize,
    },
    /// The stage has ended.
    End,
}

/// Listens to progress, and may ask for an end. `()` does neither.
pub trait Progress: Sync {
    /// Told of an event, possibly from several threads.
    fn on(&self, event: Event<'_>);

    /// Whether the work is to end; asked after every step. It then fails with
    /// [`Error::Cancelled`], and nothing is left half done.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Tells of a step that is done.
pub(crate) fn step(progress: &dyn Progress, done: usize) -> Result<(), Error> {
    progress.on(Event::Step { done });
    still_wanted(progress)
}

/// Ends work that nobody wants any more.
pub(crate) fn still_wanted(progress: &dyn Progress) -> Result<(), Error> {
    match progress.cancelled() {
        true => Err(Error::Cancelled),
        false => Ok(()),
    }
}

impl Progress for () {
    fn on(&self, _: Event<'_>) {}
}
