//! Filters per input channel and a pointwise mixture of their outputs: `dw-pw`, and the back of
//! `cp`.

use rayon::prelude::*;

use super::calibration::Target;
use super::dual;
use super::front::slice_components;
use super::problem::{DIRECT, PatchCovariance, Problem, Ridge, feature_factors, jitter};
use super::solver::{GroupSolver, Weights};
use crate::error::FactorError;
use crate::linalg::cholesky::Cholesky;
use crate::linalg::conjugate::{self, Limits, System};
use crate::linalg::dense::{self, axpy, dot};

/// The filters' system has `K Ci taps` unknowns: products with it cost `K d^2`, less than forming
/// it. The alternation starts from the last filters, so little is left to do.
pub(super) const FILTER_LIMITS: Limits = Limits {
    iterations: 30,
    tolerance: 1e-4,
};

/// The addition to the diagonal of products in single precision, as a share of its mean.
const SINGLE_JITTER: f64 = 1e-6;

/// The best mixture `[outputs, features]` behind a front `[features, inner]` with one filter
/// `[outer]` a feature, by products in single precision: for the start of an alternation.
pub(crate) fn mixture_behind(
    problem: &Problem,
    front: &[f64],
    filters: &[f64],
) -> Result<Vec<f64>, FactorError> {
    let &Problem {
        inner,
        outer,
        outputs,
        ..
    } = problem;
    let features = front.len() / inner;
    if problem.seen().is_some() {
        return mixture_reduced(problem, front, filters);
    }
    // A map [features, inner] for every tap.
    let maps: Vec<Vec<f64>> = (0..outer)
        .map(|t| {
            let rows = front.chunks_exact(inner).zip(filters.chunks_exact(outer));
            rows.flat_map(|(row, filter)| row.iter().map(move |x| x * filter[t]))
                .collect()
        })
        .collect();
    let mut mixture = vec![0.0; outputs * features];
    for (t, map) in maps.iter().enumerate() {
        let b = dense::view(problem.cross(t), outputs, inner);
        let map = dense::view(map, features, inner);
        dense::product(&mut mixture, t > 0, b, map.transpose());
    }
    let maps: Vec<Vec<f32>> = maps.iter().map(|map| dense::single(map)).collect();
    // Pairs of taps s < t, and half of those with s = t: with its transpose the whole product.
    let mut gram = vec![0.0_f32; features * features];
    let mut seen = vec![0.0_f32; features * inner];
    for (t, map) in maps.iter().enumerate() {
        let pair = dense::view(problem.single_pair(t, t), inner, inner);
        dense::product(&mut seen, false, dense::view(map, features, inner), pair);
        seen.iter_mut().for_each(|x| *x *= 0.5);
        for (s, other) in maps[..t].iter().enumerate() {
            let pair = dense::view(problem.single_pair(s, t), inner, inner);
            dense::product(&mut seen, true, dense::view(other, features, inner), pair);
        }
        let (seen, map) = (
            dense::view(&seen, features, inner),
            dense::view(map, features, inner),
        );
        dense::product(&mut gram, t > 0, seen, map.transpose());
    }
    let half = dense::transposed(&gram, features, features);
    let halves = gram.into_iter().zip(half);
    let mut gram: Vec<f64> = halves.map(|(a, b)| f64::from(a) + f64::from(b)).collect();
    let mean = gram.iter().step_by(features + 1).sum::<f64>() / features.max(1) as f64;
    dense::add_to_diagonal(&mut gram, features, SINGLE_JITTER * mean);
    match Cholesky::semidefinite(&gram, features) {
        Some(factor) => factor.solve(&mut mixture),
        // Taps that cancel leave too little of single precision.
        None => return mixture_reduced(problem, front, filters),
    }
    Ok(mixture)
}

/// [`mixture_behind`] in double precision.
fn mixture_reduced(
    problem: &Problem,
    front: &[f64],
    filters: &[f64],
) -> Result<Vec<f64>, FactorError> {
    let reduced = problem.reduced(front, front.len() / problem.inner)?;
    DepthwiseSolver::new(&reduced)?.mixture(filters)
}

/// `We[o, i, t] = sum over r of U[o, i*K + r] D[i*K + r, t]`: alternates between `U` and `D`,
/// which stay in ONNX's order, `[outputs, K*inner]` and `[K*inner, outer]`.
pub(crate) struct DepthwiseSolver<'a> {
    problem: &'a Problem,
    /// Factor of each channel's own covariance `C_ii` `[taps, taps]`.
    channels: Vec<Cholesky>,
}

