//! A grouped convolution and its two gradients on row-major slices.
//!
//! Samples are independent of one another and run in parallel; sums over samples are made of
//! chunks that the number of samples alone determines, in their order: the bytes do not depend
//! on the number of threads.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use super::runs::{Run, Runs};

/// Chunks that the gradient of a weight is summed in.
const CHUNKS: usize = 8;

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

/// `y[n, o] = sum of w[o, i, tap] x[n, i, at tap]`: `x` is `[N, Ci, inputs]`, `w` is
/// `[Co, Ci / groups, taps]`, the result `[N, Co, outputs]`.
pub(crate) fn forward(c: Channels, runs: &Runs, pointwise: bool, x: &[f32], w: &[f32]) -> Vec<f32> {
    let (wide, narrow) = (c.outputs * runs.outputs(), c.inputs * runs.inputs);
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
        let (depth, rows) = (c.group_in() * runs.taps, c.group_out());
        for g in 0..c.groups {
            let x = &x[g * c.group_in() * runs.inputs..][..c.group_in() * runs.inputs];
            let columns = patches(columns, c.group_in(), runs, pointwise, x);
            let w =
                MatRef::from_row_major_slice(&w[g * rows * depth..][..rows * depth], rows, depth);
            let b = MatRef::from_row_major_slice(columns, depth, runs.outputs());
            let y = &mut y[g * rows * runs.outputs()..][..rows * runs.outputs()];
            let y = MatMut::from_row_major_slice_mut(y, rows, runs.outputs());
            matmul(y, Accum::Replace, w, b, 1.0, Par::Seq);
        }
    });
    y
}

/// The gradient of [`forward`] with respect to `x`, given that with respect to its result.
pub(crate) fn by_input(
    c: Channels,
    runs: &Runs,
    pointwise: bool,
    grad: &[f32],
    w: &[f32],
) -> Vec<f32> {
    let (wide, narrow) = (c.outputs * runs.outputs(), c.inputs * runs.inputs);
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
        let (depth, rows) = (c.group_in() * runs.taps, c.group_out());
        for g in 0..c.groups {
            let w =
                MatRef::from_row_major_slice(&w[g * rows * depth..][..rows * depth], rows, depth);
            let grad = &grad[g * rows * runs.outputs()..][..rows * runs.outputs()];
            let grad = MatRef::from_row_major_slice(grad, rows, runs.outputs());
            let x = &mut x[g * c.group_in() * runs.inputs..][..c.group_in() * runs.inputs];
            if pointwise {
                let x = MatMut::from_row_major_slice_mut(x, depth, runs.outputs());
                matmul(x, Accum::Replace, w.transpose(), grad, 1.0, Par::Seq);
                continue;
            }
            columns.resize(depth * runs.outputs(), 0.0);
            let product = MatMut::from_row_major_slice_mut(columns, depth, runs.outputs());
            matmul(product, Accum::Replace, w.transpose(), grad, 1.0, Par::Seq);
            for (i, x) in x.chunks_exact_mut(runs.inputs).enumerate() {
                for run in &runs.runs {
                    let row = (i * runs.taps + run.tap) * runs.outputs();
                    scatter(x, &columns[row..][..runs.outputs()], 1.0, run, runs.stride);
                }
            }
        }
    });
    out
}

/// The gradient of [`forward`] with respect to `w`.
pub(crate) fn by_weight(
    c: Channels,
    runs: &Runs,
    pointwise: bool,
    grad: &[f32],
    x: &[f32],
) -> Vec<f32> {
    let (wide, narrow) = (c.outputs * runs.outputs(), c.inputs * runs.inputs);
    let length = c.outputs * c.group_in() * runs.taps;
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
                    depthwise_by_weight(c, runs, grad, x, &mut sum);
                    continue;
                }
                let grads = grad.chunks_exact(c.group_out() * runs.outputs());
                let maps = x.chunks_exact(c.group_in() * runs.inputs);
                let sums = sum.chunks_exact_mut(c.group_out() * c.group_in() * runs.taps);
                for ((grad, x), sum) in grads.zip(maps).zip(sums) {
                    let columns = patches(&mut columns, c.group_in(), runs, pointwise, x);
                    group_by_weight(c, runs, grad, columns, sum);
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
fn depthwise_by_weight(c: Channels, runs: &Runs, grad: &[f32], x: &[f32], sum: &mut [f32]) {
    for (o, grad) in grad.chunks_exact(runs.outputs()).enumerate() {
        let x = &x[o / c.group_out() * runs.inputs..][..runs.inputs];
        let sum = &mut sum[o * runs.taps..][..runs.taps];
        for run in &runs.runs {
            sum[run.tap] += dot(grad, x, run, runs.stride);
        }
    }
}

/// Adds one sample of one group, by its patches `[group_in * taps, outputs]`, to the gradient of its
/// weight.
fn group_by_weight(c: Channels, runs: &Runs, grad: &[f32], columns: &[f32], sum: &mut [f32]) {
    let (depth, rows) = (c.group_in() * runs.taps, c.group_out());
    let columns = MatRef::from_row_major_slice(columns, depth, runs.outputs());
    let grad = MatRef::from_row_major_slice(grad, rows, runs.outputs());
    let sum = MatMut::from_row_major_slice_mut(sum, rows, depth);
    matmul(sum, Accum::Add, grad, columns.transpose(), 1.0, Par::Seq);
}

/// The patches of `x` `[channels, inputs]`, `[channels * taps, outputs]`: `x` itself where the
/// window is pointwise.
fn patches<'a>(
    columns: &'a mut Vec<f32>,
    channels: usize,
    runs: &Runs,
    pointwise: bool,
    x: &'a [f32],
) -> &'a [f32] {
    if pointwise {
        return x;
    }
    let outputs = runs.outputs();
    columns.clear();
    columns.resize(channels * runs.taps * outputs, 0.0);
    let planes = columns.chunks_exact_mut(runs.taps * outputs);
    for (columns, x) in planes.zip(x.chunks_exact(runs.inputs)) {
        for run in &runs.runs {
            let row = &mut columns[run.tap * outputs..][..outputs];
            gather(row, x, 1.0, run, runs.stride);
        }
    }
    columns
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
