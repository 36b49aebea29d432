//! The measure of the cost.

use std::num::NonZeroUsize;

use serde::{Deserialize, Serialize};

#[cfg(feature = "clap")]
use super::heading::COMMON;
use super::values;

/// Multiply-accumulates, or a runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Runtime")
)]
pub struct TargetSpec {
    /// Measure of the cost: macs, or a runtime (tract, onnxruntime, openvino) whose measured
    /// time decides what is rewritten, and how; auto is the first that is there of onnxruntime, openvino
    /// and tract [default: auto with --speedup and --target-latency, and with --calib where the budget is
    /// --max-drop, --min-snr or none; else macs]
    #[cfg_attr(feature = "clap", arg(long, value_name = "NAME", help_heading = COMMON, display_order = 16))]
    pub target: Option<String>,
    /// Threads of one run on --target
    #[serde(deserialize_with = "values::threads")]
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", default_value_t = Self::default().threads))]
    pub threads: NonZeroUsize,
    /// Write the result even where it is measured not to be faster than the original
    #[cfg_attr(feature = "clap", arg(long))]
    pub allow_slower: bool,
}

impl TargetSpec {
    /// The name of the measure that counts multiply-accumulates and runs nothing.
    const MACS: &str = "macs";

    /// The runtime that is there.
    pub const AUTO: &str = "auto";

    /// True where MACs are named: no runtime has a say.
    pub fn counts_macs(&self) -> bool {
        self.target.as_deref() == Some(Self::MACS)
    }

    /// The name of the runtime, if it is one; `usual` is meant where none is named.
    pub fn runtime<'a>(&'a self, usual: Option<&'a str>) -> Option<&'a str> {
        match self.target.as_deref() {
            Some(Self::MACS) => None,
            named => named.or(usual),
        }
    }
}

impl Default for TargetSpec {
    fn default() -> Self {
        Self {
            target: None,
            allow_slower: false,
            threads: NonZeroUsize::MIN,
        }
    }
}
