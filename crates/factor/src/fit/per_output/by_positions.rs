//! `pw-dw` where positions stand for the covariance.

use super::{
    BLOCK_BYTES, FORMED, LIMITS, OutputBlock, PatchCovariance, PerOutputSolver, Problem, Ridge,
    jitter,
};
use crate::error::FactorError;
use crate::fit::dual;
use crate::linalg::cholesky::Cholesky;
use crate::linalg::conjugate::{self, System};
use crate::linalg::dense::{self, dot};

impl PerOutputSolver<'_> {
    /// Better `P` for the filters `D` of the outputs from `first` on, of positions: the systems of
    /// their features `[n, K * inner]`.
    pub(super) fn mixtures_by_positions(
        &self,
        seen: &PatchCovariance,
        OutputBlock { rank, first }: OutputBlock,
        filters: &[f64],
        mixtures: &mut [f64],
    ) -> Result<(), FactorError> {
        let Problem { inner, outer, .. } = *self.problem;
        let (n, order) = (seen.rows.len(), rank * inner);
        let outputs = filters.chunks_exact(rank * outer).enumerate();
        for ((index, d), x) in outputs.zip(mixtures.chunks_exact_mut(order)) {
            // Of every feature with every filter: [n, inner * K].
            let alike: Vec<f64> = (0..inner).flat_map(|_| d.iter().copied()).collect();
            let made = seen.rows.filtered(&alike, outer)?;
            let made = dense::rows_transposed(&made, inner, rank);
            let made = dense::view(&made, n, order);
            let mut matrix = vec![0.0; order * order];
            dense::panel(&mut matrix, false, made.transpose(), made);
            for (r, row) in matrix.chunks_exact_mut(order).enumerate() {
                let (k, i) = (r / inner, r % inner);
                for (q, value) in row.iter_mut().enumerate() {
                    let (l, j) = (q / inner, q % inner);
                    let shared = dot(&d[k * outer..][..outer], &d[l * outer..][..outer]);
                    *value += shared * seen.ridge.between(i, j, inner);
                }
            }
            let mut rhs = vec![0.0; order];
            self.towards(first + index, d, &mut rhs);
            Cholesky::regularised(&matrix, order)?.solve(&mut rhs);
            x.copy_from_slice(&rhs);
        }
        Ok(())
    }

    /// The maps `[outputs, inner, outer]` that mixtures and filters make.
    pub(super) fn maps(&self, rank: usize, mixtures: &[f64], filters: &[f64]) -> Vec<f64> {
        let Problem { inner, outer, .. } = *self.problem;
        let (order, size) = (rank * inner, rank * outer);
        let mut maps = vec![0.0; filters.len() / rank * inner];
        let rows = maps.chunks_exact_mut(inner * outer);
        let rows = rows.zip(mixtures.chunks_exact(order));
        for ((map, p), d) in rows.zip(filters.chunks_exact(size)) {
            for (p, d) in p.chunks_exact(inner).zip(d.chunks_exact(outer)) {
                let taps = map.chunks_exact_mut(outer).zip(p);
                taps.for_each(|(map, p)| dense::axpy(map, *p, d));
            }
        }
        maps
    }

    /// Better `D` for the mixtures `P` of the outputs from `first` on, of positions, as
    /// [`PerOutputSolver::filters_by_positions`] by products with `C` alone: systems of many
    /// filters cost as the square of their number to form.
    pub(super) fn filters_by_products(
        &self,
        seen: &PatchCovariance,
        OutputBlock { rank, first }: OutputBlock,
        mixtures: &[f64],
        filters: &mut [f64],
    ) -> Result<(), FactorError> {
        let Problem { inner, outer, .. } = *self.problem;
        let (order, size) = (rank * inner, rank * outer);
        let mut rhs = vec![0.0; filters.len()];
        let mut metrics = Vec::new();
        let rows = mixtures.chunks_exact(order).zip(rhs.chunks_exact_mut(size));
        for (index, (p, rhs)) in rows.enumerate() {
            self.tops(first + index, p, rhs);
            let mut half = vec![0.0; order];
            let p = dense::view(p, rank, inner);
            let metric = dense::view(&self.whitening.metric, inner, inner);
            dense::panel(&mut half, false, p, metric);
            let mut own = vec![0.0; rank * rank];
            let half = dense::view(&half, rank, inner);
            dense::panel(&mut own, false, half, p.transpose());
            metrics.push(Cholesky::regularised(&own, rank)?);
        }
        let apply = |v: &[f64], out: &mut [f64]| {
            let maps = self.problem.times(seen, &self.maps(rank, mixtures, v));
            let rows = maps
                .chunks_exact(inner * outer)
                .zip(out.chunks_exact_mut(size));
            for ((map, out), p) in rows.zip(mixtures.chunks_exact(order)) {
                let (p, map) = (dense::view(p, rank, inner), dense::view(map, inner, outer));
                dense::panel(out, false, p, map);
            }
        };
        // By the metrics of the mixtures and of the taps.
        let precondition = |v: &[f64], out: &mut [f64]| {
            let rows = v.chunks_exact(size).zip(out.chunks_exact_mut(size));
            for ((v, out), metric) in rows.zip(&metrics) {
                let mut turned = dense::transposed(v, rank, outer);
                metric.solve(&mut turned);
                out.copy_from_slice(&dense::transposed(&turned, outer, rank));
            }
            self.whitening.outer.solve(out);
        };
        let limits = LIMITS.of_patches(inner * outer);
        let system = System {
            apply,
            precondition,
        };
        conjugate::solve_rows(filters, &rhs, size, limits, system);
        Ok(())
    }

    /// The best `D` for the mixtures `P` of the outputs from `first` on, of positions.
    pub(super) fn filters_by_positions(
        &self,
        seen: &PatchCovariance,
        OutputBlock { rank, first }: OutputBlock,
        mixtures: &[f64],
        filters: &mut [f64],
    ) -> Result<(), FactorError> {
        let Problem { inner, outer, .. } = *self.problem;
        let (n, order) = (seen.rows.len(), rank * outer);
        let together = (BLOCK_BYTES / (8 * n * order).max(1)).max(1);
        let parts = mixtures.chunks(together * rank * inner);
        let parts = parts.zip(filters.chunks_mut(together * order)).enumerate();
        for (part, (mixtures, filters)) in parts {
            let made = seen.rows.turned(mixtures, outer)?;
            let wide = filters.len();
            let outputs = filters.chunks_exact_mut(order).enumerate();
            for (index, d) in outputs {
                let own = &mixtures[index * rank * inner..][..rank * inner];
                self.tops(first + part * together + index, own, d);
                let rows = made.chunks_exact(wide);
                let own_rows = rows.flat_map(|row| &row[index * order..][..order]);
                let features: Vec<f64> = own_rows.copied().collect();
                let ridge = self.ridge_of(seen, own, rank);
                solve_tops(features, n, outer, &ridge, d)?;
            }
        }
        Ok(())
    }

    /// The ridge `[K, K]` between the outputs of mixtures `p` `[K, inner]`, at every tap.
    fn ridge_of(&self, seen: &PatchCovariance, p: &[f64], rank: usize) -> Vec<f64> {
        let inner = self.problem.inner;
        let mut ridged = p.to_vec();
        match &seen.ridge {
            Ridge::Even(ridge) => ridged.iter_mut().for_each(|x| *x *= ridge),
            Ridge::Features(matrix) => {
                let p = dense::view(p, rank, inner);
                dense::panel(&mut ridged, false, p, dense::view(matrix, inner, inner));
            }
        }
        let mut out = vec![0.0; rank * rank];
        let p = dense::view(p, rank, inner).transpose();
        dense::panel(&mut out, false, dense::view(&ridged, rank, inner), p);
        out
    }
}

