//! Measures of a model on data: against labels, wanted outputs, or the original's outputs.
//!
//! The data choose the measures (`docs/metrics.md` has the formulas):
//!
//! - `labels`: top-1 and, of more than five classes, top-5 of the first output shaped
//!   `[n, classes]`; of boxes the average precision of detections, of masks the IoU;
//! - a target: PSNR and SSIM of pictures, SNR and cosine of other outputs;
//! - an original model, with or without the above: agreement and KL divergence of outputs
//!   shaped `[n, classes]`, SNR and cosine of the others, and an [`OwnMetric`] where one is given.

pub(crate) mod classification;
mod evaluator;
mod kept;
mod measure;
mod outputs;
mod own;
pub(crate) mod restoration;
pub(crate) mod rows;
mod scores;

use std::collections::BTreeMap;

use sepconv_targets::Target;
use serde::Serialize;

pub use classification::divergence_of;
pub use evaluator::{Evaluator, OriginalOutputs};
pub use measure::{Against, Described, Drop, Measure, Metric};
pub use own::{OwnMetric, SampleOutput, of_batch};
pub use rows::BatchRows;

use crate::metrics::ONE_CLASS;
use crate::tasks::TakenTask;
use sepconv_model::DataSource;
use sepconv_model::Error;
use sepconv_model::Loaded;
use sepconv_model::Progress;

/// The measured figures of a model on a data set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// The one that the model is judged by: an [`OwnMetric`]; else top-1, average precision or IoU with
    /// labels; else PSNR, or the
    /// SNR of the worst output, with a target; else, against the original, that of the task,
    /// agreement, or the SNR of the worst output.
    pub primary: Measure,
    /// All of them, the primary one included.
    pub measures: Vec<Measure>,
    /// The task that the model was measured by, where there is an original, or boxes or masks, and one
    /// was recognised or named.
    pub task: Option<TakenTask>,
    /// Share of the samples that the original puts in its most frequent class, of every output of classes; empty without
    /// an original or such an output.
    pub largest_classes: BTreeMap<String, f64>,
}

impl Evaluation {
    /// The share of the samples that are of one class, where it is so large that agreement with the original says little:
    /// [`ONE_CLASS`] at least. `None` where models are judged by something else.
    pub fn one_class(&self) -> Option<f64> {
        let by_agreement = self.primary.metric == Metric::Agreement;
        let share = self.one_class_of(&self.primary.output);
        share.filter(|_| by_agreement)
    }

    /// The share of the samples that are of one class of an output, where it is [`ONE_CLASS`] at least.
    pub fn one_class_of(&self, output: &str) -> Option<f64> {
        let share = self.largest_classes.get(output).copied();
        share.filter(|share| *share >= ONE_CLASS)
    }

    /// The measure here that corresponds to `other`: the same metric of the same output, against
    /// the same.
    pub fn same(&self, other: &Measure) -> Option<&Measure> {
        let key = |m: &Measure| (m.metric, m.against);
        let mut all = self.measures.iter();
        all.find(|m| key(m) == key(other) && m.output == other.output)
    }
}

/// Evaluates a model by the labels or the target of a data set.
///
/// # Errors
/// [`Error::Data`] where the data does not fit, [`Error::Target`] where the runtime can't run
/// the model, [`Error::Interface`] where the data has neither labels nor a target, or the
/// model no output that they are for, [`Error::Setting`] for a peak out of range.
pub fn evaluate(
    model: &Loaded,
    target: &dyn Target,
    source: &DataSource,
    progress: &dyn Progress,
) -> Result<Evaluation, Error> {
    Evaluator::new(model, source, target)?.evaluate(model, progress)
}

/// Evaluates a model by the outputs of the original on a data set, and by labels or a target
/// where the data has them.
///
/// # Errors
/// As [`evaluate`]; [`Error::Interface`] where the models' inputs or outputs differ in name.
pub fn evaluate_against(
    original: &Loaded,
    model: &Loaded,
    target: &dyn Target,
    source: &DataSource,
    progress: &dyn Progress,
) -> Result<Evaluation, Error> {
    Evaluator::against(original, source, target)?.evaluate(model, progress)
}
