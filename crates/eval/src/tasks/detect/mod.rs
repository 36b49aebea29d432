//! Detectors: recall, precision and F1 of a model's detections against the original's own, and their
//! average precision against labels.

mod boxes;
mod details;
mod layout;
mod precision;

use crate::evaluate::rows::Rows;
use crate::evaluate::{Measure, Metric};
use crate::tasks::pairs::{Names, Pairs, measures as of_pairs};
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

/// Detections of both models in sample `i` of a batch.
pub(super) fn pairs(detector: &Detector, pair: [&[Option<Rows>]; 2], i: usize) -> Pairs {
    let [original, model] = pair.map(|outputs| detector.layout.detections(outputs, i));
    let both = boxes::pairs(&original, &model, |a, b| {
        let details = detector.details.as_ref();
        details.is_none_or(|details| details.agree(pair, i, [a, b]))
    });
    Pairs {
        original: original.len(),
        model: model.len(),
        both,
    }
}

/// F1, recall and precision over all pictures. Those in which neither model detects anything do
/// not count.
pub(super) fn measures(output: &str, pictures: &[Pairs]) -> Vec<Measure> {
    let names = Names {
        f1: Metric::DetectionF1,
        recall: Metric::Recall,
        precision: Metric::Precision,
    };
    of_pairs(names, output, pictures)
}
