//! A first stage that turns features into fewer (or other) ones in the same way at every outer
//! tap: `We[o, q, s] = sum over r of M[o, s, r] V[r, q]`.

use std::sync::OnceLock;

use faer::MatRef;
use rayon::prelude::*;

use super::calibration::Target;
use super::problem::{MapExtents, PatchCovariance, Problem, Ridge};
use crate::error::FactorError;
use crate::linalg::cholesky::Cholesky;
use crate::linalg::conjugate::{self, Limits, System};
use crate::linalg::dense::{self, axpy};
use crate::linalg::{eigen, gram, singular};
use crate::once::made_once;

const LIMITS: Limits = Limits {
    iterations: 4,
    tolerance: 1e-4,
};

/// Features whose maps are made at a time.
const TOGETHER: usize = 64;

/// The metrics of features and of outer taps: where `C` is their Kronecker product, whitening by
/// their factors makes the output error the Frobenius norm.
pub(crate) struct Whitening {
    /// Of the features, `[inner, inner]`.
    pub metric: Vec<f64>,
    /// Its factor.
    pub inner: Cholesky,
    /// The factor of that of the outer taps.
    pub outer: Cholesky,
}

impl Whitening {
    pub fn new(problem: &Problem) -> Result<Self, FactorError> {
        let metric = problem.inner_metric();
        let inner = Cholesky::regularised(&metric, problem.inner)?;
        let outer = Cholesky::regularised(&problem.outer_metric(), problem.outer)?;
        Ok(Self {
            metric,
            inner,
            outer,
        })
    }
}

/// The features that carry the most of a map `[outputs, inner, outer]`: squared singular values in
/// falling order, and the stage `[inner, inner]` whose first `R` rows are the best `R` features
/// under the (Kronecker) metric of `whitening`, the Frobenius norm without. The rows are
/// orthonormal under that metric.
pub(crate) fn feature_basis(
    map: &[f64],
    extents: MapExtents,
    whitening: Option<&Whitening>,
    slice: usize,
) -> Result<(Vec<f64>, Vec<f64>), FactorError> {
    let inner = extents.inner;
    let rows = features_of(map, extents, whitening);
    let rows = dense::view(&rows, inner, extents.outer * extents.outputs);
    let mut matrix = vec![0.0; inner * inner];
    dense::product(&mut matrix, false, rows, rows.transpose());
    if let Some(whitening) = whitening {
        whitening.inner.multiply(&mut matrix);
        matrix = dense::transposed(&matrix, inner, inner);
        whitening.inner.multiply(&mut matrix);
    }
    gram::mirror(&mut matrix, inner);
    let (mut values, mut basis) = (vec![0.0; inner], vec![0.0; inner * inner]);
    eigen::symmetric_eigen(&matrix, inner, &mut values, &mut basis)
        .ok_or(FactorError::NoConvergence { slice })?;
    values.iter_mut().for_each(|v| *v = v.max(0.0));
    if let Some(whitening) = whitening {
        whitening.inner.divide(&mut basis);
    }
    Ok((values, basis))
}

/// The part of [`feature_basis`] that carries anything: at least `min(inner, outer outputs)` values and rows. Where features
/// are more than twice as many as the columns that they carry, a thin SVD takes less work.
///
/// # Errors
/// [`FactorError::NoConvergence`].
pub(crate) fn leading_features(
    map: &[f64],
    extents: MapExtents,
    whitening: Option<&Whitening>,
    slice: usize,
) -> Result<(Vec<f64>, Vec<f64>), FactorError> {
    let (inner, carried) = (extents.inner, extents.outer * extents.outputs);
    if 2 * carried > inner {
        return feature_basis(map, extents, whitening, slice);
    }
    let features = features_of(map, extents, whitening);
    let mut rows = dense::transposed(&features, inner, carried);
    if let Some(whitening) = whitening {
        whitening.inner.multiply(&mut rows);
    }
    let (values, mut basis) =
        singular::right(&rows, carried, inner).ok_or(FactorError::NoConvergence { slice })?;
    if let Some(whitening) = whitening {
        whitening.inner.divide(&mut basis);
    }
    Ok((values.iter().map(|v| v * v).collect(), basis))
}