/// The filters `[K, outer]` for which features `[n, K, outer]` come nearest, from the right-hand
/// side; `ridge` `[K, K]` is that of every tap.
fn solve_tops(
    features: Vec<f64>,
    n: usize,
    outer: usize,
    ridge: &[f64],
    rhs: &mut [f64],
) -> Result<(), FactorError> {
    let order = rhs.len();
    let rank = order / outer;
    if order <= n.max(FORMED) {
        let made = dense::view(&features, n, order);
        let mut matrix = dense::zeros(order, order)?;
        dense::product(&mut matrix, false, made.transpose(), made);
        for (k, rows) in matrix.chunks_exact_mut(outer * order).enumerate() {
            for (t, row) in rows.chunks_exact_mut(order).enumerate() {
                (0..rank).for_each(|l| row[l * outer + t] += ridge[k * rank + l]);
            }
        }
        Cholesky::regularised(&matrix, order)?.solve(rhs);
        return Ok(());
    }
    // A tap after another: the ridge is then of blocks.
    let trace = ridge.iter().step_by(rank + 1).sum::<f64>() * outer as f64;
    let jitter = jitter(trace + dot(&features, &features), order);
    let block = dual::block(ridge.to_vec(), rank, jitter)?;
    let features = dense::rows_transposed(&features, rank, outer);
    let mut turned = dense::transposed(rhs, rank, outer);
    dual::solve_blocks(features, n, &vec![block; outer], &mut turned)?;
    rhs.copy_from_slice(&dense::transposed(&turned, outer, rank));
    Ok(())
}