impl<'a> DepthwiseSolver<'a> {
    pub fn new(problem: &'a Problem) -> Result<Self, FactorError> {
        let channels = feature_factors(problem)?;
        Ok(Self { problem, channels })
    }

    /// The best `U` for the filters `D`, in closed form: `B A^T (A C A^T)^-1`.
    pub fn mixture(&self, filters: &[f64]) -> Result<Vec<f64>, FactorError> {
        let (inner, outer) = (self.problem.inner, self.problem.outer);
        let rank = filters.len() / (inner * outer);
        let width = inner * rank;
        if let Some(seen) = self.problem.seen() {
            return self.mixture_by_positions(seen, filters);
        }
        // [rank, outer, inner]: channels side by side.
        let aligned = aligned(filters, inner, rank, outer);
        // From the channel of the row on: a factor is of the upper triangle.
        let mut gram = dense::zeros(width, width)?;
        gram.par_chunks_mut(rank * width)
            .enumerate()
            .for_each(|(i, out)| {
                let left = inner - i;
                let mut row = vec![0.0; outer * left];
                let mut sums = vec![0.0; left];
                for (k, out) in out.chunks_exact_mut(width).enumerate() {
                    row.fill(0.0);
                    for t in 0..outer {
                        let d = filters[(i * rank + k) * outer + t];
                        for (s, row) in row.chunks_exact_mut(left).enumerate() {
                            axpy(row, d, &self.problem.pair(t, s)[i * inner + i..][..left]);
                        }
                    }
                    for l in 0..rank {
                        sums.fill(0.0);
                        let pairs = row.chunks_exact(left);
                        for (row, d) in pairs.zip(aligned[l * outer * inner..].chunks_exact(inner))
                        {
                            sums.iter_mut()
                                .zip(row.iter().zip(&d[i..]))
                                .for_each(|(s, (r, d))| *s += r * d);
                        }
                        out.iter_mut()
                            .skip(i * rank + l)
                            .step_by(rank)
                            .zip(&sums)
                            .for_each(|(o, s)| *o = *s);
                    }
                }
            });
        let mut mixture = self.filtered_cross(filters, rank);
        Cholesky::regularised(&gram, width)?.solve(&mut mixture);
        Ok(mixture)
    }

    /// `B A^T`, `[outputs, K*inner]`.
    fn filtered_cross(&self, filters: &[f64], rank: usize) -> Vec<f64> {
        let (inner, outer) = (self.problem.inner, self.problem.outer);
        let width = inner * rank;
        let mut mixture = vec![0.0; self.problem.outputs * width];
        mixture
            .par_chunks_mut(width)
            .enumerate()
            .for_each(|(o, out)| {
                for t in 0..outer {
                    let b = &self.problem.cross(t)[o * inner..][..inner];
                    for (i, (b, out)) in b.iter().zip(out.chunks_exact_mut(rank)).enumerate() {
                        for (k, out) in out.iter_mut().enumerate() {
                            *out += b * filters[(i * rank + k) * outer + t];
                        }
                    }
                }
            });
        mixture
    }

    /// [`DepthwiseSolver::mixture`] of positions: `A C A^T` is formed where it is no larger than
    /// they are many; else the system is solved in their space.
    fn mixture_by_positions(
        &self,
        seen: &PatchCovariance,
        filters: &[f64],
    ) -> Result<Vec<f64>, FactorError> {
        let (inner, outer) = (self.problem.inner, self.problem.outer);
        let rank = filters.len() / (inner * outer);
        let (n, width) = (seen.rows.len(), inner * rank);
        let features = seen.rows.filtered(filters, outer)?;
        let mut mixture = self.filtered_cross(filters, rank);
        let of = |r: usize| &filters[r * outer..][..outer];
        let even = matches!(seen.ridge, Ridge::Even(_));
        if width <= n.max(DIRECT) || !even {
            let view = dense::view(&features, n, width);
            let mut gram = dense::zeros(width, width)?;
            dense::product(&mut gram, false, view.transpose(), view);
            gram.par_chunks_mut(width).enumerate().for_each(|(r, row)| {
                let i = r / rank;
                let columns = match even {
                    true => i * rank..(i + 1) * rank,
                    false => 0..width,
                };
                for q in columns {
                    row[q] += seen.ridge.between(i, q / rank, inner) * dot(of(r), of(q));
                }
            });
            Cholesky::regularised(&gram, width)?.solve(&mut mixture);
            return Ok(mixture);
        }
        let own: Vec<Vec<f64>> = (0..inner)
            .map(|i| {
                let ridge = seen.ridge.between(i, i, inner);
                let at = |p: usize| (i * rank + p / rank, i * rank + p % rank);
                let pairs = (0..rank * rank).map(at);
                pairs.map(|(r, q)| ridge * dot(of(r), of(q))).collect()
            })
            .collect();
        let diagonals = own.iter().flat_map(|b| b.iter().step_by(rank + 1));
        let jitter = jitter(diagonals.sum::<f64>() + dot(&features, &features), width);
        let blocks = own.into_iter().map(|b| dual::block(b, rank, jitter));
        let blocks = blocks.collect::<Result<Vec<Cholesky>, _>>()?;
        dual::solve_blocks(features, n, &blocks, &mut mixture)?;
        Ok(mixture)
    }