/// A map `[outputs, inner, outer]` as `[inner, outer, outputs]`, a row a feature, whitened over the outer taps.
fn features_of(map: &[f64], extents: MapExtents, whitening: Option<&Whitening>) -> Vec<f64> {
    let mut map = map.to_vec();
    if let Some(whitening) = whitening {
        whitening.outer.multiply(&mut map);
    }
    dense::transposed(&map, extents.outputs, extents.inner * extents.outer)
}

/// [`leading_features`] of a group's optimum, made where it is first asked for: who goes on from a
/// chain does not need it.
pub(crate) struct StartBasis<'a> {
    target: &'a Target,
    group: usize,
    basis: OnceLock<Vec<f64>>,
}

impl<'a> StartBasis<'a> {
    /// Of the optimum of `target`.
    pub fn new(target: &'a Target, group: usize) -> Self {
        Self {
            target,
            group,
            basis: OnceLock::new(),
        }
    }

    /// The first `features` of all, at most `min(inner, outer outputs)`: `[features, inner]`.
    pub fn first(&self, features: usize, front: &Front<'_>) -> Result<Vec<f64>, FactorError> {
        let problem = front.problem;
        let basis = made_once(&self.basis, || {
            let extents = problem.extents();
            let whitening = Some(&front.whitening);
            Ok(leading_features(self.target.optimum()?, extents, whitening, self.group)?.1)
        })?;
        Ok(basis[..features * problem.inner].to_vec())
    }
}

/// Squared singular values of a matrix `[rows, width]`, and its right singular vectors as rows
/// `[width, width]`.
pub(crate) fn slice_components(
    matrix: &[f64],
    width: usize,
    slice: usize,
) -> Result<(Vec<f64>, Vec<f64>), FactorError> {
    let mut products = vec![0.0; width * width];
    gram::accumulate(&mut products, matrix, width);
    gram::mirror(&mut products, width);
    let (mut values, mut vectors) = (vec![0.0; width], vec![0.0; width * width]);
    eigen::symmetric_eigen(&products, width, &mut values, &mut vectors)
        .ok_or(FactorError::NoConvergence { slice })?;
    values.iter_mut().for_each(|v| *v = v.max(0.0));
    Ok((values, vectors))
}

/// The system of a first stage before filters of its features' own.
struct FilterSystem<'a> {
    /// `D`, `[features, outer]`.
    filters: &'a [f64],
    /// `P^T P`, `[features, features]`.
    gram: &'a [f64],
    /// The right-hand side `[features, inner]`.
    rhs: &'a [f64],
    /// The preconditioner's factor between features, `[features, features]`.
    mixed: &'a [f64],
}

/// Solver for the first stage, given the stages that follow it.
pub(crate) struct Front<'a> {
    pub problem: &'a Problem,
    pub whitening: Whitening,
    /// `[outer, outer]`.
    outer_metric: Vec<f64>,
}

impl<'a> Front<'a> {
    pub fn new(problem: &'a Problem) -> Result<Self, FactorError> {
        Ok(Self {
            problem,
            whitening: Whitening::new(problem)?,
            outer_metric: problem.outer_metric(),
        })
    }

