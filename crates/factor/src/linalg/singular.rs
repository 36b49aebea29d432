//! The thin singular value decomposition of one wide matrix.

use faer::diag::DiagRef;

use super::dense;

/// Singular values `[rows]` in falling order, and the right singular vectors as rows `[rows, columns]`, of a row-major
/// matrix `[rows, columns]` of at least as many columns. The rows are orthonormal to machine precision, whatever
/// the rank. `None` where the iteration does not converge. On one thread.
#[must_use]
pub fn right(matrix: &[f64], rows: usize, columns: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    let tall = dense::view(matrix, rows, columns).transpose();
    let svd = tall.thin_svd().ok()?;
    let values: DiagRef<'_, f64> = svd.S();
    let values = values.column_vector().iter().copied().collect();
    let mut vectors = Vec::with_capacity(rows * columns);
    for column in svd.U().col_iter().take(rows) {
        vectors.extend(column.iter());
    }
    Some((values, vectors))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn vectors_are_orthonormal_and_give_the_matrix_again_whatever_its_rank(
            (rows, columns) in (1_usize..9).prop_flat_map(|rows| (Just(rows), rows..rows + 20)),
            rank in 0_usize..9,
            seed in prop::collection::vec(-1.0..1.0_f64, 9 * 28 * 2),
        ) {
            let rank = rank.min(rows);
            let (left, front) = (&seed[..rows * rank], &seed[9 * 28..][..rank * columns]);
            let mut matrix = vec![0.0; rows * columns];
            if rank > 0 {
                let (left, front) = (dense::view(left, rows, rank), dense::view(front, rank, columns));
                dense::product(&mut matrix, false, left, front);
            }
            let (values, vectors) = right(&matrix, rows, columns).unwrap();
            prop_assert!(values.is_sorted_by(|a, b| a >= b));
            let row = |r: usize| &vectors[r * columns..][..columns];
            for (a, b) in (0..rows).flat_map(|a| (0..rows).map(move |b| (a, b))) {
                let same = f64::from(u8::from(a == b));
                prop_assert!((dense::dot(row(a), row(b)) - same).abs() < 1e-13);
            }
            for line in matrix.chunks_exact(columns) {
                let loads: Vec<f64> = (0..rows).map(|r| dense::dot(line, row(r))).collect();
                for (c, value) in line.iter().enumerate() {
                    let again: f64 = (0..rows).map(|r| loads[r] * row(r)[c]).sum();
                    prop_assert!((again - value).abs() < 1e-12);
                }
            }
        }
    }
}
