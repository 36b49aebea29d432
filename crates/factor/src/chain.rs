//! A chain of grouped convolutions, the form that every family gives a kernel.

use serde::{Deserialize, Serialize};

use crate::error::FactorError;
use crate::kernel::scale_rows;
use crate::shape::KernelShape;

/// The job of a stage; a label for reports and lowerings, implied by nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Filters space, each output reading few channels (one for DW->PW, K for PW->DW).
    Depthwise,
    /// Mixes channels with a 1x1 kernel.
    Pointwise,
    /// Filters along some of the spatial axes and mixes channels (a `k x 1` or `1 x k` stage).
    Spatial,
    /// Filters along all spatial axes and mixes channels.
    Dense,
}

/// Geometry of one stage of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StageShape {
    /// Its job.
    pub role: Role,
    /// The grouped convolution, with as many spatial axes as the original.
    pub kernel: KernelShape,
    /// Per spatial axis: true where this stage carries that axis' stride, pads and dilation of the
    /// original convolution. Exactly one stage of a chain carries each axis; the others have
    /// extent 1, stride 1 and no padding along it.
    pub axes: Vec<bool>,
}

impl StageShape {
    /// A 1x1 stage that carries no axis of a chain with `spatial_axes` axes.
    pub(crate) fn pointwise(
        out_channels: usize,
        in_channels: usize,
        groups: usize,
        spatial_axes: usize,
    ) -> Result<Self, FactorError> {
        Ok(Self {
            role: Role::Pointwise,
            kernel: KernelShape::new(out_channels, in_channels, groups, vec![1; spatial_axes])?,
            axes: vec![false; spatial_axes],
        })
    }

    /// A stage between all channels of a group that carries all axes.
    pub(crate) fn dense(
        out_channels: usize,
        in_channels: usize,
        groups: usize,
        spatial: &[usize],
    ) -> Result<Self, FactorError> {
        let role = Role::Dense;
        let stage = Self::depthwise(out_channels, in_channels, groups, spatial)?;
        Ok(Self { role, ..stage })
    }

    /// A depthwise stage that carries all axes.
    pub(crate) fn depthwise(
        out_channels: usize,
        in_channels: usize,
        groups: usize,
        spatial: &[usize],
    ) -> Result<Self, FactorError> {
        Ok(Self {
            role: Role::Depthwise,
            kernel: KernelShape::new(out_channels, in_channels, groups, spatial)?,
            axes: vec![true; spatial.len()],
        })
    }
}

/// One convolution of a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Geometry.
    pub shape: StageShape,
    /// Row-major `[Co, Ci / groups, spatial...]` (ONNX `Conv`, input `W`), not yet rounded to the
    /// model's type.
    pub weight: Vec<f64>,
}

/// A kernel written as grouped convolutions applied one after another, nothing in between.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// Name of the family that built the chain, see [`crate::family()`].
    pub family: &'static str,
    /// Rank `K` that the chain was cut at.
    pub rank: usize,
    /// The convolutions, first applied first. Only the last has a bias.
    pub stages: Vec<Stage>,
    /// Bias `[Co]` of the last stage where a fit changed it; `None`: the original bias.
    pub bias: Option<Vec<f32>>,
}

impl Chain {
    /// A chain without a bias of its own: the weights of every stage, row-major in ONNX's order, in
    /// `shapes`.
    pub(crate) fn of_weights(
        family: &'static str,
        rank: usize,
        shapes: Vec<StageShape>,
        weights: impl IntoIterator<Item = Vec<f64>>,
    ) -> Self {
        let stages = shapes.into_iter().zip(weights);
        let stages = stages.map(|(shape, weight)| Stage { shape, weight });
        Self {
            family,
            rank,
            stages: stages.collect(),
            bias: None,
        }
    }

    /// The weights of all stages, row-major in ONNX's order.
    pub(crate) fn weights(&self) -> Vec<Vec<f64>> {
        self.stages.iter().map(|s| s.weight.clone()).collect()
    }

    /// Checks that stages, weights and bias fit together.
    ///
    /// # Errors
    /// [`FactorError::Chain`] naming the stage, see [`validate_stages`].
    pub fn validate(&self) -> Result<(), FactorError> {
        let shapes = self.shapes();
        validate_stages(&shapes)?;
        for (stage, Stage { shape, weight }) in self.stages.iter().enumerate() {
            if weight.len() != shape.kernel.len() {
                let reason = "the weight has the wrong length";
                return Err(FactorError::Chain { stage, reason });
            }
        }
        let outputs = shapes.last().map_or(0, |s| s.kernel.out_channels);
        if self.bias.as_ref().is_some_and(|b| b.len() != outputs) {
            return Err(FactorError::Chain {
                stage: self.stages.len() - 1,
                reason: "the bias has the wrong length",
            });
        }
        Ok(())
    }

