//! Cholesky factors `A = L L^T` of symmetric positive definite matrices: plain loops for the many
//! small ones, faer for the large ones (order 4608 in about a second on one core).

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_solve::{
    solve_lower_triangular_in_place, solve_upper_triangular_in_place,
};
use faer::{MatMut, MatRef, Par};
use rayon::prelude::*;

use super::dense;
use crate::error::FactorError;

/// Up to this order plain loops are used.
const SMALL: usize = 24;
/// Columns that rows are multiplied by together.
const BLOCK: usize = 64;
/// Right-hand sides that one task solves.
const ROWS: usize = 64;

/// The factor of a symmetric positive definite matrix of order `n`.
#[derive(Debug, Clone)]
pub struct Cholesky {
    n: usize,
    /// `L^T`, row-major `[n, n]` (so `L` column by column); garbage below the diagonal.
    upper: Vec<f64>,
}

impl Cholesky {
    /// Factors the row-major `[n, n]` symmetric `matrix`; `None` where it is not positive
    /// definite to working precision.
    #[must_use]
    pub fn new(mut matrix: Vec<f64>, n: usize) -> Option<Self> {
        if n <= SMALL {
            factor_small(&mut matrix, n)?;
        } else {
            let scratch = cholesky_in_place_scratch::<f64>(n, Par::Seq, Default::default());
            cholesky_in_place(
                MatMut::from_column_major_slice_mut(&mut matrix[..n * n], n, n),
                Default::default(),
                Par::Seq,
                MemStack::new(&mut MemBuffer::new(scratch)),
                Default::default(),
            )
            .ok()?;
        }
        let finite = (0..n).all(|i| matrix[i * n + i].is_finite());
        finite.then_some(Self { n, upper: matrix })
    }

    /// Factors a positive *semi*-definite matrix: `matrix + jitter I`, where the jitter starts at
    /// `1e-11` of the mean of the diagonal and grows a hundredfold until the factor exists. The
    /// zero matrix counts as the identity. `None` only where an entry is not finite or the matrix
    /// is indefinite.
    #[must_use]
    pub fn semidefinite(matrix: &[f64], n: usize) -> Option<Self> {
        let mean = (0..n).map(|i| matrix[i * n + i]).sum::<f64>() / n.max(1) as f64;
        if mean == 0.0 {
            let mut identity = vec![0.0; n * n];
            dense::add_to_diagonal(&mut identity, n, 1.0);
            return Self::new(identity, n);
        }
        (0..5).find_map(|attempt| {
            let mut shifted = matrix[..n * n].to_vec();
            dense::add_to_diagonal(&mut shifted, n, mean * 1e-11 * 100_f64.powi(attempt));
            Self::new(shifted, n)
        })
    }

    /// [`Cholesky::semidefinite`], or the error that names the order.
    ///
    /// # Errors
    /// [`FactorError::Singular`] where there is no factor.
    pub fn regularised(matrix: &[f64], n: usize) -> Result<Self, FactorError> {
        Self::semidefinite(matrix, n).ok_or(FactorError::Singular { order: n })
    }

    /// Order of the matrix.
    pub fn order(&self) -> usize {
        self.n
    }

    /// Row `i` of `L^T` from the diagonal on, `[n - i]`.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.upper[i * self.n + i..][..self.n - i]
    }

    /// Every row `x` of `rows` `[m, n]` becomes `A^-1 x`.
    pub fn solve(&self, rows: &mut [f64]) {
        self.each(rows, |rows| {
            self.forward(rows);
            self.backward(rows);
        });
    }

    /// Every row `x` of `rows` `[m, n]` becomes `L^-1 x`.
    pub fn solve_lower(&self, rows: &mut [f64]) {
        self.each(rows, |rows| self.forward(rows));
    }

    /// Every row `x` of `rows` `[m, n]` becomes `x L^-1`, that is `L^-T x`.
    pub fn divide(&self, rows: &mut [f64]) {
        self.each(rows, |rows| self.backward(rows));
    }

    /// Every row `x` of `rows` `[m, n]` becomes `x L`, that is `L^T x`.
    pub fn multiply(&self, rows: &mut [f64]) {
        let n = self.n;
        self.each(rows, |rows| {
            let count = rows.len() / n;
            let mut behind = vec![0.0; count * BLOCK];
            // What a block of columns becomes depends on the columns from its first on.
            for from in (0..n).step_by(BLOCK) {
                let to = n.min(from + BLOCK);
                let width = to - from;
                let behind = &mut behind[..count * width];
                let right = dense::view(rows, count, n).subcols(to, n - to);
                let block = dense::view(&self.upper, n, n).submatrix(from, to, width, n - to);
                match to < n {
                    true => dense::panel(behind, false, right, block.transpose()),
                    false => behind.fill(0.0),
                }
                for (row, behind) in rows.chunks_exact_mut(n).zip(behind.chunks_exact(width)) {
                    for (j, behind) in (from..to).zip(behind) {
                        let upper = &self.upper[j * n + j..][..to - j];
                        row[j] = behind + dense::dot(upper, &row[j..to]);
                    }
                }
            }
        });
    }

    fn each(&self, rows: &mut [f64], work: impl Fn(&mut [f64]) + Send + Sync) {
        if self.n == 0 {
            return;
        }
        if rows.len() <= ROWS * self.n || self.n <= SMALL {
            work(rows);
        } else {
            rows.par_chunks_mut(ROWS * self.n).for_each(work);
        }
    }

    /// `L^-1` on every row.
    fn forward(&self, rows: &mut [f64]) {
        let n = self.n;
        if n > SMALL {
            let rhs = MatMut::from_column_major_slice_mut(rows, n, rows.len() / n);
            return solve_lower_triangular_in_place(self.lower(), rhs, Par::Seq);
        }
        for row in rows.chunks_exact_mut(n) {
            for j in 0..n {
                let value = row[j] / self.upper[j * n + j];
                row[j] = value;
                dense::axpy(
                    &mut row[j + 1..],
                    -value,
                    &self.upper[j * n + j + 1..][..n - j - 1],
                );
            }
        }
    }

    /// `L^-T` on every row.
    fn backward(&self, rows: &mut [f64]) {
        let n = self.n;
        if n > SMALL {
            let rhs = MatMut::from_column_major_slice_mut(rows, n, rows.len() / n);
            return solve_upper_triangular_in_place(self.lower().transpose(), rhs, Par::Seq);
        }
        for row in rows.chunks_exact_mut(n) {
            for j in (0..n).rev() {
                let known = dense::dot(&self.upper[j * n + j + 1..][..n - j - 1], &row[j + 1..]);
                row[j] = (row[j] - known) / self.upper[j * n + j];
            }
        }
    }

    fn lower(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice(&self.upper[..self.n * self.n], self.n, self.n)
    }
}

