//! Filters of features behind a front, one a feature: of `cp`, where there are more features than inputs.

use rayon::prelude::*;

use super::depthwise::FILTER_LIMITS;
use super::problem::Problem;
use crate::error::FactorError;
use crate::linalg::cholesky::Cholesky;
use crate::linalg::conjugate::{self, System};
use crate::linalg::dense::{self, dot_single};

/// The matrix of the normal equations of filters `D[r, t]` between a front `V` `[features, inner]` and a mixture
/// `P` `[outputs, features]`, `N[rt, qs] = (P^T P)[r, q] (V C_ts V^T)[r, q]`, in single precision.
struct FilterMatrix {
    features: usize,
    outer: usize,
    /// Pairs of taps `t <= s`, in rising order.
    pairs: Vec<(usize, usize)>,
    /// A block `[features, features]` for every pair.
    blocks: Vec<f32>,
}

impl FilterMatrix {
    fn new(problem: &Problem, front: &[f64], mixture: &[f64]) -> Result<Self, FactorError> {
        let &Problem {
            inner,
            outer,
            outputs,
            ..
        } = problem;
        let features = front.len() / inner;
        let size = features * features;
        let mixture = dense::single(mixture);
        let mixture = dense::view(&mixture, outputs, features);
        let mut gram = dense::zeros::<f32>(features, features)?;
        dense::product(&mut gram, false, mixture.transpose(), mixture);
        let front = dense::single(front);
        let front = dense::view(&front, features, inner);
        let pairs: Vec<(usize, usize)> = (0..outer)
            .flat_map(|t| (t..outer).map(move |s| (t, s)))
            .collect();
        let mut blocks = dense::zeros::<f32>(pairs.len(), size)?;
        let parts = blocks.par_chunks_mut(size).zip(&pairs);
        parts.for_each(|(block, &(t, s))| {
            let pair = dense::view(problem.single_pair(t, s), inner, inner);
            let mut half = vec![0.0_f32; features * inner];
            dense::product(&mut half, false, front, pair);
            let half = dense::view(&half, features, inner);
            dense::product(block, false, half, front.transpose());
            block.iter_mut().zip(&gram).for_each(|(b, g)| *b *= g);
        });
        Ok(Self {
            features,
            outer,
            pairs,
            blocks,
        })
    }

    /// Every block with its pair of taps.
    fn blocks(&self) -> impl IndexedParallelIterator<Item = (&[f32], &(usize, usize))> {
        let blocks = self.blocks.par_chunks(self.features * self.features);
        blocks.zip(&self.pairs)
    }

    /// `N x` of filters `x` `[features, outer]`.
    fn apply(&self, x: &[f64], out: &mut [f64]) {
        let &Self {
            features, outer, ..
        } = self;
        let by_tap = dense::single(&dense::transposed(x, features, outer));
        let of = |tap: usize| &by_tap[tap * features..][..features];
        // Towards the first tap of a pair by the block, towards the second by its transpose.
        let parts = self.blocks().map(|(block, &(t, s))| {
            let rows = block.chunks_exact(features);
            let first: Vec<f64> = rows.clone().map(|row| dot_single(row, of(s))).collect();
            let mut second = vec![0.0_f32; if t == s { 0 } else { features }];
            dense::vectorised(|| {
                for (row, x) in rows.zip(of(t)) {
                    let pairs = second.iter_mut().zip(row);
                    pairs.for_each(|(sum, value)| *sum += value * x);
                }
            });
            (first, second)
        });
        let parts: Vec<(Vec<f64>, Vec<f32>)> = parts.collect();
        out.fill(0.0);
        for ((first, second), &(t, s)) in parts.iter().zip(&self.pairs) {
            let rows = out.chunks_exact_mut(outer);
            rows.zip(first).for_each(|(row, sum)| row[t] += sum);
            let rows = out.chunks_exact_mut(outer);
            rows.zip(second)
                .for_each(|(row, sum)| row[s] += f64::from(*sum));
        }
    }

    /// Factors of the blocks `[outer, outer]` of every feature with itself.
    fn own(&self) -> Result<Vec<Cholesky>, FactorError> {
        let (features, outer) = (self.features, self.outer);
        let size = features * features;
        let own = (0..features).into_par_iter().map(|r| {
            let mut matrix = vec![0.0; outer * outer];
            for (block, &(t, s)) in self.blocks.chunks_exact(size).zip(&self.pairs) {
                let value = f64::from(block[r * (features + 1)]);
                matrix[t * outer + s] = value;
                matrix[s * outer + t] = value;
            }
            Cholesky::regularised(&matrix, outer)
        });
        own.collect()
    }
}

