//! The interface of runtimes.

use std::num::NonZeroUsize;

use sepconv_ir::Tensor;
use sepconv_onnx::Detached;

use crate::error::TargetError;
use crate::input::InputSpec;

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
    /// [`TargetError::Unavailable`] names the missing part.
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

/// A session with its inputs in place, for timings.
pub trait Prepared {
    /// Runs the model and drops its outputs. Copies neither inputs nor outputs.
    ///
    /// # Errors
    /// [`TargetError`] where the runtime fails.
    fn run(&mut self) -> Result<(), TargetError>;
}
