//! A grouped convolution and its two gradients on row-major slices.
//!
//! Samples are independent of one another and run in parallel; sums over samples are made of
//! chunks that the number of samples alone determines, in their order: the bytes do not depend
//! on the number of threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::runs::{Block, Run, Runs};

/// Chunks that the gradient of a weight is summed in.
const CHUNKS: usize = 8;

/// Numbers of the patches that are multiplied together, at most: a share of the processor's caches.
const BLOCK: usize = 1 << 19;

/// Channels of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Channels {
    pub inputs: usize,
    pub outputs: usize,
    pub groups: usize,
}

impl Channels {
    pub fn group_in(&self) -> usize {
        self.inputs / self.groups
    }

    pub fn group_out(&self) -> usize {
        self.outputs / self.groups
    }

    pub fn is_depthwise(&self) -> bool {
        self.group_in() == 1
    }
}

/// The kernels of a convolution: `x` is `[N, Ci, inputs]`, `w` `[Co, Ci / groups, taps]`, `y`, and a gradient with
/// respect to it, `[N, Co, outputs]`.
#[derive(Debug)]
pub(crate) struct Kernels<'a> {
    channels: Channels,
    runs: &'a Runs,
    pointwise: bool,
    /// Output elements whose patches are multiplied together; none where no patches are made.
    blocks: Vec<Block>,
}

impl<'a> Kernels<'a> {
    /// `pointwise`: output element `i` reads input element `i` and no other.
    pub fn new(channels: Channels, runs: &'a Runs, pointwise: bool) -> Self {
        let depth = channels.group_in() * runs.taps;
        let blocks = match pointwise || channels.is_depthwise() {
            true => Vec::new(),
            false => runs.blocks(BLOCK / depth.max(1)).collect(),
        };
        Self {
            channels,
            runs,
            pointwise,
            blocks,
        }
    }

    /// `y[n, o] = sum of w[o, i, tap] x[n, i, at tap]`.
    pub fn forward(&self, x: &[f32], w: &[f32]) -> Vec<f32> {
        let (c, runs) = (self.channels, self.runs);
        let (wide, narrow) = (self.wide(), self.narrow());
        let samples = x.len() / narrow.max(1);
        let mut y = vec![0.0; samples * wide];
        let each = y.par_chunks_exact_mut(wide).zip(x.par_chunks_exact(narrow));
        each.for_each_init(Vec::new, |columns, (y, x)| {
            if c.is_depthwise() {
                for (o, y) in y.chunks_exact_mut(runs.outputs()).enumerate() {
                    let x = &x[o / c.group_out() * runs.inputs..][..runs.inputs];
                    let w = &w[o * runs.taps..][..runs.taps];
                    for run in &runs.runs {
                        gather(y, x, w[run.tap], run, runs.stride);
                    }
                }
                return;
            }
            let maps = y.chunks_exact_mut(c.group_out() * runs.outputs());
            let maps = maps.zip(x.chunks_exact(c.group_in() * runs.inputs));
            for (g, (y, x)) in maps.enumerate() {
                let w = self.group(w, g);
                let mut y = MatMut::from_row_major_slice_mut(y, c.group_out(), runs.outputs());
                if self.pointwise {
                    let x = MatRef::from_row_major_slice(x, self.depth(), runs.outputs());
                    matmul(y, Accum::Replace, w, x, 1.0, Par::Seq);
                    continue;
                }
                for block in &self.blocks {
                    let y = y
                        .as_mut()
                        .subcols_mut(block.outputs.start, block.outputs.len());
                    let columns = self.patches(columns, block, x);
                    matmul(y, Accum::Replace, w, columns, 1.0, Par::Seq);
                }
            }
        });
        y
    }

