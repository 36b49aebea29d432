//! Multiplies a chain of grouped convolutions back into one kernel.
//!
//! Each channel between two stages is kept as the kernel from the input to that channel, over
//! the range of input channels it can depend on: one channel after a depthwise stage. That keeps
//! the product of a full-rank VGG-sized chain small. Where a chain has more channels within than
//! its kernel has outputs, as `cp`, some input channels are taken at a time: each weight of the
//! product depends on one of them alone.

use std::ops::Range;

use rayon::prelude::*;

use crate::chain::{Chain, Stage};
use crate::error::FactorError;
use crate::kernel::Kernel;
use crate::linalg::dense;
use crate::shape::KernelShape;

/// Values of the channels behind a stage that are held at a time, for every thread.
const HELD: usize = 1 << 21;

/// Multiply-adds of a group's product above which it is made of products of matrices: these add in
/// another order, so the choice depends on the shape alone.
const DENSE: usize = 1 << 12;

/// Outputs of such a product that one task computes.
const TOGETHER: usize = 64;

/// The kernel from the input of the chain to one intermediate channel.
struct Channel {
    /// Input channels that it depends on, of those that are looked at.
    inputs: Range<usize>,
    /// Row-major `[inputs, taps]`.
    weight: Vec<f64>,
}

impl Channel {
    /// An input channel itself, or nothing where it is not looked at.
    fn of(input: usize, looked: &Range<usize>) -> Self {
        match looked.contains(&input) {
            true => Self {
                inputs: input..input + 1,
                weight: vec![1.0],
            },
            false => Self {
                inputs: 0..0,
                weight: Vec::new(),
            },
        }
    }
}

impl Chain {
    /// Multiplies the chain back into the one kernel it stands for, in f64: the oracle of every
    /// family's tests. The result has as many groups as the stages have in common.
    ///
    /// # Errors
    /// [`FactorError::Chain`] where the stages do not fit together, [`FactorError::NonFinite`]
    /// where the product overflows.
    pub fn compose(&self) -> Result<Kernel, FactorError> {
        self.validate()?;
        compose(&self.stages)
    }
}

/// The product of validated stages (see [`Chain::compose`]); `groups` of the result is
/// the greatest common divisor of the stages' groups, which every stage respects.
pub(crate) fn compose(stages: &[Stage]) -> Result<Kernel, FactorError> {
    let (Some(first), Some(last)) = (stages.first(), stages.last()) else {
        return Err(FactorError::Chain {
            stage: 0,
            reason: "there is no stage",
        });
    };
    let in_channels = first.shape.kernel.in_channels;
    let mut extents = vec![1; first.shape.kernel.spatial.len()];
    let (mut groups, mut held) = (0, 1);
    for stage in stages {
        let kernel = &stage.shape.kernel;
        extents = joint(&extents, &kernel.spatial);
        groups = gcd(groups, kernel.groups);
        held = held.max(kernel.out_channels * extents.iter().product::<usize>());
    }
    let shape = KernelShape::new(last.shape.kernel.out_channels, in_channels, groups, extents)?;
    let (taps, group_in, group_out) = (shape.taps(), shape.group_in(), shape.group_out());
    let some = (HELD / held).max(1);
    let parts = (0..in_channels).into_par_iter().step_by(some);
    let parts = parts.map(|begin| {
        let looked = begin..in_channels.min(begin + some);
        product(stages, in_channels, &looked)
    });
    let parts: Vec<Vec<Channel>> = parts.collect();
    let mut data = vec![0.0; shape.len()];
    for channels in parts {
        let rows = data.chunks_mut(group_in * taps).zip(&channels).enumerate();
        for (out, (row, channel)) in rows.filter(|(_, (_, c))| !c.inputs.is_empty()) {
            let begin = (channel.inputs.start - out / group_out * group_in) * taps;
            row[begin..][..channel.weight.len()].copy_from_slice(&channel.weight);
        }
    }
    Kernel::new(shape, data)
}

/// The channels behind all stages, of the input channels that are looked at.
fn product(stages: &[Stage], in_channels: usize, looked: &Range<usize>) -> Vec<Channel> {
    let spatial = stages.first().map_or(0, |s| s.shape.kernel.spatial.len());
    let mut extents = vec![1; spatial];
    let mut channels: Vec<Channel> = (0..in_channels).map(|i| Channel::of(i, looked)).collect();
    for stage in stages {
        (channels, extents) = apply(stage, &channels, &extents);
    }
    channels
}

fn joint(extents: &[usize], spatial: &[usize]) -> Vec<usize> {
    let pairs = extents.iter().zip(spatial);
    pairs.map(|(&a, &b)| a.max(b)).collect()
}

