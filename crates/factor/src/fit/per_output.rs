//! A rank-K problem per output channel: `pw-dw`.

mod by_positions;

use rayon::prelude::*;

use super::calibration::Target;
use super::depthwise::orthonormalise;
use super::front::{Whitening, slice_components};
use super::problem::{DIRECT as FORMED, PatchCovariance, Problem, Ridge, jitter};
use super::solver::{GroupSolver, Weights};
use crate::error::FactorError;
use crate::linalg::cholesky::Cholesky;
use crate::linalg::conjugate::{self, Limits, System};
use crate::linalg::dense::{self, dot};

/// Bytes that the systems of one block of outputs may take.
const BLOCK_BYTES: usize = 32 << 20;
/// Order up to which a mixture's system is formed and factored; above, conjugate gradients that
/// need not know it: forming it costs as much as `K (K + 1) / 2` products.
const DIRECT: usize = 192;
/// Outputs that share the products of conjugate gradients.
const TOGETHER: usize = 64;
/// Outputs whose filters' systems are formed together, at least.
const SYSTEMS: usize = 4;
const LIMITS: Limits = Limits {
    iterations: 12,
    tolerance: 1e-5,
};

/// Some outputs that follow one another.
#[derive(Clone, Copy)]
struct OutputBlock {
    /// `K`.
    rank: usize,
    /// The first output.
    first: usize,
}

/// `We[o, i, t] = sum over r of P[o*K + r, i] D[o, r, t]`: for every output `o` alternates between
/// the `K Ci` unknowns of `P` and the `K taps` unknowns of `D`, which stay in ONNX's order,
/// `[outputs*K, inner]` and `[outputs, K, outer]`. Starts from an SVD whitened by the two partial
/// traces of `C`.
pub(crate) struct PerOutputSolver<'a> {
    problem: &'a Problem,
    target: &'a Target,
    whitening: Whitening,
}

impl<'a> PerOutputSolver<'a> {
    pub fn new(problem: &'a Problem, target: &'a Target) -> Result<Self, FactorError> {
        let whitening = Whitening::new(problem)?;
        Ok(Self {
            problem,
            target,
            whitening,
        })
    }

    /// Better `P` for the filters `D` of the outputs from `first` on. The systems of a block,
    /// `sum over s, t of D_k[s] D_l[t] C_st`, are one product with all pairs of taps.
    fn mixtures(
        &self,
        rank: usize,
        first: usize,
        filters: &[f64],
        mixtures: &mut [f64],
    ) -> Result<(), FactorError> {
        let Problem { inner, outer, .. } = *self.problem;
        let outputs = filters.len() / (rank * outer);
        let couples: Vec<(usize, usize)> = (0..rank)
            .flat_map(|k| (k..rank).map(move |l| (k, l)))
            .collect();
        let mut shares = Vec::with_capacity(outputs * couples.len() * outer * outer);
        for d in filters.chunks_exact(rank * outer) {
            for &(k, l) in &couples {
                for s in 0..outer {
                    let other = &d[l * outer..][..outer];
                    shares.extend(other.iter().map(|x| d[k * outer + s] * x));
                }
            }
        }
        let (rows, size, order) = (outputs * couples.len(), inner * inner, rank * inner);
        let mut blocks = vec![0.0; rows * size];
        let shares = dense::view(&shares, rows, outer * outer);
        let pairs = dense::view(self.problem.pairs(), outer * outer, size);
        dense::panel(&mut blocks, false, shares, pairs);

        let mut matrix = vec![0.0; order * order];
        let parts = blocks.chunks_exact(couples.len() * size);
        let parts = parts.zip(filters.chunks_exact(rank * outer));
        for (index, (blocks, d)) in parts.enumerate() {
            let x = &mut mixtures[index * order..][..order];
            for (&(k, l), block) in couples.iter().zip(blocks.chunks_exact(size)) {
                for (i, row) in block.chunks_exact(inner).enumerate() {
                    matrix[(k * inner + i) * order + l * inner..][..inner].copy_from_slice(row);
                    if k != l {
                        let column = (l * inner) * order + k * inner + i;
                        let target = matrix[column..].iter_mut().step_by(order);
                        target.zip(row).for_each(|(t, v)| *t = *v);
                    }
                }
            }
            let mut rhs = vec![0.0; order];
            self.towards(first + index, d, &mut rhs);
            Cholesky::regularised(&matrix, order)?.solve(&mut rhs);
            x.copy_from_slice(&rhs);
        }
        Ok(())
    }

