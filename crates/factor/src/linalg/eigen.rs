//! The symmetric eigenproblem, many small ones or one large one.
//!
//! Microseconds per problem on one core of a shared AMD EPYC,
//! `cargo bench -p sepconv-factor --bench decompose -- eigen`:
//!
//! | n | nalgebra | faer | cyclic Jacobi |
//! |---|---|---|---|
//! | 4 | **1.1** | 2.3 | 1.1 |
//! | 9 | **4.9** | 8.9 | 7.8 |
//! | 16 | **13** | 22 | 60 |
//! | 27 | **50** | 76 | 254 |
//! | 32 | **59** | 88 | 407 |
//! | 49 | 164 to 215 | 184 to 219 | 2061 |
//! | 121 | 2571 | **1628** | 30523 |
//!
//! nalgebra's statically sized matrices are no faster (4.8 at n = 9). The Jacobi iteration lives in
//! the benchmark only.

use faer::diag::DiagMut;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::{MatMut, MatRef, Par};
use nalgebra::DMatrix;

/// Up to this order nalgebra is used, above it faer.
pub const NALGEBRA_MAX: usize = 32;

/// QR steps per eigenvalue after which nalgebra's iteration is given up; it takes 1 to 3.
const MAX_STEPS: usize = 100;

/// The solvers, for benchmarks and tests; everybody else calls [`symmetric_eigen`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Solver {
    /// Tridiagonal QR: fastest up to [`NALGEBRA_MAX`].
    Nalgebra,
    /// Blocked tridiagonal divide and conquer, on one thread: fastest above.
    Faer,
}

/// Eigenvalues and eigenvectors of the symmetric row-major `matrix` `[n, n]`. `values` `[n]` come
/// in falling order; row `r` of `vectors` `[n, n]` is the unit eigenvector of `values[r]`. `None`
/// where the iteration does not converge.
///
/// The eigenvectors are orthonormal to machine precision. Eigenvalues carry an absolute error of
/// a few eps times the largest. Deterministic: one thread, and the solver depends on `n` alone.
#[must_use]
pub fn symmetric_eigen(
    matrix: &[f64],
    n: usize,
    values: &mut [f64],
    vectors: &mut [f64],
) -> Option<()> {
    let solver = if n <= NALGEBRA_MAX {
        Solver::Nalgebra
    } else {
        Solver::Faer
    };
    symmetric_eigen_with(solver, matrix, n, values, vectors)
}

/// [`symmetric_eigen`] by a solver of one's choice.
#[must_use]
pub fn symmetric_eigen_with(
    solver: Solver,
    matrix: &[f64],
    n: usize,
    values: &mut [f64],
    vectors: &mut [f64],
) -> Option<()> {
    let (diagonal, columns) = match solver {
        Solver::Nalgebra => nalgebra_eigen(matrix, n)?,
        Solver::Faer => faer_eigen(matrix, n)?,
    };
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| diagonal[b].total_cmp(&diagonal[a]));
    for (rank, &from) in order.iter().enumerate() {
        values[rank] = diagonal[from];
        vectors[rank * n..][..n].copy_from_slice(&columns[from * n..][..n]);
    }
    Some(())
}

/// Unsorted eigenvalues, and the eigenvectors one after another.
type Eigen = (Vec<f64>, Vec<f64>);

fn nalgebra_eigen(matrix: &[f64], n: usize) -> Option<Eigen> {
    let eigen = DMatrix::from_row_slice(n, n, &matrix[..n * n])
        .try_symmetric_eigen(f64::EPSILON, MAX_STEPS * n)?;
    let values = eigen.eigenvalues.as_slice().to_vec();
    Some((values, eigen.eigenvectors.as_slice().to_vec()))
}

fn faer_eigen(matrix: &[f64], n: usize) -> Option<Eigen> {
    let mut vectors = vec![0.0; n * n];
    let columns = MatMut::from_column_major_slice_mut(&mut vectors, n, n);
    let values = faer_evd(matrix, n, columns)?;
    Some((values, vectors))
}

