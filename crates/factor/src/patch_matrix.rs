//! A covariance known by its factor: the positions themselves, one row each.
//!
//! With `X` `[n, d]` the centred patches over the root of their number, `C = X^T X`. Where a patch
//! has more values than there are positions, `X` is smaller than `C` by `d / n`, and so is the work
//! of a product with it: `v C = (v X^T) X`. Nothing here is of the size `d^2`.
//!
//! A patch of `d = inner * outer` values is `inner` features by `outer` taps, feature first, as
//! ONNX orders it. Patches stay in f32 as they were sampled; products are in the precision of their other
//! factor, on blocks that depend on the extents alone, so that their bytes do not depend on the number
//! of threads.

use std::sync::Arc;

use faer::MatMut;
use faer::traits::math_utils::zero;
use rayon::prelude::*;

use crate::error::FactorError;
use crate::linalg::dense::Real;
use crate::linalg::{dense, gram};

/// Rows of a block.
const HEIGHT: usize = 256;
/// Columns of a block.
const WIDTH: usize = 1024;
/// Features of a block.
const FEATURES: usize = 64;

/// Positions of one group.
#[derive(Debug, Clone)]
pub(crate) struct PatchMatrix {
    n: usize,
    d: usize,
    /// Factor of centred values.
    scale: f64,
    values: Values,
}

#[derive(Debug, Clone)]
enum Values {
    /// Patches as they were sampled, several parts `[n of the part, d]`, and their mean `[d]`.
    Seen {
        parts: Vec<Arc<Vec<f32>>>,
        mean: Arc<Vec<f64>>,
    },
    /// Rows `[n, d]` of `X` itself.
    Made(Arc<Vec<f64>>),
}

/// A block with a feature a row, and the row that it is being made of.
struct Arranged<T> {
    /// `[features, rows * outer]`.
    values: Vec<T>,
    row_of: Vec<T>,
}

impl<T> Default for Arranged<T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            row_of: Vec::new(),
        }
    }
}

impl PatchMatrix {
    /// Of sampled patches, several parts `[n of the part, d]`, and their mean `[d]`.
    pub fn seen(parts: &[Arc<Vec<f32>>], mean: &[f64]) -> Self {
        let d = mean.len();
        let n = parts.iter().map(|p| p.len() / d.max(1)).sum::<usize>();
        Self {
            n,
            d,
            scale: 1.0 / (n.max(1) as f64).sqrt(),
            values: Values::Seen {
                parts: parts.to_vec(),
                mean: Arc::new(mean.to_vec()),
            },
        }
    }

    /// Of rows `[n, d]` whose `X^T X` is the covariance.
    pub fn made(values: Vec<f64>, n: usize, d: usize) -> Self {
        Self {
            n,
            d,
            scale: 1.0,
            values: Values::Made(Arc::new(values)),
        }
    }

    /// Number of positions.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Values of a row.
    pub fn width(&self) -> usize {
        self.d
    }

    /// `X` in the columns from `first` on.
    fn fill<T: Real>(&self, row: usize, first: usize, out: &mut [T]) {
        match &self.values {
            Values::Made(values) => {
                let from = values[row * self.d + first..].iter();
                out.iter_mut().zip(from).for_each(|(o, x)| *o = T::of(*x));
            }
            Values::Seen { parts, mean } => {
                let mut at = row * self.d;
                for part in parts {
                    if at < part.len() {
                        let from = part[at + first..][..out.len()].iter();
                        let from = from.zip(&mean[first..]);
                        out.iter_mut()
                            .zip(from)
                            .for_each(|(o, (x, m))| *o = T::of((f64::from(*x) - m) * self.scale));
                        return;
                    }
                    at -= part.len();
                }
            }
        }
    }

    /// A block of `X`, `[rows, width]`.
    fn block<T: Real>(
        &self,
        rows: std::ops::Range<usize>,
        first: usize,
        width: usize,
        out: &mut Vec<T>,
    ) {
        out.resize(rows.len() * width, zero::<T>());
        for (row, out) in rows.zip(out.chunks_exact_mut(width)) {
            self.fill(row, first, out);
        }
    }

    /// A block of `X` with a feature a row, `[features, rows * outer]`.
    fn arranged<T: Real>(
        &self,
        rows: std::ops::Range<usize>,
        features: std::ops::Range<usize>,
        outer: usize,
        into: &mut Arranged<T>,
    ) {
        let Arranged {
            values: out,
            row_of,
        } = into;
        let wide = rows.len() * outer;
        out.resize(features.len() * wide, zero::<T>());
        row_of.resize(features.len() * outer, zero::<T>());
        for (index, row) in rows.enumerate() {
            self.fill(row, features.start * outer, row_of);
            for (f, values) in row_of.chunks_exact(outer).enumerate() {
                out[f * wide + index * outer..][..outer].copy_from_slice(values);
            }
        }
    }

