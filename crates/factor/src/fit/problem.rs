//! The least-squares problem of one group, arranged for solvers that treat outer taps alike.

use std::sync::Arc;

use rayon::prelude::*;

use crate::linalg::dense;

/// Minimise `tr(We C We^T) - 2 tr(We B^T)` over maps `We` `[outputs, inner, outer]` of a
/// restricted form. The patch index of ONNX's order is `feature * outer + tap`: with all taps
/// outer, a feature is an input channel; with the last axis outer, a channel and a position along
/// the axes before.
pub(crate) struct Problem {
    /// Rows of `We`.
    pub outputs: usize,
    /// Features.
    pub inner: usize,
    /// Outer taps.
    pub outer: usize,
    /// `C`, `[outer, outer, inner, inner]`: a matrix for every pair of outer taps.
    pairs: Arc<Vec<f64>>,
    /// `B`, `[outer, outputs, inner]`.
    cross: Vec<f64>,
}

impl Problem {
    /// Arranges `covariance + ridge I` `[d, d]` and `cross` `[outputs, d]` in ONNX's order.
    pub fn new(
        covariance: &[f64],
        ridge: f64,
        cross: &[f64],
        outputs: usize,
        d: usize,
        outer: usize,
    ) -> Self {
        let inner = d / outer;
        let mut pairs = vec![0.0; d * d];
        pairs
            .par_chunks_mut(outer * inner * inner)
            .enumerate()
            .for_each(|(s, out)| {
                for i in 0..inner {
                    let row = &covariance[(i * outer + s) * d..][..d];
                    for (j, values) in row.chunks_exact(outer).enumerate() {
                        for (t, &value) in values.iter().enumerate() {
                            out[(t * inner + i) * inner + j] = value;
                        }
                    }
                    out[(s * inner + i) * inner + i] += ridge;
                }
            });
        let cross = dense::last_axis_first(cross, outputs, inner, outer);
        Self {
            outputs,
            inner,
            outer,
            pairs: Arc::new(pairs),
            cross,
        }
    }

    /// The same patches with another `B` `[outputs, d]`, in ONNX's order.
    pub fn aimed(&self, cross: &[f64]) -> Self {
        Self {
            cross: dense::last_axis_first(cross, self.outputs, self.inner, self.outer),
            pairs: Arc::clone(&self.pairs),
            ..*self
        }
    }

    /// Covariance `[inner, inner]` of the features at outer tap `s` with those at `t`.
    pub fn pair(&self, s: usize, t: usize) -> &[f64] {
        let size = self.inner * self.inner;
        &self.pairs[(s * self.outer + t) * size..][..size]
    }

    /// All pairs, `[outer * outer, inner * inner]`.
    pub fn pairs(&self) -> &[f64] {
        &self.pairs
    }

    /// `B` `[outputs, inner]` at an outer tap.
    pub fn cross(&self, tap: usize) -> &[f64] {
        let size = self.outputs * self.inner;
        &self.cross[tap * size..][..size]
    }

    /// Covariance `[outer, outer]` of one feature with itself over the outer taps.
    pub fn feature(&self, feature: usize) -> Vec<f64> {
        let at = feature * (self.inner + 1);
        let pairs = self.pairs.chunks_exact(self.inner * self.inner);
        pairs.map(|pair| pair[at]).collect()
    }

    /// Mean over the outer taps of the features' covariance, `[inner, inner]`.
    pub fn inner_metric(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.inner * self.inner];
        for tap in 0..self.outer {
            dense::axpy(&mut mean, 1.0 / self.outer as f64, self.pair(tap, tap));
        }
        mean
    }

    /// Correlation of the outer taps, `[outer, outer]`: the traces of all pairs, scaled to a mean
    /// diagonal of one. Where `C` is a Kronecker product, it is that of both metrics.
    pub fn outer_metric(&self) -> Vec<f64> {
        let pairs = self.pairs.chunks_exact(self.inner * self.inner);
        let mut traces: Vec<f64> = pairs
            .map(|pair| pair.iter().step_by(self.inner + 1).sum())
            .collect();
        let mean = traces.iter().step_by(self.outer + 1).sum::<f64>() / self.outer as f64;
        if mean > 0.0 {
            traces.iter_mut().for_each(|t| *t /= mean);
        }
        traces
    }

    /// The problem behind a first stage `front` `[features, inner]` applied at every outer tap.
    pub fn reduced(&self, front: &[f64], features: usize) -> Self {
        let (n, outer) = (self.inner, self.outer);
        let front = dense::view(front, features, n);
        let size = features * features;
        let mut pairs = vec![0.0; outer * outer * size];
        pairs
            .par_chunks_mut(outer * size)
            .enumerate()
            .for_each(|(s, out)| {
                let mut half = vec![0.0; features * n];
                for t in s..outer {
                    let pair = dense::view(self.pair(s, t), n, n);
                    dense::product(&mut half, false, front, pair);
                    let half = dense::view(&half, features, n);
                    dense::product(&mut out[t * size..][..size], false, half, front.transpose());
                }
            });
        for s in 0..outer {
            for t in 0..s {
                let upper = pairs[(t * outer + s) * size..][..size].to_vec();
                let lower = dense::transposed(&upper, features, features);
                pairs[(s * outer + t) * size..][..size].copy_from_slice(&lower);
            }
        }
        let mut cross = vec![0.0; outer * self.outputs * features];
        for (tap, out) in cross.chunks_exact_mut(self.outputs * features).enumerate() {
            let b = dense::view(self.cross(tap), self.outputs, n);
            dense::product(out, false, b, front.transpose());
        }
        Self {
            outputs: self.outputs,
            inner: features,
            outer,
            pairs: Arc::new(pairs),
            cross,
        }
    }

    /// `C` `[outer * inner, outer * inner]` and `B` `[outputs, outer * inner]`, outer tap first.
    pub fn dense(&self) -> (Vec<f64>, Vec<f64>) {
        let (n, outer) = (self.inner, self.outer);
        let mut matrix = Vec::with_capacity(self.pairs.len());
        for s in 0..outer {
            for i in 0..n {
                (0..outer).for_each(|t| matrix.extend(&self.pair(s, t)[i * n..][..n]));
            }
        }
        let mut cross = Vec::with_capacity(self.cross.len());
        for o in 0..self.outputs {
            (0..outer).for_each(|s| cross.extend(&self.cross(s)[o * n..][..n]));
        }
        (matrix, cross)
    }
}