    /// A better stage `front` `[features, inner]` before `back` `[outputs, outer, features]`, by
    /// conjugate gradients on `sum over s, t of M_s^T M_t V C_ts`, preconditioned by the same
    /// with the Kronecker approximation of `C`.
    pub fn improve(&self, back: &[f64], front: &mut [f64]) -> Result<(), FactorError> {
        let Problem {
            inner,
            outer,
            outputs,
            ..
        } = *self.problem;
        let features = front.len() / inner;
        let width = outer * features;
        if let Some(seen) = self.problem.seen() {
            return self.improve_by_positions(seen, back, front);
        }
        let back = dense::view(back, outputs, width);
        // [(s, r), (t, r')].
        let mut gram = dense::zeros(width, width)?;
        dense::product(&mut gram, false, back.transpose(), back);
        let rhs = self.towards(back, features);
        let mut mixed = vec![0.0; features * features];
        for (s, rows) in gram.chunks_exact(features * width).enumerate() {
            for (row, out) in rows
                .chunks_exact(width)
                .zip(mixed.chunks_exact_mut(features))
            {
                for (t, row) in row.chunks_exact(features).enumerate() {
                    axpy(out, self.outer_metric[s * outer + t], row);
                }
            }
        }
        let gram = dense::single(&gram);
        let mut seen = vec![0.0_f32; width * inner];
        let mut sum = vec![0.0_f32; front.len()];
        let apply = |v: &[f64], out: &mut [f64]| {
            let v = dense::single(v);
            let v = dense::view(&v, features, inner);
            for s in 0..outer {
                for (t, seen) in seen.chunks_exact_mut(features * inner).enumerate() {
                    let pair = dense::view(self.problem.single_pair(t, s), inner, inner);
                    dense::product(seen, false, v, pair);
                }
                let rows = &gram[s * features * width..][..features * width];
                let seen = dense::view(&seen, width, inner);
                dense::product(&mut sum, s > 0, dense::view(rows, features, width), seen);
            }
            dense::widen(out, &sum);
        };
        self.iterate(front, &rhs, &mixed, apply)
    }

    /// The right-hand side `[features, inner]` of the system of the front before `back`
    /// `[outputs, outer * features]`.
    fn towards(&self, back: MatRef<'_, f64>, features: usize) -> Vec<f64> {
        let Problem {
            inner,
            outer,
            outputs,
            ..
        } = *self.problem;
        let mut rhs = vec![0.0; features * inner];
        for s in 0..outer {
            let stage = back.subcols(s * features, features).transpose();
            let b = dense::view(self.problem.cross(s), outputs, inner);
            dense::product(&mut rhs, true, stage, b);
        }
        rhs
    }

    /// [`Front::improve`] of positions: a product costs `2 n features (d + outer outputs)`, and
    /// nothing is as large as the square of the features behind the front.
    fn improve_by_positions(
        &self,
        seen: &PatchCovariance,
        back: &[f64],
        front: &mut [f64],
    ) -> Result<(), FactorError> {
        let Problem {
            inner,
            outer,
            outputs,
            ..
        } = *self.problem;
        let (n, features) = (seen.rows.len(), front.len() / inner);
        let width = outer * features;
        let rhs = self.towards(dense::view(back, outputs, width), features);
        // By the outer taps' metric, and by the ridge: M_s^T M_t over all s, t and over s = t.
        let (mut mixed, mut ridged) = (vec![0.0; features * features], Vec::new());
        ridged.resize(mixed.len(), 0.0);
        let view = dense::view(back, outputs, width);
        let mut turned = vec![0.0; outputs * features];
        for s in 0..outer {
            turned.fill(0.0);
            for t in 0..outer {
                let share = self.outer_metric[s * outer + t];
                for (row, back) in turned
                    .chunks_exact_mut(features)
                    .zip(back.chunks_exact(width))
                {
                    axpy(row, share, &back[t * features..][..features]);
                }
            }
            let stage = view.subcols(s * features, features);
            let turned = dense::view(&turned, outputs, features);
            dense::product(&mut mixed, true, stage.transpose(), turned);
            dense::product(&mut ridged, true, stage.transpose(), stage);
        }
        // [outputs, features, outer], as features of positions are ordered.
        let map = dense::single(&dense::rows_transposed(back, outer, features));
        let map = dense::view(&map, outputs, width);
        let mut failed = None;
        let apply = |v: &[f64], out: &mut [f64]| {
            let mut behind = match seen.rows.turned(&dense::single(v), outer) {
                Ok(behind) => behind,
                Err(error) => {
                    failed = Some(error);
                    return out.fill(0.0);
                }
            };
            let mut answers = vec![0.0_f32; n * outputs];
            let view = dense::view(&behind, n, width);
            dense::product(&mut answers, false, view, map.transpose());
            dense::product(&mut behind, false, dense::view(&answers, n, outputs), map);
            dense::widen(out, &seen.rows.turned_back(&behind, outer));
            self.add_ridge(seen, &ridged, v, out);
        };
        self.iterate(front, &rhs, &mixed, apply)?;
        failed.map_or(Ok(()), Err)
    }