    fn blocks(&self, height: usize) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let n = self.n;
        (0..n)
            .step_by(height)
            .map(move |first| first..n.min(first + height))
    }

    /// `|X|^2`, the trace of the covariance.
    pub fn energy(&self) -> f64 {
        let blocks: Vec<_> = self.blocks(HEIGHT).collect();
        let sums = blocks.into_par_iter().map(|rows| {
            let mut row_of = vec![0.0; self.d];
            rows.map(|row| {
                self.fill(row, 0, &mut row_of);
                dense::dot(&row_of, &row_of)
            })
            .sum::<f64>()
        });
        sums.collect::<Vec<f64>>().iter().sum()
    }

    /// `X maps^T` `[n, r]` of maps `[r, d]`.
    pub fn project<T: Real>(&self, maps: &[T]) -> Vec<T> {
        let (n, d) = (self.n, self.d);
        let r = maps.len() / d.max(1);
        let mut out = vec![zero::<T>(); n * r];
        if out.is_empty() {
            return out;
        }
        let maps = dense::view(maps, r, d);
        let tasks = out.par_chunks_mut(HEIGHT * r).enumerate();
        tasks.for_each_init(Vec::new, |x, (block, out)| {
            let height = out.len() / r;
            for first in (0..d).step_by(WIDTH) {
                let width = WIDTH.min(d - first);
                self.block(block * HEIGHT..block * HEIGHT + height, first, width, x);
                let maps = maps.subcols(first, width).transpose();
                dense::panel(out, first > 0, dense::view(x, height, width), maps);
            }
        });
        out
    }

    /// `answers^T X` `[r, d]` of answers `[n, r]`.
    pub fn gather<T: Real>(&self, answers: &[T]) -> Vec<T> {
        let (n, d) = (self.n, self.d);
        let r = answers.len() / n.max(1);
        let mut out = vec![zero::<T>(); r * d];
        if out.is_empty() {
            return out;
        }
        let firsts: Vec<usize> = (0..d).step_by(WIDTH).collect();
        let answers = dense::view(answers, n, r);
        let panels = firsts.par_iter().map_init(Vec::new, |x, first| {
            let width = WIDTH.min(d - first);
            let mut panel = vec![zero::<T>(); r * width];
            for rows in self.blocks(HEIGHT) {
                let answers = answers.subrows(rows.start, rows.len()).transpose();
                let (begin, height) = (rows.start, rows.len());
                self.block(rows, *first, width, x);
                let x = dense::view(x, height, width);
                dense::panel(&mut panel, begin > 0, answers, x);
            }
            panel
        });
        for (first, panel) in firsts.iter().zip(panels.collect::<Vec<_>>()) {
            let width = WIDTH.min(d - first);
            for (row, panel) in out.chunks_exact_mut(d).zip(panel.chunks_exact(width)) {
                row[*first..][..width].copy_from_slice(panel);
            }
        }
        out
    }

    /// `maps C` `[r, d]` of maps `[r, d]`.
    pub fn times<T: Real>(&self, maps: &[T]) -> Vec<T> {
        self.gather(&self.project(maps))
    }

    /// `X X^T`, `[n, n]`.
    pub fn products(&self) -> Result<Vec<f64>, FactorError> {
        let (n, d) = (self.n, self.d);
        let mut products = dense::zeros(n, n)?;
        let mut x = dense::zeros(n, WIDTH.min(d))?;
        if n == 0 {
            return Ok(products);
        }
        for first in (0..d).step_by(WIDTH) {
            let width = WIDTH.min(d - first);
            let rows = x[..n * width].par_chunks_mut(width).enumerate();
            rows.for_each(|(row, out)| self.fill(row, first, out));
            let all = dense::view(&x, n, width);
            add_products(&mut products, all, first > 0);
        }
        mirrored(&mut products, n);
        Ok(products)
    }

    /// Features turned into others in the same way at every tap: `[n, f, outer]` of a stage
    /// `[f, inner]`.
    pub fn turned<T: Real>(&self, stage: &[T], outer: usize) -> Result<Vec<T>, FactorError> {
        let (n, inner) = (self.n, self.d / outer);
        let f = stage.len() / inner;
        let mut out = dense::zeros(n, f * outer)?;
        let height = (WIDTH / 2).div_ceil(outer);
        let stage = dense::view(stage, f, inner);
        if !out.is_empty() {
            let tasks = out.par_chunks_mut(height * f * outer).enumerate();
            tasks.for_each_init(
                || (Arranged::default(), Vec::new()),
                |(arranged, made), (block, out)| {
                    let rows = out.len() / (f * outer);
                    let wide = rows * outer;
                    let begin = block * height;
                    self.arranged(begin..begin + rows, 0..inner, outer, arranged);
                    made.resize(f * wide, zero::<T>());
                    dense::panel(
                        made,
                        false,
                        stage,
                        dense::view(&arranged.values, inner, wide),
                    );
                    for (index, out) in out.chunks_exact_mut(f * outer).enumerate() {
                        for (made, out) in made.chunks_exact(wide).zip(out.chunks_exact_mut(outer))
                        {
                            out.copy_from_slice(&made[index * outer..][..outer]);
                        }
                    }
                },
            );
        }
        Ok(out)
    }

    /// [`PatchMatrix::turned`] features as rows of their own.
    pub fn behind(&self, stage: &[f64], outer: usize) -> Result<Self, FactorError> {
        let made = self.turned(stage, outer)?;
        let width = stage.len() * outer * outer / self.d;
        Ok(Self::made(made, self.n, width))
    }

    /// The sum over taps and positions of `answers` `[n, f, outer]` with the features, `[f, inner]`.
    pub fn turned_back<T: Real>(&self, answers: &[T], outer: usize) -> Vec<T> {
        let (n, inner) = (self.n, self.d / outer);
        let f = answers.len() / (n * outer).max(1);
        let firsts: Vec<usize> = (0..inner).step_by(FEATURES).collect();
        let height = WIDTH.div_ceil(outer);
        let panels = firsts.par_iter().map_init(
            || (Arranged::default(), Vec::new()),
            |(arranged, turned), first| {
                let features = *first..inner.min(first + FEATURES);
                let mut panel = vec![zero::<T>(); features.len() * f];
                for rows in self.blocks(height) {
                    let (begin, wide) = (rows.start, rows.len() * outer);
                    turned.resize(f * wide, zero::<T>());
                    for (index, row) in rows.clone().enumerate() {
                        let answers = &answers[row * f * outer..][..f * outer];
                        for (r, values) in answers.chunks_exact(outer).enumerate() {
                            turned[r * wide + index * outer..][..outer].copy_from_slice(values);
                        }
                    }
                    self.arranged(rows, features.clone(), outer, arranged);
                    let x = dense::view(&arranged.values, features.len(), wide);
                    let turned = dense::view(turned, f, wide).transpose();
                    dense::panel(&mut panel, begin > 0, x, turned);
                }
                panel
            },
        );
        let by_feature = panels.collect::<Vec<_>>().concat();
        dense::transposed(&by_feature, inner, f)
    }

    /// Every feature filtered by its own `K` filters `[inner * K, outer]`: `[n, inner * K]`.
    pub fn filtered<T: Real>(&self, filters: &[T], outer: usize) -> Result<Vec<T>, FactorError> {
        let width = filters.len() / outer;
        let rank = width * outer / self.d.max(1);
        let mut out = dense::zeros(self.n, width)?;
        if out.is_empty() {
            return Ok(out);
        }
        let together = (WIDTH / outer).max(1);
        let tasks = out.par_chunks_mut(HEIGHT * width).enumerate();
        tasks.for_each_init(Vec::new, |x, (block, out)| {
            let (begin, height) = (block * HEIGHT, out.len() / width);
            let mut out = MatMut::from_row_major_slice_mut(out, height, width);
            for first in (0..self.d).step_by(together * outer) {
                let wide = (together * outer).min(self.d - first);
                self.block(begin..begin + height, first, wide, x);
                let x = dense::view(x, height, wide);
                for feature in 0..wide / outer {
                    let at = (first / outer + feature) * rank;
                    let own = dense::view(&filters[at * outer..], rank, outer);
                    let x = x.subcols(feature * outer, outer);
                    let out = out.as_mut().subcols_mut(at, rank);
                    dense::into(out, false, x, own.transpose());
                }
            }
        });
        Ok(out)
    }

    /// The sum over positions of `answers` `[n, inner * K]` with the features,
    /// `[inner * K, outer]`.
    pub fn filtered_back<T: Real>(&self, answers: &[T], outer: usize) -> Vec<T> {
        let inner = self.d / outer;
        let width = answers.len() / self.n.max(1);
        let rank = width / inner;
        let mut out = vec![zero::<T>(); width * outer];
        if out.is_empty() {
            return out;
        }
        let together = (WIDTH / outer).max(1);
        let answers = dense::view(answers, self.n, width);
        let tasks = out.par_chunks_mut(together * rank * outer).enumerate();
        tasks.for_each_init(Vec::new, |x, (block, out)| {
            let first = block * together;
            let wide = out.len() / rank;
            for rows in self.blocks(HEIGHT) {
                let (begin, height) = (rows.start, rows.len());
                self.block(rows, first * outer, wide, x);
                let x = dense::view(x, height, wide);
                for (feature, out) in out.chunks_exact_mut(rank * outer).enumerate() {
                    let at = (first + feature) * rank;
                    let own = answers.submatrix(begin, at, height, rank).transpose();
                    dense::panel(out, begin > 0, own, x.subcols(feature * outer, outer));
                }
            }
        });
        out
    }

    /// Covariance `[outer, outer]` of one feature with itself over the taps.
    pub fn feature(&self, feature: usize, outer: usize) -> Vec<f64> {
        let mut x = Vec::new();
        self.block(0..self.n, feature * outer, outer, &mut x);
        let x = dense::view(&x, self.n, outer);
        let mut out = vec![0.0; outer * outer];
        dense::panel(&mut out, false, x.transpose(), x);
        out
    }

    /// Sum over the taps of the features' covariance, `[inner, inner]`.
    pub fn inner_sum(&self, outer: usize) -> Vec<f64> {
        let inner = self.d / outer;
        let height = WIDTH.div_ceil(outer);
        let mut sum = vec![0.0; inner * inner];
        let tasks = sum.par_chunks_mut(FEATURES * inner).enumerate();
        tasks.for_each_init(
            || (Arranged::<f64>::default(), Vec::new()),
            |(arranged, panel), (block, out)| {
                let (begin, own) = (block * FEATURES, out.len() / inner);
                let rest = inner - begin;
                panel.clear();
                panel.resize(own * rest, 0.0);
                for rows in self.blocks(height) {
                    let wide = rows.len() * outer;
                    self.arranged(rows, begin..inner, outer, arranged);
                    let x = dense::view(&arranged.values, rest, wide);
                    dense::panel(panel, true, x.subrows(0, own), x.transpose());
                }
                for (out, panel) in out.chunks_exact_mut(inner).zip(panel.chunks_exact(rest)) {
                    out[begin..].copy_from_slice(panel);
                }
            },
        );
        gram::mirror(&mut sum, inner);
        sum
    }

    /// Sum over the features of the taps' covariance, `[outer, outer]`.
    pub fn outer_sum(&self, outer: usize) -> Vec<f64> {
        let blocks: Vec<_> = self.blocks(self.n.div_ceil(16).max(1)).collect();
        let sums = blocks.into_par_iter().map(|rows| {
            let mut x = vec![0.0; self.d];
            let mut sum = vec![0.0; outer * outer];
            for row in rows {
                self.fill(row, 0, &mut x);
                gram::accumulate(&mut sum, &x, outer);
            }
            sum
        });
        let mut sum = vec![0.0; outer * outer];
        for part in sums.collect::<Vec<_>>() {
            dense::axpy(&mut sum, 1.0, &part);
        }
        gram::mirror(&mut sum, outer);
        sum
    }

    /// The covariance itself, `[d, d]`.
    pub fn covariance(&self) -> Result<Vec<f64>, FactorError> {
        let d = self.d;
        let mut covariance = dense::zeros(d, d)?;
        let mut x = Vec::new();
        for rows in self.blocks(HEIGHT) {
            let height = rows.len();
            self.block(rows, 0, d, &mut x);
            let x = dense::view(&x, height, d);
            dense::product(&mut covariance, true, x.transpose(), x);
        }
        gram::mirror(&mut covariance, d);
        Ok(covariance)
    }
}

/// Adds `x x^T` to the lower triangle of `out` `[n, n]`, or puts it there.
fn add_products(out: &mut [f64], x: faer::MatRef<'_, f64>, add: bool) {
    let n = x.nrows();
    let panels = out.par_chunks_mut(FEATURES * n).enumerate();
    panels.for_each_init(Vec::new, |panel, (block, out)| {
        let (begin, own) = (block * FEATURES, out.len() / n);
        let end = begin + own;
        panel.resize(own * end, 0.0);
        let (left, right) = (x.subrows(begin, own), x.subrows(0, end));
        dense::panel(panel, false, left, right.transpose());
        for (out, panel) in out.chunks_exact_mut(n).zip(panel.chunks_exact(end)) {
            match add {
                true => dense::axpy(&mut out[..end], 1.0, panel),
                false => out[..end].copy_from_slice(panel),
            }
        }
    });
}

/// Copies the lower triangle of a row-major `[n, n]` matrix to the upper one.
fn mirrored(matrix: &mut [f64], n: usize) {
    for i in 0..n {
        for j in 0..i {
            matrix[j * n + i] = matrix[i * n + j];
        }
    }
}
