//! Interleaved timing.

use std::time::{Duration, Instant};

use sepconv_targets::{Prepared, TargetError};
use serde::{Deserialize, Serialize};

/// The length and the number of timings.
///
/// Subjects take turns: in every round each is sampled once, in an order that alternates. A
/// sample is the mean of as many runs as fit into [`Bench::sample`], at least one. Before the
/// first round each subject warms up for one run and, where that takes less than half a second, for
/// [`Bench::warm_up`]. Rounds end behind the fourth where a subject has been timed for [`Bench::longest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bench {
    /// Warm-up per subject.
    pub warm_up: Duration,
    /// Length of a sample at least.
    pub sample: Duration,
    /// Rounds at least.
    pub least_rounds: usize,
    /// Rounds at most.
    pub most_rounds: usize,
    /// Between the two, rounds go on until every subject has been timed this long.
    pub enough: Duration,
    /// Time of any subject behind which four rounds are enough.
    pub longest: Duration,
}

/// A subject whose run takes so long is warm behind one.
const SLOW: Duration = Duration::from_millis(500);

/// Rounds at least, whatever time they take, and the usual time of a subject behind which these are enough.
const FEWEST: usize = 4;
const LONGEST: Duration = Duration::from_secs(10);

impl Default for Bench {
    /// 30 samples of 1 ms; fewer, at least 6, of runs that take longer than 4 ms.
    fn default() -> Self {
        Self {
            warm_up: Duration::from_millis(3),
            sample: Duration::from_millis(1),
            least_rounds: 6,
            most_rounds: 30,
            enough: Duration::from_millis(120),
            longest: LONGEST,
        }
    }
}

impl Bench {
    /// For many subjects: 30 samples of 1 ms; fewer, at least 4, of runs that take longer than 1.3 ms.
    pub fn brief() -> Self {
        Self {
            warm_up: Duration::from_millis(2),
            sample: Duration::from_millis(1),
            least_rounds: 4,
            most_rounds: 30,
            enough: Duration::from_millis(40),
            longest: LONGEST,
        }
    }

    /// As [`Bench::brief`], 10 samples, or at least 3 of runs that take longer than 5 ms.
    pub fn hasty() -> Self {
        Self {
            warm_up: Duration::from_millis(1),
            least_rounds: 3,
            most_rounds: 10,
            enough: Duration::from_millis(15),
            ..Self::brief()
        }
    }

    /// A thousand samples of 1 ms, or 10 to as many as two seconds hold: longer than most
    /// disturbances, for figures on which much depends.
    pub fn long() -> Self {
        Self {
            warm_up: Duration::from_millis(10),
            sample: Duration::from_millis(1),
            least_rounds: 10,
            most_rounds: 1000,
            enough: Duration::from_secs(2),
            longest: LONGEST,
        }
    }

    /// The same, where rounds up to the most end once every subject has been timed for `enough`, if that is sooner.
    #[must_use]
    pub fn enough_at(self, enough: Duration) -> Self {
        Self {
            enough: self.enough.min(enough),
            ..self
        }
    }

    /// Three samples of 0.5 ms: enough to rule out slow candidates.
    pub fn quick() -> Self {
        Self {
            warm_up: Duration::from_micros(500),
            sample: Duration::from_micros(500),
            least_rounds: 3,
            most_rounds: 3,
            enough: Duration::ZERO,
            longest: LONGEST,
        }
    }

    /// Times the subjects, which take turns.
    ///
    /// # Errors
    /// The first failure of a run.
    pub fn time_interleaved(
        &self,
        subjects: &mut [Box<dyn Prepared + '_>],
    ) -> Result<Vec<Samples>, TargetError> {
        self.time_while(subjects, &mut |_| true)
    }

    /// As [`Bench::time_interleaved`]. Before every round `wanted` is told of the rounds that are
    /// done; timing ends where it says no.
    ///
    /// # Errors
    /// The first failure of a run.
    pub fn time_while(
        &self,
        subjects: &mut [Box<dyn Prepared + '_>],
        wanted: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<Samples>, TargetError> {
        let mut repeats = Vec::with_capacity(subjects.len());
        for subject in subjects.iter_mut() {
            repeats.push(self.repeats(subject.as_mut())?);
        }
        let mut samples = vec![Samples::default(); subjects.len()];
        let mut spent = vec![Duration::ZERO; subjects.len()];
        for round in 0..self.most_rounds.max(1) {
            if self.suffice(round, &spent) || !wanted(round) {
                break;
            }
            let forward = round % 2 == 0;
            for turn in 0..subjects.len() {
                let i = if forward {
                    turn
                } else {
                    subjects.len() - 1 - turn
                };
                let start = Instant::now();
                for _ in 0..repeats[i] {
                    subjects[i].run()?;
                }
                let elapsed = start.elapsed();
                spent[i] += elapsed;
                samples[i]
                    .seconds
                    .push(elapsed.as_secs_f64() / repeats[i] as f64);
            }
        }
        Ok(samples)
    }

    /// True where so many rounds are enough, which took each subject so long.
    fn suffice(&self, rounds: usize, spent: &[Duration]) -> bool {
        let enough = spent.iter().all(|s| *s >= self.enough);
        let long = spent.iter().any(|s| *s >= self.longest);
        rounds >= self.least_rounds.max(1) && enough || rounds >= FEWEST && long
    }

    /// Warms a subject up and returns how many of its runs make a sample.
    fn repeats(&self, subject: &mut dyn Prepared) -> Result<usize, TargetError> {
        let first = Instant::now();
        subject.run()?;
        if first.elapsed() >= SLOW {
            return Ok(1);
        }
        let (mut runs, mut fastest) = (0_u32, Duration::MAX);
        let start = Instant::now();
        while runs == 0 || start.elapsed() < self.warm_up {
            let run = Instant::now();
            subject.run()?;
            fastest = fastest.min(run.elapsed());
            runs += 1;
        }
        let fit = self.sample.as_secs_f64() / fastest.as_secs_f64().max(1e-9);
        Ok((fit.ceil() as usize).clamp(1, 100_000))
    }
}

/// The samples of one subject, in the order of the rounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples {
    /// Seconds per run, one figure per round.
    pub seconds: Vec<f64>,
}

/// A latency.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// The fastest sample, in seconds per run: the least disturbed one.
    pub min: f64,
    /// The median sample, in seconds per run.
    pub median: f64,
    /// Median absolute deviation of the samples from the median, in seconds.
    pub mad: f64,
    /// Number of samples.
    pub samples: usize,
}

impl Timing {
    /// The same on another scale.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self {
            min: self.min * factor,
            median: self.median * factor,
            mad: self.mad * factor,
            samples: self.samples,
        }
    }
}

