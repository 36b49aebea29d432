//! The least-squares problem of one group, arranged for solvers that treat outer taps alike.

use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::dual::Dual;
use crate::error::FactorError;
use crate::linalg::cholesky::Cholesky;
use crate::linalg::dense;
use crate::patch_matrix::PatchMatrix;

/// Order up to which a system of features behind a front is formed, whatever the positions.
pub(crate) const DIRECT: usize = 256;

/// The addition of [`Cholesky::regularised`] to a diagonal, as a share of its mean.
const JITTER: f64 = 1e-11;

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
    matrix: NormalMatrix,
    /// `B`, `[outer, outputs, inner]`.
    cross: Vec<f64>,
}

/// `C`.
#[derive(Clone)]
enum NormalMatrix {
    /// `[outer, outer, inner, inner]`: a matrix for every pair of outer taps.
    Pairs(Arc<Pairs>),
    /// By the positions.
    Patches(Arc<PatchCovariance>),
}

/// A matrix for every pair of outer taps, in both precisions.
struct Pairs {
    double: Vec<f64>,
    single: OnceLock<Vec<f32>>,
}

impl Pairs {
    fn new(double: Vec<f64>) -> Arc<Self> {
        Arc::new(Self {
            double,
            single: OnceLock::new(),
        })
    }

    fn single(&self) -> &[f32] {
        self.single.get_or_init(|| dense::single(&self.double))
    }
}

/// `C` of positions, with a ridge that is the same at every outer tap.
pub(crate) struct PatchCovariance {
    pub rows: PatchMatrix,
    pub ridge: Ridge,
    inner: OnceLock<Vec<f64>>,
    outer: OnceLock<Vec<f64>>,
}

/// The addition to the covariance of the features at every outer tap.
pub(crate) enum Ridge {
    /// So many times the identity.
    Even(f64),
    /// A matrix `[inner, inner]`.
    Features(Vec<f64>),
}

impl Ridge {
    /// The ridge between two features.
    pub fn between(&self, i: usize, j: usize, inner: usize) -> f64 {
        match self {
            Self::Even(ridge) if i == j => *ridge,
            Self::Even(_) => 0.0,
            Self::Features(matrix) => matrix[i * inner + j],
        }
    }

    fn trace(&self, inner: usize) -> f64 {
        match self {
            Self::Even(ridge) => ridge * inner as f64,
            Self::Features(matrix) => matrix.iter().step_by(inner + 1).sum(),
        }
    }

    fn add_to(&self, matrix: &mut [f64], inner: usize) {
        match self {
            Self::Even(ridge) => dense::add_to_diagonal(matrix, inner, *ridge),
            Self::Features(ridge) => dense::axpy(matrix, 1.0, ridge),
        }
    }
}

impl PatchCovariance {
    fn new(rows: PatchMatrix, ridge: Ridge) -> Self {
        Self {
            rows,
            ridge,
            inner: OnceLock::new(),
            outer: OnceLock::new(),
        }
    }
}

/// Extents of a map `[outputs, inner, outer]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MapExtents {
    /// Rows of the map.
    pub outputs: usize,
    /// Features.
    pub inner: usize,
    /// Outer taps.
    pub outer: usize,
}

impl Problem {
    /// The extents of a map that solves it.
    pub fn extents(&self) -> MapExtents {
        MapExtents {
            outputs: self.outputs,
            inner: self.inner,
            outer: self.outer,
        }
    }

    /// Arranges `covariance + ridge I` `[d, d]` and `cross` `[outputs, d]` in ONNX's order.
    pub fn new(
        covariance: &[f64],
        ridge: f64,
        cross: &[f64],
        outputs: usize,
        outer: usize,
    ) -> Result<Self, FactorError> {
        let d = cross.len() / outputs;
        let inner = d / outer;
        let mut pairs = dense::zeros(d, d)?;
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
        Ok(Self {
            outputs,
            inner,
            outer,
            matrix: NormalMatrix::Pairs(Pairs::new(pairs)),
            cross,
        })
    }

    /// The same of positions, whose covariance is not formed.
    pub fn of_rows(
        rows: PatchMatrix,
        ridge: f64,
        cross: &[f64],
        outputs: usize,
        outer: usize,
    ) -> Self {
        let inner = rows.width() / outer;
        Self {
            outputs,
            inner,
            outer,
            matrix: NormalMatrix::Patches(Arc::new(PatchCovariance::new(rows, Ridge::Even(ridge)))),
            cross: dense::last_axis_first(cross, outputs, inner, outer),
        }
    }

