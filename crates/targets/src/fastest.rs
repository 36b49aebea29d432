//! The runtime that runs networks fastest, with tract for the rest.

use sepconv_onnx::Detached;

use crate::error::TargetError;
use crate::input::InputSpec;
use crate::onnxruntime::OnnxRuntime;
use crate::target::{LoadOptions, Session, Target};
use crate::tract::Tract;

/// ONNX Runtime, and tract for the models that ONNX Runtime refuses.
pub(crate) struct Fastest;

impl Target for Fastest {
    fn name(&self) -> &'static str {
        OnnxRuntime.name()
    }

    fn version(&self) -> String {
        OnnxRuntime.version()
    }

    fn available(&self) -> Result<(), TargetError> {
        OnnxRuntime.available()
    }

    fn load_with(
        &self,
        model: &Detached,
        inputs: &[InputSpec],
        options: LoadOptions,
    ) -> Result<Box<dyn Session>, TargetError> {
        let loaded = OnnxRuntime.load_with(model, inputs, options);
        loaded.or_else(|_| Tract.load_with(model, inputs, options))
    }
}
