//! Matrix products.

use sepconv_ir::Tensor;

use super::Call;
use super::walk::{broadcast, spread, walk};

/// Multiply-accumulates beyond which a product is not made.
const MOST: usize = 1 << 32;

/// `MatMul`, as numpy's: vectors gain an axis that leaves again, leading axes broadcast.
pub(super) fn matmul(call: &Call<'_>) -> Option<Tensor> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let dtype = a.dtype();
    if dtype != b.dtype() || a.dims().is_empty() || b.dims().is_empty() {
        return None;
    }
    let (mut left, mut right) = (a.dims().to_vec(), b.dims().to_vec());
    let (row, column) = (left.len() == 1, right.len() == 1);
    if row {
        left.insert(0, 1);
    }
    if column {
        right.push(1);
    }
    let (lead_a, &[m, k]) = left.split_last_chunk()?;
    let (lead_b, &[inner, n]) = right.split_last_chunk()?;
    let batch = broadcast([lead_a, lead_b].into_iter())?;
    if k != inner {
        return None;
    }
    let mut dims = batch.clone();
    dims.extend(
        (!row)
            .then_some(m)
            .into_iter()
            .chain((!column).then_some(n)),
    );
    let count = call.room(&dims)?;
    count.checked_mul(k).filter(|macs| *macs <= MOST)?;
    let (x, y) = (a.to_f64()?, b.to_f64()?);
    let mut out = vec![0.0; count];
    let strides = [spread(lead_a, &batch), spread(lead_b, &batch)];
    let mut products = out.chunks_exact_mut((m * n).max(1));
    walk(&batch, [&strides[0], &strides[1]], |[i, j]| {
        let Some(out) = products.next() else { return };
        let (x, y) = (&x[i * m * k..][..m * k], &y[j * k * n..][..k * n]);
        multiply(x, y, [k, n], out);
    });
    Tensor::from_f64s(dtype, dims, &out)
}

/// Adds the product of `[m, k]` and `[k, n]`, row-major, to `out`.
fn multiply(a: &[f64], b: &[f64], [k, n]: [usize; 2], out: &mut [f64]) {
    if k == 0 || n == 0 {
        return;
    }
    for (row, out) in a.chunks_exact(k).zip(out.chunks_exact_mut(n)) {
        for (a, b) in row.iter().zip(b.chunks_exact(n)) {
            for (o, b) in out.iter_mut().zip(b) {
                *o += a * b;
            }
        }
    }
}

/// `Gemm` (opset 7 and later): `alpha A' B' + beta C`.
pub(super) fn gemm(call: &Call<'_>) -> Option<Tensor> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    let turned = |tensor: &Tensor, attribute: &str| {
        let &[rows, columns] = tensor.dims() else {
            return None;
        };
        let all = tensor.to_f64()?;
        if call.op.int(attribute, 0) == 0 {
            return Some((all, rows, columns));
        }
        let at = |i: usize| all[i % rows * columns + i / rows];
        Some(((0..all.len()).map(at).collect(), columns, rows))
    };
    let ((x, m, k), (y, inner, n)) = (turned(a, "transA")?, turned(b, "transB")?);
    let dims = vec![m, n];
    let count = call.room(&dims)?;
    count.checked_mul(k).filter(|macs| *macs <= MOST)?;
    if k != inner || a.dtype() != b.dtype() {
        return None;
    }
    let mut out = vec![0.0; count];
    multiply(&x, &y, [k, n], &mut out);
    let alpha = f64::from(call.op.float("alpha", 1.0));
    out.iter_mut().for_each(|v| *v *= alpha);
    if let Some(c) = call.input(2) {
        if broadcast([c.dims(), &dims].into_iter())? != dims || c.dtype() != a.dtype() {
            return None;
        }
        let beta = f64::from(call.op.float("beta", 1.0));
        let (c, strides) = (c.to_f64()?, spread(c.dims(), &dims));
        let mut out = out.iter_mut();
        walk(&dims, [&strides], |[at]| {
            if let Some(o) = out.next() {
                *o += beta * c[at];
            }
        });
    }
    Tensor::from_f64s(a.dtype(), dims, &out)
}
