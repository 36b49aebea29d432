//! Values kept for every batch.

use sepconv_ir::{Tensor, ValueId};
use sepconv_onnx::TensorType;

use sepconv_model::{Error, Samples};

/// Values of a network for every batch of a data set, from which the rest of it can be
/// computed. At first, and whenever more would be too much, the graph's inputs.
#[derive(Default)]
pub struct Checkpoint {
    stored: Option<Stored>,
}

struct Stored {
    values: Vec<(ValueId, TensorType)>,
    batches: Vec<Vec<Tensor>>,
}

/// The graph's inputs.
static INPUTS: Checkpoint = Checkpoint { stored: None };

impl Checkpoint {
    /// The graph's inputs.
    pub fn inputs() -> &'static Self {
        &INPUTS
    }

    /// The values and their types; `None` where they are the graph's inputs.
    pub fn values(&self) -> Option<&[(ValueId, TensorType)]> {
        self.stored.as_ref().map(|s| s.values.as_slice())
    }

    /// The values of a batch.
    pub fn batch(&self, samples: &Samples, batch: usize) -> Result<Vec<Tensor>, Error> {
        match &self.stored {
            Some(stored) => Ok(stored.batches.get(batch).cloned().unwrap_or_default()),
            None => samples.inputs(batch),
        }
    }

    /// True where values like `tensors` can be kept for `batches` batches in `most` bytes.
    pub fn fits(tensors: &[Tensor], batches: usize, most: usize) -> bool {
        let bytes: usize = tensors
            .iter()
            .map(|t| t.data().map_or(0, |d| d.len()))
            .sum();
        bytes.saturating_mul(batches) <= most
    }

    /// The checkpoint of `values`, one list of tensors per batch.
    pub fn of(values: &[ValueId], batches: Vec<Vec<Tensor>>) -> Self {
        let first = batches.first().cloned().unwrap_or_default();
        let types = first.iter().map(|t| (t.dtype(), t.dims().to_vec()));
        Self {
            stored: Some(Stored {
                values: values.iter().copied().zip(types).collect(),
                batches,
            }),
        }
    }
}
