//! Runtimes that execute exported models.
//!
//! A [`Target`] loads the bytes of a model (a [`Detached`] encoding, weights shared with the
//! document) for fixed input shapes and gives a [`Session`] that runs it. Each target is one
//! file and one line in [`targets`].

mod error;
mod library;
mod model;
mod onnxruntime;
mod openvino;
mod panics;
mod text;
mod tract;

use std::num::NonZeroUsize;

use sepconv_ir::{DType, Tensor};
use sepconv_onnx::Detached;

pub use self::openvino::use_library as use_openvino;
pub use error::TargetError;
pub use onnxruntime::use_library as use_onnxruntime;
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

impl InputSpec {
    /// Checks that `tensor` has the type and shape that the session was loaded for.
    ///
    /// # Errors
    /// A phrase that names the input, what was found and what was expected.
    pub fn check(&self, tensor: &Tensor) -> Result<(), String> {
        if tensor.dims() == self.dims && tensor.dtype() == self.dtype {
            return Ok(());
        }
        Err(format!(
            "input '{}' is {}{:?}, expected {}{:?}",
            self.name,
            tensor.dtype(),
            tensor.dims(),
            self.dtype,
            self.dims
        ))
    }
}

/// Inputs as a runtime has them, each made by `convert`.
///
/// # Errors
/// A phrase, where their number does not fit or one of them does not.
fn converted<T, All: FromIterator<T>>(
    inputs: &[Tensor],
    specs: &[InputSpec],
    convert: impl Fn(&Tensor, &InputSpec) -> Result<T, String>,
) -> Result<All, String> {
    let (found, expected) = (inputs.len(), specs.len());
    if found != expected {
        return Err(format!("{found} inputs given, {expected} expected"));
    }
    let pairs = inputs.iter().zip(specs);
    pairs
        .map(|(tensor, spec)| panics::guarded(|| convert(tensor, spec)).and_then(|result| result))
        .collect()
}

/// Options that a model is loaded with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Threads that one run computes with. `None` is the target's choice for work on many
    /// samples, where callers run a session from several threads.
    pub threads: Option<NonZeroUsize>,
}

/// A runtime.
pub trait Target: Send + Sync {
    /// Short name, as in `--target`.
    fn name(&self) -> &'static str;

    /// Version of the runtime; empty where it is not available.
    fn version(&self) -> String;

    /// Checks that the runtime can be used here.
    ///
    /// # Errors
    /// [`TargetError::Unavailable`] says what is missing.
    fn available(&self) -> Result<(), TargetError> {
        Ok(())
    }

    /// Channel counts that the runtime computes at full speed are multiples of this: ranks
    /// that count channels are best planned in such steps.
    fn channel_step(&self) -> usize {
        1
    }

    /// True where small convolutions may run faster if another operator pads their input: forms
    /// written so are then timed too.
    fn pads_slowly(&self) -> bool {
        false
    }

    /// Loads a model for inputs of fixed shapes, in graph order.
    ///
    /// # Errors
    /// [`TargetError::Load`] where the runtime does not support the model,
    /// [`TargetError::Unavailable`] where it is not there.
    fn load_with(
        &self,
        model: &Detached,
        inputs: &[InputSpec],
        options: LoadOptions,
    ) -> Result<Box<dyn Session>, TargetError>;

    /// As [`Target::load_with`] with the defaults.
    ///
    /// # Errors
    /// As [`Target::load_with`].
    fn load(
        &self,
        model: &Detached,
        inputs: &[InputSpec],
    ) -> Result<Box<dyn Session>, TargetError> {
        self.load_with(model, inputs, LoadOptions::default())
    }
}

/// A loaded model.
pub trait Session: Send + Sync {
    /// Runs the model on one tensor per input, in graph order, of the shapes it was loaded
    /// for. Returns one tensor per graph output, in graph order.
    ///
    /// # Errors
    /// [`TargetError`] where the runtime fails or the inputs don't fit.
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, TargetError>;

    /// Hands inputs to the runtime once, to run the model on them many times.
    ///
    /// # Errors
    /// [`TargetError`] where the inputs don't fit.
    fn prepare<'a>(&'a self, inputs: &[Tensor]) -> Result<Box<dyn Prepared + 'a>, TargetError>;
}

/// A session with its inputs in place: what timings are taken of.
pub trait Prepared {
    /// Runs the model and drops its outputs. Copies neither inputs nor outputs.
    ///
    /// # Errors
    /// [`TargetError`] where the runtime fails.
    fn run(&mut self) -> Result<(), TargetError>;
}

/// All targets, in order of preference.
pub fn targets() -> &'static [&'static dyn Target] {
    &[
        &tract::Tract,
        &onnxruntime::OnnxRuntime,
        &openvino::OpenVino,
    ]
}

/// The target that accuracy is measured on unless another is named.
pub fn reference() -> &'static dyn Target {
    &tract::Tract
}

/// The target of that name, whether or not it is available here.
///
/// # Errors
/// [`TargetError::Unknown`] lists the names.
pub fn find(name: &str) -> Result<&'static dyn Target, TargetError> {
    let found = targets().iter().find(|t| t.name() == name).copied();
    found.ok_or_else(|| TargetError::Unknown {
        name: name.to_owned(),
        known: targets()
            .iter()
            .map(|t| t.name())
            .collect::<Vec<_>>()
            .join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found_by_their_own_name() {
        for target in targets() {
            assert_eq!(find(target.name()).map(|t| t.name()), Ok(target.name()));
        }
        assert_eq!(
            find("gpu").map(|t| t.name()).map_err(|e| e.to_string()),
            Err("no target 'gpu' (there are tract, onnxruntime, openvino)".into())
        );
    }
}
