//! Measures of classifiers: accuracy by labels, agreement and divergence by another model.

use sepconv_model::classes::{argmax, largest_share, same_class};

use super::measure::{Against, Measure, Metric};

/// Number of greatest classes that top-5 looks at.
const FIVE: usize = 5;

/// Place of the class at `label` among a sample's classes, from 0 for the greatest; `None` where
/// the label is out of range or a score is not a number. Of equal scores the first stands first.
pub(super) fn place(scores: &[f64], label: i64) -> Option<usize> {
    let label = usize::try_from(label).ok()?;
    let own = *scores.get(label)?;
    if scores.iter().any(|s| s.is_nan()) {
        return None;
    }
    let before = scores
        .iter()
        .enumerate()
        .filter(|(i, s)| **s > own || (**s == own && *i < label));
    Some(before.count())
}

/// Top-1 and, of more than five classes, top-5 from the places of the labels.
pub(super) fn accuracy(output: &str, classes: usize, places: &[Option<usize>]) -> Vec<Measure> {
    let within = |metric, k: usize| {
        let hits = places.iter().map(|p| p.is_some_and(|p| p < k));
        Measure::share_of(metric, Against::Labels, output, &hits.collect::<Vec<_>>())
    };
    let mut measures = vec![within(Metric::TopOne, 1)];
    if classes > FIVE {
        measures.push(within(Metric::TopFive, FIVE));
    }
    measures
}

/// One sample of a class output in two models.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ClassPair {
    /// Both have the same greatest class, see [`same_class`].
    same: bool,
    /// The greatest class in the original.
    top: Option<usize>,
    /// Divergence of the softmax of the values, in nats.
    of_scores: f64,
    /// Divergence of the values as they are, in nats, where the original's are probabilities.
    of_probabilities: Option<f64>,
}

impl ClassPair {
    /// Compares the class values of a sample: `a` of the original, `b` of the other model.
    pub fn of(a: &[f64], b: &[f64]) -> Self {
        Self {
            same: same_class(a, b),
            top: argmax(a),
            of_scores: divergence(&log_softmax(a), &log_softmax(b)),
            of_probabilities: are_probabilities(a)
                .then(|| divergence(&log_of_parts(a), &log_of_parts(b))),
        }
    }
}

/// Agreement and divergence from the original. Outputs whose every row in the original are
/// probabilities count as such; others go through a softmax first.
pub(super) fn relative(output: &str, pairs: &[ClassPair]) -> Vec<Measure> {
    let same = pairs.iter().filter(|p| p.same).count();
    let direct: Option<Vec<f64>> = pairs.iter().map(|p| p.of_probabilities).collect();
    let kl = direct.unwrap_or_else(|| pairs.iter().map(|p| p.of_scores).collect());
    let original = Against::Original;
    vec![
        Measure::share(Metric::Agreement, original, output, same, pairs.len()),
        Measure::mean(Metric::Kl, original, output, &kl),
    ]
}

/// Share of the samples that the original puts in its most frequent class; `None` without samples.
pub(super) fn largest_class(pairs: &[ClassPair]) -> Option<f64> {
    largest_share(pairs.iter().filter_map(|pair| pair.top))
}

/// Divergence of one sample's classes in nats: `a` of the original, `b` of the other model.
pub fn divergence_of(a: &[f64], b: &[f64]) -> f64 {
    let pair = ClassPair::of(a, b);
    pair.of_probabilities.unwrap_or(pair.of_scores)
}

/// `sum p (log p - log q)` of logarithms of probabilities, in nats. Rounding can't make it
/// negative.
fn divergence(p: &[f64], q: &[f64]) -> f64 {
    let terms = p.iter().zip(q).map(|(p, q)| match p.exp() {
        // The term of a p of 0 is 0, whatever q is.
        0.0 => 0.0,
        share => share * (p - q),
    });
    let sum: f64 = terms.sum();
    if sum < 0.0 { 0.0 } else { sum }
}

fn log_softmax(row: &[f64]) -> Vec<f64> {
    let peak = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.iter().map(|v| (v - peak).exp()).sum();
    row.iter().map(|v| v - peak - sum.ln()).collect()
}

