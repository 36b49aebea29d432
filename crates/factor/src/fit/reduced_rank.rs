//! Reduced-rank regression: the best product of two dense factors, in closed form.

use crate::error::FactorError;
use crate::linalg::{dense, eigen, gram};

/// Minimises `tr(F C F^T) - 2 tr(F B^T)` over `F = second first` of rank `rank`, where `cross` is
/// `B` and `optimum` is `B C^-1`, both `[outputs, inputs]`: `second` `[outputs, rank]` holds the
/// leading eigenvectors of `B C^-1 B^T`, and `first` `[rank, inputs]` is `second^T B C^-1`.
/// Nested in the rank. Izenman 1975; for convolutions Zhang et al. 2015 (arXiv 1505.06798),
/// section 3.1.
///
/// `slice` is the group, for the error.
pub(crate) fn reduced_rank(
    cross: &[f64],
    optimum: &[f64],
    outputs: usize,
    rank: usize,
    slice: usize,
) -> Result<(Vec<f64>, Vec<f64>), FactorError> {
    let inputs = cross.len() / outputs;
    let (b, best) = (
        dense::view(cross, outputs, inputs),
        dense::view(optimum, outputs, inputs),
    );
    let mut matrix = vec![0.0; outputs * outputs];
    dense::product(&mut matrix, false, best, b.transpose());
    let other = dense::transposed(&matrix, outputs, outputs);
    matrix
        .iter_mut()
        .zip(&other)
        .for_each(|(a, b)| *a = 0.5 * (*a + b));
    gram::mirror(&mut matrix, outputs);
    let (mut values, mut vectors) = (vec![0.0; outputs], vec![0.0; outputs * outputs]);
    eigen::symmetric_eigen(&matrix, outputs, &mut values, &mut vectors)
        .ok_or(FactorError::NoConvergence { slice })?;
    vectors.truncate(rank * outputs);
    let mut first = vec![0.0; rank * inputs];
    dense::product(
        &mut first,
        false,
        dense::view(&vectors, rank, outputs),
        best,
    );
    Ok((first, dense::transposed(&vectors, rank, outputs)))
}