    /// Adds `gram V R` to `out`, with `R` the ridge of the features.
    fn add_ridge(&self, seen: &PatchCovariance, gram: &[f64], v: &[f64], out: &mut [f64]) {
        let inner = self.problem.inner;
        let features = v.len() / inner;
        let mut ridged = v.to_vec();
        match &seen.ridge {
            Ridge::Even(ridge) => ridged.iter_mut().for_each(|x| *x *= ridge),
            Ridge::Features(matrix) => {
                let v = dense::view(v, features, inner);
                dense::product(&mut ridged, false, v, dense::view(matrix, inner, inner));
            }
        }
        let gram = dense::view(gram, features, features);
        dense::product(out, true, gram, dense::view(&ridged, features, inner));
    }

    /// [`Front::improve`] before filters `[features, outer]`, one per feature, and their mixture
    /// `[outputs, features]`: `M[o, s, r] = P[o, r] D[r, s]`, of which no product is formed.
    pub fn improve_before_filters(
        &self,
        filters: &[f64],
        mixture: &[f64],
        front: &mut [f64],
    ) -> Result<(), FactorError> {
        let Problem {
            inner,
            outer,
            outputs,
            ..
        } = *self.problem;
        let features = front.len() / inner;
        let mixture = dense::view(mixture, outputs, features);
        let mut gram = vec![0.0; features * features];
        dense::product(&mut gram, false, mixture.transpose(), mixture);
        let taps = dense::transposed(filters, features, outer);
        // out[r] += D[r, s] x[r].
        let scaled = |out: &mut [f64], x: &[f64], tap: usize| {
            let rows = out.chunks_exact_mut(inner).zip(x.chunks_exact(inner));
            for ((out, x), d) in rows.zip(&taps[tap * features..]) {
                axpy(out, *d, x);
            }
        };
        let mut rhs = vec![0.0; front.len()];
        let mut mixed = vec![0.0; front.len()];
        for s in 0..outer {
            let b = dense::view(self.problem.cross(s), outputs, inner);
            dense::product(&mut mixed, false, mixture.transpose(), b);
            scaled(&mut rhs, &mixed, s);
        }
        let by_filter = dense::view(filters, features, outer);
        let metric = dense::view(&self.outer_metric, outer, outer);
        let (mut turned, mut mixed) = (vec![0.0; features * outer], vec![0.0; gram.len()]);
        dense::product(&mut turned, false, by_filter, metric);
        let turned = dense::view(&turned, features, outer);
        dense::product(&mut mixed, false, turned, by_filter.transpose());
        mixed.iter_mut().zip(&gram).for_each(|(m, g)| *m *= g);
        if let Some(seen) = self.problem.seen() {
            let system = FilterSystem {
                filters,
                gram: &gram,
                rhs: &rhs,
                mixed: &mixed,
            };
            return self.improve_filters_by_positions(seen, &system, front);
        }
        let gram = dense::single(&gram);
        let gram = dense::view(&gram, features, features);
        // The front times the filters of every tap, [outer, features, inner].
        let mut filtered = vec![0.0_f32; outer * front.len()];
        let [mut seen, mut behind] = [(); 2].map(|()| vec![0.0_f32; front.len()]);
        let mut wide = vec![0.0; front.len()];
        let apply = |v: &[f64], out: &mut [f64]| {
            let maps = filtered.par_chunks_exact_mut(v.len()).enumerate();
            maps.for_each(|(t, map)| {
                let rows = map.chunks_exact_mut(inner).zip(v.chunks_exact(inner));
                for ((map, v), d) in rows.zip(&taps[t * features..]) {
                    let pairs = map.iter_mut().zip(v);
                    pairs.for_each(|(map, v)| *map = (d * v) as f32);
                }
            });
            out.fill(0.0);
            for s in 0..outer {
                for (t, map) in filtered.chunks_exact(v.len()).enumerate() {
                    let pair = dense::view(self.problem.single_pair(t, s), inner, inner);
                    dense::product(&mut seen, t > 0, dense::view(map, features, inner), pair);
                }
                let seen = dense::view(&seen, features, inner);
                dense::product(&mut behind, false, gram, seen);
                dense::widen(&mut wide, &behind);
                scaled(out, &wide, s);
            }
        };
        self.iterate(front, &rhs, &mixed, apply)
    }

