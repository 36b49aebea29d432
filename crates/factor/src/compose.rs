//! Multiplies a chain of grouped convolutions back into one kernel.
//!
//! Each channel between two stages is kept as the kernel from the input to that channel, over
//! the range of input channels it can depend on: one channel after a depthwise stage. That keeps
//! the product of a full-rank VGG-sized chain small.

use std::ops::Range;

use rayon::prelude::*;

use crate::chain::Stage;
use crate::error::FactorError;
use crate::kernel::Kernel;
use crate::shape::KernelShape;

/// The kernel from the input of the chain to one intermediate channel.
struct Channel {
    /// Input channels that it depends on.
    inputs: Range<usize>,
    /// Row-major `[inputs, taps]`.
    weight: Vec<f64>,
}

/// The product of validated stages (see [`crate::Chain::compose`]); `groups` of the result is
/// the greatest common divisor of the stages' groups, which every stage respects.
pub(crate) fn compose(stages: &[Stage]) -> Result<Kernel, FactorError> {
    let Some(first) = stages.first() else {
        return Err(FactorError::Chain {
            stage: 0,
            reason: "there is no stage",
        });
    };
    let in_channels = first.shape.kernel.in_channels;
    let mut extents = vec![1; first.shape.kernel.spatial.len()];
    let mut channels: Vec<Channel> = (0..in_channels)
        .map(|input| Channel {
            inputs: input..input + 1,
            weight: vec![1.0],
        })
        .collect();
    let mut groups = 0;
    for stage in stages {
        (channels, extents) = apply(stage, &channels, &extents);
        groups = gcd(groups, stage.shape.kernel.groups);
    }

    let shape = KernelShape::new(channels.len(), in_channels, groups, extents)?;
    let (taps, group_in, group_out) = (shape.taps(), shape.group_in(), shape.group_out());
    let mut data = vec![0.0; shape.len()];
    for (out, (row, channel)) in data.chunks_mut(group_in * taps).zip(&channels).enumerate() {
        let begin = (channel.inputs.start - out / group_out * group_in) * taps;
        for (target, &weight) in row[begin..].iter_mut().zip(&channel.weight) {
            *target = weight;
        }
    }
    Kernel::new(shape, data)
}

/// Puts one stage behind `channels`, whose kernels have the spatial `extents`.
fn apply(stage: &Stage, channels: &[Channel], extents: &[usize]) -> (Vec<Channel>, Vec<usize>) {
    let shape = &stage.shape.kernel;
    let joint: Vec<usize> = extents
        .iter()
        .zip(&shape.spatial)
        .map(|(&a, &b)| a.max(b))
        .collect();
    let taps: usize = joint.iter().product();
    let before = tap_offsets(extents, &joint);
    let after = tap_offsets(&shape.spatial, &joint);
    let group_in = shape.group_in();
    let product = stage
        .weight
        .par_chunks(group_in * after.len())
        .enumerate()
        .map(|(out, filter)| {
            let begin = out / shape.group_out() * group_in;
            let sources = &channels[begin..begin + group_in];
            let start = sources.iter().map(|c| c.inputs.start).min().unwrap_or(0);
            let end = sources.iter().map(|c| c.inputs.end).max().unwrap_or(start);
            let inputs = start..end;
            let mut weight = vec![0.0; inputs.len() * taps];
            for (source, filter) in sources.iter().zip(filter.chunks(after.len())) {
                let rows = source.weight.chunks(before.len());
                for (input, row) in source.inputs.clone().zip(rows) {
                    let target = &mut weight[(input - inputs.start) * taps..][..taps];
                    for (&shift, &w) in after.iter().zip(filter) {
                        for (&tap, &x) in before.iter().zip(row) {
                            target[tap + shift] += w * x;
                        }
                    }
                }
            }
            Channel { inputs, weight }
        })
        .collect();
    (product, joint)
}

/// For each tap of a kernel of `extents`, row-major, its position in the larger kernel `joint`.
fn tap_offsets(extents: &[usize], joint: &[usize]) -> Vec<usize> {
    extents
        .iter()
        .zip(joint)
        .fold(vec![0], |offsets, (&extent, &stride)| {
            offsets
                .iter()
                .flat_map(|&offset| (0..extent).map(move |tap| offset * stride + tap))
                .collect()
        })
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::chain::{Chain, Role, StageShape};

    fn stage(role: Role, kernel: KernelShape, axes: [bool; 2], weight: Vec<f64>) -> Stage {
        let shape = StageShape {
            role,
            kernel,
            axes: axes.to_vec(),
        };
        Stage { shape, weight }
    }

    #[test]
    fn a_column_and_a_row_make_an_outer_product() {
        let chain = Chain {
            family: "test",
            rank: 1,
            stages: vec![
                stage(
                    Role::Spatial,
                    KernelShape::new(1, 2, 1, [2, 1]).unwrap(),
                    [true, false],
                    vec![1.0, 2.0, 3.0, 4.0],
                ),
                stage(
                    Role::Spatial,
                    KernelShape::new(2, 1, 1, [1, 3]).unwrap(),
                    [false, true],
                    vec![1.0, 10.0, 100.0, -1.0, 0.0, 1.0],
                ),
            ],
            bias: None,
        };
        let kernel = chain.compose().unwrap();
        assert_eq!(kernel.shape().to_string(), "2x2x2x3");
        #[rustfmt::skip]
        let expected = [
            1.0, 10.0, 100.0, 2.0, 20.0, 200.0, 3.0, 30.0, 300.0, 4.0, 40.0, 400.0,
            -1.0, 0.0, 1.0, -2.0, 0.0, 2.0, -3.0, 0.0, 3.0, -4.0, 0.0, 4.0,
        ];
        assert_eq!(kernel.data(), expected);
    }

    #[test]
    fn common_groups_survive() {
        // Depthwise (4 groups), then pointwise in 2 groups: the product has 2 groups.
        let chain = Chain {
            family: "test",
            rank: 1,
            stages: vec![
                stage(
                    Role::Depthwise,
                    KernelShape::new(4, 4, 4, [1, 2]).unwrap(),
                    [true, true],
                    (1..=8).map(f64::from).collect(),
                ),
                stage(
                    Role::Pointwise,
                    KernelShape::new(2, 4, 2, [1, 1]).unwrap(),
                    [false, false],
                    vec![1.0, 10.0, 100.0, 1000.0],
                ),
            ],
            bias: None,
        };
        let kernel = chain.compose().unwrap();
        assert_eq!(kernel.shape().to_string(), "2x2x1x2/g2");
        assert_eq!(
            kernel.data(),
            [1.0, 2.0, 30.0, 40.0, 500.0, 600.0, 7000.0, 8000.0]
        );
    }

    #[test]
    fn offsets_of_a_column_in_a_square() {
        assert_eq!(tap_offsets(&[3, 1], &[3, 4]), [0, 4, 8]);
        assert_eq!(tap_offsets(&[1, 2, 2], &[3, 2, 2]), [0, 1, 2, 3]);
    }
}
