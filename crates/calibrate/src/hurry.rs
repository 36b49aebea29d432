//! Work that is cut short where the time is.

use std::time::Instant;

use sepconv_model::Deadline;

/// Shares of the time behind which channels are no longer weighed, candidates no longer scored, outputs no longer
/// probed and layers fitted on few samples, layers no longer timed, and fits no longer made at length.
const WEIGHED: f64 = 0.15;
const SCORED: f64 = 0.35;
const PROBED: f64 = 0.5;
const TIMED: f64 = 0.65;
const FITTED: f64 = 0.8;

/// Share of the time of which more is over, before candidates are scored or layers timed, where that is done in short.
const LATE: f64 = 0.15;

/// Share of the layers by which the fits may lag behind the time, and layers at least and at most: the first layer waits
/// for a run of the original.
const SLACK: f64 = 0.2;
const SLACKS: (f64, f64) = (0.5, 3.0);

/// Share of the time that one of several runs of the network may take.
const RUN: f64 = 0.01;

/// Share of the time that one evaluation may take: the original, some plans and the file have one each.
const EVALUATED: f64 = 0.06;
/// Samples that are evaluated at least.
const LEAST: usize = 16;

/// Counts of the layers, and of the evaluation data, for which the time was short.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hurried {
    /// Layers whose candidates were judged by their weights.
    pub unscored: usize,
    /// Layers that were fitted with less effort.
    pub short: usize,
    /// Samples of the evaluation data that were left out.
    pub left_out: usize,
    /// Epochs of a tuning that were left out.
    pub epochs: usize,
}

impl Hurried {
    /// True where the time sufficed.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

/// True where more than such a share of the time is over.
fn is_over(deadline: Option<Deadline>, share: f64) -> bool {
    deadline.is_some_and(|deadline| deadline.spent() > share)
}

/// True where no time is left to weigh channels.
pub(crate) fn no_time_to_weigh(deadline: Option<Deadline>) -> bool {
    is_over(deadline, WEIGHED)
}

/// True where a run of the network took more than a small share of the time, of which the share `begun` was over before.
pub(crate) fn is_slow(deadline: Option<Deadline>, begun: f64) -> bool {
    is_over(deadline, begun + RUN)
}

/// True where no time is left to score candidates.
pub(crate) fn no_time_to_score(deadline: Option<Deadline>) -> bool {
    is_over(deadline, SCORED)
}

/// True where little time is left to score candidates.
pub(crate) fn little_time_to_score(deadline: Option<Deadline>) -> bool {
    is_over(deadline, LATE)
}

/// True where no time is left to probe the outputs.
pub fn no_time_to_probe(deadline: Option<Deadline>) -> bool {
    is_over(deadline, PROBED)
}

/// True where little time is left to fit layers on all samples.
pub(crate) fn little_time_to_fit(deadline: Option<Deadline>) -> bool {
    is_over(deadline, PROBED)
}

/// True where little time is left to time layers.
pub fn little_time_to_time(deadline: Option<Deadline>) -> bool {
    is_over(deadline, LATE)
}

/// True where no time is left to time further candidates.
pub fn no_time_to_time(deadline: Option<Deadline>) -> bool {
    is_over(deadline, TIMED)
}

/// Samples that an evaluation has time for, on all cores, where a run of one takes `seconds` on one.
pub fn samples_in_time(deadline: Deadline, seconds: f64) -> usize {
    let share = EVALUATED * deadline.allowed().as_secs_f64() * rayon::current_num_threads() as f64;
    ((share / seconds.max(f64::MIN_POSITIVE)) as usize).max(LEAST)
}

/// The moment behind which no other layer is timed; `None` where the time is not limited.
pub fn timed_until(deadline: Option<Deadline>) -> Option<Instant> {
    deadline.and_then(|deadline| deadline.at(TIMED))
}

/// The pace of the fits of several layers.
pub(crate) struct Paced {
    deadline: Option<Deadline>,
    /// Share of the time that was over when the fits began.
    begun: f64,
    layers: usize,
}

impl Paced {
    pub fn new(deadline: Option<Deadline>, layers: usize) -> Self {
        Self {
            begun: deadline.map_or(0.0, Deadline::spent),
            deadline,
            layers,
        }
    }

    /// True where the fits lag behind the time, `done` layers being fitted.
    pub fn is_short(&self, done: usize) -> bool {
        let Some(deadline) = self.deadline else {
            return false;
        };
        let window = FITTED - self.begun;
        let share = (deadline.spent() - self.begun) / window;
        let layers = self.layers as f64;
        let slack = (SLACK * layers).clamp(SLACKS.0, SLACKS.1);
        window <= 0.0 || share * layers > done as f64 + slack
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_pace_follows_the_time() {
        assert!(!Paced::new(None, 3).is_short(0));
        let ample = Deadline::within(Duration::from_secs(3600));
        assert!(!Paced::new(Some(ample), 3).is_short(0));
        let over = Deadline::within(Duration::from_nanos(1));
        std::thread::sleep(Duration::from_millis(1));
        assert!(Paced::new(Some(over), 3).is_short(0));
        assert!(no_time_to_score(Some(over)) && !no_time_to_score(None));
        assert!(is_slow(Some(over), 0.5) && !is_slow(Some(ample), 0.0) && !is_slow(None, 0.0));
        assert!(no_time_to_weigh(Some(over)) && !no_time_to_weigh(Some(ample)));
        assert!(no_time_to_probe(Some(over)) && !no_time_to_probe(Some(ample)));
        assert!(little_time_to_fit(Some(over)) && !little_time_to_fit(Some(ample)));
        assert!(no_time_to_time(Some(over)) && !no_time_to_time(Some(ample)));
        assert!(little_time_to_time(Some(over)) && !little_time_to_time(None));
        assert!(little_time_to_score(Some(over)) && !little_time_to_score(Some(ample)));
        assert_eq!(samples_in_time(ample, 1e6), LEAST);
        assert!(samples_in_time(ample, 1e-3) > 1000);
        assert!(timed_until(Some(ample)) > Some(Instant::now()) && timed_until(None).is_none());
        let half = Deadline::within(Duration::from_millis(200));
        let paced = Paced::new(Some(half), 100);
        std::thread::sleep(Duration::from_millis(60));
        assert!(paced.is_short(0) && !paced.is_short(99));
    }
}