/// True where no value is negative and they sum to 1 within 1e-3.
fn are_probabilities(row: &[f64]) -> bool {
    row.iter().all(|v| *v >= 0.0) && (row.iter().sum::<f64>() - 1.0).abs() <= 1e-3
}

/// Logarithms of values as parts of their sum. Zeros, to which f32 rounds small
/// probabilities, count as the smallest normal f32, so that the divergence stays finite.
fn log_of_parts(row: &[f64]) -> Vec<f64> {
    let least = f64::from(f32::MIN_POSITIVE);
    let sum: f64 = row.iter().sum();
    let log = |v: &f64| match *v {
        v if v < 0.0 => f64::NAN,
        v => (v / sum).max(least).ln(),
    };
    row.iter().map(log).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_count_from_the_greatest_and_ties_from_the_first() {
        let scores = [0.1, 0.5, 0.5, -1.0];
        let places: Vec<_> = (0..5).map(|label| place(&scores, label)).collect();
        assert_eq!(places, [Some(2), Some(0), Some(1), Some(3), None]);
        assert_eq!(place(&scores, -1), None);
        assert_eq!(place(&[f64::NAN, 1.0], 0), None);
        assert_eq!(place(&[f64::NAN, 1.0], 1), None);
    }

    #[test]
    fn top_5_takes_five_and_is_left_out_of_five_classes() {
        let places = [Some(0), Some(4), Some(5), None];
        let seen = accuracy("y", 6, &places);
        let values: Vec<_> = seen.iter().map(|m| (m.metric.name(), m.value)).collect();
        assert_eq!(values, [("top-1", 25.0), ("top-5", 50.0)]);
        assert!(seen.iter().all(|m| m.n == 4 && m.output == "y"));
        assert_eq!(accuracy("y", 5, &places).len(), 1);
    }

    #[test]
    fn divergence_of_probabilities_is_by_hand() {
        // 0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.75)
        let by_hand = 0.5 * 2f64.ln() + 0.5 * (2.0f64 / 3.0).ln();
        let pairs = [ClassPair::of(&[0.5, 0.5], &[0.25, 0.75])];
        let seen = relative("y", &pairs);
        assert!((seen[1].value - by_hand).abs() < 1e-12, "{seen:?}");
        // The same distributions as scores: their logarithms, up to a constant.
        let scores = [1.0, 3.0f64].map(|p| p.ln() + 7.0);
        let pairs = [ClassPair::of(&[2.0, 2.0], &scores)];
        let seen = relative("y", &pairs);
        assert!((seen[1].value - by_hand).abs() < 1e-12, "{seen:?}");
        // One row of scores makes all of them scores.
        let mixed = [
            ClassPair::of(&[0.5, 0.5], &[0.25, 0.75]),
            ClassPair::of(&[5.0, 5.0], &[5.0, 5.0]),
        ];
        let softmax = log_softmax(&[0.25, 0.75]);
        let expected = -0.5 * (0.5f64.ln() * -2.0 + softmax[0] + softmax[1]) / 2.0;
        assert!((relative("y", &mixed)[1].value - expected).abs() < 1e-12);
    }

    #[test]
    fn a_probability_that_vanished_is_no_infinity_and_nan_is_no_agreement() {
        let vanished = relative("y", &[ClassPair::of(&[0.5, 0.5], &[1.0, 0.0])]);
        assert!(
            (vanished[1].value - (0.5 * 0.5f64.ln() + 0.5 * (0.5f64.ln() + 87.336_544_750_553_1)))
                .abs()
                < 1e-9
        );
        let none = relative("y", &[ClassPair::of(&[f64::NAN, 1.0], &[f64::NAN, 1.0])]);
        assert_eq!(none[0].value, 0.0);
        assert!(none[1].value.is_nan());
    }

    #[test]
    fn a_model_agrees_with_itself() {
        let row = [1.5, -2.0, 1.5, 30.0];
        let seen = relative("y", &[ClassPair::of(&row, &row)]);
        assert_eq!((seen[0].value, seen[1].value), (100.0, 0.0));
    }
}