    /// The right-hand side `[K, inner]` of the system of the `P` of an output with the filters
    /// `d`.
    fn towards(&self, output: usize, d: &[f64], rhs: &mut [f64]) {
        let Problem { inner, outer, .. } = *self.problem;
        let parts = rhs.chunks_exact_mut(inner).zip(d.chunks_exact(outer));
        for (rhs, d) in parts {
            for (t, d) in d.iter().enumerate() {
                let b = &self.problem.cross(t)[output * inner..][..inner];
                dense::axpy(rhs, *d, b);
            }
        }
    }

    /// Better `P` for the filters `D` of the outputs from `first` on, as
    /// [`PerOutputSolver::mixtures`], by products with `C` alone.
    fn mixtures_by_products(
        &self,
        rank: usize,
        first: usize,
        filters: &[f64],
        mixtures: &mut [f64],
    ) {
        let Problem { inner, outer, .. } = *self.problem;
        let (order, size) = (rank * inner, rank * outer);
        let outputs = filters.len() / size;
        let mut rhs = vec![0.0; mixtures.len()];
        for (index, (d, rhs)) in filters
            .chunks_exact(size)
            .zip(rhs.chunks_exact_mut(order))
            .enumerate()
        {
            self.towards(first + index, d, rhs);
        }
        let by_positions = |seen: &PatchCovariance, v: &[f64], out: &mut [f64]| {
            let maps = self.maps(rank, v, filters);
            let maps = self.problem.times(seen, &maps);
            let rows = maps
                .chunks_exact(inner * outer)
                .zip(out.chunks_exact_mut(order));
            for ((map, out), d) in rows.zip(filters.chunks_exact(size)) {
                for (out, d) in out.chunks_exact_mut(inner).zip(d.chunks_exact(outer)) {
                    let taps = out.iter_mut().zip(map.chunks_exact(outer));
                    taps.for_each(|(out, map)| *out = dot(map, d));
                }
            }
        };
        let apply = |v: &[f64], out: &mut [f64]| {
            if let Some(seen) = self.problem.seen() {
                return by_positions(seen, v, out);
            }
            // We[t, o, i] = sum over l of D_l[t] P_l[i]: the outputs' weights of the mixtures.
            let mut made = vec![0.0; outer * outputs * inner];
            for (t, made) in made.chunks_exact_mut(outputs * inner).enumerate() {
                let rows = made.chunks_exact_mut(inner).zip(v.chunks_exact(order));
                for ((made, v), d) in rows.zip(filters.chunks_exact(size)) {
                    for (v, d) in v.chunks_exact(inner).zip(d.chunks_exact(outer)) {
                        dense::axpy(made, d[t], v);
                    }
                }
            }
            let made = dense::single(&made);
            out.fill(0.0);
            let mut seen = vec![0.0_f32; outputs * inner];
            for s in 0..outer {
                for (t, made) in made.chunks_exact(outputs * inner).enumerate() {
                    let pair = dense::view(self.problem.single_pair(t, s), inner, inner);
                    dense::panel(&mut seen, t > 0, dense::view(made, outputs, inner), pair);
                }
                let rows = seen.chunks_exact(inner).zip(out.chunks_exact_mut(order));
                for ((seen, out), d) in rows.zip(filters.chunks_exact(size)) {
                    for (out, d) in out.chunks_exact_mut(inner).zip(d.chunks_exact(outer)) {
                        let pairs = out.iter_mut().zip(seen);
                        pairs.for_each(|(out, seen)| *out += d[s] * f64::from(*seen));
                    }
                }
            }
        };
        // The filters are orthonormal under the metric of the taps.
        let precondition = |v: &[f64], out: &mut [f64]| {
            out.copy_from_slice(v);
            self.whitening.inner.solve(out);
        };
        let limits = LIMITS.of_patches(inner * outer);
        let system = System {
            apply,
            precondition,
        };
        conjugate::solve_rows(mixtures, &rhs, order, limits, system);
    }

