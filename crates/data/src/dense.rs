//! The tensors of data sets: numbers and bools, checked.

use bytes::Bytes;
use sepconv_ir::{DType, Tensor};

use crate::error::DataError;

/// The number of elements of `shape`, none when it does not fit in memory's address space.
pub(crate) fn count(shape: &[usize]) -> Option<usize> {
    let n = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    (n <= isize::MAX as usize / 8).then_some(n)
}

/// Bytes of one element of a data set, whose types have whole bytes each: [`crate::Request`] is
/// checked for that, and files of other types are refused.
pub(crate) fn width(dtype: DType) -> usize {
    dtype.size().unwrap_or(1)
}

/// A tensor of `bytes`, which are little-endian elements in row-major order.
///
/// # Errors
/// [`DataError::Array`] when the number of bytes is not that of the shape, or a bool is neither
/// 0 nor 1.
pub(crate) fn dense(
    dtype: DType,
    shape: Vec<usize>,
    bytes: impl Into<Bytes>,
) -> Result<Tensor, DataError> {
    let bytes = bytes.into();
    let found = bytes.len();
    let misfit = format!("{dtype} of shape {shape:?}");
    let odd = match dtype {
        DType::Bool => bytes.iter().copied().find(|b| *b > 1),
        _ => None,
    };
    let tensor = count(&shape).and_then(|_| Tensor::new(dtype, shape, bytes));
    let tensor = tensor.ok_or_else(|| DataError::array(misfit, format!("{found} bytes")))?;
    match odd {
        Some(odd) => Err(DataError::array(
            "bool elements of 0 or 1",
            format!("a byte of {odd}"),
        )),
        None => Ok(tensor),
    }
}

/// The little-endian bytes of a tensor; none where it is opaque.
pub(crate) fn bytes_of(tensor: &Tensor) -> &[u8] {
    tensor.data().map_or(&[], |data| data)
}

/// A tensor of f32.
///
/// # Errors
/// [`DataError::Array`] when the count is not that of the shape.
pub(crate) fn from_f32(shape: &[usize], values: &[f32]) -> Result<Tensor, DataError> {
    let found = || DataError::array(format!("f32 of shape {shape:?}"), values.len());
    Tensor::from_slice(shape, values).ok_or_else(found)
}

/// The tensor with copies of its last row, until there are `rows` of them; as it is where it has
/// none or enough.
pub(crate) fn pad_rows(tensor: Tensor, rows: usize) -> Result<Tensor, DataError> {
    let have = tensor.dims().first().copied().unwrap_or(0);
    if have == 0 || have >= rows {
        return Ok(tensor);
    }
    let mut bytes = bytes_of(&tensor).to_vec();
    let last = bytes[bytes.len() - bytes.len() / have..].to_vec();
    for _ in have..rows {
        bytes.extend_from_slice(&last);
    }
    let mut shape = tensor.dims().to_vec();
    shape[0] = rows;
    dense(tensor.dtype(), shape, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_bytes_that_do_not_fill_the_shape() {
        let error = dense(DType::F32, vec![3], vec![0; 11]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "array: expected f32 of shape [3], found 11 bytes"
        );
        assert!(dense(DType::F32, vec![usize::MAX, 8], vec![]).is_err());
        assert!(dense(DType::Bool, vec![2], vec![0, 2]).is_err());
        assert!(dense(DType::Bool, vec![2], vec![0, 1]).is_ok());
    }

    #[test]
    fn the_last_row_fills_a_batch() {
        let a = Tensor::from_slice(&[3, 2], &[1i32, 2, 3, 4, 5, 6]).unwrap();
        let padded = pad_rows(a.clone(), 5).unwrap();
        assert_eq!(padded.dims(), &[5, 2]);
        assert_eq!(padded.as_slice::<i32>().unwrap()[6..], [5, 6, 5, 6]);
        assert_eq!(pad_rows(a.clone(), 2).unwrap(), a);
    }
}