    /// The gradient of [`Kernels::forward`] with respect to `x`, given that with respect to its result.
    pub fn by_input(&self, grad: &[f32], w: &[f32]) -> Vec<f32> {
        let (c, runs) = (self.channels, self.runs);
        let (wide, narrow) = (self.wide(), self.narrow());
        let samples = grad.len() / wide.max(1);
        let mut out = vec![0.0; samples * narrow];
        let each = out
            .par_chunks_exact_mut(narrow)
            .zip(grad.par_chunks_exact(wide));
        each.for_each_init(Vec::new, |columns: &mut Vec<f32>, (x, grad)| {
            if c.is_depthwise() {
                for (o, grad) in grad.chunks_exact(runs.outputs()).enumerate() {
                    let x = &mut x[o / c.group_out() * runs.inputs..][..runs.inputs];
                    let w = &w[o * runs.taps..][..runs.taps];
                    for run in &runs.runs {
                        scatter(x, grad, w[run.tap], run, runs.stride);
                    }
                }
                return;
            }
            let maps = grad.chunks_exact(c.group_out() * runs.outputs());
            let maps = maps.zip(x.chunks_exact_mut(c.group_in() * runs.inputs));
            for (g, (grad, x)) in maps.enumerate() {
                let w = self.group(w, g).transpose();
                let grad = MatRef::from_row_major_slice(grad, c.group_out(), runs.outputs());
                if self.pointwise {
                    let x = MatMut::from_row_major_slice_mut(x, self.depth(), runs.outputs());
                    matmul(x, Accum::Replace, w, grad, 1.0, Par::Seq);
                    continue;
                }
                for block in &self.blocks {
                    let length = block.outputs.len();
                    columns.resize(self.depth() * length, 0.0);
                    let product = MatMut::from_row_major_slice_mut(columns, self.depth(), length);
                    let grad = grad.subcols(block.outputs.start, length);
                    matmul(product, Accum::Replace, w, grad, 1.0, Par::Seq);
                    for (i, x) in x.chunks_exact_mut(runs.inputs).enumerate() {
                        for run in &block.runs {
                            let row = (i * runs.taps + run.tap) * length;
                            scatter(x, &columns[row..][..length], 1.0, run, runs.stride);
                        }
                    }
                }
            }
        });
        out
    }

    /// The gradient of [`Kernels::forward`] with respect to `w`.
    pub fn by_weight(&self, grad: &[f32], x: &[f32]) -> Vec<f32> {
        let c = self.channels;
        let (wide, narrow) = (self.wide(), self.narrow());
        let length = c.outputs * self.depth();
        let samples = grad.len() / wide.max(1);
        let chunk = samples.div_ceil(CHUNKS).max(1);
        let parts: Vec<Vec<f32>> = grad
            .par_chunks(chunk * wide)
            .zip(x.par_chunks(chunk * narrow))
            .map(|(grad, x)| {
                let mut sum = vec![0.0; length];
                let mut columns = Vec::new();
                for (grad, x) in grad.chunks_exact(wide).zip(x.chunks_exact(narrow)) {
                    if c.is_depthwise() {
                        self.depthwise_by_weight(grad, x, &mut sum);
                        continue;
                    }
                    let grads = grad.chunks_exact(c.group_out() * self.runs.outputs());
                    let maps = x.chunks_exact(c.group_in() * self.runs.inputs);
                    let sums = sum.chunks_exact_mut(c.group_out() * self.depth());
                    for ((grad, x), sum) in grads.zip(maps).zip(sums) {
                        self.group_by_weight(&mut columns, grad, x, sum);
                    }
                }
                sum
            })
            .collect();
        let mut total = vec![0.0; length];
        for part in parts {
            total.iter_mut().zip(part).for_each(|(t, p)| *t += p);
        }
        total
    }

    /// Adds one sample of a depthwise convolution to the gradient of its weight.
    fn depthwise_by_weight(&self, grad: &[f32], x: &[f32], sum: &mut [f32]) {
        let (c, runs) = (self.channels, self.runs);
        for (o, grad) in grad.chunks_exact(runs.outputs()).enumerate() {
            let x = &x[o / c.group_out() * runs.inputs..][..runs.inputs];
            let sum = &mut sum[o * runs.taps..][..runs.taps];
            for run in &runs.runs {
                sum[run.tap] += dot(grad, x, run, runs.stride);
            }
        }
    }

