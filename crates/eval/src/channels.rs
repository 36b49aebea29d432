//! Errors of outputs by channel, each on its own scale.
//!
//! One tensor may hold values of several units: a detector's boxes in pixels beside scores between
//! 0 and 1. An error over the whole tensor is that of the largest unit; the other channels can be
//! lost without a trace. Here every channel is held against its own spread.

use sepconv_model::parts::channel_axis;

use crate::limits::error_of_ratio;

/// Sums over the values of one channel, of a reference and of the values compared with it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Spread {
    count: f64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
    /// Sum of the squares of the reference.
    energy: f64,
    /// Sum of the squared differences.
    noise: f64,
}

impl Spread {
    /// Of values of the reference in pairs with those held against it.
    fn of(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> Self {
        let mut sums = Self::default();
        let mut total = 0.0;
        for (a, b) in pairs.clone() {
            sums.count += 1.0;
            total += a;
            sums.energy += a * a;
            sums.noise += (a - b) * (a - b);
        }
        sums.mean = total / sums.count.max(1.0);
        sums.squares = pairs.map(|(a, _)| (a - sums.mean).powi(2)).sum();
        sums
    }

    /// With the values of `other` (Chan, Golub and LeVeque 1979, equation 2.1).
    fn merged(self, other: Self) -> Self {
        if self.count == 0.0 || other.count == 0.0 {
            return if self.count == 0.0 { other } else { self };
        }
        let count = self.count + other.count;
        let apart = other.mean - self.mean;
        Self {
            count,
            mean: self.mean + apart * other.count / count,
            squares: self.squares
                + other.squares
                + apart * apart * self.count * other.count / count,
            energy: self.energy + other.energy,
            noise: self.noise + other.noise,
        }
    }
}

/// Spread and error of every channel of one output.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Channels {
    axis: Option<usize>,
    all: Vec<Spread>,
    /// Every row of values is non-negative and sums to 1.
    distributions: bool,
}

/// The channel with the largest error over its own spread.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct WorstChannel {
    /// The axis that channels lie along; `None` where the output is one channel.
    pub axis: Option<usize>,
    /// Number of the channel, from 0.
    pub channel: usize,
    /// Number of channels.
    pub channels: usize,
    /// `10 log10(sum (a - mean a)^2 / sum (a - b)^2)` over all samples and positions of the channel,
    /// in dB; `None` where nothing differs in any channel, or where a value is not finite.
    pub snr_db: Option<f64>,
    /// Standard error of `snr_db`; `None` where there is none to estimate.
    pub stderr_db: Option<f64>,
}

/// Columns of `[n, c]` are of one unit where no root mean square is above that of another by this
/// factor.
const ONE_UNIT: f64 = 30.0;
/// The least spread of a channel, as a share of the output's root mean square.
const LEAST: f64 = 1e-6;
/// The least size of a channel that never changes, as such a share.
const LEAST_CONSTANT: f64 = 1e-3;

impl Channels {
    /// Of values `a` and `b`, row-major, of shape `dims` with the samples first. Both are as long.
    pub fn of(dims: &[usize], a: &[f64], b: &[f64]) -> Self {
        let axis = channel_axis(dims);
        let channels = axis.map_or(1, |axis| dims[axis]);
        let inner: usize = axis.map_or(a.len(), |axis| dims[axis + 1..].iter().product());
        let block = channels * inner;
        let channel = |c: usize| {
            let starts = (0..a.len()).step_by(block.max(1));
            let ranges = starts.map(move |start| start + c * inner..start + (c + 1) * inner);
            Spread::of(ranges.flat_map(|r| a[r.clone()].iter().copied().zip(b[r].iter().copied())))
        };
        Self {
            axis,
            all: (0..channels).map(channel).collect(),
            distributions: dims.len() == 2 && are_distributions(a, channels),
        }
    }

