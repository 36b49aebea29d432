//! Positions of a convolution as they were seen.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::activation::Activation;
use crate::chain::Chain;
use crate::error::FactorError;
use crate::kernel::Kernel;
use crate::shape::KernelShape;
use crate::statistics::Statistics;

/// Positions that are multiplied at a time.
const BLOCK: usize = 1024;

/// Values that one task looks at.
const CHUNK: usize = 1 << 16;

/// Output positions of one convolution: the patches of the network compressed so far, the
/// original's outputs, and the values that are added before the activation.
#[derive(Debug, Clone)]
pub struct Positions {
    pub(super) shape: KernelShape,
    pub(super) fit: PositionSet,
    pub(super) held_out: PositionSet,
}

/// Some positions.
#[derive(Debug, Clone, Default)]
pub(super) struct PositionSet {
    /// Patches of each group `[n, d]`.
    patches: Vec<Vec<f32>>,
    /// `y`, `[n, Co]`.
    outputs: Vec<f32>,
    /// `s`, `[n, Co]`, or empty.
    others: Vec<f32>,
}

impl Positions {
    /// None yet, of a convolution of that shape.
    pub fn new(shape: &KernelShape) -> Self {
        let rows = || PositionSet {
            patches: vec![Vec::new(); shape.groups],
            ..PositionSet::default()
        };
        Self {
            fit: rows(),
            held_out: rows(),
            shape: shape.clone(),
        }
    }

    /// Adds `n` positions: for each group its patches `[n, d]`, the outputs that the convolution
    /// should have `[n, Co]` and the values that are added to them before the activation (the same, or
    /// nothing, in every call).
    ///
    /// # Errors
    /// [`FactorError::Statistics`] where a length does not fit; nothing is added then.
    pub fn push<P: AsRef<[f32]>>(
        &mut self,
        held_out: bool,
        patches: &[P],
        outputs: &[f32],
        others: &[f32],
    ) -> Result<(), FactorError> {
        let n = outputs.len() / self.shape.out_channels;
        let d = self.shape.group_in() * self.shape.taps();
        let rows = match held_out {
            true => &mut self.held_out,
            false => &mut self.fit,
        };
        let others_fit = others.len() == outputs.len() && rows.others.len() == rows.outputs.len()
            || others.is_empty() && rows.others.is_empty();
        if patches.len() != self.shape.groups
            || patches.iter().any(|p| p.as_ref().len() != n * d)
            || n * self.shape.out_channels != outputs.len()
            || !others_fit
        {
            return Err(FactorError::Statistics(
                "patches and outputs do not fit the kernel",
            ));
        }
        for (to, from) in rows.patches.iter_mut().zip(patches) {
            to.extend_from_slice(from.as_ref());
        }
        rows.outputs.extend_from_slice(outputs);
        rows.others.extend_from_slice(others);
        Ok(())
    }

