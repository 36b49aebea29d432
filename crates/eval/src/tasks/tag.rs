//! Labels of which a sample may have several, each with a probability of its own: those of the model
//! against the original's.

use super::pairs::{Names, Pairs, measures as of_pairs};
use super::seen::Seen;
use crate::evaluate::rows::Rows;
use crate::evaluate::{Measure, Metric};

/// Probability from which on a sample has a label.
const FOUND: f64 = 0.5;
/// Probability that the other model's label is the same from: those about a half come and go with any change.
const NEAR: f64 = 0.4;
/// Labels of an output that is recognised, at least.
const LEAST: usize = 3;
/// Rounding of a sum of probabilities.
const ROUNDING: f64 = 1e-3;

/// An output of labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Labels {
    pub output: usize,
    /// It holds logits, not probabilities.
    logits: bool,
}

impl Labels {
    /// The first output `[n, labels]` of probabilities that are not those of a distribution, of which half of the
    /// samples have a label and one in ten has some that are not neighbours: those would be bins of a quantity.
    pub fn recognised(seen: Seen<'_>) -> Option<Self> {
        let found = (0..seen.outputs()).find(|output| {
            let all: Vec<&[f64]> = rows(seen, *output).collect();
            let of_labels =
                |row: &&[f64]| row.len() >= LEAST && row.iter().all(|v| (0.0..=1.0).contains(v));
            let sums_to_one = |row: &&[f64]| (row.iter().sum::<f64>() - 1.0).abs() <= ROUNDING;
            let labelled = all.iter().filter(|row| row.iter().any(|v| *v >= FOUND));
            let apart = all.iter().filter(|row| are_apart(row));
            all.iter().all(of_labels)
                && !all.iter().all(sums_to_one)
                && 2 * labelled.count() >= all.len()
                && 10 * apart.count() >= all.len()
                && !all.is_empty()
        });
        found.map(|output| Self {
            output,
            logits: false,
        })
    }

    /// The first output `[n, labels]`, whatever its values.
    pub fn shaped(seen: Seen<'_>) -> Option<Self> {
        let output = (0..seen.outputs()).find(|output| rows(seen, *output).next().is_some())?;
        let beyond = |v: f64| !(0.0..=1.0).contains(&v);
        Some(Self {
            output,
            logits: seen.values(output).any(beyond),
        })
    }

    /// Labels of sample `i` of both.
    pub fn pairs(&self, a: &Rows, b: &Rows, i: usize) -> Pairs {
        let [found, near] = [FOUND, NEAR].map(|p| match self.logits {
            true => (p / (1.0 - p)).ln(),
            false => p,
        });
        let mut pairs = Pairs::default();
        for (a, b) in a.row(i).iter().zip(b.row(i)) {
            // Of a NaN neither holds.
            let both = (*a >= found && *b >= near) || (*b >= found && *a >= near);
            pairs.both += usize::from(both);
            pairs.original += usize::from(both || *a >= found);
            pairs.model += usize::from(both || *b >= found);
        }
        pairs
    }
}

/// Rows of an output of classes by its shape.
fn rows<'s>(seen: Seen<'s>, output: usize) -> impl Iterator<Item = &'s [f64]> {
    let shaped = seen.of(output).filter(|rows| rows.classes().is_some());
    shaped.flat_map(|rows| (0..rows.count()).map(|i| rows.row(i)))
}

/// True where some labels of a row have others without one between them.
fn are_apart(row: &[f64]) -> bool {
    let runs = row.chunk_by(|a, b| (*a >= FOUND) == (*b >= FOUND));
    runs.filter(|run| run[0] >= FOUND).count() > 1
}

/// F1, recall and precision of labels.
pub(super) fn measures(output: &str, samples: &[Pairs]) -> Vec<Measure> {
    let names = Names {
        f1: Metric::LabelF1,
        recall: Metric::LabelRecall,
        precision: Metric::LabelPrecision,
    };
    of_pairs(names, output, samples)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_ir::Tensor;

    use super::*;

    fn rows_of(values: &[[f32; 5]]) -> Rows {
        let tensor = Tensor::from_f32(vec![values.len(), 5], values.concat());
        Rows::of(&tensor, values.len(), values.len()).unwrap()
    }

    fn recognised(values: &[[f32; 5]]) -> bool {
        let (runs, names) = ([vec![Some(rows_of(values))]], ["y".to_owned()]);
        let seen = Seen {
            names: &names,
            runs: &runs,
            picture: None,
        };
        Labels::recognised(seen).is_some()
    }

    #[test]
    fn labels_are_told_from_classes_and_from_bins() {
        let several = [[0.9, 0.0, 0.8, 0.1, 0.0], [0.0, 0.7, 0.1, 0.0, 0.2]];
        assert!(recognised(&several));
        // A distribution, one of each, neighbours, hardly any, and numbers.
        assert!(!recognised(&[[0.5, 0.0, 0.5, 0.0, 0.0]; 2]));
        assert!(!recognised(&[[0.9, 0.1, 0.2, 0.1, 0.0]; 2]));
        assert!(!recognised(&[[0.1, 0.7, 0.9, 0.7, 0.1]; 2]));
        let none = [0.1; 5];
        assert!(!recognised(&[several[0], none, none]));
        assert!(!recognised(&[[0.9, 0.0, 1.8, 0.1, 0.0]; 2]));
    }

    #[test]
    fn labels_about_a_half_are_the_same() {
        let [a, b] =
            [[0.9, 0.45, 0.55, 0.6, 0.1], [0.8, 0.55, 0.42, 0.3, 0.7]].map(|row| rows_of(&[row]));
        let labels = Labels {
            output: 0,
            logits: false,
        };
        let pairs = labels.pairs(&a, &b, 0);
        assert_eq!((pairs.original, pairs.model, pairs.both), (4, 4, 3));
        let logits = Labels {
            logits: true,
            ..labels
        };
        let [a, b] =
            [[2.0, -0.3, 0.1, -0.5, 9.0], [1.0, 0.2, -0.3, 0.5, -9.0]].map(|row| rows_of(&[row]));
        let pairs = logits.pairs(&a, &b, 0);
        assert_eq!((pairs.original, pairs.model, pairs.both), (4, 4, 3));
        let none = labels.pairs(&a, &rows_of(&[[f32::NAN; 5]]), 0);
        assert_eq!((none.original, none.model, none.both), (2, 0, 0));
        let seen = measures("y", &[pairs]);
        assert_eq!((seen[0].metric.name(), seen[0].value), ("label-f1", 75.0));
    }
}
