//! Samples as a model takes them.

use sepconv_ir::Tensor;

use crate::annotations::Annotations;

/// Some samples in a row, ready for the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// One tensor per model input, in the model's order: [rows, sample...] of the input's dtype.
    /// `rows` is `valid`, or the fixed batch of the model (padded with copies of the last sample).
    pub inputs: Vec<Tensor>,
    /// The labels of the `valid` samples, if the data set has labels.
    pub labels: Option<Vec<i64>>,
    /// What the `valid` samples show, if the data set has boxes or masks.
    pub annotations: Option<Annotations>,
    /// The wanted outputs of the `valid` samples, [valid, ...] each, in the order of the model's
    /// outputs; fewer than those, or none, where the data set does not have them.
    pub targets: Vec<Tensor>,
    /// The position of the first sample in the data set's selection.
    pub start: usize,
    /// Number of rows that are samples; the rows after them are padding.
    pub valid: usize,
}