    /// Positions in all.
    pub fn len(&self) -> usize {
        (self.fit.outputs.len() + self.held_out.outputs.len()) / self.shape.out_channels
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl PositionSet {
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// The outputs of a chain with its bias, `[n, Co]`.
    fn answers(&self, chain: &Chain) -> Result<Vec<f32>, FactorError> {
        let kernel: Kernel = chain.compose()?;
        let shape = kernel.shape();
        let weights: Vec<f32> = kernel.data().iter().map(|w| *w as f32).collect();
        let (co, m) = (shape.out_channels, shape.group_out());
        let d = shape.group_in() * shape.taps();
        let mut out = vec![0.0; self.outputs.len()];
        out.par_chunks_mut(BLOCK * co)
            .enumerate()
            .for_each(|(block, out)| {
                let n = out.len() / co;
                if let Some(bias) = &chain.bias {
                    out.chunks_exact_mut(co)
                        .for_each(|row| row.copy_from_slice(bias));
                }
                for (group, patches) in self.patches.iter().enumerate() {
                    let x = &patches[block * BLOCK * d..][..n * d];
                    let x = MatRef::from_row_major_slice(x, n, d);
                    let w = &weights[group * m * d..][..m * d];
                    let w = MatRef::from_row_major_slice(w, m, d);
                    let out = MatMut::from_row_major_slice_mut(&mut *out, n, co);
                    let out = out.subcols_mut(group * m, m);
                    matmul(out, Accum::Add, x, w.transpose(), 1.0, Par::Seq);
                }
            });
        Ok(out)
    }

    /// By how much the target of each output moves, `[n, Co]`.
    pub fn moves(&self, chain: &Chain, activation: Activation) -> Result<Vec<f32>, FactorError> {
        let mut now = self.answers(chain)?;
        let outputs = self.outputs.par_chunks(CHUNK);
        let rows = now.par_chunks_mut(CHUNK).zip(outputs).enumerate();
        rows.for_each(|(at, (now, outputs))| {
            if self.others.is_empty() {
                for (now, wanted) in now.iter_mut().zip(outputs) {
                    *now = activation.majorise(*wanted, *now) - wanted;
                }
                return;
            }
            let others = &self.others[at * CHUNK..][..now.len()];
            for ((now, wanted), other) in now.iter_mut().zip(outputs).zip(others) {
                let wanted = wanted + other;
                *now = activation.majorise(wanted, *now + other) - wanted;
            }
        });
        Ok(now)
    }

    /// Relative squared error behind the activation.
    pub fn error(&self, chain: &Chain, activation: Activation) -> Result<f64, FactorError> {
        let now = self.answers(chain)?;
        let outputs = self.outputs.par_chunks(CHUNK);
        let sums = now.par_chunks(CHUNK).zip(outputs).enumerate();
        let sums = sums.map(|(at, (now, outputs))| {
            let other = |i: usize| self.others.get(at * CHUNK + i).copied().unwrap_or(0.0);
            let mut sums = [0.0; 2];
            for (i, (now, wanted)) in now.iter().zip(outputs).enumerate() {
                let wanted = activation.value(wanted + other(i));
                let missed = wanted - activation.value(now + other(i));
                sums[0] += f64::from(missed * missed);
                sums[1] += f64::from(wanted * wanted);
            }
            sums
        });
        // In the order of the chunks, whatever the threads.
        let sums: Vec<[f64; 2]> = sums.collect();
        let of = |i: usize| sums.iter().map(|s| s[i]).sum::<f64>();
        let (error, energy) = (of(0), of(1));
        Ok(if energy > 0.0 { error / energy } else { error })
    }
}

/// The statistics of positions whose targets move: `moves` are those of `rows`, a sample of the
/// positions.
pub(super) fn retarget(statistics: &mut Statistics, rows: &[&PositionSet], moves: &[Vec<f32>]) {
    let shape = statistics.shape.clone();
    let (co, m) = (shape.out_channels, shape.group_out());
    let d = shape.group_in() * shape.taps();
    let n: usize = moves.iter().map(|v| v.len() / co).sum();
    if n == 0 {
        return;
    }
    let mut mean = vec![0.0; co];
    // Of (move)^2 + 2 move (y - mean y), the growth of the variance of the outputs.
    let mut grown = vec![0.0; co];
    for (rows, moves) in rows.iter().zip(moves) {
        let pairs = moves.chunks_exact(co).zip(rows.outputs.chunks_exact(co));
        for (moved, outputs) in pairs {
            for o in 0..co {
                let (moved, y) = (f64::from(moved[o]), f64::from(outputs[o]));
                mean[o] += moved;
                grown[o] += moved * (moved + 2.0 * (y - statistics.mean_y[o]));
            }
        }
    }
    mean.iter_mut().for_each(|s| *s /= n as f64);
    for ((v, grown), mean) in statistics.variance_y.iter_mut().zip(&grown).zip(&mean) {
        *v = (*v + grown / n as f64 - mean * mean).max(0.0);
    }
    for (group, to) in statistics.groups.iter_mut().enumerate() {
        let blocks = rows.iter().zip(moves).flat_map(|(rows, moves)| {
            let x = rows.patches[group].chunks(BLOCK * d);
            x.zip(moves.chunks(BLOCK * co))
        });
        let blocks: Vec<(&[f32], &[f32])> = blocks.collect();
        // Single precision within a block, double over the blocks, in their order.
        let products = blocks.par_iter().map(|(x, y)| {
            let n = y.len() / co;
            let x = MatRef::from_row_major_slice(x, n, d);
            let y = MatRef::from_row_major_slice(y, n, co).subcols(group * m, m);
            let mut out = vec![0.0_f32; m * d];
            let to = MatMut::from_row_major_slice_mut(&mut out, m, d);
            matmul(to, Accum::Replace, y.transpose(), x, 1.0, Par::Seq);
            out
        });
        let mut sum = vec![0.0; m * d];
        for product in products.collect::<Vec<_>>() {
            sum.iter_mut()
                .zip(product)
                .for_each(|(s, p)| *s += f64::from(p));
        }
        let means = &mean[group * m..][..m];
        let sums = to.cross.chunks_exact_mut(d).zip(sum.chunks_exact(d));
        for ((row, sum), mean) in sums.zip(means) {
            for ((b, s), x) in row.iter_mut().zip(sum).zip(&to.mean_x) {
                *b += s / n as f64 - mean * x;
            }
        }
    }
    let means = statistics.mean_y.iter_mut().zip(&mean);
    means.for_each(|(y, moved)| *y += moved);
}