/// Places of the taps of a kernel and of the channels before it in their product.
struct Taps {
    before: Vec<usize>,
    after: Vec<usize>,
    count: usize,
}

impl Taps {
    /// A stage of one tap: every value of a source is multiplied by the same weight.
    fn mixes(&self) -> bool {
        self.after.len() == 1 && self.before.len() == self.count
    }

    /// Sources of one tap: each of their values multiplies the stage's filter.
    fn spreads(&self) -> bool {
        self.before.len() == 1 && self.after.len() == self.count
    }

    /// Adds `filter` on a source to `target` `[inputs, count]`.
    fn add(&self, target: &mut [f64], filter: &[f64], source: &[f64]) {
        if let (true, [w]) = (self.mixes(), filter) {
            return dense::axpy(target, *w, source);
        }
        let rows = source.chunks(self.before.len());
        for (target, row) in target.chunks_mut(self.count).zip(rows) {
            if let (true, [x]) = (self.spreads(), row) {
                dense::axpy(target, *x, filter);
                continue;
            }
            for (&shift, &w) in self.after.iter().zip(filter) {
                for (&tap, &x) in self.before.iter().zip(row) {
                    target[tap + shift] += w * x;
                }
            }
        }
    }
}

/// Puts one stage behind `channels`, whose kernels have the spatial `extents`.
fn apply(stage: &Stage, channels: &[Channel], extents: &[usize]) -> (Vec<Channel>, Vec<usize>) {
    let shape = &stage.shape.kernel;
    let joint = joint(extents, &shape.spatial);
    let taps = Taps {
        before: tap_offsets(extents, &joint),
        after: tap_offsets(&shape.spatial, &joint),
        count: joint.iter().product(),
    };
    let (group_in, group_out) = (shape.group_in(), shape.group_out());
    let filters = group_in * taps.after.len();
    let groups = || {
        let groups = stage.weight.par_chunks(filters * group_out);
        groups.zip(channels.par_chunks(group_in))
    };
    let dense = |(weight, sources): (&[f64], &[Channel])| {
        let values = sources.first().map_or(0, |c| c.weight.len());
        alike(sources) && weight.len().saturating_mul(values) >= DENSE
    };
    if groups().all(dense) {
        let product = groups().map(|(weight, sources)| multiplied(weight, sources, &taps));
        let product: Vec<Vec<Channel>> = product.collect();
        return (product.into_iter().flatten().collect(), joint);
    }
    let outputs = stage.weight.par_chunks(filters).enumerate();
    let product = outputs.map(|(out, filter)| {
        let sources = &channels[out / group_out * group_in..][..group_in];
        let seen = || sources.iter().filter(|c| !c.inputs.is_empty());
        let start = seen().map(|c| c.inputs.start).min().unwrap_or(0);
        let end = seen().map(|c| c.inputs.end).max().unwrap_or(start);
        let mut weight = vec![0.0; (end - start) * taps.count];
        for (source, filter) in sources.iter().zip(filter.chunks(taps.after.len())) {
            if !source.inputs.is_empty() {
                let begin = (source.inputs.start - start) * taps.count;
                let target = &mut weight[begin..][..source.inputs.len() * taps.count];
                taps.add(target, filter, &source.weight);
            }
        }
        Channel {
            inputs: start..end,
            weight,
        }
    });
    (product.collect(), joint)
}

/// True for several sources that depend on the same inputs.
fn alike(sources: &[Channel]) -> bool {
    let same = |pair: &[Channel]| pair[0].inputs == pair[1].inputs;
    sources.len() > 1 && !sources[0].inputs.is_empty() && sources.windows(2).all(same)
}

