//! Differences between two outputs.

use sepconv_ir::Tensor;
use sepconv_model::classes::{argmax, class_rows, largest_share, same_class};
use serde::Serialize;

use crate::channels::{Channels, WorstChannel};
use crate::limits::{Decibels, error_of_ratio};
use crate::sparse::SparseScores;

/// Comparison of one output of two models over all samples that both were run on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct OutputComparison {
    /// Name of the output.
    pub name: String,
    /// Shape of one run's output.
    pub shape: Vec<usize>,
    /// All values are the same bits.
    pub identical: bool,
    /// Largest absolute difference.
    pub max_abs: Option<f64>,
    /// Largest absolute difference over the largest absolute value of the first model.
    pub max_rel: Option<f64>,
    /// Signal to noise, `10 log10(sum a^2 / sum (a - b)^2)` in dB; `None` where it is
    /// infinite (no difference) or undefined (not finite).
    pub snr_db: Option<f64>,
    /// Cosine of the angle between the outputs as vectors.
    pub cosine: Option<f64>,
    /// Share of samples with the same top class, for outputs of shape `[n, classes]`.
    pub top1_agreement: Option<f64>,
    /// Share of samples of the original's most frequent class, for outputs of shape `[n, classes]`: a model of that
    /// class alone would agree as much.
    pub largest_class: Option<f64>,
    /// The output is of class probabilities, and the original's greatest class is the same in every
    /// sample: random inputs then say nothing of it.
    pub saturated: bool,
    /// Reason for which the values were not compared: not numbers, or of different shapes.
    pub not_compared: Option<String>,
    /// As `snr_db`, but of the part that varies between samples: the mean over samples is taken from
    /// the signal. Stricter, because a constant output scores nothing. In dB; infinite for
    /// no difference.
    #[serde(skip)]
    pub varying_snr_db: Option<f64>,
    /// Standard error of `varying_snr_db`.
    #[serde(skip)]
    pub varying_stderr_db: Option<f64>,
    /// The channel with the largest error over its own spread; `None` where the values were not
    /// compared.
    pub worst_channel: Option<WorstChannel>,
    /// The comparison of its sparse scores, where it has such.
    pub scores: Option<SparseScores>,
}

/// Share of samples of one class from which on the agreement of classes says little.
pub const ONE_CLASS: f64 = 0.95;

impl OutputComparison {
    /// The share of the original's most frequent class, where it is so great that agreement says little.
    pub fn one_class(&self) -> Option<f64> {
        self.largest_class.filter(|share| *share >= ONE_CLASS)
    }

    /// The signal-to-noise ratio of the worst channel, in dB; infinite where nothing differs,
    /// `None` where nothing could be compared or a value is not finite.
    pub fn worst_channel_snr(&self) -> Option<f64> {
        match self.max_abs {
            Some(0.0) => Some(f64::INFINITY),
            _ => self.worst_channel?.snr_db,
        }
    }

    /// The smallest of [`OutputComparison::worst_channel_snr`], `varying_snr_db` and that of
    /// `scores`, with the standard error over `n` samples.
    pub(crate) fn strictest(&self, n: usize) -> Option<Decibels> {
        let worst = Decibels {
            value: self.worst_channel_snr()?,
            stderr: self.worst_channel.and_then(|w| w.stderr_db),
            n,
        };
        let varying = Decibels {
            value: self.varying_snr_db?,
            stderr: self.varying_stderr_db,
            n,
        };
        let scores = self.scores.as_ref().map(SparseScores::decibels);
        let all = [worst, varying].into_iter().chain(scores);
        all.min_by(|a, b| a.value.total_cmp(&b.value))
    }
}

