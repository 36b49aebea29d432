//! A first stage that turns features into fewer (or other) ones in the same way at every outer
//! tap: `We[o, q, s] = sum over r of M[o, s, r] V[r, q]`.

use rayon::prelude::*;

use super::factored;
use super::problem::Problem;
use crate::error::FactorError;
use crate::linalg::cholesky::Cholesky;
use crate::linalg::conjugate::{self, Limits};
use crate::linalg::dense::{self, axpy};
use crate::linalg::{eigen, gram};

const LIMITS: Limits = Limits {
    iterations: 8,
    tolerance: 1e-4,
};

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
        let inner = factored(&metric, problem.inner)?;
        let outer = factored(&problem.outer_metric(), problem.outer)?;
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
    (outputs, inner, outer): (usize, usize, usize),
    whitening: Option<&Whitening>,
    slice: usize,
) -> Result<(Vec<f64>, Vec<f64>), FactorError> {
    let mut map = map.to_vec();
    if let Some(whitening) = whitening {
        whitening.outer.multiply(&mut map);
    }
    // [inner, outer, outputs]: a row a feature.
    let rows = dense::transposed(&map, outputs, inner * outer);
    let rows = dense::view(&rows, inner, outer * outputs);
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

/// Solver for the first stage, given what follows it.
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
        let back = dense::view(back, outputs, width);
        // [(s, r), (t, r')].
        let mut gram = vec![0.0; width * width];
        dense::product(&mut gram, false, back.transpose(), back);
        let mut rhs = vec![0.0; front.len()];
        for s in 0..outer {
            let stage = back.subcols(s * features, features).transpose();
            let b = dense::view(self.problem.cross(s), outputs, inner);
            dense::product(&mut rhs, true, stage, b);
        }
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
        let mixed = factored(&mixed, features)?;
        let apply = |v: &[f64], out: &mut [f64]| {
            let v = dense::view(v, features, inner);
            let parts = (0..outer).into_par_iter().map(|s| {
                let mut seen = vec![0.0; width * inner];
                for (t, seen) in seen.chunks_exact_mut(features * inner).enumerate() {
                    let pair = dense::view(self.problem.pair(t, s), inner, inner);
                    dense::panel(seen, false, v, pair);
                }
                let rows = &gram[s * features * width..][..features * width];
                let mut part = vec![0.0; features * inner];
                let seen = dense::view(&seen, width, inner);
                dense::panel(&mut part, false, dense::view(rows, features, width), seen);
                part
            });
            let parts: Vec<Vec<f64>> = parts.collect();
            out.fill(0.0);
            parts.iter().for_each(|part| axpy(out, 1.0, part));
        };
        let precondition = |x: &[f64], out: &mut [f64]| {
            let mut turned = dense::transposed(x, features, inner);
            mixed.solve(&mut turned);
            out.copy_from_slice(&dense::transposed(&turned, inner, features));
            self.whitening.inner.solve(out);
        };
        conjugate::solve(front, &rhs, LIMITS, apply, precondition);
        Ok(())
    }

    /// Makes the rows of `front` orthonormal under the features' metric; what follows must then
    /// be solved for anew.
    pub fn orthonormalise(&self, front: &mut [f64]) -> Result<(), FactorError> {
        let inner = self.problem.inner;
        let features = front.len() / inner;
        self.whitening.inner.multiply(front);
        let rows = dense::view(front, features, inner);
        let mut gram = vec![0.0; features * features];
        dense::product(&mut gram, false, rows, rows.transpose());
        let mut turned = dense::transposed(front, features, inner);
        factored(&gram, features)?.solve_lower(&mut turned);
        front.copy_from_slice(&dense::transposed(&turned, inner, features));
        self.whitening.inner.divide(front);
        Ok(())
    }
}