/// The channels `[outputs]` of a group whose sources are [`alike`], by one product of matrices for
/// every tap of the stage, whose values are added where the tap moves them.
fn multiplied(weight: &[f64], sources: &[Channel], taps: &Taps) -> Vec<Channel> {
    let inputs = &sources[0].inputs;
    let (rows, own) = (sources.len(), taps.after.len());
    let size = inputs.len() * taps.before.len();
    let all: Vec<f64> = sources.iter().flat_map(|c| &c.weight).copied().collect();
    let all = dense::view(&all, rows, size);
    let width = inputs.len() * taps.count;
    let channel = |weight: &[f64]| Channel {
        inputs: inputs.clone(),
        weight: weight.to_vec(),
    };
    let filters = rows * own;
    let tasks = weight.par_chunks(filters * TOGETHER).map(|weight| {
        let outputs = weight.len() / filters;
        let mut out = vec![0.0; outputs * width];
        if taps.mixes() {
            dense::panel(&mut out, false, dense::view(weight, outputs, rows), all);
            return out.chunks_exact(width).map(channel).collect::<Vec<_>>();
        }
        // `[outputs, taps of the stage, rows]` by `[rows, inputs, taps of the sources]`.
        let by_tap = dense::rows_transposed(weight, rows, own);
        let mut moved = vec![0.0; outputs * own * size];
        let by_tap = dense::view(&by_tap, outputs * own, rows);
        dense::panel(&mut moved, false, by_tap, all);
        let parts = out
            .chunks_exact_mut(width)
            .zip(moved.chunks_exact(own * size));
        for (out, moved) in parts {
            for (&shift, moved) in taps.after.iter().zip(moved.chunks_exact(size)) {
                let each = out.chunks_exact_mut(taps.count);
                for (out, moved) in each.zip(moved.chunks_exact(taps.before.len())) {
                    for (&tap, value) in taps.before.iter().zip(moved) {
                        out[tap + shift] += value;
                    }
                }
            }
        }
        out.chunks_exact(width).map(channel).collect::<Vec<_>>()
    });
    let tasks: Vec<Vec<Channel>> = tasks.collect();
    tasks.into_iter().flatten().collect()
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
    use crate::chain::{Role, StageShape};

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

    /// Any numbers, always the same ones.
    fn numbers(len: usize, seed: f64) -> Vec<f64> {
        (0..len).map(|i| (seed + i as f64 * 0.7).sin()).collect()
    }

    /// `cp` of `features` channels within, by its formula and by its product.
    fn worst_of_cp(outputs: usize, features: usize, inputs: usize, taps: usize) -> f64 {
        let shape =
            |out, input, groups, taps| KernelShape::new(out, input, groups, [taps]).unwrap();
        let stage = |role, kernel: KernelShape, seed| Stage {
            weight: numbers(kernel.len(), seed),
            shape: StageShape {
                role,
                kernel,
                axes: vec![true],
            },
        };
        let stages = vec![
            stage(Role::Pointwise, shape(features, inputs, 1, 1), 0.1),
            stage(
                Role::Depthwise,
                shape(features, features, features, taps),
                0.2,
            ),
            stage(Role::Pointwise, shape(outputs, features, 1, 1), 0.3),
        ];
        let kernel = compose(&stages).unwrap();
        let [v, d, p] = [0, 1, 2].map(|s| &stages[s].weight);
        let expected = |at: usize| -> f64 {
            let (o, i, t) = (at / (inputs * taps), at / taps % inputs, at % taps);
            let of = |r| p[o * features + r] * d[r * taps + t] * v[r * inputs + i];
            (0..features).map(of).sum()
        };
        let found = kernel.data().iter().enumerate();
        let off = found.step_by(7).map(|(at, w)| (w - expected(at)).abs());
        off.fold(0.0, f64::max)
    }

    #[test]
    fn many_channels_within_are_taken_a_few_inputs_at_a_time() {
        // 33,000 values for every input channel: 63 at a time.
        assert!(worst_of_cp(2, 6600, 70, 5) < 1e-9);
        // Wide enough for products of matrices, in parts again.
        assert!(worst_of_cp(3, 600, 160, 64) < 1e-9);
    }

    #[test]
    fn a_core_of_many_taps_between_two_mixtures() {
        let shape = |out, input, taps| KernelShape::new(out, input, 1, [taps]).unwrap();
        let stage = |kernel: KernelShape, seed| Stage {
            weight: numbers(kernel.len(), seed),
            shape: StageShape {
                role: Role::Dense,
                kernel,
                axes: vec![true],
            },
        };
        for inputs in [20, 160] {
            let (a, b) = (stage(shape(3, inputs, 1), 0.1), stage(shape(2, 3, 64), 0.2));
            let kernel = compose(&[a.clone(), b.clone()]).unwrap();
            for (at, w) in kernel.data().iter().enumerate() {
                let (o, i, t) = (at / (inputs * 64), at / 64 % inputs, at % 64);
                let of = |r: usize| b.weight[(o * 3 + r) * 64 + t] * a.weight[r * inputs + i];
                let expected: f64 = (0..3).map(of).sum();
                assert!((w - expected).abs() < 1e-12, "{inputs} {at}");
            }
        }
    }

    #[test]
    fn offsets_of_a_column_in_a_square() {
        assert_eq!(tap_offsets(&[3, 1], &[3, 4]), [0, 4, 8]);
        assert_eq!(tap_offsets(&[1, 2, 2], &[3, 2, 2]), [0, 1, 2, 3]);
    }
}