/// Compares one output over several runs: `pairs` holds both models' outputs per run.
pub(crate) fn compare_output(name: &str, pairs: &[(&Tensor, &Tensor)]) -> OutputComparison {
    let mut result = OutputComparison {
        name: name.to_owned(),
        shape: pairs.first().map_or(Vec::new(), |p| p.0.dims().to_vec()),
        ..Default::default()
    };
    if let Some((a, b)) = pairs.iter().find(|(a, b)| a.dims() != b.dims()) {
        let reason = format!("shapes differ: {:?} and {:?}", a.dims(), b.dims());
        result.not_compared = Some(reason);
        return result;
    }
    result.identical = pairs.iter().all(|(a, b)| a.data() == b.data());
    let mut sums = Sums::default();
    let mut channels = Vec::with_capacity(pairs.len());
    let rank = result.shape.len();
    for (a, b) in pairs {
        let dims = a.dims();
        let (Some(a), Some(b)) = (values(a), values(b)) else {
            result.not_compared = Some(format!("elements of type {}", a.dtype()));
            return result;
        };
        sums.add(&a, &b);
        channels.push(Channels::of(dims, &a, &b));
    }
    result.max_abs = finite(sums.max_abs);
    let relative = if sums.max_abs == 0.0 {
        0.0
    } else {
        sums.max_abs / sums.peak
    };
    result.max_rel = finite(relative);
    result.snr_db = finite(10.0 * (sums.signal / sums.noise).log10());
    result.cosine = finite(sums.dot / (sums.signal * sums.other).sqrt());
    (result.top1_agreement, result.largest_class) = agreement(pairs).unzip();
    result.saturated = is_saturated(pairs.iter().map(|p| p.0));
    let varying = varying_snr(pairs);
    result.varying_snr_db = varying.map(|v| v.value);
    result.varying_stderr_db = varying.and_then(|v| v.stderr);
    result.worst_channel = Channels::worst_of(&channels, rank);
    result.scores = SparseScores::of(pairs);
    result
}

#[derive(Default)]
struct Sums {
    max_abs: f64,
    peak: f64,
    signal: f64,
    other: f64,
    noise: f64,
    dot: f64,
}