    /// Better filters for the mixture `U`, by conjugate gradients on the normal equations, whose
    /// matrix is `(U^T U)[ik, jl] C_ij[t, s]`.
    pub fn filters(&self, mixture: &[f64], filters: &mut [f64]) -> Result<(), FactorError> {
        let Problem {
            inner,
            outer,
            outputs,
            ..
        } = *self.problem;
        let rank = filters.len() / (inner * outer);
        let width = inner * rank;
        let u = dense::view(mixture, outputs, width);

        let mut rhs = vec![0.0; filters.len()];
        for t in 0..outer {
            for (o, b) in self.problem.cross(t).chunks_exact(inner).enumerate() {
                let mixed = mixture[o * width..][..width].chunks_exact(rank).zip(b);
                for (i, (u, b)) in mixed.enumerate() {
                    for (k, u) in u.iter().enumerate() {
                        rhs[(i * rank + k) * outer + t] += u * b;
                    }
                }
            }
        }
        let limits = FILTER_LIMITS.of_patches(inner * outer);
        if let Some(seen) = self.problem.seen() {
            return self.filters_by_positions(seen, mixture, &rhs, filters);
        }
        let mut gram = dense::zeros(width, width)?;
        dense::product(&mut gram, false, u.transpose(), u);
        let blocks = (0..inner).map(|i| {
            let rows = (0..rank).flat_map(|k| &gram[(i * rank + k) * width + i * rank..][..rank]);
            Cholesky::regularised(&rows.copied().collect::<Vec<f64>>(), rank)
        });
        let blocks: Vec<Cholesky> = blocks.collect::<Result<_, _>>()?;
        // [i, k, l, j]: channels side by side.
        let rows = gram
            .par_chunks(width)
            .flat_map_iter(|row| dense::transposed(row, inner, rank));
        let gram: Vec<f64> = rows.collect();
        let gram = dense::single(&gram);

        let apply = |x: &[f64], out: &mut [f64]| {
            let x = match inner {
                // [outer, rank]: the filters of the one channel side by side.
                1 => dense::transposed(x, rank, outer),
                _ => aligned(x, inner, rank, outer),
            };
            let x = dense::single(&x);
            let gram = &gram;
            out.par_chunks_mut(rank * outer)
                .enumerate()
                .for_each(|(i, out)| {
                    let mut seen = vec![0.0_f32; width];
                    for t in 0..outer {
                        self.seen_from(i, t, &x, &mut seen);
                        for k in 0..rank {
                            let row = &gram[(i * rank + k) * width..][..width];
                            out[k * outer + t] = dense::dot_single(row, &seen);
                        }
                    }
                });
        };
        let precondition = |x: &[f64], out: &mut [f64]| self.precondition(&blocks, x, out);
        let system = System {
            apply,
            precondition,
        };
        conjugate::solve(filters, &rhs, limits, system);
        Ok(())
    }

    /// Filters `x` as tap `t` of channel `i` sees them: `out[l, j] = sum over s of C_ts[i, j] x[l, s, j]`.
    fn seen_from(&self, i: usize, t: usize, x: &[f32], out: &mut [f32]) {
        let Problem { inner, outer, .. } = *self.problem;
        let rank = out.len() / inner;
        out.fill(0.0);
        dense::vectorised(|| {
            for s in 0..outer {
                let c = &self.problem.single_pair(t, s)[i * inner..][..inner];
                if let [c] = c {
                    let pairs = out.iter_mut().zip(&x[s * rank..][..rank]);
                    pairs.for_each(|(z, x)| *z += c * x);
                    continue;
                }
                for (l, out) in out.chunks_exact_mut(inner).enumerate() {
                    let x = &x[(l * outer + s) * inner..][..inner];
                    let pairs = out.iter_mut().zip(c.iter().zip(x));
                    pairs.for_each(|(z, (c, x))| *z += c * x);
                }
            }
        });
    }