    /// The same patches with another `B` `[outputs, d]`, in ONNX's order.
    pub fn retargeted(&self, cross: &[f64]) -> Self {
        Self {
            cross: dense::last_axis_first(cross, self.outputs, self.inner, self.outer),
            matrix: self.matrix.clone(),
            ..*self
        }
    }

    /// The positions, where they stand for `C`.
    pub fn seen(&self) -> Option<&PatchCovariance> {
        match &self.matrix {
            NormalMatrix::Pairs(_) => None,
            NormalMatrix::Patches(seen) => Some(seen),
        }
    }

    /// Covariance `[inner, inner]` of the features at outer tap `s` with those at `t`; only where
    /// no positions stand for `C`.
    pub fn pair(&self, s: usize, t: usize) -> &[f64] {
        let size = self.inner * self.inner;
        &self.pairs()[(s * self.outer + t) * size..][..size]
    }

    /// [`Problem::pair`] in single precision, for products within conjugate gradients: these need no
    /// more, and take half the time.
    pub fn single_pair(&self, s: usize, t: usize) -> &[f32] {
        let all = match &self.matrix {
            NormalMatrix::Pairs(pairs) => pairs.single(),
            NormalMatrix::Patches(_) => &[],
        };
        let size = self.inner * self.inner;
        &all[(s * self.outer + t) * size..][..size]
    }

    /// All pairs, `[outer * outer, inner * inner]`; none where positions stand for `C`.
    pub fn pairs(&self) -> &[f64] {
        match &self.matrix {
            NormalMatrix::Pairs(pairs) => &pairs.double,
            NormalMatrix::Patches(_) => &[],
        }
    }

    /// `B` `[outputs, inner]` at an outer tap.
    pub fn cross(&self, tap: usize) -> &[f64] {
        let size = self.outputs * self.inner;
        &self.cross[tap * size..][..size]
    }

    /// Covariance `[outer, outer]` of one feature with itself over the outer taps.
    pub fn feature(&self, feature: usize) -> Vec<f64> {
        if let Some(seen) = self.seen() {
            let mut own = seen.rows.feature(feature, self.outer);
            let ridge = seen.ridge.between(feature, feature, self.inner);
            dense::add_to_diagonal(&mut own, self.outer, ridge);
            return own;
        }
        let at = feature * (self.inner + 1);
        let pairs = self.pairs().chunks_exact(self.inner * self.inner);
        pairs.map(|pair| pair[at]).collect()
    }

    /// Mean over the outer taps of the features' covariance, `[inner, inner]`.
    pub fn inner_metric(&self) -> Vec<f64> {
        if let Some(seen) = self.seen() {
            let made = seen.inner.get_or_init(|| {
                let mut mean = seen.rows.inner_sum(self.outer);
                mean.iter_mut().for_each(|m| *m /= self.outer as f64);
                seen.ridge.add_to(&mut mean, self.inner);
                mean
            });
            return made.clone();
        }
        let mut mean = vec![0.0; self.inner * self.inner];
        for tap in 0..self.outer {
            dense::axpy(&mut mean, 1.0 / self.outer as f64, self.pair(tap, tap));
        }
        mean
    }

    /// Correlation of the outer taps, `[outer, outer]`: the traces of all pairs, scaled to a mean
    /// diagonal of one. Where `C` is a Kronecker product, it is that of both metrics.
    pub fn outer_metric(&self) -> Vec<f64> {
        let mut traces: Vec<f64> = match self.seen() {
            Some(seen) => {
                let made = seen.outer.get_or_init(|| {
                    let mut sum = seen.rows.outer_sum(self.outer);
                    let ridge = seen.ridge.trace(self.inner);
                    dense::add_to_diagonal(&mut sum, self.outer, ridge);
                    sum
                });
                made.clone()
            }
            None => {
                let pairs = self.pairs().chunks_exact(self.inner * self.inner);
                pairs
                    .map(|pair| pair.iter().step_by(self.inner + 1).sum())
                    .collect()
            }
        };
        let mean = traces.iter().step_by(self.outer + 1).sum::<f64>() / self.outer as f64;
        if mean > 0.0 {
            traces.iter_mut().for_each(|t| *t /= mean);
        }
        traces
    }