    /// Geometry of all stages.
    pub fn shapes(&self) -> Vec<StageShape> {
        self.stages.iter().map(|s| s.shape.clone()).collect()
    }

    /// Multiplies output channel `o` by `factors[o]`: the rows of the last stage, and the bias where
    /// the chain has one of its own. `factors` has one number per output channel.
    pub fn scale_outputs(&mut self, factors: &[f64]) {
        if let Some(last) = self.stages.last_mut() {
            scale_rows(&mut last.weight, factors);
        }
        for (bias, factor) in self.bias.iter_mut().flatten().zip(factors) {
            *bias = (f64::from(*bias) * factor) as f32;
        }
    }

    /// Weights of all stages, see [`chain_parameters`].
    pub fn parameters(&self) -> u64 {
        chain_parameters(&self.shapes())
    }
}

/// Checks that stages form a chain.
///
/// # Errors
/// [`FactorError::Chain`] where there is no stage, a kernel shape is invalid, channels do not
/// connect, the spatial axes differ in number, an axis is carried by no or several stages, or a
/// stage extends along an axis that it does not carry.
pub fn validate_stages(stages: &[StageShape]) -> Result<(), FactorError> {
    let fault = |stage, reason| Err(FactorError::Chain { stage, reason });
    let Some(first) = stages.first() else {
        return fault(0, "there is no stage");
    };
    let axes = first.kernel.spatial.len();
    for (index, stage) in stages.iter().enumerate() {
        if stage.kernel.validate().is_err() {
            return fault(index, "the kernel shape is invalid");
        }
        if stage.kernel.spatial.len() != axes || stage.axes.len() != axes {
            return fault(index, "the number of spatial axes differs");
        }
        if index > 0 && stages[index - 1].kernel.out_channels != stage.kernel.in_channels {
            return fault(
                index,
                "the input channels are not those of the stage before",
            );
        }
        let mut extents = stage.kernel.spatial.iter().zip(&stage.axes);
        if extents.any(|(&extent, &carried)| extent != 1 && !carried) {
            return fault(index, "it extends along an axis that it does not carry");
        }
    }
    for axis in 0..axes {
        if stages.iter().filter(|s| s.axes[axis]).count() != 1 {
            return fault(0, "an axis is not carried by exactly one stage");
        }
    }
    Ok(())
}

/// Multiply-accumulates (MACs) of one pass through a chain, batch of 1.
///
/// A stage costs `positions * Co * Ci / groups * taps`. Its output extent along axis `a` is
/// `output_spatial[a]` if it or an earlier stage carries axis `a`, else `input_spatial[a]`: a
/// stage before the one that carries the stride runs at input resolution. Both slices hold one
/// extent per spatial axis, of the original convolution. Saturates at `u64::MAX`.
pub fn chain_macs(stages: &[StageShape], input_spatial: &[usize], output_spatial: &[usize]) -> u64 {
    let mut extents = input_spatial.to_vec();
    let mut total = 0_u64;
    for stage in stages {
        let carried = extents.iter_mut().zip(output_spatial).zip(&stage.axes);
        for ((extent, &output), _) in carried.filter(|(_, axis)| **axis) {
            *extent = output;
        }
        let macs = kernel_macs(&stage.kernel, &extents);
        total = total.saturating_add(macs);
    }
    total
}

/// MACs of a chain in the place of a transposed convolution (ONNX `ConvTranspose`), batch of 1:
/// as [`chain_macs`], but a stage that carries axes costs what its input's extents make it.
pub fn transposed_chain_macs(
    stages: &[StageShape],
    input_spatial: &[usize],
    output_spatial: &[usize],
) -> u64 {
    let mut extents = input_spatial.to_vec();
    let mut total = 0_u64;
    for stage in stages {
        total = total.saturating_add(kernel_macs(&stage.kernel, &extents));
        let carried = extents.iter_mut().zip(output_spatial).zip(&stage.axes);
        for ((extent, &output), _) in carried.filter(|(_, axis)| **axis) {
            *extent = output;
        }
    }
    total
}

/// MACs of a single convolution, batch of 1: `prod(output_spatial) * Co * Ci / groups * taps`.
/// Saturates at `u64::MAX`.
pub fn kernel_macs(kernel: &KernelShape, output_spatial: &[usize]) -> u64 {
    output_spatial
        .iter()
        .fold(kernel.len() as u64, |macs, &extent| {
            macs.saturating_mul(extent as u64)
        })
}

