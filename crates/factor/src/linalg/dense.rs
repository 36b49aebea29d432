//! Matrix products on row-major slices. faer's kernel on one thread per panel of rows; the panels
//! depend on the shape alone, so the bytes do not depend on the number of threads.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};

use faer::linalg::matmul::matmul;
use faer::traits::ComplexField;
use faer::traits::math_utils::{one, zero};
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;

use crate::error::FactorError;

/// Rows of the product that one task computes, at least and at most: each task packs the other
/// factor anew, and each thread should have some.
const PANEL: (usize, usize) = (64, 256);
/// Tasks that a product of many rows is split into.
const TASKS: usize = 8;
/// Extent of the blocks that a matrix is transposed by.
const BLOCK: usize = 32;
/// Multiply-adds below which a product is not worth splitting.
const SPLIT: usize = 1 << 20;
/// Values from which on a loop over them is worth a choice of its instructions.
const LONG: usize = 64;

/// A real number in single or in double precision.
pub trait Real: ComplexField + Copy + Into<f64> + Send + Sync {
    /// The nearest to `value`.
    fn of(value: f64) -> Self;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as Self
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }
}

/// A matrix of zeros `[rows, columns]`, row-major.
///
/// # Errors
/// [`FactorError::Memory`] where it can't be allocated.
pub fn zeros<T: Real>(rows: usize, columns: usize) -> Result<Vec<T>, FactorError> {
    let len = rows.checked_mul(columns);
    let bytes = len.and_then(|n| n.checked_mul(size_of::<T>()));
    let bytes = bytes.unwrap_or(usize::MAX);
    let mut values = Vec::new();
    let had = len.map(|len| values.try_reserve_exact(len).map(|()| len));
    match had {
        Some(Ok(len)) => values.resize(len, zero::<T>()),
        _ => return Err(FactorError::Memory { bytes }),
    }
    Ok(values)
}

/// A row-major `[rows, columns]` slice as a matrix.
pub fn view<T>(data: &[T], rows: usize, columns: usize) -> MatRef<'_, T> {
    MatRef::from_row_major_slice(&data[..rows * columns], rows, columns)
}

/// `out = a b`, or `out += a b` where `add`; `out` is row-major `[a.nrows(), b.ncols()]`.
pub fn product<T>(out: &mut [T], add: bool, a: MatRef<'_, T>, b: MatRef<'_, T>)
where
    T: ComplexField + Send + Sync,
{
    let (rows, columns) = (a.nrows(), b.ncols());
    if rows * columns == 0 {
        return;
    }
    let out = &mut out[..rows * columns];
    let most = (rows / TASKS).clamp(PANEL.0, PANEL.1);
    if rows <= most || rows * columns * a.ncols() < SPLIT {
        return panel(out, add, a, b);
    }
    out.par_chunks_mut(most * columns)
        .enumerate()
        .for_each(|(index, out)| {
            let height = out.len() / columns;
            panel(out, add, a.subrows(index * most, height), b);
        });
}

/// [`product`] on the calling thread.
pub fn panel<T: ComplexField>(out: &mut [T], add: bool, a: MatRef<'_, T>, b: MatRef<'_, T>) {
    into(
        MatMut::from_row_major_slice_mut(out, a.nrows(), b.ncols()),
        add,
        a,
        b,
    );
}

/// [`panel`] into a part of a matrix.
pub fn into<T: ComplexField>(out: MatMut<'_, T>, add: bool, a: MatRef<'_, T>, b: MatRef<'_, T>) {
    let accumulate = if add { Accum::Add } else { Accum::Replace };
    matmul(out, accumulate, a, b, one(), Par::Seq);
}

/// Values in single precision.
pub fn single(x: &[f64]) -> Vec<f32> {
    x.iter().map(|x| *x as f32).collect()
}