    /// The problem behind a first stage `front` `[features, inner]` applied at every outer tap.
    pub fn reduced(&self, front: &[f64], features: usize) -> Result<Self, FactorError> {
        let cross = self.reduced_cross(front, features);
        let (outputs, outer) = (self.outputs, self.outer);
        let matrix = match self.seen() {
            None => NormalMatrix::Pairs(Pairs::new(self.reduced_pairs(front, features)?)),
            Some(seen) => {
                let rows = seen.rows.behind(front, outer)?;
                let ridge = self.reduced_ridge(&seen.ridge, front, features);
                let behind = PatchCovariance::new(rows, Ridge::Features(ridge));
                match outer * features <= behind.rows.len().max(DIRECT) {
                    true => NormalMatrix::Pairs(Pairs::new(pairs_of(&behind, outer)?)),
                    false => NormalMatrix::Patches(Arc::new(behind)),
                }
            }
        };
        Ok(Self {
            outputs,
            inner: features,
            outer,
            matrix,
            cross,
        })
    }

    /// `B` behind a first stage, `[outer, outputs, features]`.
    fn reduced_cross(&self, front: &[f64], features: usize) -> Vec<f64> {
        let front = dense::view(front, features, self.inner);
        let mut cross = vec![0.0; self.outer * self.outputs * features];
        for (tap, out) in cross.chunks_exact_mut(self.outputs * features).enumerate() {
            let b = dense::view(self.cross(tap), self.outputs, self.inner);
            dense::product(out, false, b, front.transpose());
        }
        cross
    }

    /// The ridge of the features that `front` makes, `[features, features]`.
    fn reduced_ridge(&self, ridge: &Ridge, front: &[f64], features: usize) -> Vec<f64> {
        let n = self.inner;
        let view = dense::view(front, features, n);
        let mut out = vec![0.0; features * features];
        match ridge {
            Ridge::Even(ridge) => {
                dense::product(&mut out, false, view, view.transpose());
                out.iter_mut().for_each(|x| *x *= ridge);
            }
            Ridge::Features(matrix) => {
                let mut half = vec![0.0; features * n];
                dense::product(&mut half, false, view, dense::view(matrix, n, n));
                let half = dense::view(&half, features, n);
                dense::product(&mut out, false, half, view.transpose());
            }
        }
        out
    }

    fn reduced_pairs(&self, front: &[f64], features: usize) -> Result<Vec<f64>, FactorError> {
        let (n, outer) = (self.inner, self.outer);
        let front = dense::view(front, features, n);
        let size = features * features;
        let mut pairs = dense::zeros(outer * outer, size)?;
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
        Ok(pairs)
    }

    /// `B` and the best map behind a first stage `front` `[features, inner]`, both
    /// `[outputs, outer * features]`, outer tap first.
    pub fn best_behind(
        &self,
        front: &[f64],
        features: usize,
    ) -> Result<(Vec<f64>, Vec<f64>), FactorError> {
        let (outer, width) = (self.outer, self.outer * features);
        if let Some(seen) = self.seen()
            && width > seen.rows.len().max(DIRECT)
        {
            return self.best_by_positions(seen, front, features);
        }
        let (matrix, cross) = self.reduced(front, features)?.dense()?;
        let mut best = cross.clone();
        Cholesky::regularised(&matrix, features * outer)?.solve(&mut best);
        Ok((cross, best))
    }