/// Eigenvectors of the symmetric row-major `matrix` `[n, n]` as the columns of a row-major
/// `[n, n]`, by rising eigenvalue, by faer whatever the order: a basis to multiply by. `None` where
/// the iteration does not converge. On one thread.
#[must_use]
pub fn eigenbasis(matrix: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut vectors = vec![0.0; n * n];
    faer_evd(
        matrix,
        n,
        MatMut::from_row_major_slice_mut(&mut vectors, n, n),
    )?;
    Some(vectors)
}

/// Rising eigenvalues; the eigenvectors are the columns of `vectors`.
fn faer_evd(matrix: &[f64], n: usize, vectors: MatMut<'_, f64>) -> Option<Vec<f64>> {
    let mut values = vec![0.0; n];
    let (compute, parallel) = (ComputeEigenvectors::Yes, Par::Seq);
    let scratch = self_adjoint_evd_scratch::<f64>(n, compute, parallel, Default::default());
    self_adjoint_evd(
        MatRef::from_row_major_slice(&matrix[..n * n], n, n),
        DiagMut::from_slice_mut(&mut values),
        Some(vectors),
        parallel,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .ok()?;
    Some(values)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// Largest deviations of `V A V^T` from the diagonal and of `V V^T` from the identity.
    fn residuals(solver: Solver, a: &[f64], n: usize) -> (f64, f64) {
        let (mut values, mut v) = (vec![0.0; n], vec![0.0; n * n]);
        symmetric_eigen_with(solver, a, n, &mut values, &mut v).unwrap();
        assert!(values.is_sorted_by(|x, y| x >= y), "{values:?}");
        let (mut diagonal, mut orthogonal) = (0.0_f64, 0.0_f64);
        for r in 0..n {
            for c in 0..n {
                let (x, y) = (&v[r * n..][..n], &v[c * n..][..n]);
                let dot: f64 = x.iter().zip(y).map(|(x, y)| x * y).sum();
                let form: f64 = (0..n * n).map(|k| x[k / n] * a[k] * y[k % n]).sum();
                let same = f64::from(u8::from(r == c));
                diagonal = diagonal.max((form - same * values[r]).abs());
                orthogonal = orthogonal.max((dot - same).abs());
            }
        }
        (diagonal, orthogonal)
    }

    fn symmetric() -> impl Strategy<Value = (usize, Vec<f64>)> {
        (1_usize..20).prop_flat_map(|n| {
            prop::collection::vec(-1.0..1.0, n * n).prop_map(move |mut a| {
                super::super::gram::mirror(&mut a, n);
                (n, a)
            })
        })
    }

    proptest! {
        #[test]
        fn solvers_diagonalise((n, a) in symmetric(), exponent in -40_i32..40) {
            let scale = 10_f64.powi(exponent);
            let a: Vec<f64> = a.iter().map(|x| x * scale).collect();
            for solver in [Solver::Nalgebra, Solver::Faer] {
                let (diagonal, orthogonal) = residuals(solver, &a, n);
                prop_assert!(diagonal <= 1e-14 * scale * n as f64, "{solver:?} {diagonal}");
                prop_assert!(orthogonal <= 1e-14 * n as f64, "{solver:?} {orthogonal}");
            }
        }
    }

    #[test]
    fn repeated_and_zero_eigenvalues() {
        let n = 9;
        let ones = vec![1.0; n * n];
        let identity: Vec<f64> = (0..n * n)
            .map(|i| f64::from(u8::from(i % 10 == 0)))
            .collect();
        for solver in [Solver::Nalgebra, Solver::Faer] {
            for a in [&ones, &identity, &vec![0.0; n * n]] {
                let (diagonal, orthogonal) = residuals(solver, a, n);
                assert!(diagonal < 1e-13 && orthogonal < 1e-14);
            }
        }
    }

    #[test]
    fn known_values_in_falling_order() {
        let matrix = [2.0, 1.0, 1.0, 2.0];
        let (mut values, mut vectors) = ([0.0; 2], [0.0; 4]);
        symmetric_eigen(&matrix, 2, &mut values, &mut vectors).unwrap();
        assert!((values[0] - 3.0).abs() < 1e-15 && (values[1] - 1.0).abs() < 1e-15);
        assert!((vectors[0] - vectors[1]).abs() < 1e-15);
    }
}
