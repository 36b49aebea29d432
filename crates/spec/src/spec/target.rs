//! What the model is to be cheap on.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

use super::values;

/// Multiply-accumulates, or a runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct TargetSpec {
    /// What the model is to be cheap on: macs, or a runtime (tract, onnxruntime, openvino) whose measured
    /// time decides what is rewritten, and how
    #[cfg_attr(feature = "clap", arg(long, value_name = "NAME", default_value_t = Self::default().target))]
    pub target: String,
    /// Threads of one run on --target
    #[serde(deserialize_with = "values::threads")]
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", default_value_t = Self::default().threads))]
    pub threads: NonZeroUsize,
}

impl TargetSpec {
    /// What counts multiply-accumulates and runs nothing.
    const MACS: &str = "macs";

    /// The name of the runtime, if it is one.
    pub fn runtime(&self) -> Option<&str> {
        (self.target != Self::MACS).then_some(&self.target)
    }
}

impl Default for TargetSpec {
    fn default() -> Self {
        Self {
            target: Self::MACS.to_owned(),
            threads: NonZeroUsize::MIN,
        }
    }
}
