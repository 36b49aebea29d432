//! The geometry of a convolution: ONNX `Conv` (opsets 1 to 22), `ConvTranspose` (1 to 22) and
//! the operators that share their attributes (`ConvInteger`, `QLinearConv`, `FusedConv`,
//! `DeformConv`).

mod read;
#[cfg(test)]
mod tests;

use serde::Serialize;

pub(crate) use read::{auto_pad, list};

use crate::window::{AutoPad, Window};

/// Attributes of a convolution with ONNX's defaults filled in, for any number of spatial
/// axes. Every list of one number per axis is in the order of the input's spatial axes, in
/// elements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConvAttributes {
    /// This is a `ConvTranspose`.
    pub transposed: bool,
    /// Channels of the input.
    pub in_channels: u64,
    /// Channels of the output.
    pub out_channels: u64,
    /// Groups; divides both channel counts.
    pub group: u64,
    /// Kernel extent per spatial axis, positive.
    pub kernel: Vec<u64>,
    /// Stride per spatial axis, positive.
    pub strides: Vec<u64>,
    /// Dilation per spatial axis, positive.
    pub dilations: Vec<u64>,
    /// Padding as in the attribute `pads`: all beginnings, then all ends. Zeros unless
    /// `auto_pad` is [`AutoPad::NotSet`]; [`ConvAttributes::explicit_pads`] resolves it.
    pub pads: Vec<u64>,
    /// Rule of the padding.
    pub auto_pad: AutoPad,
    /// Elements added at the end of every axis of a transposed convolution's output.
    pub output_padding: Vec<u64>,
    /// Spatial output extents that a transposed convolution asks for (`output_shape`).
    pub output_shape: Option<Vec<u64>>,
}

/// Failure to read the attributes of a convolution: the model is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("node '{node}' ({op_type}): {reason}")]
pub struct ConvError {
    /// The node's name; may be empty.
    pub node: String,
    /// Its operator type.
    pub op_type: String,
    /// Its fault.
    pub reason: ConvFault,
}

/// Fault of a convolution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvFault {
    /// The weight has no spatial axes.
    #[error("a weight of rank {0} has no spatial axes")]
    WeightRank(usize),
    /// The weight has an empty axis.
    #[error("the weight has an empty axis: {0:?}")]
    EmptyWeight(Vec<usize>),
    /// An attribute is of the wrong type.
    #[error("attribute '{0}' is of the wrong type")]
    Type(&'static str),
    /// A list has the wrong length.
    #[error("attribute '{name}' has {found} elements, not {expected}")]
    Length {
        /// The attribute.
        name: &'static str,
        /// Its length.
        found: usize,
        /// The length wanted.
        expected: usize,
    },
    /// A number is out of range.
    #[error("attribute '{name}' is {value}, below {least}")]
    Range {
        /// The attribute.
        name: &'static str,
        /// The offending number.
        value: i64,
        /// The smallest number allowed.
        least: i64,
    },
    /// `kernel_shape` and the weight disagree.
    #[error("kernel_shape {attribute:?} does not agree with the weight's {weight:?}")]
    Kernel {
        /// The attribute.
        attribute: Vec<u64>,
        /// Spatial extents of the weight.
        weight: Vec<u64>,
    },
    /// The number of groups does not divide the channels.
    #[error("{channels} channels do not divide into {group} groups")]
    Group {
        /// Channels of the weight's first axis.
        channels: u64,
        /// The attribute.
        group: u64,
    },
    /// `auto_pad` is none of ONNX's values.
    #[error("auto_pad '{0}' is unknown")]
    AutoPad(String),
    /// The channel count is beyond 64 bits.
    #[error("the channel count overflows")]
    Overflow,
}

impl ConvAttributes {
    /// Number of spatial axes.
    pub fn axes(&self) -> usize {
        self.kernel.len()
    }

    fn window(&self, axis: usize) -> Option<Window> {
        Some(Window {
            kernel: *self.kernel.get(axis)?,
            stride: self.strides.get(axis).copied().filter(|s| *s > 0)?,
            dilation: *self.dilations.get(axis)?,
            pads: (
                *self.pads.get(axis)?,
                *self.pads.get(axis.checked_add(self.axes())?)?,
            ),
        })
    }

    /// Spatial extents of the output, in elements. `None` if `input` has the wrong length,
    /// the output would be empty or an extent overflows.
    pub fn output_spatial(&self, input: &[u64]) -> Option<Vec<u64>> {
        if input.len() != self.axes() {
            return None;
        }
        (0..self.axes())
            .map(|axis| self.output_extent(axis, input[axis]))
            .collect()
    }