    /// Adds one sample of one group to the gradient of its weight.
    fn group_by_weight(&self, columns: &mut Vec<f32>, grad: &[f32], x: &[f32], sum: &mut [f32]) {
        let (outputs, rows) = (self.runs.outputs(), self.channels.group_out());
        let grad = MatRef::from_row_major_slice(grad, rows, outputs);
        let mut sum = MatMut::from_row_major_slice_mut(sum, rows, self.depth());
        if self.pointwise {
            let x = MatRef::from_row_major_slice(x, self.depth(), outputs);
            matmul(sum, Accum::Add, grad, x.transpose(), 1.0, Par::Seq);
            return;
        }
        for block in &self.blocks {
            let grad = grad.subcols(block.outputs.start, block.outputs.len());
            let columns = self.patches(columns, block, x).transpose();
            matmul(sum.as_mut(), Accum::Add, grad, columns, 1.0, Par::Seq);
        }
    }

    /// The patches of a group's `x` at a block of output elements, `[depth, block]`.
    fn patches<'c>(&self, columns: &'c mut Vec<f32>, block: &Block, x: &[f32]) -> MatRef<'c, f32> {
        let (length, taps) = (block.outputs.len(), self.runs.taps);
        columns.clear();
        columns.resize(self.depth() * length, 0.0);
        let planes = columns.chunks_exact_mut(taps * length);
        for (columns, x) in planes.zip(x.chunks_exact(self.runs.inputs)) {
            for run in &block.runs {
                let row = &mut columns[run.tap * length..][..length];
                gather(row, x, 1.0, run, self.runs.stride);
            }
        }
        MatRef::from_row_major_slice(columns, self.depth(), length)
    }

    /// The weights of a group, `[group_out, depth]`.
    fn group<'w>(&self, w: &'w [f32], group: usize) -> MatRef<'w, f32> {
        let (rows, depth) = (self.channels.group_out(), self.depth());
        MatRef::from_row_major_slice(&w[group * rows * depth..][..rows * depth], rows, depth)
    }

    /// Values of a group's patch.
    fn depth(&self) -> usize {
        self.channels.group_in() * self.runs.taps
    }

    /// Elements of a sample's output.
    fn wide(&self) -> usize {
        self.channels.outputs * self.runs.outputs()
    }

    /// Elements of a sample's input.
    fn narrow(&self) -> usize {
        self.channels.inputs * self.runs.inputs
    }
}

/// `y += a x` along a run.
fn gather(y: &mut [f32], x: &[f32], a: f32, run: &Run, stride: usize) {
    let y = &mut y[run.output..][..run.count];
    if stride == 1 {
        let x = &x[run.input..][..run.count];
        y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
    } else {
        let x = x[run.input..].iter().step_by(stride);
        y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
    }
}

/// `x += a y` along a run.
fn scatter(x: &mut [f32], y: &[f32], a: f32, run: &Run, stride: usize) {
    let y = &y[run.output..][..run.count];
    if stride == 1 {
        let x = &mut x[run.input..][..run.count];
        x.iter_mut().zip(y).for_each(|(x, y)| *x += a * y);
    } else {
        let x = x[run.input..].iter_mut().step_by(stride);
        x.zip(y).for_each(|(x, y)| *x += a * y);
    }
}

/// The sum of `y x` along a run.
fn dot(y: &[f32], x: &[f32], run: &Run, stride: usize) -> f32 {
    let y = &y[run.output..][..run.count];
    if stride != 1 {
        let x = x[run.input..].iter().step_by(stride);
        return y.iter().zip(x).map(|(y, x)| y * x).sum();
    }
    let x = &x[run.input..][..run.count];
    let (ys, xs) = (y.as_chunks::<8>(), x.as_chunks::<8>());
    let mut lanes = [0.0; 8];
    for (y, x) in ys.0.iter().zip(xs.0) {
        for lane in 0..8 {
            lanes[lane] += y[lane] * x[lane];
        }
    }
    let tail: f32 = ys.1.iter().zip(xs.1).map(|(y, x)| y * x).sum();
    lanes.iter().sum::<f32>() + tail
}
