//! Least squares in the space of the positions.
//!
//! For `C = X^T X` with `X` `[n, d]` and `n` below `d`, a system of `C + eps I` is one of
//! `K = X X^T + eps I` `[n, n]` (Woodbury's identity):
//! `v (C + eps I)^-1 = (v - v X^T K^-1 X) / eps`. Its rounding is that of `K` times `1 / eps`; each
//! step of iterative refinement takes off as many digits as the first solution had.

use crate::error::FactorError;
use crate::linalg::cholesky::Cholesky;
use crate::linalg::dense;
use crate::patch_matrix::PatchMatrix;

/// Steps of iterative refinement at most.
const REFINEMENTS: usize = 2;
/// A step of at most this share of the solution is the last: the next is about its square.
const ENOUGH: f64 = 1e-5;

/// A factor of `X^T X + ridge I`.
pub(crate) struct Dual {
    rows: PatchMatrix,
    ridge: f64,
    /// Of `X X^T + ridge I`, `[n, n]`.
    products: Cholesky,
}

impl Dual {
    /// Factors `n d (n + n / 3 d) / 2` multiply-adds; `8 n^2` bytes.
    pub fn new(rows: PatchMatrix, ridge: f64) -> Result<Self, FactorError> {
        let n = rows.len();
        let mut products = rows.products()?;
        dense::add_to_diagonal(&mut products, n, ridge);
        let products = Cholesky::new(products, n).ok_or(FactorError::Singular { order: n })?;
        Ok(Self {
            rows,
            ridge,
            products,
        })
    }

    /// The positions.
    pub fn rows(&self) -> &PatchMatrix {
        &self.rows
    }

    /// `v (X^T X + ridge I)^-1` for every row of `v` `[m, d]`.
    pub fn solve(&self, v: &[f64]) -> Vec<f64> {
        let mut solution = self.once(v);
        for _ in 0..REFINEMENTS {
            let mut left = self.rows.times(&solution);
            let values = left.iter_mut().zip(v.iter().zip(&solution));
            values.for_each(|(left, (v, s))| *left = v - *left - self.ridge * s);
            let step = self.once(&left);
            dense::axpy(&mut solution, 1.0, &step);
            let width = self.rows.width().max(1);
            let mut rows = step.chunks_exact(width).zip(solution.chunks_exact(width));
            let square = |row: &[f64]| dense::dot(row, row);
            if rows.all(|(step, row)| square(step) <= ENOUGH * ENOUGH * square(row)) {
                break;
            }
        }
        solution
    }

    fn once(&self, v: &[f64]) -> Vec<f64> {
        let n = self.rows.len();
        let m = v.len() / self.rows.width().max(1);
        let seen = self.rows.project(v);
        let mut by_map = dense::transposed(&seen, n, m);
        self.products.solve(&mut by_map);
        let within = self.rows.gather(&dense::transposed(&by_map, m, n));
        let values = v.iter().zip(&within);
        values.map(|(v, w)| (v - w) / self.ridge).collect()
    }
}

/// The least-squares problem of features `Z` `[n, w]`, `w` above `n`, with a ridge of blocks whose
/// orders add up to `w`.
///
/// `blocks` are factors `L L^T` of the ridge's blocks, which follow one another along a row:
/// whitened by them the ridge is the identity.
pub(crate) fn solve_blocks(
    features: Vec<f64>,
    n: usize,
    blocks: &[Cholesky],
    rhs: &mut [f64],
) -> Result<(), FactorError> {
    let width: usize = blocks.iter().map(Cholesky::order).sum();
    let each = |rows: &mut [f64], work: &(dyn Fn(&Cholesky, &mut [f64]) + Sync)| {
        for row in rows.chunks_exact_mut(width) {
            let mut rest = row;
            for block in blocks {
                let (own, others) = rest.split_at_mut(block.order());
                work(block, own);
                rest = others;
            }
        }
    };
    let mut features = features;
    each(&mut features, &|block, own| block.solve_lower(own));
    each(rhs, &|block, own| block.solve_lower(own));
    let dual = Dual::new(PatchMatrix::made(features, n, width), 1.0)?;
    let solved = dual.solve(rhs);
    rhs.copy_from_slice(&solved);
    each(rhs, &|block, own| block.divide(own));
    Ok(())
}

/// [`Cholesky::regularised`] of a ridge's block, with `jitter` on its diagonal.
pub(crate) fn block(
    mut matrix: Vec<f64>,
    order: usize,
    jitter: f64,
) -> Result<Cholesky, FactorError> {
    dense::add_to_diagonal(&mut matrix, order, jitter);
    Cholesky::regularised(&matrix, order)
}