    /// The right-hand side `[K, outer]` of the system of the `D` of an output with the mixtures
    /// `p` `[K, inner]`.
    fn tops(&self, output: usize, p: &[f64], rhs: &mut [f64]) {
        let Problem { inner, outer, .. } = *self.problem;
        for (p, d) in p.chunks_exact(inner).zip(rhs.chunks_exact_mut(outer)) {
            for (t, d) in d.iter_mut().enumerate() {
                *d = dot(p, &self.problem.cross(t)[output * inner..][..inner]);
            }
        }
    }

    /// The best `D` for the mixtures `P` of the outputs from `first` on.
    fn filters(
        &self,
        rank: usize,
        first: usize,
        mixtures: &[f64],
        filters: &mut [f64],
    ) -> Result<(), FactorError> {
        let Problem { inner, outer, .. } = *self.problem;
        let rows = mixtures.len() / inner;
        let order = rank * outer;
        let mut systems = vec![0.0; rows / rank * order * order];
        let mut seen = vec![0.0; rows * inner];
        let all = dense::view(mixtures, rows, inner);
        for s in 0..outer {
            for t in s..outer {
                let pair = dense::view(self.problem.pair(s, t), inner, inner);
                dense::panel(&mut seen, false, all, pair);
                let outputs = seen
                    .chunks_exact(rank * inner)
                    .zip(mixtures.chunks_exact(rank * inner));
                for ((seen, p), system) in outputs.zip(systems.chunks_exact_mut(order * order)) {
                    for (k, seen) in seen.chunks_exact(inner).enumerate() {
                        for (l, p) in p.chunks_exact(inner).enumerate() {
                            let value = dot(seen, p);
                            system[(k * outer + s) * order + l * outer + t] = value;
                            system[(l * outer + t) * order + k * outer + s] = value;
                        }
                    }
                }
            }
        }
        let parts = systems
            .chunks_exact(order * order)
            .zip(filters.chunks_exact_mut(order));
        for (index, (system, d)) in parts.enumerate() {
            let own = &mixtures[index * rank * inner..][..rank * inner];
            self.tops(first + index, own, d);
            Cholesky::regularised(system, order)?.solve(d);
        }
        Ok(())
    }
}

impl PerOutputSolver<'_> {
    /// Makes the filters of one output orthonormal under the taps' metric, and turns its
    /// mixtures along, so that the product stays.
    fn orthonormalise(&self, rank: usize, filters: &mut [f64], mixtures: &mut [f64]) {
        let Problem { inner, outer, .. } = *self.problem;
        self.whitening.outer.multiply(filters);
        let before = filters.to_vec();
        orthonormalise(filters, outer);
        let mut turn = vec![0.0; rank * rank];
        let new = dense::view(filters, rank, outer);
        dense::panel(
            &mut turn,
            false,
            new,
            dense::view(&before, rank, outer).transpose(),
        );
        let old = mixtures.to_vec();
        let turn = dense::view(&turn, rank, rank);
        dense::panel(mixtures, false, turn, dense::view(&old, rank, inner));
        self.whitening.outer.divide(filters);
    }
}

/// Turns filters `[K, outer]` so that their product stays where mixtures `[K, inner]` became an
/// orthonormal basis of themselves.
fn turn_along(before: &[f64], after: &[f64], filters: &mut [f64], rank: usize) {
    let (inner, outer) = (before.len() / rank, filters.len() / rank);
    let mut turn = vec![0.0; rank * rank];
    let (before, after) = (
        dense::view(before, rank, inner),
        dense::view(after, rank, inner),
    );
    dense::panel(&mut turn, false, after, before.transpose());
    let old = filters.to_vec();
    let turn = dense::view(&turn, rank, rank);
    dense::panel(filters, false, turn, dense::view(&old, rank, outer));
}

