//! Models, and parts of them, with their weights apart.

use bytes::Bytes;
use sepconv_ir::{Initializer, ValueId};

use crate::document::Document;
use crate::encode;
use crate::export::{self, Part, Rewrite};
use crate::mapping::Mapping;
use crate::rope::Rope;
use crate::tensor::TensorType;

/// An encoded model apart from its larger initializers, for runtimes that take their weights
/// from memory.
#[derive(Debug, Clone, Default)]
pub struct Detached {
    /// A `ModelProto` in which every detached initializer has external data at location `.`
    /// with its number in [`Detached::tensors`] for an offset.
    pub skeleton: Bytes,
    /// Little-endian contents of the detached initializers, slices of the model's buffers.
    pub tensors: Vec<Bytes>,
    maps: Vec<Mapping>,
}

impl Detached {
    /// Tells the system that tensor `index` has been copied and won't be read again soon:
    /// where it is a slice of a mapped file, its pages no longer count as memory in use.
    pub fn release(&self, index: usize) {
        if let Some(tensor) = self.tensors.get(index) {
            self.maps.iter().for_each(|map| map.release(tensor));
        }
    }
}

/// Initializers of this many bytes and more are detached.
const DETACH_FROM: usize = 1024;

impl Document {
    /// The encoded model apart from its larger initializers, external ones included.
    pub fn detach(&self) -> Detached {
        detach(self, None)
    }

    /// As [`Document::detach`], with `values` for the graph's outputs and only the operators
    /// that they depend on: the part that calibration runs to look at activations.
    pub fn probe(&self, values: &[ValueId]) -> Detached {
        let part = Part {
            given: None,
            wanted: values,
        };
        detach(self, Some(part))
    }

    /// As [`Document::probe`], with the values `given` for the graph's inputs, each of an
    /// element type and fixed extents: the part of the network between the two sets. `values`
    /// must not depend on anything that is neither given nor constant.
    pub fn segment(&self, given: &[(ValueId, TensorType)], values: &[ValueId]) -> Detached {
        let part = Part {
            given: Some(given),
            wanted: values,
        };
        detach(self, Some(part))
    }
}

/// The encoding of a document, or of a part of it, with its larger initializers apart.
fn detach(document: &Document, part: Option<Part<'_>>) -> Detached {
    let mut tensors = Vec::new();
    // Runtimes are not told where the model lies: small external tensors go along.
    let external = document.external().next().is_some();
    let mut apart = Apart {
        tensors: &mut tensors,
        external,
    };
    let skeleton = export::encode(&document.model, &document.envelope, part, &mut apart);
    Detached {
        skeleton: skeleton.to_bytes(),
        tensors,
        maps: document.maps().cloned().collect(),
    }
}

/// Takes the larger initializers out of a model.
struct Apart<'a> {
    tensors: &'a mut Vec<Bytes>,
    external: bool,
}

impl Rewrite for Apart<'_> {
    fn initializer(&mut self, name: &str, init: &Initializer) -> Option<Rope> {
        let tensor = &init.tensor;
        let data = tensor.data()?;
        if data.len() < DETACH_FROM {
            return self.external.then(|| encode::tensor(name, tensor));
        }
        self.tensors.push(data.clone());
        Some(encode::detached(name, tensor, self.tensors.len() - 1))
    }
}