impl Sums {
    fn add(&mut self, a: &[f64], b: &[f64]) {
        for (a, b) in a.iter().zip(b) {
            let d = (a - b).abs();
            // A NaN must win: `max` would drop it.
            self.max_abs = if d > self.max_abs || d.is_nan() {
                d
            } else {
                self.max_abs
            };
            self.peak = self.peak.max(a.abs());
            self.signal += a * a;
            self.other += b * b;
            self.noise += d * d;
            self.dot += a * b;
        }
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Elements as f64.
fn values(t: &Tensor) -> Option<Vec<f64>> {
    if let Some(v) = t.to_f32() {
        return Some(v.iter().map(|v| f64::from(*v)).collect());
    }
    Some(t.to_i64()?.into_iter().map(|v| v as f64).collect())
}

/// Of the part that varies between the runs; `None` where a value is not finite.
fn varying_snr(pairs: &[(&Tensor, &Tensor)]) -> Option<Decibels> {
    let rows = |side: fn(&(&Tensor, &Tensor)) -> Option<Vec<f64>>| -> Option<Vec<Vec<f64>>> {
        pairs.iter().map(side).collect()
    };
    let (a, b) = (rows(|p| values(p.0))?, rows(|p| values(p.1))?);
    let n = a.len();
    let length = a.first().map_or(0, Vec::len);
    let mut mean = vec![0.0; length];
    // Outputs whose extents depend on the values have no mean over samples.
    let uniform = a.iter().all(|r| r.len() == length);
    if uniform {
        for row in &a {
            let parts = mean.iter_mut().zip(row);
            parts.for_each(|(mean, v)| *mean += v / n as f64);
        }
    }
    let squares = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum();
    let whole = |row: &[f64]| -> f64 { row.iter().map(|v| v * v).sum() };
    let signal = |row: &[f64]| match uniform {
        true => squares(row, &mean),
        false => whole(row),
    };
    let pair = |(a, b): (&Vec<f64>, &Vec<f64>)| [signal(a), squares(a, b)];
    let mut samples: Vec<[f64; 2]> = a.iter().zip(&b).map(pair).collect();
    // Outputs that never vary, or a single sample, leave nothing to judge by but the whole.
    if samples.iter().all(|s| s[0] == 0.0) {
        samples
            .iter_mut()
            .zip(&a)
            .for_each(|(s, row)| s[0] = whole(row));
    }
    let sum = |i: usize| samples.iter().map(|s| s[i]).sum::<f64>();
    let (signal, noise) = (sum(0), sum(1));
    let db = 10.0 * (signal / noise).log10();
    match noise == 0.0 {
        true => Some(Decibels {
            value: f64::INFINITY,
            stderr: None,
            n,
        }),
        false => db.is_finite().then(|| Decibels {
            value: db,
            stderr: error_of_ratio(&samples),
            n,
        }),
    }
}

/// True for outputs of class probabilities whose greatest class is the same in all rows.
pub(crate) fn is_saturated<'t>(mut outputs: impl Iterator<Item = &'t Tensor>) -> bool {
    let mut winner = None;
    outputs.all(|output| {
        let rows = class_rows(output.dims()).zip(output.to_f32());
        rows.is_some_and(|((_, classes), values)| {
            let mut rows = values.chunks_exact(classes);
            rows.all(|row| {
                let sum: f32 = row.iter().sum();
                let probabilities = row.iter().all(|v| *v >= 0.0) && (sum - 1.0).abs() <= 1e-3;
                probabilities && *winner.get_or_insert(argmax(row)) == argmax(row)
            })
        })
    })
}

/// Shares of samples of the same class, and of the original's most frequent one.
fn agreement(pairs: &[(&Tensor, &Tensor)]) -> Option<(f64, f64)> {
    let mut same = 0usize;
    let mut tops = Vec::new();
    for (a, b) in pairs {
        let (_, classes) = class_rows(a.dims())?;
        let (a, b) = (a.to_f32()?, b.to_f32()?);
        for (a, b) in a.chunks_exact(classes).zip(b.chunks_exact(classes)) {
            same += usize::from(same_class(a, b));
            tops.push(argmax(a));
        }
    }
    let total = tops.len();
    let largest = largest_share(tops.into_iter().flatten())?;
    Some((same as f64 / total as f64, largest))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn t(values: &[f32]) -> Tensor {
        Tensor::from_f32(vec![1, values.len()], values.to_vec())
    }

    #[test]
    fn figures_of_a_known_pair() {
        let (a, b) = (t(&[3.0, 4.0]), t(&[3.0, 3.5]));
        let c = compare_output("y", &[(&a, &b)]);
        assert_eq!(c.max_abs, Some(0.5));
        assert_eq!(c.max_rel, Some(0.125));
        assert!((c.snr_db.unwrap() - 20.0).abs() < 1e-9);
        assert!((c.cosine.unwrap() - 23.0 / (25.0f64 * 21.25).sqrt()).abs() < 1e-12);
        assert!((c.worst_channel_snr().unwrap() - 20.0).abs() < 1e-9);
        assert_eq!((c.top1_agreement, c.largest_class), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn no_difference_and_no_number() {
        let a = t(&[1.0, 2.0]);
        let same = compare_output("y", &[(&a, &a)]);
        assert!(same.identical);
        assert_eq!((same.max_abs, same.snr_db), (Some(0.0), None));
        assert_eq!(same.varying_snr_db, Some(f64::INFINITY));
        assert_eq!(same.worst_channel_snr(), Some(f64::INFINITY));
        let nan = compare_output("y", &[(&a, &t(&[f32::NAN, 2.0]))]);
        assert_eq!(
            (nan.max_abs, nan.snr_db, nan.varying_snr_db),
            (None, None, None)
        );
        assert_eq!(nan.worst_channel_snr(), None);
    }

    #[test]
    fn a_run_of_other_extents_counts_as_a_whole() {
        let run = |n: usize, error: f32| t(&vec![10.0 + error; n]);
        let runs = [1, 100, 100].map(|n| (run(n, 0.0), run(n, 1.0)));
        let pairs: Vec<(&Tensor, &Tensor)> = runs.iter().map(|(a, b)| (a, b)).collect();
        let ratio = compare_output("y", &pairs).varying_snr_db.unwrap();
        assert!((ratio - 20.0).abs() < 1e-6, "{ratio}");
    }

    #[test]
    fn extents_that_depend_on_the_values_are_compared() {
        let (one, two) = (t(&[1.0, 2.0]), t(&[1.0, 2.0, 3.0]));
        let c = compare_output("y", &[(&one, &one), (&two, &two)]);
        assert_eq!(c.max_abs, Some(0.0));
    }

    #[test]
    fn probabilities_of_one_class_alone_are_saturated() {
        let saturated = |rows: &[[f32; 2]]| {
            let rows: Vec<Tensor> = rows.iter().map(|row| t(row)).collect();
            is_saturated(rows.iter())
        };
        assert!(saturated(&[[0.995, 0.005], [0.7, 0.3]]));
        assert!(!saturated(&[[0.9, 0.1], [0.1, 0.9]]));
        // Scores may still tell.
        assert!(!saturated(&[[12.0, -11.0], [12.0, -11.0]]));
    }

    #[test]
    fn a_constant_output_does_not_hide_an_error() {
        let (a, b) = (t(&[100.0, 1.0]), t(&[100.0, 2.0]));
        let (c, d) = (t(&[100.0, 2.0]), t(&[100.0, 1.0]));
        let result = compare_output("y", &[(&a, &b), (&c, &d)]);
        assert!(result.snr_db.unwrap() > 30.0);
        assert!(result.varying_snr_db.unwrap() < 0.0);
    }
}
