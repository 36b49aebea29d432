//! Progress of long work, told to the caller.

use crate::error::Error;

/// An event that a [`Progress`] is told of.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    /// The outcome of the budget, where that is known before the long work begins and is far from
    /// its plain reading.
    Foreseen(Reach),
}

/// The part that a budget of MACs leaves of the layers that it is taken from, where other operators
/// hold the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reach {
    /// The fraction of all MACs that was asked for.
    pub asked: f64,
    /// The fraction of all MACs that the layers hold which may be rewritten.
    pub held: f64,
    /// The fraction of theirs that is left to them.
    pub left: f64,
}

impl Reach {
    /// Below this fraction of their own MACs layers are a fraction of themselves.
    const LITTLE: f64 = 1.0 / 3.0;
    /// Others hold much where they take this part of the budget.
    const OTHERS: f64 = 0.25;

    /// The part that `asked` of `total` MACs leaves of `held`; `None` where that is no surprise.
    pub fn surprising(asked: f64, held: u64, total: u64) -> Option<Self> {
        let (held, all) = (held as f64, total as f64);
        let left = (asked * all - (all - held)) / held;
        (left < Self::LITTLE && left < (1.0 - Self::OTHERS) * asked).then_some(Self {
            asked,
            held: held / all,
            left: left.max(0.0),
        })
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_budget_that_others_take_most_of_is_foreseen() {
        // 54 of 100 MACs are the layers': half of all leaves them 4 of theirs.
        let reach = Reach::surprising(0.5, 54, 100).unwrap();
        assert!((reach.held - 0.54).abs() < 1e-12 && (reach.left - 4.0 / 54.0).abs() < 1e-12);
        // All are theirs: that is the budget as it was given.
        assert_eq!(Reach::surprising(0.2, 100, 100), None);
        assert_eq!(Reach::surprising(0.8, 54, 100), None);
        assert_eq!(Reach::surprising(0.4, 54, 100).unwrap().left, 0.0);
    }
}
