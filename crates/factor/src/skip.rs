//! The reasons why a family leaves a kernel alone.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The reason why a family does not apply to a kernel; displays as a short phrase for the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Skip {
    /// One tap: there is no space to separate from the channels.
    Pointwise,
    /// Several taps: the family is for 1x1 convolutions.
    Spatial,
    /// Each output reads one input channel through one filter already.
    Depthwise,
    /// One output channel per group: DW->PW is the same convolution with more work.
    SingleOutput,
    /// One input channel per group: PW->DW is the same convolution with more work.
    SingleInput,
    /// Not two spatial axes of at least two taps each: there is nothing to split between them.
    NotPlanar,
    /// The shape itself is invalid, see [`crate::KernelShape::validate`].
    InvalidShape,
    /// Any other reason, for families of other crates.
    Unsuitable,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pointwise => "pointwise kernel",
            Self::Spatial => "not a pointwise kernel",
            Self::Depthwise => "depthwise already",
            Self::SingleOutput => "one output channel per group",
            Self::SingleInput => "one input channel per group",
            Self::NotPlanar => "not a two-dimensional kernel",
            Self::InvalidShape => "invalid kernel shape",
            Self::Unsuitable => "kernel shape does not suit the family",
        })
    }
}

impl std::error::Error for Skip {}