    /// [`Problem::best_behind`] in the space of the positions: behind a front that is whitened by
    /// the ridge, so that the ridge is the identity.
    fn best_by_positions(
        &self,
        seen: &PatchCovariance,
        front: &[f64],
        features: usize,
    ) -> Result<(Vec<f64>, Vec<f64>), FactorError> {
        let (inner, outer, outputs) = (self.inner, self.outer, self.outputs);
        let metric = self.inner_metric();
        let view = dense::view(front, features, inner);
        let mut half = vec![0.0; features * inner];
        dense::product(&mut half, false, view, dense::view(&metric, inner, inner));
        let jitter = jitter(dense::dot(&half, front), features);
        let mut ridge = self.reduced_ridge(&seen.ridge, front, features);
        dense::add_to_diagonal(&mut ridge, features, jitter);
        let ridge = Cholesky::regularised(&ridge, features)?;
        let by_column = |rows: &[f64], work: &dyn Fn(&mut [f64])| {
            let mut turned = dense::transposed(rows, features, rows.len() / features);
            work(&mut turned);
            dense::transposed(&turned, turned.len() / features, features)
        };
        let white = by_column(front, &|rows| ridge.solve_lower(rows));
        let dual = Dual::new(seen.rows.behind(&white, outer)?, 1.0)?;
        let cross = self.reduced_cross(front, features);
        // [outputs, outer, features].
        let mut by_output = vec![0.0; cross.len()];
        for (tap, rows) in cross.chunks_exact(outputs * features).enumerate() {
            for (o, row) in rows.chunks_exact(features).enumerate() {
                by_output[(o * outer + tap) * features..][..features].copy_from_slice(row);
            }
        }
        let mut white = by_output.clone();
        ridge.solve_lower(&mut white);
        let solved = dual.solve(&dense::rows_transposed(&white, outer, features));
        let mut best = dense::rows_transposed(&solved, features, outer);
        ridge.divide(&mut best);
        Ok((by_output, best))
    }

    /// `maps C` for maps `[r, inner, outer]`, where positions stand for `C`; with products in single
    /// precision, as [`Problem::single_pair`].
    pub fn times(&self, seen: &PatchCovariance, maps: &[f64]) -> Vec<f64> {
        let mut out = dense::double(&seen.rows.times(&dense::single(maps)));
        match &seen.ridge {
            Ridge::Even(ridge) => dense::axpy(&mut out, *ridge, maps),
            Ridge::Features(matrix) => {
                let (inner, outer) = (self.inner, self.outer);
                let matrix = dense::view(matrix, inner, inner);
                let rows = maps.chunks_exact(inner * outer);
                for (map, out) in rows.zip(out.chunks_exact_mut(inner * outer)) {
                    dense::panel(out, true, matrix, dense::view(map, inner, outer));
                }
            }
        }
        out
    }

    /// `C` `[outer * inner, outer * inner]` and `B` `[outputs, outer * inner]`, outer tap first.
    fn dense(&self) -> Result<(Vec<f64>, Vec<f64>), FactorError> {
        let (n, outer) = (self.inner, self.outer);
        let made;
        let pairs = match self.seen() {
            Some(seen) => {
                made = pairs_of(seen, outer)?;
                &made
            }
            None => self.pairs(),
        };
        let mut matrix = dense::zeros(outer * n, outer * n)?;
        for (at, out) in matrix.chunks_exact_mut(n).enumerate() {
            let (row, t) = (at / outer, at % outer);
            let (s, i) = (row / n, row % n);
            out.copy_from_slice(&pairs[((s * outer + t) * n + i) * n..][..n]);
        }
        let mut cross = Vec::with_capacity(self.cross.len());
        for o in 0..self.outputs {
            (0..outer).for_each(|s| cross.extend(&self.cross(s)[o * n..][..n]));
        }
        Ok((matrix, cross))
    }
}

/// The pairs of positions' covariance.
fn pairs_of(seen: &PatchCovariance, outer: usize) -> Result<Vec<f64>, FactorError> {
    let d = seen.rows.width();
    let inner = d / outer;
    let covariance = seen.rows.covariance()?;
    let mut pairs = dense::zeros(d, d)?;
    let tasks = pairs.par_chunks_mut(inner * inner).enumerate();
    tasks.for_each(|(pair, out)| {
        let (s, t) = (pair / outer, pair % outer);
        for (i, out) in out.chunks_exact_mut(inner).enumerate() {
            let row = &covariance[(i * outer + s) * d..][..d];
            let values = row.iter().skip(t).step_by(outer);
            out.iter_mut().zip(values).for_each(|(o, v)| *o = *v);
        }
        if s == t {
            seen.ridge.add_to(out, inner);
        }
    });
    Ok(pairs)
}

/// The first addition of [`Cholesky::regularised`] to the diagonal of a matrix of that trace.
pub(crate) fn jitter(trace: f64, order: usize) -> f64 {
    JITTER * trace / order.max(1) as f64
}

/// Factors of the covariance of every feature over the taps.
pub(crate) fn feature_factors(problem: &Problem) -> Result<Vec<Cholesky>, FactorError> {
    let features = (0..problem.inner).into_par_iter();
    let factors = features.map(|i| Cholesky::regularised(&problem.feature(i), problem.outer));
    factors.collect()
}
