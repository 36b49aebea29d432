//! Findings of two models, counted: recall, precision and F1 of one's against the other's.

use crate::evaluate::{Against, Measure, Metric};
use crate::limits::jackknife;

/// Findings of both models in one sample.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Pairs {
    /// Of the original.
    pub original: usize,
    /// Of the model that is held against it.
    pub model: usize,
    /// Those that both have.
    pub both: usize,
}

/// The metrics of findings of one kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub f1: Metric,
    pub recall: Metric,
    pub precision: Metric,
}

impl Pairs {
    fn plus(self, other: &Self) -> Self {
        Self {
            original: self.original + other.original,
            model: self.model + other.model,
            both: self.both + other.both,
        }
    }

    fn minus(self, other: &Self) -> Self {
        Self {
            original: self.original - other.original,
            model: self.model - other.model,
            both: self.both - other.both,
        }
    }

    /// F1, recall and precision in percent; not numbers of nothing.
    fn values(self) -> [f64; 3] {
        let [original, model, both] = [self.original, self.model, self.both].map(|n| n as f64);
        let shares = [
            2.0 * both / (original + model),
            both / original,
            both / model,
        ];
        shares.map(|share| 100.0 * share)
    }
}

/// F1, recall and precision over all samples. Those in which neither model finds anything do not count.
pub(super) fn measures(names: Names, output: &str, samples: &[Pairs]) -> Vec<Measure> {
    let counted = |c: &&Pairs| c.original + c.model > 0;
    let samples: Vec<Pairs> = samples.iter().filter(counted).copied().collect();
    let total = samples.iter().fold(Pairs::default(), Pairs::plus);
    let metrics = [names.f1, names.recall, names.precision];
    let measures = metrics.into_iter().enumerate().map(|(i, metric)| {
        let without = samples.iter().map(|c| total.minus(c).values()[i]);
        let stderr = jackknife(&without.collect::<Vec<_>>());
        let measure = Measure {
            value: total.values()[i],
            n: samples.len(),
            ..Measure::blank(metric, Against::Original, output)
        };
        measure.with_error(stderr).doubted()
    });
    measures.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NAMES: Names = Names {
        f1: Metric::DetectionF1,
        recall: Metric::Recall,
        precision: Metric::Precision,
    };

    fn counts(original: usize, model: usize, both: usize) -> Pairs {
        Pairs {
            original,
            model,
            both,
        }
    }

    #[test]
    fn figures_of_known_counts() {
        let all = [counts(3, 2, 2), counts(0, 0, 0), counts(1, 2, 1)];
        let seen = measures(NAMES, "y", &all);
        let values: Vec<f64> = seen.iter().map(|m| m.value).collect();
        assert_eq!(values, [75.0, 75.0, 75.0]);
        assert!(seen.iter().all(|m| m.n == 2 && m.output == "y"));
        // Without the first: 2/3; without the second: 4/5.
        let half = (80.0 - 200.0 / 3.0) / 2.0;
        assert!((seen[0].stderr.unwrap() - half).abs() < 1e-9, "{seen:?}");
    }

    #[test]
    fn all_findings_of_few_samples_are_no_certainty() {
        let seen = measures(NAMES, "y", &[counts(4, 4, 4); 8]);
        assert_eq!((seen[0].value, seen[0].stderr), (100.0, Some(0.0)));
        assert!((seen[0].limit.unwrap() - 68.7656).abs() < 1e-3, "{seen:?}");
        assert!(measures(NAMES, "y", &[]).iter().all(|m| m.value.is_nan()));
    }
}