    /// The inverse of the coupling of filters of one channel, `blocks` of `U^T U`
    /// by the channel's covariance.
    fn precondition(&self, blocks: &[Cholesky], x: &[f64], out: &mut [f64]) {
        let outer = self.problem.outer;
        let size = x.len() / self.problem.inner;
        let rank = size / outer;
        let parts = out.chunks_exact_mut(size).zip(x.chunks_exact(size));
        for ((out, x), (block, channel)) in parts.zip(blocks.iter().zip(&self.channels)) {
            let mut turned = dense::transposed(x, rank, outer);
            block.solve(&mut turned);
            out.copy_from_slice(&dense::transposed(&turned, outer, rank));
            channel.solve(out);
        }
    }

    /// [`DepthwiseSolver::filters`] of positions, towards the right-hand side given with the
    /// mixture: a product costs `2 n (K d + outputs K Ci)`.
    fn filters_by_positions(
        &self,
        seen: &PatchCovariance,
        mixture: &[f64],
        rhs: &[f64],
        filters: &mut [f64],
    ) -> Result<(), FactorError> {
        let Problem {
            inner,
            outer,
            outputs,
            ..
        } = *self.problem;
        let (n, rank) = (seen.rows.len(), filters.len() / (inner * outer));
        let width = inner * rank;
        let by_column = dense::transposed(mixture, outputs, width);
        let of = |r: usize| &by_column[r * outputs..][..outputs];
        let own = |i: usize| {
            let pairs = (0..rank * rank).map(move |p| (i * rank + p / rank, i * rank + p % rank));
            pairs.map(|(r, q)| dot(of(r), of(q))).collect::<Vec<f64>>()
        };
        let own: Vec<Vec<f64>> = (0..inner).map(own).collect();
        let blocks = own.iter().map(|block| Cholesky::regularised(block, rank));
        let blocks: Vec<Cholesky> = blocks.collect::<Result<_, _>>()?;
        // The factor of the ridge where it ties different channels, `[width, width]`.
        let tied = match &seen.ridge {
            Ridge::Even(_) => Vec::new(),
            Ridge::Features(_) => {
                let u = dense::view(mixture, outputs, width);
                let mut gram = dense::zeros(width, width)?;
                dense::product(&mut gram, false, u.transpose(), u);
                for (r, row) in gram.chunks_exact_mut(width).enumerate() {
                    for (q, value) in row.iter_mut().enumerate() {
                        *value *= seen.ridge.between(r / rank, q / rank, inner);
                    }
                }
                gram
            }
        };
        let mut failed = None;
        let mixture = dense::single(mixture);
        let u = dense::view(&mixture, outputs, width);
        let apply = |x: &[f64], out: &mut [f64]| {
            let mut mixed = match seen.rows.filtered(&dense::single(x), outer) {
                Ok(features) => features,
                Err(error) => {
                    failed = Some(error);
                    return out.fill(0.0);
                }
            };
            let mut answers = vec![0.0_f32; n * outputs];
            let features = dense::view(&mixed, n, width);
            dense::product(&mut answers, false, features, u.transpose());
            dense::product(&mut mixed, false, dense::view(&answers, n, outputs), u);
            dense::widen(out, &seen.rows.filtered_back(&mixed, outer));
            match &seen.ridge {
                Ridge::Even(ridge) => {
                    let parts = out.chunks_exact_mut(rank * outer);
                    let parts = parts.zip(x.chunks_exact(rank * outer)).zip(&own);
                    for ((out, x), block) in parts {
                        for (out, row) in out.chunks_exact_mut(outer).zip(block.chunks(rank)) {
                            for (x, share) in x.chunks_exact(outer).zip(row) {
                                axpy(out, ridge * share, x);
                            }
                        }
                    }
                }
                Ridge::Features(_) => {
                    let tied = dense::view(&tied, width, width);
                    dense::product(out, true, tied, dense::view(x, width, outer));
                }
            }
        };
        let precondition = |x: &[f64], out: &mut [f64]| self.precondition(&blocks, x, out);
        let limits = FILTER_LIMITS.of_patches(inner * outer);
        let system = System {
            apply,
            precondition,
        };
        conjugate::solve(filters, rhs, limits, system);
        failed.map_or(Ok(()), Err)
    }

