//! The inputs of a network, batch by batch.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sepconv_data::{Dataset, Layout};
use sepconv_ir::Tensor;
use sepconv_targets::InputSpec;

use crate::error::Error;

use crate::inputs::{data_specs, session_specs};
use crate::loaded::Loaded;

/// Inputs kept in memory between passes, in bytes, where the caller does not say.
const KEPT_INPUTS: usize = 512 << 20;

/// A data set as the inputs of a model, in batches of the size that the model fixes, else 1.
pub struct Samples {
    dataset: Dataset,
    batch: usize,
    specs: Vec<InputSpec>,
    layouts: Vec<Layout>,
    kept: Mutex<BTreeMap<usize, Vec<Tensor>>>,
    keeps: bool,
}

impl Samples {
    /// The samples of `dataset` for `model`.
    pub fn of(model: &Loaded, dataset: Dataset) -> Result<Self, Error> {
        Self::keeping(model, dataset, KEPT_INPUTS)
    }

    /// The samples of `dataset` for `model`; inputs of more than `most` bytes in all are read again
    /// for every pass.
    pub fn keeping(model: &Loaded, dataset: Dataset, most: usize) -> Result<Self, Error> {
        let extents = dataset.sample_shapes().iter();
        let bytes: usize = extents.map(|s| 4 * s.iter().product::<usize>()).sum();
        let batch = dataset.fixed_batch().unwrap_or(1);
        Ok(Self {
            keeps: bytes.saturating_mul(dataset.len()) <= most,
            specs: session_specs(model, &dataset, batch)?,
            layouts: data_specs(model)?
                .iter()
                .map(|spec| spec.layout_or(None))
                .collect(),
            dataset,
            batch,
            kept: Mutex::default(),
        })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.dataset.len()
    }

    /// True where a sample is a value of a whole input, without an axis of the batch.
    pub fn are_whole(&self) -> bool {
        self.dataset.whole().contains(&true)
    }

    /// True without samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of batches.
    pub fn batches(&self) -> usize {
        self.dataset.len().div_ceil(self.batch)
    }

    /// Rows of a batch.
    pub fn rows(&self) -> usize {
        self.batch
    }

    /// Number of the first sample of a batch.
    pub fn first(&self, batch: usize) -> usize {
        batch * self.batch
    }

    /// Number of rows of a batch that are samples; the rest is padding.
    pub fn valid(&self, batch: usize) -> usize {
        self.batch.min(self.dataset.len() - self.first(batch))
    }

    /// Outputs of a batch without the rows of padding.
    pub fn without_padding(&self, batch: usize, outputs: Vec<Tensor>) -> Vec<Tensor> {
        trimmed(outputs, self.batch, self.valid(batch))
    }

    /// The graph inputs as they are run.
    pub fn specs(&self) -> &[InputSpec] {
        &self.specs
    }

    /// The layouts of the graph inputs, where those are pictures.
    pub fn layouts(&self) -> &[Layout] {
        &self.layouts
    }

    /// The inputs of a batch, one per graph input.
    pub fn inputs(&self, batch: usize) -> Result<Vec<Tensor>, Error> {
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = lock().get(&batch) {
            return Ok(kept.clone());
        }
        let first = self.first(batch);
        let tensors = self.dataset.batch(first..first + self.valid(batch))?.inputs;
        if self.keeps {
            lock().insert(batch, tensors.clone());
        }
        Ok(tensors)
    }
}

/// Outputs of a batch of `rows` rows cut to the `valid` ones before its padding; outputs of another first axis stay.
pub fn trimmed(outputs: Vec<Tensor>, rows: usize, valid: usize) -> Vec<Tensor> {
    let outputs = outputs.into_iter().map(|tensor| match tensor.dims() {
        [first, ..] if *first == rows && valid < rows => tensor.first_rows(valid).unwrap_or(tensor),
        _ => tensor,
    });
    outputs.collect()
}
