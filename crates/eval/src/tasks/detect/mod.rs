//! Detectors: recall, precision and F1 of a model's detections against the original's own, and their
//! average precision against labels.

mod boxes;
mod details;
mod layout;
mod precision;

use crate::evaluate::rows::Rows;
use crate::evaluate::{Against, Measure, Metric};
use crate::limits::jackknife;
use crate::tasks::seen::Seen;

use details::Details;

pub(super) use layout::{Found, Layout};
pub(crate) use precision::Matched;
pub(super) use precision::{Truth, measures as precision_measures};

/// The way in which a detector's outputs are decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Detector {
    pub layout: Layout,
    /// Boxes are in fractions of the picture's extents, not pixels.
    pub relative: bool,
    /// Classes are numbered from 1, as TensorFlow's and torchvision's are.
    pub from_one: bool,
    details: Option<Details>,
}

impl Detector {
    /// Of outputs of a layout.
    pub fn of(seen: Seen<'_>, layout: Layout) -> Self {
        let relative = layout.is_relative(seen);
        Self {
            layout,
            relative,
            from_one: layout.numbers_from_one(seen),
            details: Details::of(seen, &layout, relative),
        }
    }

    /// The outputs that it is about.
    pub fn outputs(&self) -> Vec<usize> {
        let mut all = self.layout.outputs();
        let details = self.details.iter();
        for output in details.flat_map(Details::outputs) {
            if !all.contains(&output) {
                all.push(output);
            }
        }
        all
    }

    /// The details that detections have beside boxes, such as `masks`.
    pub fn details(&self) -> Option<&'static str> {
        self.details.as_ref().map(Details::name)
    }
}

/// Detections of both models in one picture.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Counts {
    /// Of the original.
    original: usize,
    /// Of the model that is held against it.
    model: usize,
    /// Those that both have.
    both: usize,
}

impl Counts {
    /// In sample `i` of a batch.
    pub fn of(detector: &Detector, pair: [&[Option<Rows>]; 2], i: usize) -> Self {
        let [original, model] = pair.map(|outputs| detector.layout.detections(outputs, i));
        let both = boxes::pairs(&original, &model, |a, b| {
            let details = detector.details.as_ref();
            details.is_none_or(|details| details.agree(pair, i, [a, b]))
        });
        Self {
            original: original.len(),
            model: model.len(),
            both,
        }
    }

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

    /// In percent; not a number of nothing.
    fn value(&self, metric: Metric) -> f64 {
        let [original, model, both] = [self.original, self.model, self.both].map(|n| n as f64);
        100.0
            * match metric {
                Metric::Recall => both / original,
                Metric::Precision => both / model,
                _ => 2.0 * both / (original + model),
            }
    }
}

/// F1, recall and precision over all pictures. Those in which neither model detects anything do
/// not count.
pub(super) fn measures(output: &str, pictures: &[Counts]) -> Vec<Measure> {
    let counted = |c: &&Counts| c.original + c.model > 0;
    let pictures: Vec<Counts> = pictures.iter().filter(counted).copied().collect();
    let total = pictures.iter().fold(Counts::default(), Counts::plus);
    let metrics = [Metric::DetectionF1, Metric::Recall, Metric::Precision];
    let measures = metrics.map(|metric| {
        let without = pictures.iter().map(|c| total.minus(c).value(metric));
        let stderr = jackknife(&without.collect::<Vec<_>>());
        let measure = Measure {
            value: total.value(metric),
            n: pictures.len(),
            ..Measure::blank(metric, Against::Original, output)
        };
        measure.with_error(stderr).doubted()
    });
    measures.to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn counts(original: usize, model: usize, both: usize) -> Counts {
        Counts {
            original,
            model,
            both,
        }
    }

    #[test]
    fn figures_of_known_counts() {
        let all = [counts(3, 2, 2), counts(0, 0, 0), counts(1, 2, 1)];
        let seen = measures("y", &all);
        let values: Vec<f64> = seen.iter().map(|m| m.value).collect();
        assert_eq!(values, [75.0, 75.0, 75.0]);
        assert!(seen.iter().all(|m| m.n == 2 && m.output == "y"));
        // Without the first: 2/3; without the second: 4/5.
        let half = (80.0 - 200.0 / 3.0) / 2.0;
        assert!((seen[0].stderr.unwrap() - half).abs() < 1e-9, "{seen:?}");
    }

    #[test]
    fn all_detections_of_few_pictures_are_no_certainty() {
        let seen = measures("y", &[counts(4, 4, 4); 8]);
        assert_eq!((seen[0].value, seen[0].stderr), (100.0, Some(0.0)));
        assert!((seen[0].limit.unwrap() - 68.7656).abs() < 1e-3, "{seen:?}");
        assert!(measures("y", &[]).iter().all(|m| m.value.is_nan()));
    }
}