/// Better filters `[features, outer]` between `front` `[features, inner]` and `mixture` `[outputs, features]`, by conjugate
/// gradients; of a problem for which no positions stand.
pub(crate) fn filters_between(
    problem: &Problem,
    front: &[f64],
    mixture: &[f64],
    filters: &mut [f64],
) -> Result<(), FactorError> {
    let &Problem {
        inner,
        outer,
        outputs,
        ..
    } = problem;
    let features = front.len() / inner;
    let matrix = FilterMatrix::new(problem, front, mixture)?;
    let own = matrix.own()?;
    let mut rhs = vec![0.0; filters.len()];
    let mut mixed = vec![0.0; front.len()];
    let mixture = dense::view(mixture, outputs, features);
    for t in 0..outer {
        let b = dense::view(problem.cross(t), outputs, inner);
        dense::product(&mut mixed, false, mixture.transpose(), b);
        let rows = mixed.chunks_exact(inner).zip(front.chunks_exact(inner));
        for ((mixed, front), rhs) in rows.zip(rhs.chunks_exact_mut(outer)) {
            rhs[t] = dense::dot(mixed, front);
        }
    }
    let precondition = |x: &[f64], out: &mut [f64]| {
        out.copy_from_slice(x);
        let rows = out.chunks_exact_mut(outer).zip(&own);
        rows.for_each(|(row, own)| own.solve(row));
    };
    let system = System {
        apply: |x: &[f64], out: &mut [f64]| matrix.apply(x, out),
        precondition,
    };
    let limits = FILTER_LIMITS.of_patches(inner * outer);
    conjugate::solve(filters, &rhs, limits, system);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::depthwise::{DepthwiseSolver, mixture_behind};
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn filters_are_those_of_the_problem_behind_the_front() {
        let (outputs, inner, outer, features) = (7, 4, 3, 9);
        let mut random = SplitMix64::new(5, 0);
        let mut numbers = |n: usize| -> Vec<f64> {
            let number = |_| random.below(2001) as f64 / 1000.0 - 1.0;
            (0..n).map(number).collect()
        };
        let d = inner * outer;
        let samples = numbers(d * 60);
        let samples = dense::view(&samples, d, 60);
        let mut covariance = vec![0.0; d * d];
        dense::product(&mut covariance, false, samples, samples.transpose());
        let cross = numbers(outputs * d);
        let problem = Problem::new(&covariance, 1e-3, &cross, outputs, outer).unwrap();
        let (front, start) = (numbers(features * inner), numbers(features * outer));
        let mixture = mixture_behind(&problem, &front, &start).unwrap();
        let mut found = start.clone();
        filters_between(&problem, &front, &mixture, &mut found).unwrap();
        let reduced = problem.reduced(&front, features).unwrap();
        let mut expected = start;
        let solver = DepthwiseSolver::new(&reduced).unwrap();
        solver.filters(&mixture, &mut expected).unwrap();
        // Products are in single precision, and the iteration is cut short: the errors that are left are compared.
        let matrix = FilterMatrix::new(&problem, &front, &mixture).unwrap();
        let objective = |filters: &[f64]| {
            let made = |o: usize, t: usize, i: usize| -> f64 {
                let parts = (0..features).map(|r| {
                    mixture[o * features + r] * filters[r * outer + t] * front[r * inner + i]
                });
                parts.sum()
            };
            let map: Vec<f64> = (0..outputs * d)
                .map(|at| made(at / d, at % outer, at % d / outer))
                .collect();
            let mut seen = vec![0.0; outputs * d];
            let view = dense::view(&map, outputs, d);
            dense::product(&mut seen, false, view, dense::view(&covariance, d, d));
            let ridge = 1e-3 * dense::dot(&map, &map);
            dense::dot(&seen, &map) + ridge - 2.0 * dense::dot(&map, &cross)
        };
        let (a, b) = (objective(&found), objective(&expected));
        assert!((a - b).abs() < 1e-3 * b.abs(), "{a} {b}");
        // The matrix is symmetric.
        let (x, y) = (numbers(features * outer), numbers(features * outer));
        let by = |x: &[f64]| {
            let mut out = vec![0.0; x.len()];
            matrix.apply(x, &mut out);
            out
        };
        let (a, b) = (dense::dot(&by(&x), &y), dense::dot(&by(&y), &x));
        assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "{a} {b}");
    }
}