/// `L^T` into the upper triangle of `a`.
fn factor_small(a: &mut [f64], n: usize) -> Option<()> {
    for j in 0..n {
        for k in 0..j {
            let factor = a[k * n + j];
            for i in j..n {
                a[j * n + i] -= factor * a[k * n + i];
            }
        }
        let pivot = a[j * n + j];
        if pivot.is_nan() || pivot <= 0.0 {
            return None;
        }
        let inverse = 1.0 / pivot.sqrt();
        a[j * n + j..(j + 1) * n]
            .iter_mut()
            .for_each(|x| *x *= inverse);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn positive(n: usize) -> Vec<f64> {
        let x: Vec<f64> = (0..n * n).map(|i| ((i * i + 3 * i) as f64).sin()).collect();
        let mut a = vec![0.0; n * n];
        dense::product(
            &mut a,
            false,
            dense::view(&x, n, n),
            dense::view(&x, n, n).transpose(),
        );
        dense::add_to_diagonal(&mut a, n, 0.5);
        a
    }

    fn times(a: &[f64], n: usize, x: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; x.len()];
        dense::product(
            &mut out,
            false,
            dense::view(x, x.len() / n, n),
            dense::view(a, n, n),
        );
        out
    }

    fn close(x: &[f64], y: &[f64]) -> bool {
        x.iter().zip(y).all(|(x, y)| (x - y).abs() < 1e-9)
    }

    #[test]
    fn every_operation_inverts_its_counterpart() {
        for n in [1, 2, 9, 24, 25, 60, 150] {
            let a = positive(n);
            let cholesky = Cholesky::new(a.clone(), n).unwrap();
            let rows: Vec<f64> = (0..130 * n).map(|i| (i as f64 * 0.3).cos()).collect();
            let mut solved = times(&a, n, &rows);
            cholesky.solve(&mut solved);
            assert!(close(&solved, &rows), "solve {n}");
            let mut there = rows.clone();
            cholesky.multiply(&mut there);
            let energy: f64 = there.iter().map(|x| x * x).sum();
            let form = dense::dot(&times(&a, n, &rows), &rows);
            assert!((energy / form - 1.0).abs() < 1e-10, "x L L^T x^T {n}");
            cholesky.divide(&mut there);
            assert!(close(&there, &rows), "divide {n}");
            // x L L^T = x A, so L^-1 (x A) = x L.
            let mut lower = times(&a, n, &rows);
            cholesky.solve_lower(&mut lower);
            cholesky.divide(&mut lower);
            assert!(close(&lower, &rows), "solve_lower {n}");
        }
    }

    #[test]
    fn singular_indefinite_and_zero_matrices() {
        for n in [3, 40] {
            let ones = vec![1.0; n * n];
            let cholesky = Cholesky::semidefinite(&ones, n).unwrap();
            let mut row = vec![n as f64; n];
            cholesky.solve(&mut row);
            assert!((row.iter().sum::<f64>() - n as f64).abs() < 1e-6, "{row:?}");
            assert!(Cholesky::new(vec![0.0; n * n], n).is_none());
            let mut row = vec![2.0; n];
            Cholesky::semidefinite(&vec![0.0; n * n], n)
                .unwrap()
                .solve(&mut row);
            assert_eq!(row, vec![2.0; n]);
            assert!(Cholesky::semidefinite(&vec![f64::NAN; n * n], n).is_none());
        }
    }
}
