//! Runtimes that execute exported models.
//!
//! A [`Target`] loads the bytes of a model (a [`Detached`] encoding, weights shared with the
//! document) for fixed input shapes and gives a [`Session`] that runs it. Each target is one
//! file and one line in [`targets`].

mod error;
mod panics;
mod tract;

use sepconv_ir::{DType, Tensor};
use sepconv_onnx::Detached;

pub use error::TargetError;
pub use panics::silence_caught_panics;

/// A graph input as a session is loaded for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSpec {
    /// Name of the graph input.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Fixed shape, batch included.
    pub dims: Vec<usize>,
}

/// A runtime.
pub trait Target: Send + Sync {
    /// Short name, as in `--target`.
    fn name(&self) -> &'static str;

    /// Version of the runtime.
    fn version(&self) -> String;

    /// Loads a model for inputs of fixed shapes, in graph order.
    ///
    /// # Errors
    /// [`TargetError`] where the runtime does not support the model.
    fn load(&self, model: &Detached, inputs: &[InputSpec])
    -> Result<Box<dyn Session>, TargetError>;
}

/// A loaded model.
pub trait Session: Send + Sync {
    /// Runs the model on one tensor per input, in graph order, of the shapes it was loaded
    /// for. Returns one tensor per graph output, in graph order.
    ///
    /// # Errors
    /// [`TargetError`] where the runtime fails or the inputs don't fit.
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, TargetError>;
}

/// All targets, in order of preference.
pub fn targets() -> &'static [&'static dyn Target] {
    &[&tract::Tract]
}

/// The target that accuracy is measured on.
pub fn reference() -> &'static dyn Target {
    &tract::Tract
}