    /// Makes the filters of every channel orthonormal under its covariance, by Gram-Schmidt: the
    /// mixture can take up the difference. A filter that the ones before it span becomes zero.
    fn orthonormalise(&self, filters: &mut [f64], rank: usize) {
        let outer = self.problem.outer;
        for (filters, channel) in filters.chunks_exact_mut(rank * outer).zip(&self.channels) {
            let mut white = filters.to_vec();
            channel.multiply(&mut white);
            orthonormalise(&mut white, outer);
            channel.divide(&mut white);
            filters.copy_from_slice(&white);
        }
    }
}

/// Gram-Schmidt, twice over, on the rows of `rows` `[n, width]`; dependent rows become zero.
pub(super) fn orthonormalise(rows: &mut [f64], width: usize) {
    for k in 0..rows.len() / width {
        let (before, row) = rows.split_at_mut(k * width);
        let row = &mut row[..width];
        let length = dot(row, row);
        for _ in 0..2 {
            for other in before.chunks_exact(width) {
                let share = dot(other, row);
                axpy(row, -share, other);
            }
        }
        let left = dot(row, row);
        let scale = if left > length * 1e-20 {
            1.0 / left.sqrt()
        } else {
            0.0
        };
        row.iter_mut().for_each(|x| *x *= scale);
    }
}

/// `[inner, rank, outer]` as `[rank, outer, inner]`.
fn aligned(filters: &[f64], inner: usize, rank: usize, outer: usize) -> Vec<f64> {
    dense::transposed(filters, inner, rank * outer)
}

/// The solver of `dw-pw`: starts from the SVD of every input channel's slice of `W*`, whitened by
/// that channel's covariance.
pub(crate) struct DepthwiseFirstSolver<'a> {
    solver: DepthwiseSolver<'a>,
    target: &'a Target,
}

impl<'a> DepthwiseFirstSolver<'a> {
    pub fn new(problem: &'a Problem, target: &'a Target) -> Result<Self, FactorError> {
        let solver = DepthwiseSolver::new(problem)?;
        Ok(Self { solver, target })
    }
}

impl GroupSolver for DepthwiseFirstSolver<'_> {
    fn start(&self, rank: usize) -> Result<Weights, FactorError> {
        let Problem {
            inner,
            outer,
            outputs,
            ..
        } = *self.solver.problem;
        let optimum = self.target.optimum()?;
        let slices = self
            .solver
            .channels
            .par_iter()
            .enumerate()
            .map(|(i, channel)| {
                let rows = (0..outputs).flat_map(|o| &optimum[(o * inner + i) * outer..][..outer]);
                let mut slice: Vec<f64> = rows.copied().collect();
                channel.multiply(&mut slice);
                let (_, mut basis) = slice_components(&slice, outer, i)?;
                basis.truncate(rank * outer);
                channel.divide(&mut basis);
                Ok(basis)
            });
        let filters = slices.collect::<Result<Vec<_>, FactorError>>()?.concat();
        let mixture = self.solver.mixture(&filters)?;
        Ok(vec![filters, mixture])
    }

    fn improve(&self, rank: usize, weights: &mut Weights) -> Result<(), FactorError> {
        let [filters, mixture] = weights.as_mut_slice() else {
            return Ok(());
        };
        self.solver.filters(mixture, filters)?;
        self.solver.orthonormalise(filters, rank);
        *mixture = self.solver.mixture(filters)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn taps_that_cancel_are_mixed_in_double_precision() {
        let (outputs, inner, outer, features) = (3, 4, 3, 12);
        let mut random = SplitMix64::new(11, 0);
        let mut numbers = |n: usize| -> Vec<f64> {
            let number = |_| random.below(2001) as f64 / 1000.0 - 1.0;
            (0..n).map(number).collect()
        };
        let d = inner * outer;
        // All taps of a channel see nearly the same.
        let (own, noise) = (numbers(inner * 60), numbers(d * 60));
        let samples: Vec<f64> = noise
            .iter()
            .enumerate()
            .map(|(at, small)| 1e4 * own[at / 60 / outer * 60 + at % 60] + small)
            .collect();
        let samples = dense::view(&samples, d, 60);
        let mut covariance = vec![0.0; d * d];
        dense::product(&mut covariance, false, samples, samples.transpose());
        let cross = numbers(outputs * d);
        let problem = Problem::new(&covariance, 1e-3, &cross, outputs, outer).unwrap();
        let front = numbers(features * inner);
        // Every filter sums to zero.
        let filters: Vec<f64> = (0..features)
            .flat_map(|r| [1.0, -1.0 - r as f64, r as f64])
            .collect();
        let found = mixture_behind(&problem, &front, &filters).unwrap();
        let expected = mixture_reduced(&problem, &front, &filters).unwrap();
        assert_eq!(found, expected);
    }
}