    /// Output extent along one spatial axis.
    pub(crate) fn output_extent(&self, axis: usize, input: u64) -> Option<u64> {
        let window = self.window(axis)?;
        let extent = if self.transposed {
            self.transposed_extent(axis, &window, input)
        } else {
            window.output(self.auto_pad, input, false)
        };
        extent.filter(|n| *n > 0)
    }

    /// Padding per spatial axis with `auto_pad` resolved: all beginnings, then all ends.
    /// `None` under the conditions of [`ConvAttributes::output_spatial`].
    pub fn explicit_pads(&self, input: &[u64]) -> Option<Vec<u64>> {
        if input.len() != self.axes() {
            return None;
        }
        let pads: Option<Vec<(u64, u64)>> = input
            .iter()
            .enumerate()
            .map(|(axis, n)| {
                let window = self.window(axis)?;
                if self.transposed {
                    self.transposed_pads(axis, &window, *n)
                } else {
                    window.pads(self.auto_pad, *n)
                }
            })
            .collect();
        let (begins, ends): (Vec<u64>, Vec<u64>) = pads?.into_iter().unzip();
        Some([begins, ends].concat())
    }

    /// The same convolution, for inputs of these spatial extents, by `pads` and
    /// `output_padding` alone: without `auto_pad`, and without `output_shape`, whose surplus over
    /// the kernel's reach is a part of `output_padding`. `None` under the conditions of
    /// [`ConvAttributes::output_spatial`].
    pub fn explicit(&self, input: &[u64]) -> Option<Self> {
        let pads = self.explicit_pads(input)?;
        let output = self.output_spatial(input)?;
        let mut output_padding = self.output_padding.clone();
        if self.transposed {
            for (axis, added) in output_padding.iter_mut().enumerate() {
                let end = pads.get(axis.checked_add(self.axes())?)?;
                let whole = output[axis].checked_add(pads[axis])?.checked_add(*end)?;
                let reached = self.unpadded(axis, &self.window(axis)?, input[axis])? - *added;
                *added = whole.checked_sub(reached)?;
            }
        }
        Some(Self {
            pads,
            auto_pad: AutoPad::NotSet,
            output_padding,
            output_shape: None,
            ..self.clone()
        })
    }

    /// Output extent of a transposed convolution before padding is cut off.
    fn unpadded(&self, axis: usize, window: &Window, input: u64) -> Option<u64> {
        input
            .checked_sub(1)?
            .checked_mul(window.stride)?
            .checked_add(window.reach()?)?
            .checked_add(*self.output_padding.get(axis)?)
    }

    /// The output extent that `output_shape` or `SAME_*` asks for.
    fn wanted(&self, axis: usize, window: &Window, input: u64) -> Option<Option<u64>> {
        if let Some(shape) = &self.output_shape {
            return shape.get(axis).copied().map(Some);
        }
        match self.auto_pad {
            // `SAME_*` cuts an output, and never makes it larger.
            AutoPad::SameUpper | AutoPad::SameLower => {
                let same = input.checked_mul(window.stride)?;
                Some(Some(same.min(self.unpadded(axis, window, input)?)))
            }
            AutoPad::NotSet | AutoPad::Valid => Some(None),
        }
    }

    fn transposed_extent(&self, axis: usize, window: &Window, input: u64) -> Option<u64> {
        let unpadded = self.unpadded(axis, window, input)?;
        if let Some(wanted) = self.wanted(axis, window, input)? {
            return Some(wanted);
        }
        let (begin, end) = self.transposed_pads(axis, window, input)?;
        unpadded.checked_sub(begin)?.checked_sub(end)
    }

    fn transposed_pads(&self, axis: usize, window: &Window, input: u64) -> Option<(u64, u64)> {
        let Some(wanted) = self.wanted(axis, window, input)? else {
            return match self.auto_pad {
                AutoPad::Valid => Some((0, 0)),
                _ => Some(window.pads),
            };
        };
        let total = self.unpadded(axis, window, input)?.saturating_sub(wanted);
        // ONNX: only SAME_UPPER leaves the odd element to the end.
        Some(match self.auto_pad {
            AutoPad::SameUpper => AutoPad::SameUpper.share(total),
            _ => AutoPad::SameLower.share(total),
        })
    }
}