    /// With the values of `other`, which is of the same output. Of a run without values the other one; `None` where
    /// both have values and other channels, as outputs do whose extents depend on the inputs.
    #[must_use]
    pub fn merged(self, other: Self) -> Option<Self> {
        if self.all.is_empty() {
            return Some(other);
        }
        if other.all.is_empty() {
            return Some(self);
        }
        if (self.axis, self.all.len()) != (other.axis, other.all.len()) {
            return None;
        }
        let all = self.all.into_iter().zip(other.all);
        Some(Self {
            axis: self.axis,
            all: all.map(|(a, b)| a.merged(b)).collect(),
            distributions: self.distributions && other.distributions,
        })
    }

    /// The worst channel. Rows of class probabilities, and columns of `[n, c]` whose sizes are
    /// alike, are one channel: they have one unit. A channel that never changes is held against its
    /// own size or a thousandth of the output's.
    pub fn worst(&self, rank: usize) -> Option<WorstChannel> {
        let first = self.all.first()?;
        let whole = self.all.iter().skip(1).fold(*first, |a, b| Spread {
            count: a.count + b.count,
            squares: a.squares + b.squares,
            energy: a.energy + b.energy,
            noise: a.noise + b.noise,
            mean: 0.0,
        });
        let mean_energy = whole.energy / self.all.len() as f64;
        let one_unit = rank == 2 && (self.distributions || self.is_of_one_unit());
        let parts = if one_unit { &[whole][..] } else { &self.all };
        let ratio = |s: &Spread| {
            let signal = match s.squares {
                0.0 => s.energy.max(LEAST_CONSTANT.powi(2) * mean_energy),
                squares => squares.max(LEAST.powi(2) * mean_energy),
            };
            match s.noise {
                0.0 => f64::INFINITY,
                noise => 10.0 * (signal / noise).log10(),
            }
        };
        let rank_of = |db: f64| if db.is_nan() { f64::NEG_INFINITY } else { db };
        let all = parts.iter().map(ratio).enumerate();
        let (channel, worst) =
            all.min_by(|a, b| rank_of(a.1).total_cmp(&rank_of(b.1)).then(a.0.cmp(&b.0)))?;
        Some(WorstChannel {
            axis: self.axis.filter(|_| parts.len() > 1),
            channel,
            channels: parts.len(),
            snr_db: worst.is_finite().then_some(worst),
            stderr_db: None,
        })
    }

    /// The worst channel over `runs` of one output of that rank, with its standard error; `None` where runs have other
    /// channels.
    pub fn worst_of(runs: &[Self], rank: usize) -> Option<WorstChannel> {
        let mut own = runs.iter().cloned();
        let all = own.try_fold(Self::default(), Self::merged)?;
        let worst = all.worst(rank)?;
        let chosen = match worst.channels == all.all.len() {
            true => worst.channel..worst.channel + 1,
            false => 0..all.all.len(),
        };
        let runs = runs.iter().filter(|run| !run.all.is_empty());
        let samples = runs.map(|run| {
            let pairs = run.all[chosen.clone()].iter().zip(&all.all[chosen.clone()]);
            pairs.fold([0.0, 0.0], |[signal, noise], (part, whole)| {
                let apart = part.mean - whole.mean;
                let spread = part.squares + part.count * apart * apart;
                [signal + spread, noise + part.noise]
            })
        });
        let mut samples: Vec<[f64; 2]> = samples.collect();
        // A channel that never changes is held against a size that is no sum over samples.
        if samples.iter().all(|s| s[0] == 0.0) {
            samples.iter_mut().for_each(|s| s[0] = 1.0);
        }
        let stderr_db = error_of_ratio(&samples).filter(|_| worst.snr_db.is_some());
        Some(WorstChannel { stderr_db, ..worst })
    }

    /// True where something differs, or a value is not finite.
    pub fn differ(&self) -> bool {
        self.all.iter().any(|s| s.noise != 0.0)
    }

    fn is_of_one_unit(&self) -> bool {
        let energies = self.all.iter().map(|s| s.energy).filter(|e| *e > 0.0);
        let (low, high) = energies.fold((f64::INFINITY, 0.0_f64), |(low, high), e| {
            (low.min(e), high.max(e))
        });
        high <= ONE_UNIT * ONE_UNIT * low
    }
}