impl GroupSolver for PerOutputSolver<'_> {
    fn start(&self, rank: usize) -> Result<Weights, FactorError> {
        let Problem { inner, outer, .. } = *self.problem;
        let slices = self.target.optimum()?.par_chunks(inner * outer).enumerate();
        let slices = slices.map(|(output, slice)| {
            // L_q^T W L_t, [inner, outer].
            let mut white = slice.to_vec();
            self.whitening.outer.multiply(&mut white);
            let mut turned = dense::transposed(&white, inner, outer);
            self.whitening.inner.multiply(&mut turned);
            let white = dense::transposed(&turned, outer, inner);
            let (_, mut basis) = slice_components(&white, outer, output)?;
            basis.truncate(rank * outer);
            let mut mixtures = vec![0.0; rank * inner];
            let rows = dense::view(&basis, rank, outer);
            dense::panel(
                &mut mixtures,
                false,
                rows,
                dense::view(&turned, outer, inner),
            );
            self.whitening.inner.divide(&mut mixtures);
            self.whitening.outer.divide(&mut basis);
            Ok((mixtures, basis))
        });
        let slices: Vec<(Vec<f64>, Vec<f64>)> = slices.collect::<Result<_, FactorError>>()?;
        let mixtures = slices.iter().flat_map(|(p, _)| p).copied().collect();
        Ok(vec![
            mixtures,
            slices.iter().flat_map(|(_, d)| d).copied().collect(),
        ])
    }

    fn improve(&self, rank: usize, weights: &mut Weights) -> Result<(), FactorError> {
        let Problem {
            inner,
            outer,
            outputs,
            ..
        } = *self.problem;
        let [mixtures, filters] = weights.as_mut_slice() else {
            return Ok(());
        };
        let direct = rank * inner <= DIRECT;
        let together = if direct {
            let couples = rank * (rank + 1) / 2;
            (BLOCK_BYTES / (8 * couples * inner * inner)).clamp(1, 16)
        } else {
            TOGETHER
        };
        let together = together.min(outputs);
        let parts = mixtures.par_chunks_mut(together * rank * inner);
        let parts = parts
            .zip(filters.par_chunks_mut(together * rank * outer))
            .enumerate();
        parts.try_for_each(|(index, (mixtures, filters))| {
            let outputs = filters.chunks_exact_mut(rank * outer);
            for (d, p) in outputs.zip(mixtures.chunks_exact_mut(rank * inner)) {
                self.orthonormalise(rank, d, p);
            }
            let first = index * together;
            let block = OutputBlock { rank, first };
            match (direct, self.problem.seen()) {
                (false, _) => self.mixtures_by_products(rank, first, filters, mixtures),
                (true, None) => self.mixtures(rank, first, filters, mixtures)?,
                (true, Some(seen)) => {
                    self.mixtures_by_positions(seen, block, filters, mixtures)?;
                }
            }
            let own = mixtures.chunks_exact_mut(rank * inner);
            for (p, d) in own.zip(filters.chunks_exact_mut(rank * outer)) {
                let before = p.to_vec();
                orthonormalise(p, inner);
                if self.problem.seen().is_some() {
                    turn_along(&before, p, d, rank);
                }
            }
            if let Some(seen) = self.problem.seen() {
                if rank * outer > FORMED {
                    return self.filters_by_products(seen, block, mixtures, filters);
                }
                return self.filters_by_positions(seen, block, mixtures, filters);
            }
            // The systems of so many outputs at a time.
            let some = (BLOCK_BYTES / (8 * (rank * outer).pow(2))).max(SYSTEMS);
            let parts = mixtures.chunks(some * rank * inner);
            let parts = parts
                .zip(filters.chunks_mut(some * rank * outer))
                .enumerate();
            for (part, (mixtures, filters)) in parts {
                self.filters(rank, first + part * some, mixtures, filters)?;
            }
            Ok(())
        })
    }
}