    /// [`Front::improve_before_filters`] of positions. Maps are made of some features at a time.
    fn improve_filters_by_positions(
        &self,
        seen: &PatchCovariance,
        system: &FilterSystem<'_>,
        front: &mut [f64],
    ) -> Result<(), FactorError> {
        let &FilterSystem {
            filters,
            gram,
            rhs,
            mixed,
        } = system;
        let Problem { inner, outer, .. } = *self.problem;
        let (n, features) = (seen.rows.len(), front.len() / inner);
        let by_filter = dense::view(filters, features, outer);
        let mut ridged = vec![0.0; gram.len()];
        dense::product(&mut ridged, false, by_filter, by_filter.transpose());
        ridged.iter_mut().zip(gram).for_each(|(r, g)| *r *= g);
        let gram = dense::single(gram);
        let gram = dense::view(&gram, features, features);
        let apply = |v: &[f64], out: &mut [f64]| {
            // Every feature at every position, filtered: a column a feature.
            let mut made = vec![0.0_f32; n * features];
            for first in (0..features).step_by(TOGETHER) {
                let some = TOGETHER.min(features - first);
                let mut maps = vec![0.0_f32; some * inner * outer];
                let rows = maps.chunks_exact_mut(inner * outer).enumerate();
                for (r, map) in rows {
                    let filter = &filters[(first + r) * outer..][..outer];
                    let v = &v[(first + r) * inner..][..inner];
                    for (map, v) in map.chunks_exact_mut(outer).zip(v) {
                        let pairs = map.iter_mut().zip(filter);
                        pairs.for_each(|(m, d)| *m = (v * d) as f32);
                    }
                }
                let part = seen.rows.project(&maps);
                let rows = made.chunks_exact_mut(features).zip(part.chunks_exact(some));
                rows.for_each(|(row, part)| row[first..][..some].copy_from_slice(part));
            }
            let mut mixed = vec![0.0_f32; n * features];
            dense::product(&mut mixed, false, dense::view(&made, n, features), gram);
            for first in (0..features).step_by(TOGETHER) {
                let some = TOGETHER.min(features - first);
                let rows = mixed.chunks_exact(features);
                let part: Vec<f32> = rows
                    .flat_map(|row| &row[first..][..some])
                    .copied()
                    .collect();
                let maps = seen.rows.gather(&part);
                for (r, map) in maps.chunks_exact(inner * outer).enumerate() {
                    let filter = &filters[(first + r) * outer..][..outer];
                    let out = &mut out[(first + r) * inner..][..inner];
                    for (out, map) in out.iter_mut().zip(map.chunks_exact(outer)) {
                        let pairs = map.iter().zip(filter);
                        *out = pairs.map(|(m, d)| f64::from(*m) * d).sum();
                    }
                }
            }
            self.add_ridge(seen, &ridged, v, out);
        };
        self.iterate(front, rhs, mixed, apply)
    }

    /// Conjugate gradients on `apply`, preconditioned by `mixed` `[features, features]` and the
    /// features' metric.
    fn iterate(
        &self,
        front: &mut [f64],
        rhs: &[f64],
        mixed: &[f64],
        apply: impl FnMut(&[f64], &mut [f64]),
    ) -> Result<(), FactorError> {
        let Problem { inner, outer, .. } = *self.problem;
        let features = front.len() / inner;
        let mixed = Cholesky::regularised(mixed, features)?;
        let precondition = |x: &[f64], out: &mut [f64]| {
            let mut turned = dense::transposed(x, features, inner);
            mixed.solve(&mut turned);
            out.copy_from_slice(&dense::transposed(&turned, inner, features));
            self.whitening.inner.solve(out);
        };
        let limits = LIMITS.of_patches(inner * outer);
        let system = System {
            apply,
            precondition,
        };
        conjugate::solve(front, rhs, limits, system);
        Ok(())
    }

