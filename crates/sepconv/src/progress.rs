//! Progress of long work, told to the caller.

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

/// Listens to progress. `()` does not.
pub trait Progress: Sync {
    /// Told of an event, possibly from several threads.
    fn on(&self, event: Event<'_>);
}

impl Progress for () {
    fn on(&self, _: Event<'_>) {}
}