fn are_distributions(values: &[f64], classes: usize) -> bool {
    let mut rows = values.chunks_exact(classes.max(1));
    classes > 1
        && rows.all(|row| {
            row.iter().all(|v| *v >= 0.0) && (row.iter().sum::<f64>() - 1.0).abs() < 1e-3
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn channels_lie_where_layouts_have_them() {
        let cases: [(&[usize], Option<usize>); 14] = [
            (&[], None),
            (&[8], None),
            (&[1, 10], Some(1)),
            (&[1, 84, 8400], Some(1)),
            (&[1, 25200, 85], Some(2)),
            (&[1, 4420, 2], Some(2)),
            (&[1, 7, 7], Some(1)),
            (&[1, 64, 8, 8], Some(1)),
            (&[1, 8, 8, 64], Some(3)),
            (&[1, 3, 224, 320], Some(1)),
            (&[1, 224, 320, 3], Some(3)),
            (&[1, 255, 13, 13], Some(1)),
            (&[1, 3, 80, 80, 85], Some(4)),
            (&[1, 2, 64, 64, 64], Some(1)),
        ];
        for (dims, axis) in cases {
            assert_eq!(channel_axis(dims), axis, "{dims:?}");
        }
    }

    fn worst(dims: &[usize], a: &[f64], b: &[f64]) -> WorstChannel {
        Channels::of(dims, a, b).worst(dims.len()).unwrap()
    }

    /// Boxes in pixels that hold, scores that are lost.
    #[test]
    fn a_lost_channel_is_found_beside_large_ones() {
        let n = 50;
        let boxes: Vec<f64> = (0..n).map(|i| 100.0 + f64::from(i)).collect();
        let scores: Vec<f64> = (0..n).map(|i| f64::from(i % 7) / 7.0).collect();
        let a = [boxes.clone(), scores].concat();
        let b = [boxes, vec![0.1; 50]].concat();
        let seen = worst(&[1, 2, 50], &a, &b);
        assert_eq!((seen.axis, seen.channel, seen.channels), (Some(1), 1, 2));
        assert!(seen.snr_db.unwrap() < 0.0, "{seen:?}");
        // The same with the channels last.
        let turned = |v: &[f64]| -> Vec<f64> { (0..50).flat_map(|i| [v[i], v[50 + i]]).collect() };
        let last = worst(&[1, 50, 2], &turned(&a), &turned(&b));
        assert_eq!((last.axis, last.channel), (Some(2), 1));
        assert!((last.snr_db.unwrap() - seen.snr_db.unwrap()).abs() < 1e-9);
    }

    #[test]
    fn an_offset_is_no_signal() {
        // Spread 1 around 1000, error 0.1: 20 dB.
        let a: Vec<f64> = (0..64)
            .map(|i| 1000.0 + if i % 2 == 0 { 1.0 } else { -1.0 })
            .collect();
        let b: Vec<f64> = a.iter().map(|v| v + 0.1).collect();
        let seen = worst(&[1, 1, 64], &a, &b);
        assert!((seen.snr_db.unwrap() - 20.0).abs() < 1e-6, "{seen:?}");
    }

    #[test]
    fn batches_add_up_to_the_whole() {
        let a: Vec<f64> = (0..60).map(|i| f64::from(i * 37 % 23)).collect();
        let b: Vec<f64> = a.iter().map(|v| v * 1.01 + 0.1).collect();
        let whole = Channels::of(&[2, 3, 10], &a, &b);
        let halves = [0..30, 30..60].map(|r| Channels::of(&[1, 3, 10], &a[r.clone()], &b[r]));
        let [first, second] = halves;
        let merged = Channels::default().merged(first);
        let merged = merged.and_then(|first| first.merged(second)).unwrap();
        let (whole, merged) = (whole.worst(3).unwrap(), merged.worst(3).unwrap());
        assert_eq!(whole.channel, merged.channel);
        assert!((whole.snr_db.unwrap() - merged.snr_db.unwrap()).abs() < 1e-9);
    }

    /// The error is that of leaving one run out at a time.
    #[test]
    fn the_worst_channel_has_the_error_of_the_jackknife() {
        let noise = |i: i32, k: i32| f64::from((i * 7919 + k * 104_729) % 1000) / 1000.0 - 0.5;
        let run = |i: i32| {
            let a = [5.0 + noise(i, 1), noise(i, 2), noise(i, 3), noise(i, 4)];
            let b = [
                a[0],
                a[1],
                a[2] + 0.1 * noise(i, 5),
                a[3] + 0.2 * noise(i, 6),
            ];
            Channels::of(&[1, 2, 2], &a, &b)
        };
        let runs: Vec<Channels> = (0..200).map(run).collect();
        let whole = Channels::worst_of(&runs, 3).unwrap();
        assert_eq!((whole.channel, whole.channels), (1, 2));
        let without = |i: usize| {
            let mut some = runs.clone();
            some.remove(i);
            Channels::worst_of(&some, 3).unwrap().snr_db.unwrap()
        };
        let values: Vec<f64> = (0..runs.len()).map(without).collect();
        let n = runs.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let spread: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        let jackknife = ((n - 1.0) / n * spread).sqrt();
        let seen = whole.stderr_db.unwrap();
        assert!((seen / jackknife - 1.0).abs() < 0.03, "{seen} {jackknife}");
        assert_eq!(Channels::worst_of(&runs[..1], 3).unwrap().stderr_db, None);
    }

    #[test]
    fn extents_that_depend_on_the_inputs_have_no_worst_channel() {
        let run = |n: usize| {
            let values: Vec<f64> = (0..n).map(|i| i as f64).collect();
            let others: Vec<f64> = values.iter().map(|v| v + 0.1).collect();
            Channels::of(&[1, n], &values, &others)
        };
        let of = |runs: &[usize]| {
            let runs: Vec<Channels> = runs.iter().map(|n| run(*n)).collect();
            Channels::worst_of(&runs, 2)
        };
        assert_eq!(of(&[2, 3, 4]), None);
        assert_eq!(of(&[2, 3]), None);
        // Nothing was found in one of them.
        assert_eq!(of(&[0, 5, 5]), of(&[5, 5]));
        assert!(of(&[0, 5]).is_some() && of(&[0]).is_none());
    }

    #[test]
    fn classes_are_one_channel_and_mixed_columns_are_not() {
        let logits = worst(&[2, 2], &[1.0, 2.0, 3.0, 1.5], &[1.1, 2.0, 3.0, 1.5]);
        assert_eq!((logits.channels, logits.axis), (1, None));
        // The second class never comes: as probabilities that is no other unit.
        let rows = [0.9, 1e-6, 0.1 - 1e-6, 0.5, 2e-6, 0.5 - 2e-6];
        assert_eq!(worst(&[2, 3], &rows, &rows).channels, 1);
        let mixed = worst(
            &[2, 2],
            &[100.0, 0.1, 300.0, 0.2],
            &[100.0, 0.2, 300.0, 0.1],
        );
        assert_eq!((mixed.channels, mixed.channel), (2, 1));
    }

    #[test]
    fn no_difference_and_no_number() {
        let same = worst(&[1, 2, 2], &[1.0; 4], &[1.0; 4]);
        assert_eq!((same.snr_db, same.channel), (None, 0));
        let odd = worst(&[1, 2, 2], &[1.0; 4], &[1.0, 1.0, 1.0, f64::NAN]);
        assert_eq!((odd.snr_db, odd.channel), (None, 1));
        assert!(!Channels::of(&[1, 1, 1], &[1.0], &[1.0]).differ());
        assert!(Channels::of(&[1, 1, 1], &[1.0], &[f64::NAN]).differ());
        assert_eq!(Channels::default().worst(3), None);
        // A channel that is always 0 and then is not: nothing of it is left.
        let dead = worst(&[1, 2, 2], &[0.0, 0.0, 5.0, 6.0], &[0.1, 0.1, 5.0, 6.0]);
        assert_eq!(dead.channel, 0);
        assert!(dead.snr_db.unwrap() < -20.0);
    }
}