/// Values in double precision.
pub fn double(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// [`double`] into values that are there.
pub fn widen(out: &mut [f64], from: &[f32]) {
    let pairs = out.iter_mut().zip(from);
    pairs.for_each(|(out, x)| *out = f64::from(*x));
}

/// Runs `work` as compiled for AVX2 where the processor has it, for NEON on Arm. Its sums have the order that they are written
/// in, on every processor.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// [`vectorised`] work on so many values, where they are worth it.
#[inline(always)]
fn for_length<R>(values: usize, work: impl FnOnce() -> R) -> R {
    match values < LONG {
        true => work(),
        false => vectorised(work),
    }
}

/// `sum of x[i] y[i]`, in an order that depends on the length alone.
pub fn dot(x: &[f64], y: &[f64]) -> f64 {
    for_length(x.len(), || dot_in_lanes::<f64, 8>(x, y))
}

/// [`dot`] in single precision.
pub fn dot_single(x: &[f32], y: &[f32]) -> f64 {
    f64::from(for_length(x.len(), || dot_in_lanes::<f32, 16>(x, y)))
}

#[inline(always)]
fn dot_in_lanes<T, const LANES: usize>(x: &[T], y: &[T]) -> T
where
    T: Copy + Default + AddAssign + Add<Output = T> + Mul<Output = T> + Sum,
{
    let mut sums = [T::default(); LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let tail = xs.remainder().iter().zip(ys.remainder());
    let tail: T = tail.map(|(x, y)| *x * *y).sum();
    for (x, y) in xs.zip(ys) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().copied().sum::<T>() + tail
}

/// `y += a x`.
pub fn axpy(y: &mut [f64], a: f64, x: &[f64]) {
    let pairs = y.iter_mut().zip(x);
    for_length(x.len(), || pairs.for_each(|(y, x)| *y += a * x));
}

/// The `[columns, rows]` transpose of a row-major `[rows, columns]` matrix.
pub fn transposed<T: Real>(x: &[T], rows: usize, columns: usize) -> Vec<T> {
    let mut out = vec![zero::<T>(); rows * columns];
    for top in (0..rows).step_by(BLOCK) {
        let bottom = rows.min(top + BLOCK);
        for left in (0..columns).step_by(BLOCK) {
            let right = columns.min(left + BLOCK);
            for c in left..right {
                let out = &mut out[c * rows..][top..bottom];
                for (r, out) in (top..bottom).zip(out) {
                    *out = x[r * columns + c];
                }
            }
        }
    }
    out
}

/// Values `[a, b, c]` in the order `[c, a, b]`.
pub fn last_axis_first(x: &[f64], a: usize, b: usize, c: usize) -> Vec<f64> {
    transposed(x, a * b, c)
}

/// Every row `[a, b]` of several as `[b, a]`.
pub fn rows_transposed(rows: &[f64], a: usize, b: usize) -> Vec<f64> {
    let rows = rows.chunks_exact(a * b);
    rows.flat_map(|row| transposed(row, a, b)).collect()
}

/// Adds `value` to the diagonal of the row-major `[n, n]` matrix.
pub fn add_to_diagonal(matrix: &mut [f64], n: usize, value: f64) {
    matrix
        .iter_mut()
        .step_by(n + 1)
        .take(n)
        .for_each(|x| *x += value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize, seed: usize) -> Vec<f64> {
        (0..len)
            .map(|i| ((i * 7919 + seed * 31) % 1009) as f64 / 504.0 - 1.0)
            .collect()
    }

    #[test]
    fn products_of_every_size_and_orientation() {
        for (m, k, n) in [(1, 1, 1), (3, 9, 5), (70, 65, 130), (200, 90, 100)] {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            let mut out = vec![1.0; m * n];
            product(&mut out, true, view(&a, m, k), view(&b, k, n));
            let at = transposed(&a, m, k);
            let mut again = vec![7.0; m * n];
            let flipped = view(&at, k, m).transpose();
            product(&mut again, false, flipped, view(&b, k, n));
            for i in 0..m {
                for j in 0..n {
                    let expected: f64 = (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
                    assert!((out[i * n + j] - 1.0 - expected).abs() < 1e-12);
                    assert!((again[i * n + j] - expected).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn dot_products_of_every_length() {
        for n in (0..40).chain([63, 64, 65, 130, 1000]) {
            let (x, y) = (numbers(n, 3), numbers(n, 4));
            let expected: f64 = x.iter().zip(&y).map(|(x, y)| x * y).sum();
            let length = (n as f64 / 40.0).max(1.0);
            assert!((dot(&x, &y) - expected).abs() < 1e-13 * length);
            let found = dot_single(&single(&x), &single(&y));
            assert!((found - expected).abs() < 1e-5 * length, "{n}");
            // The order of the sums is that of the loop as it is.
            assert_eq!(dot(&x, &y), dot_in_lanes::<f64, 8>(&x, &y));
            let (mut sum, mut plain) = (y.clone(), y.clone());
            axpy(&mut sum, 0.3, &x);
            plain.iter_mut().zip(&x).for_each(|(y, x)| *y += 0.3 * x);
            assert_eq!(sum, plain);
        }
    }
}