    /// Makes the rows of `front` orthonormal under the features' metric; the following stages must then
    /// be solved for anew.
    pub fn orthonormalise(&self, front: &mut [f64]) -> Result<(), FactorError> {
        let inner = self.problem.inner;
        let features = front.len() / inner;
        self.whitening.inner.multiply(front);
        let rows = dense::view(front, features, inner);
        let mut gram = vec![0.0; features * features];
        dense::product(&mut gram, false, rows, rows.transpose());
        let mut turned = dense::transposed(front, features, inner);
        Cholesky::regularised(&gram, features)?.solve_lower(&mut turned);
        front.copy_from_slice(&dense::transposed(&turned, inner, features));
        self.whitening.inner.divide(front);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn numbers(n: usize, seed: usize) -> Vec<f64> {
        let number = |i: usize| ((i * 7919 + seed * 31) % 1009) as f64 / 504.0 - 1.0;
        (0..n).map(number).collect()
    }

    fn covariance(d: usize) -> Vec<f64> {
        let samples = numbers(d * 40, 1);
        let samples = dense::view(&samples, d, 40);
        let mut covariance = vec![0.0; d * d];
        dense::product(&mut covariance, false, samples, samples.transpose());
        covariance
    }

    #[test]
    fn features_that_carry_anything_are_the_first_of_the_whole_basis() {
        let (outputs, inner, outer) = (2, 9, 2);
        let d = inner * outer;
        let map = numbers(outputs * d, 7);
        let problem = Problem::new(&covariance(d), 1e-3, &map, outputs, outer).unwrap();
        let metric = Whitening::new(&problem).unwrap();
        let extents = problem.extents();
        for whitening in [None, Some(&metric)] {
            let (values, all) = feature_basis(&map, extents, whitening, 0).unwrap();
            let (leading, rows) = leading_features(&map, extents, whitening, 0).unwrap();
            let carried = outputs * outer;
            assert_eq!((leading.len(), rows.len()), (carried, carried * inner));
            for (found, expected) in leading.iter().zip(&values) {
                assert!((found - expected).abs() < 1e-9 * values[0]);
            }
            for (found, expected) in rows.chunks_exact(inner).zip(all.chunks_exact(inner)) {
                let largest = expected.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
                let sign = dense::dot(found, expected).signum();
                for (a, b) in found.iter().zip(expected) {
                    assert!((sign * a - b).abs() < 1e-6 * largest, "{a} {b}");
                }
            }
        }
    }

    #[test]
    fn filters_of_their_own_are_a_map_like_any_other() {
        let (outputs, inner, outer, features) = (5, 4, 3, 6);
        let d = inner * outer;
        let cross = numbers(outputs * d, 2);
        let problem = Problem::new(&covariance(d), 1e-3, &cross, outputs, outer).unwrap();
        let solver = Front::new(&problem).unwrap();
        let (filters, mixture) = (numbers(features * outer, 3), numbers(outputs * features, 4));
        let map = |o: usize, s: usize, r: usize| mixture[o * features + r] * filters[r * outer + s];
        let map: Vec<f64> = (0..outputs * d / inner * features)
            .map(|i| map(i / (outer * features), i / features % outer, i % features))
            .collect();
        let start = numbers(features * inner, 5);
        let (mut by_map, mut by_filters) = (start.clone(), start);
        solver.improve(&map, &mut by_map).unwrap();
        solver
            .improve_before_filters(&filters, &mixture, &mut by_filters)
            .unwrap();
        let largest = by_map.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        for (a, b) in by_map.iter().zip(&by_filters) {
            // Products are in single precision.
            assert!((a - b).abs() < 1e-4 * largest, "{a} {b}");
        }
    }
}
