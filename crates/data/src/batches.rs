//! The batches of a data set, in order.

use crate::batch::Batch;
use crate::dataset::Dataset;
use crate::error::DataError;

/// The batches of a [`Dataset`], from [`Dataset::batches`].
#[derive(Debug)]
pub struct Batches<'a> {
    dataset: &'a Dataset,
    size: usize,
    next: usize,
}

impl Dataset {
    /// The batches from first to last sample.
    ///
    /// Each has `batch_size` samples (0 counts as 1), the last one maybe
    /// fewer. A model with a fixed batch axis gets batches of that size
    /// whatever `batch_size` says, the last one padded: see [`Batch::valid`].
    #[must_use]
    pub fn batches(&self, batch_size: usize) -> Batches<'_> {
        Batches {
            dataset: self,
            size: self.fixed_batch().unwrap_or(batch_size).max(1),
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
