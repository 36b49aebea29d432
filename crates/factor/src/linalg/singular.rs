//! The thin singular value decomposition of one wide matrix.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Mat, Par};

use super::dense;

/// Singular values `[rows]` in falling order, and the right singular vectors as rows `[rows, columns]`, of a row-major
/// matrix `[rows, columns]` of at least as many columns. The rows are orthonormal to machine precision, whatever
/// the rank. `None` where the iteration does not converge. On one thread.
#[must_use]
pub fn right(matrix: &[f64], rows: usize, columns: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    let tall = dense::view(matrix, rows, columns).transpose();
    let mut values = Diag::<f64>::zeros(rows);
    let mut vectors = Mat::<f64>::zeros(columns, rows);
    let (thin, none, one) = (ComputeSvdVectors::Thin, ComputeSvdVectors::No, Par::Seq);
    let scratch = svd_scratch::<f64>(columns, rows, thin, none, one, Default::default());
    svd(
        tall,
        values.as_mut(),
        Some(vectors.as_mut()),
        None,
        one,
        MemStack::new(&mut MemBuffer::new(scratch)),
        Default::default(),
    )
    .ok()?;
    let mut rows_of = Vec::with_capacity(rows * columns);
    for column in vectors.col_iter() {
        rows_of.extend(column.iter());
    }
    let values = values.column_vector().iter().copied().collect();
    Some((values, rows_of))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    /// Checks the decomposition of a product of `[rows, rank]` and `[rank, columns]`.
    fn check(left: &[f64], front: &[f64], [rows, rank, columns]: [usize; 3]) {
        let mut matrix = vec![0.0; rows * columns];
        if rank > 0 {
            let front = dense::view(front, rank, columns);
            dense::product(&mut matrix, false, dense::view(left, rows, rank), front);
        }
        let (values, vectors) = right(&matrix, rows, columns).unwrap();
        let near = 1e-14 * rows.max(10) as f64;
        assert!(values.is_sorted_by(|a, b| a >= b));
        let vectors = dense::view(&vectors, rows, columns);
        let mut products = vec![0.0; rows * rows];
        dense::product(&mut products, false, vectors, vectors.transpose());
        for (i, product) in products.iter().enumerate() {
            let same = f64::from(u8::from(i / rows == i % rows));
            assert!((product - same).abs() < near, "{product}");
        }
        let (mut loads, mut again) = (vec![0.0; rows * rows], vec![0.0; rows * columns]);
        let own = dense::view(&matrix, rows, columns);
        dense::product(&mut loads, false, own, vectors.transpose());
        dense::product(&mut again, false, dense::view(&loads, rows, rows), vectors);
        let energies = (0..rows).map(|r| loads.iter().skip(r).step_by(rows).map(|x| x * x).sum());
        for (energy, value) in energies.zip(&values) {
            let energy: f64 = energy;
            assert!((energy.sqrt() - value).abs() < 1e-10 * values[0].max(1.0));
        }
        for (a, b) in again.iter().zip(&matrix) {
            assert!((a - b).abs() < near * values[0].max(10.0), "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn vectors_are_orthonormal_and_give_the_matrix_again_whatever_its_rank(
            (rows, columns) in (1_usize..9).prop_flat_map(|rows| (Just(rows), rows..rows + 20)),
            rank in 0_usize..9,
            seed in prop::collection::vec(-1.0..1.0_f64, 9 * 28 * 2),
        ) {
            let rank = rank.min(rows);
            check(&seed[..rows * rank], &seed[9 * 28..], [rows, rank, columns]);
        }
    }

    /// From 128 rows on another algorithm is at work.
    #[test]
    fn many_vectors_are_orthonormal_too() {
        let numbers = |n: usize, seed: usize| -> Vec<f64> {
            let number = |i: usize| ((i * i * 7919 + i * 31 + seed) % 1009) as f64 / 504.0 - 1.0;
            (0..n).map(number).collect()
        };
        let (rows, columns) = (150, 400);
        for rank in [0, 3, 150] {
            let (left, front) = (numbers(rows * rank, 1), numbers(rank * columns, 2));
            check(&left, &front, [rows, rank, columns]);
        }
    }
}