/// Weights of all stages, biases not counted: `sum of Co * Ci / groups * taps`.
pub fn chain_parameters(stages: &[StageShape]) -> u64 {
    stages
        .iter()
        .fold(0, |sum, s| sum.saturating_add(s.kernel.len() as u64))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn two_stages() -> Vec<StageShape> {
        vec![
            StageShape::pointwise(6, 4, 2, 2).unwrap(),
            StageShape::depthwise(6, 6, 6, &[3, 5]).unwrap(),
        ]
    }

    #[test]
    fn macs_before_the_stride_are_at_input_resolution() {
        // 8x9 -> 4x3: the pointwise stage sees 72 positions, the depthwise one 12.
        let stages = two_stages();
        let expected = 72 * 6 * 2 + 12 * 6 * 15;
        assert_eq!(chain_macs(&stages, &[8, 9], &[4, 3]), expected);
        assert_eq!(chain_parameters(&stages), 12 + 90);
    }

    #[test]
    fn macs_of_a_transposed_chain_are_at_the_input_of_what_carries_the_stride() {
        let stages = two_stages();
        let expected = 12 * 6 * 2 + 12 * 6 * 15;
        assert_eq!(transposed_chain_macs(&stages, &[4, 3], &[8, 9]), expected);
    }

    #[test]
    fn macs_follow_each_axis_on_its_own() {
        let mut stages = two_stages();
        stages[0].axes[0] = true;
        stages[1].axes[0] = false;
        stages[1].kernel.spatial[0] = 1;
        // The first stage strides along axis 0 only: 4x9, then 4x3.
        assert_eq!(chain_macs(&stages, &[8, 9], &[4, 3]), 36 * 12 + 12 * 6 * 5);
    }

    #[test]
    fn a_chain_scales_its_outputs_as_its_kernel_does() {
        let stages = two_stages().into_iter().map(|shape| Stage {
            weight: (0..shape.kernel.len())
                .map(|i| (i * 7 % 5) as f64 - 2.0)
                .collect(),
            shape,
        });
        let mut chain = Chain {
            family: "",
            rank: 1,
            stages: stages.collect(),
            bias: Some(vec![1.0; 6]),
        };
        let factors = [1.0, 2.0, 0.5, 3.0, 1.0, 0.1];
        let kernel = chain.compose().unwrap();
        chain.scale_outputs(&factors);
        let scaled = kernel.with_outputs_scaled(&factors).unwrap();
        assert!(chain.compose().unwrap().relative_error(&scaled).unwrap() < 1e-15);
        assert_eq!(chain.bias, Some(vec![1.0, 2.0, 0.5, 3.0, 1.0, 0.1]));
        assert!(kernel.with_outputs_scaled(&[1.0]).is_err());
        assert!(kernel.with_outputs_scaled(&[f64::NAN; 6]).is_err());
    }

    #[test]
    fn validation_names_the_stage() {
        assert_eq!(validate_stages(&two_stages()), Ok(()));
        let stage_at_fault = |edit: fn(&mut Vec<StageShape>)| {
            let mut stages = two_stages();
            edit(&mut stages);
            match validate_stages(&stages) {
                Err(FactorError::Chain { stage, .. }) => Some(stage),
                _ => None,
            }
        };
        assert_eq!(stage_at_fault(|s| s.clear()), Some(0));
        assert_eq!(stage_at_fault(|s| s[1].kernel.in_channels = 12), Some(1));
        assert_eq!(stage_at_fault(|s| s[1].kernel.groups = 4), Some(1));
        assert_eq!(stage_at_fault(|s| s[1].axes[0] = false), Some(1));
        assert_eq!(stage_at_fault(|s| s[0].axes[0] = true), Some(0));
        assert_eq!(stage_at_fault(|s| s[1].axes.truncate(1)), Some(1));
    }

    #[test]
    fn weights_and_bias_are_checked() {
        let stages = two_stages().into_iter().map(|shape| Stage {
            weight: vec![1.0; shape.kernel.len()],
            shape,
        });
        let chain = Chain {
            family: "test",
            rank: 1,
            stages: stages.collect(),
            bias: Some(vec![0.0; 6]),
        };
        assert_eq!(chain.validate(), Ok(()));
        assert_eq!(chain.parameters(), 102);
        let mut short = chain.clone();
        short.stages[0].weight.pop();
        assert!(matches!(
            short.compose(),
            Err(FactorError::Chain { stage: 0, .. })
        ));
        let mut unbiased = chain;
        unbiased.bias = Some(vec![0.0; 5]);
        assert!(matches!(
            unbiased.compose(),
            Err(FactorError::Chain { stage: 1, .. })
        ));
    }
}
