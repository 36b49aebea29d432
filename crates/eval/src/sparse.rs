//! Sparse scores: the values of an output where it says something.
//!
//! Channels of scores between 0 and 1 that are mostly near 0 can lose every one that matters
//! with an error that is small over all positions. They are held against the original by the scores
//! above a threshold.

use sepconv_ir::Tensor;
use serde::Serialize;

use crate::limits::{Decibels, jackknife};
use sepconv_model::parts::channel_axis;

/// Scores above it say something.
pub(crate) const SCORE: f64 = 0.1;
/// Of a channel that is mostly near 0 no greater share is above the threshold.
const SPARSE: f64 = 0.1;
/// Rounding of a score.
const NEAR: f64 = 1e-3;

/// The values above the threshold in the sparse channels of one output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SparseScores {
    /// Number of such channels.
    pub channels: usize,
    /// The threshold.
    pub threshold: f64,
    /// Scores above it in the original.
    pub original: usize,
    /// Scores above it in the model that is held against it.
    pub model: usize,
    /// Those above it in both.
    pub both: usize,
    /// The same three numbers of every run.
    #[serde(skip)]
    runs: Vec<Counts>,
}

/// Scores above the threshold: in the original, in the model, in both.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Counts([usize; 3]);

impl Counts {
    fn of(pairs: impl Iterator<Item = (f64, f64)>) -> Self {
        let mut counts = Self::default();
        for (a, b) in pairs {
            let above = [a > SCORE, b > SCORE, a > SCORE && b > SCORE];
            let all = counts.0.iter_mut().zip(above);
            all.for_each(|(count, above)| *count += usize::from(above));
        }
        counts
    }

    fn zipped(self, other: Self, f: fn(usize, usize) -> usize) -> Self {
        Self([0, 1, 2].map(|i| f(self.0[i], other.0[i])))
    }

    /// The share of either's values that both have, the smaller of both ways; 1 of nothing.
    fn kept(self) -> f64 {
        let [original, model, both] = self.0;
        match original.max(model) {
            0 => 1.0,
            most => both as f64 / most as f64,
        }
    }

    /// The share that is lost as a ratio of amplitudes in dB, so that it stands beside a
    /// signal-to-noise ratio.
    fn decibels(self) -> f64 {
        -20.0 * (1.0 - self.kept()).log10()
    }
}

impl SparseScores {
    /// Of an output of both models in some runs; `None` where no channel of it is sparse, or where
    /// nothing is above the threshold.
    pub(crate) fn of(pairs: &[(&Tensor, &Tensor)]) -> Option<Self> {
        let dims = pairs.first()?.0.dims();
        // Rows of classes are judged by the greatest.
        let axis = channel_axis(dims).filter(|_| dims.len() > 2)?;
        let (count, inner) = (dims[axis], dims[axis + 1..].iter().product::<usize>());
        let mut seen = vec![(0_usize, 0_usize, true); count];
        let channel = |position: usize| position / inner.max(1) % count.max(1);
        for (a, _) in pairs {
            let of_one_shape = a.dims().get(1..) == dims.get(1..);
            for (position, value) in a.to_f32().filter(|_| of_one_shape)?.iter().enumerate() {
                let value = f64::from(*value);
                let (all, above, are_scores) = &mut seen[channel(position)];
                *all += 1;
                *above += usize::from(value > SCORE);
                *are_scores &= (-NEAR..=1.0 + NEAR).contains(&value);
            }
        }
        let is_sparse = |(all, above, are_scores): &(usize, usize, bool)| {
            *are_scores && *above as f64 <= SPARSE * *all as f64
        };
        let sparse: Vec<bool> = seen.iter().map(is_sparse).collect();
        let counted = |(a, b): &(&Tensor, &Tensor)| {
            let (a, b) = (a.to_f32()?, b.to_f32()?);
            let pairs = a.iter().zip(b.iter()).enumerate();
            let own = pairs.filter(|(position, _)| sparse[channel(*position)]);
            Some(Counts::of(
                own.map(|(_, (a, b))| (f64::from(*a), f64::from(*b))),
            ))
        };
        let runs: Vec<Counts> = pairs.iter().map(counted).collect::<Option<_>>()?;
        let add = |a: usize, b: usize| a + b;
        let total = runs
            .iter()
            .fold(Counts::default(), |all, run| all.zipped(*run, add));
        let [original, model, both] = total.0;
        (original + model > 0).then(|| Self {
            channels: sparse.iter().filter(|is| **is).count(),
            threshold: SCORE,
            original,
            model,
            both,
            runs,
        })
    }

    /// Share of the original's that the model has; `None` where the original has none.
    pub fn recall(&self) -> Option<f64> {
        (self.original > 0).then(|| self.both as f64 / self.original as f64)
    }

    /// Share of the model's that the original has; `None` where the model has none.
    pub fn precision(&self) -> Option<f64> {
        (self.model > 0).then(|| self.both as f64 / self.model as f64)
    }

    /// `-20 log10` of the greater share that is lost, of the original's or of the model's; infinite
    /// where none is.
    pub fn decibels(&self) -> Decibels {
        let total = Counts([self.original, self.model, self.both]);
        let without = self.runs.iter();
        let without = without.map(|run| total.zipped(*run, usize::saturating_sub).decibels());
        Decibels {
            value: total.decibels(),
            stderr: jackknife(&without.collect::<Vec<_>>()),
            n: self.runs.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Channels of pixels, of sparse scores and of dense ones.
    fn output(scores: impl Fn(usize) -> f32) -> Tensor {
        let n = 100;
        let pixels = (0..n).map(|i| i as f32);
        let sparse = (0..n).map(&scores);
        let dense = (0..n).map(|i| (i % 10) as f32 / 10.0);
        let values = pixels.chain(sparse).chain(dense).collect();
        Tensor::from_f32(vec![1, 3, n], values)
    }

    #[test]
    fn what_is_above_the_threshold_is_counted_both_ways() {
        let a = output(|i| if i < 8 { 0.9 } else { 0.01 });
        let b = output(|i| if (4..10).contains(&i) { 0.3 } else { 0.0 });
        let seen = SparseScores::of(&[(&a, &b), (&a, &a)]).unwrap();
        assert_eq!((seen.channels, seen.original), (1, 16));
        assert_eq!((seen.model, seen.both), (14, 12));
        assert_eq!(seen.recall(), Some(0.75));
        // A quarter is lost.
        assert!((seen.decibels().value - 20.0 * 4f64.log10()).abs() < 1e-9);
        let same = SparseScores::of(&[(&a, &a)]).unwrap();
        assert_eq!(same.decibels().value, f64::INFINITY);
        // All of it: nothing is above the threshold any more.
        let lost = SparseScores::of(&[(&a, &output(|_| 0.02))]).unwrap();
        assert_eq!((lost.recall(), lost.precision()), (Some(0.0), None));
        assert_eq!(lost.decibels().value, 0.0);
    }

    #[test]
    fn other_outputs_have_no_sparse_scores() {
        let silent = output(|_| 0.02);
        assert_eq!(SparseScores::of(&[(&silent, &silent)]), None);
        let classes = Tensor::from_f32(vec![1, 20], [vec![1.0], vec![0.0; 19]].concat());
        assert_eq!(SparseScores::of(&[(&classes, &classes)]), None);
        let map = Tensor::from_f32(vec![1, 2, 50], (0..100).map(|i| i as f32 - 50.0).collect());
        assert_eq!(SparseScores::of(&[(&map, &map)]), None);
    }
}
