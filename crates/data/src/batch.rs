//! Batches and the iterator over them.

use crate::array::Array;
use crate::dataset::Dataset;
use crate::error::DataError;

/// Some samples in a row, ready for the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// One array per model input, in the model's order: [rows, sample...] of the input's dtype.
    /// `rows` is `valid`, or the fixed batch of the model (padded with copies of the last sample).
    pub inputs: Vec<Array>,
    /// The labels of the `valid` samples, if the data set has labels.
    pub labels: Option<Vec<i64>>,
    /// The wanted outputs of the `valid` samples, [valid, ...] each, in the order of the model's
    /// outputs; fewer than those, or none, where the data set does not have them.
    pub targets: Vec<Array>,
    /// The position of the first sample in the data set's selection.
    pub start: usize,
    /// Number of rows that are samples; the rows after them are padding.
    pub valid: usize,
}

/// The batches of a [`Dataset`], from [`Dataset::batches`].
#[derive(Debug)]
pub struct Batches<'a> {
    dataset: &'a Dataset,
    size: usize,
    next: usize,
}

impl<'a> Batches<'a> {
    /// Batches of `size` (at least 1) from the start.
    pub(crate) fn new(dataset: &'a Dataset, size: usize) -> Self {
        Self {
            dataset,
            size,
            next: 0,
        }
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next;
        if start >= self.dataset.len() {
            return None;
        }
        self.next = start.saturating_add(self.size).min(self.dataset.len());
        Some(self.dataset.batch(start..self.next))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.dataset.len() - self.next).div_ceil(self.size);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Batches<'_> {}