/// The speed-up of one subject over another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// Median over the rounds of the ratio of the two samples of a round.
    pub median: f64,
    /// Its 5 % quantile over the rounds.
    pub low: f64,
    /// Its 95 % quantile.
    pub high: f64,
}

impl Samples {
    /// The summary; zeros where there is no sample.
    pub fn timing(&self) -> Timing {
        let median = quantile(&self.seconds, 0.5);
        let deviations: Vec<f64> = self.seconds.iter().map(|s| (s - median).abs()).collect();
        Timing {
            min: quantile(&self.seconds, 0.0),
            median,
            mad: quantile(&deviations, 0.5),
            samples: self.seconds.len(),
        }
    }

    /// The speed-up of these runs over those of `base`, timed in the same rounds.
    pub fn speed_up_over(&self, base: &Self) -> Ratio {
        let pairs = base.seconds.iter().zip(&self.seconds);
        let ratios: Vec<f64> = pairs.map(|(base, own)| base / own.max(1e-12)).collect();
        let [low, median, high] = [0.05, 0.5, 0.95].map(|q| quantile(&ratios, q));
        Ratio { median, low, high }
    }
}

/// A quantile with linear interpolation; 0 of nothing.
fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let at = q * last as f64;
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (at - below as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::RefCell;

    use super::*;

    /// Counts its runs and notes its turns.
    struct Probe<'a>(char, &'a RefCell<String>);

    impl Prepared for Probe<'_> {
        fn run(&mut self) -> Result<(), TargetError> {
            self.1.borrow_mut().push(self.0);
            Ok(())
        }
    }

    #[test]
    fn subjects_take_turns() {
        let log = RefCell::new(String::new());
        let bench = Bench {
            warm_up: Duration::ZERO,
            sample: Duration::ZERO,
            least_rounds: 2,
            most_rounds: 3,
            enough: Duration::MAX,
            longest: Duration::MAX,
        };
        let mut subjects: Vec<Box<dyn Prepared + '_>> =
            vec![Box::new(Probe('a', &log)), Box::new(Probe('b', &log))];
        let samples = bench.time_interleaved(&mut subjects).unwrap();
        drop(subjects);
        // Two runs each to warm up, then three rounds.
        assert_eq!(log.into_inner(), "aabbabbaab");
        assert!(samples.iter().all(|s| s.seconds.len() == 3));
    }

    #[test]
    fn rounds_end_behind_the_longest_time() {
        let bench = |longest| Bench {
            least_rounds: 30,
            enough: Duration::from_secs(14),
            longest,
            ..Bench::default()
        };
        let spent = |fast, slow| [fast, slow].map(Duration::from_secs);
        let usual = bench(Bench::default().longest);
        assert!(!usual.suffice(3, &spent(0, 11)) && usual.suffice(4, &spent(0, 11)));
        let asked = bench(Duration::MAX);
        assert!(!asked.suffice(40, &spent(13, 11)) && asked.suffice(40, &spent(14, 14)));
    }

    #[test]
    fn a_timing_is_no_longer_than_enough() {
        let of = |bench: Bench| bench.suffice(10, &[Duration::from_secs(1); 2]);
        assert!(!of(Bench::long()) && of(Bench::long().enough_at(Duration::from_secs(1))));
        let bench = Bench::default();
        assert_eq!(bench.enough_at(Duration::MAX), bench);
    }

    #[test]
    fn slow_subjects_are_timed_in_few_rounds() {
        let of = |rounds, seconds: [u64; 2]| {
            Bench::long().suffice(rounds, &seconds.map(Duration::from_secs))
        };
        assert!(of(10, [3, 3]) && !of(9, [3, 3]) && !of(10, [1, 3]));
        assert!(of(4, [11, 5]) && !of(3, [30, 30]));
    }

    #[test]
    fn samples_are_summarised() {
        let of = |seconds: &[f64]| Samples {
            seconds: seconds.to_vec(),
        };
        let timing = of(&[4.0, 1.0, 3.0, 2.0, 10.0]).timing();
        assert_eq!((timing.min, timing.median, timing.mad), (1.0, 3.0, 1.0));
        assert_eq!(timing.samples, 5);
        let ratio = of(&[1.0, 2.0, 1.0]).speed_up_over(&of(&[2.0, 4.0, 4.0]));
        assert_eq!(ratio.median, 2.0);
        assert!((ratio.low - 2.0).abs() < 1e-12 && (ratio.high - 3.8).abs() < 1e-12);
        assert_eq!(Samples::default().timing().samples, 0);
    }
}
