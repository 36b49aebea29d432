//! A dense array of any dtype: shape and little-endian bytes.

use std::borrow::Cow;
use std::ops::Range;

use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};

use crate::convert;
use crate::dtype::Dtype;
use crate::error::DataError;

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that an [`Array`] can hold; sealed.
///
/// `bool` is not among them (not every byte is a bool): see
/// [`Array::from_bool`] and [`Array::as_bool`].
pub trait Element: bytemuck::Pod + sealed::Sealed {
    /// The dtype that holds this type.
    const DTYPE: Dtype;
    /// The value with its bytes in little-endian order, or back again.
    #[must_use]
    fn swap_if_big_endian(self) -> Self;
}

macro_rules! element {
    ($($t:ty => $d:ident, $swap:expr;)*) => {$(
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: Dtype = Dtype::$d;
            fn swap_if_big_endian(self) -> Self {
                if cfg!(target_endian = "big") { $swap(self) } else { self }
            }
        }
    )*};
}

element! {
    f32 => F32, |x: f32| f32::from_bits(x.to_bits().swap_bytes());
    f64 => F64, |x: f64| f64::from_bits(x.to_bits().swap_bytes());
    f16 => F16, |x: f16| f16::from_bits(x.to_bits().swap_bytes());
    bf16 => Bf16, |x: bf16| bf16::from_bits(x.to_bits().swap_bytes());
    u8 => U8, u8::swap_bytes;
    i8 => I8, i8::swap_bytes;
    u16 => U16, u16::swap_bytes;
    i16 => I16, i16::swap_bytes;
    u32 => U32, u32::swap_bytes;
    i32 => I32, i32::swap_bytes;
    u64 => U64, u64::swap_bytes;
    i64 => I64, i64::swap_bytes;
}

/// A dense row-major array: a dtype, a shape and little-endian bytes.
///
/// The first axis is the sample axis wherever the array comes from a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// The number of elements of `shape`, none when it does not fit in memory's address space.
pub(crate) fn count(shape: &[usize]) -> Option<usize> {
    let n = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    (n <= isize::MAX as usize / 8).then_some(n)
}

impl Array {
    /// An array of `bytes`, which are little-endian elements in row-major order.
    ///
    /// # Errors
    /// [`DataError::Array`] when the number of bytes is not that of the shape,
    /// or a bool is neither 0 nor 1.
    pub fn new(dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Self, DataError> {
        let wanted = count(&shape).map(|n| n * dtype.size());
        if wanted != Some(bytes.len()) {
            return Err(DataError::array(
                format!("{dtype} of shape {shape:?}"),
                format!("{} bytes", bytes.len()),
            ));
        }
        if dtype == Dtype::Bool
            && let Some(bad) = bytes.iter().find(|&&b| b > 1)
        {
            return Err(DataError::array(
                "bool elements of 0 or 1",
                format!("a byte of {bad}"),
            ));
        }
        Ok(Self {
            dtype,
            shape,
            bytes,
        })
    }

    /// An array of the elements of `values`, row-major.
    ///
    /// # Errors
    /// [`DataError::Array`] when the count is not that of the shape.
    pub fn from_slice<T: Element>(shape: &[usize], values: &[T]) -> Result<Self, DataError> {
        let bytes = if cfg!(target_endian = "little") {
            bytemuck::cast_slice(values).to_vec()
        } else {
            let swapped: Vec<T> = values.iter().map(|v| v.swap_if_big_endian()).collect();
            bytemuck::cast_slice(&swapped).to_vec()
        };
        Self::new(T::DTYPE, shape.to_vec(), bytes)
    }

    /// [`Array::from_slice`] for f32, the usual case.
    ///
    /// # Errors
    /// [`DataError::Array`] when the count is not that of the shape.
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Result<Self, DataError> {
        Self::from_slice(shape, values)
    }

    /// An array of bools, row-major.
    ///
    /// # Errors
    /// [`DataError::Array`] when the count is not that of the shape.
    pub fn from_bool(shape: &[usize], values: &[bool]) -> Result<Self, DataError> {
        let bytes = values.iter().map(|&b| u8::from(b)).collect();
        Self::new(Dtype::Bool, shape.to_vec(), bytes)
    }

    /// An array with the shape and the values of `array`.
    #[must_use]
    pub fn from_ndarray<T: Element>(array: &ArrayD<T>) -> Self {
        let mut bytes = Vec::with_capacity(array.len() * size_of::<T>());
        for value in array {
            bytes.extend_from_slice(bytemuck::bytes_of(&value.swap_if_big_endian()));
        }
        Self {
            dtype: T::DTYPE,
            shape: array.shape().to_vec(),
            bytes,
        }
    }

    /// The element type.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// The shape, sample axis first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// True where some axis has length 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The little-endian bytes, row-major.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The little-endian bytes, taken out of the array.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The elements as `T`, none when the dtype is another; borrowed where alignment allows.
    #[must_use]
    pub fn as_slice<T: Element>(&self) -> Option<Cow<'_, [T]>> {
        (T::DTYPE == self.dtype).then(|| typed(&self.bytes))
    }

    /// The elements as f32: borrowed when that is the dtype, else converted (rounded; bool to 0 and 1).
    #[must_use]
    pub fn as_f32(&self) -> Cow<'_, [f32]> {
        match self.as_slice::<f32>() {
            Some(slice) => slice,
            None => Cow::Owned(convert::to_f32(self.dtype, &self.bytes)),
        }
    }

    /// The elements as bools, none when the dtype is another.
    #[must_use]
    pub fn as_bool(&self) -> Option<Vec<bool>> {
        (self.dtype == Dtype::Bool).then(|| self.bytes.iter().map(|&b| b != 0).collect())
    }

    /// The elements as i64, none for floating-point arrays and for u64 values above `i64::MAX`.
    #[must_use]
    pub fn as_i64(&self) -> Option<Vec<i64>> {
        convert::to_i64(self.dtype, &self.bytes)
    }

    /// The array as an f32 `ndarray` of the same shape, converted like [`Array::as_f32`].
    ///
    /// # Errors
    /// None in practice: the element count always is that of the shape; an
    /// inconsistency would be reported as [`DataError::Array`].
    pub fn to_ndarray_f32(&self) -> Result<ArrayD<f32>, DataError> {
        ArrayD::from_shape_vec(IxDyn(&self.shape), self.as_f32().into_owned())
            .map_err(|e| DataError::array(format!("shape {:?}", self.shape), e))
    }

    /// The same values in another dtype.
    ///
    /// Floats round to nearest, integers and bools widen exactly or are
    /// checked; see [`Dtype`] pairs that are refused under Errors.
    ///
    /// # Errors
    /// [`DataError::Array`] for a float made an integer or a bool, an integer
    /// that does not fit, and an integer other than 0 and 1 made a bool.
    pub fn cast(self, dtype: Dtype) -> Result<Self, DataError> {
        if dtype == self.dtype {
            return Ok(self);
        }
        let bytes = convert::cast(self.dtype, dtype, &self.bytes)?;
        Self::new(dtype, self.shape, bytes)
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// [`DataError::Array`] when the element count differs.
    pub fn reshape(self, shape: Vec<usize>) -> Result<Self, DataError> {
        Self::new(self.dtype, shape, self.bytes)
    }

    /// Rows `range` of the first axis, as a copy.
    ///
    /// # Errors
    /// [`DataError::Rows`] when the range is not within the first axis.
    pub fn rows(&self, range: Range<usize>) -> Result<Self, DataError> {
        let rows = self.shape.first().copied().unwrap_or(0);
        if range.start > range.end || range.end > rows {
            return Err(DataError::Rows {
                start: range.start,
                end: range.end,
                expected: format!("rows within 0..{rows}"),
            });
        }
        let row = self.bytes.len().checked_div(rows).unwrap_or(0);
        let mut shape = self.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = range.len();
        }
        let bytes = self.bytes[range.start * row..range.end * row].to_vec();
        Self::new(self.dtype, shape, bytes)
    }

    /// Appends copies of the last row until there are `rows` of them (nothing to copy: unchanged).
    pub(crate) fn pad_rows(&mut self, rows: usize) {
        let have = self.shape.first().copied().unwrap_or(0);
        if have == 0 || have >= rows {
            return;
        }
        let last = self.bytes[self.bytes.len() - self.bytes.len() / have..].to_vec();
        for _ in have..rows {
            self.bytes.extend_from_slice(&last);
        }
        self.shape[0] = rows;
    }
}

/// Little-endian bytes as elements: borrowed on an aligned little-endian machine, else copied.
pub(crate) fn typed<T: Element>(bytes: &[u8]) -> Cow<'_, [T]> {
    if cfg!(target_endian = "little")
        && let Ok(slice) = bytemuck::try_cast_slice(bytes)
    {
        return Cow::Borrowed(slice);
    }
    let elements = bytes.chunks_exact(size_of::<T>());
    Cow::Owned(
        elements
            .map(|c| bytemuck::pod_read_unaligned::<T>(c).swap_if_big_endian())
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_it_was_given() {
        let a = Array::from_f32(&[2, 2], &[1.0, 2.0, 3.0, 4.5]).unwrap();
        assert_eq!(a.bytes()[..4], 1.0f32.to_le_bytes());
        assert_eq!(&*a.as_f32(), &[1.0, 2.0, 3.0, 4.5]);
        assert_eq!(a.as_slice::<i32>(), None);
        assert_eq!(a.to_ndarray_f32().unwrap()[[1, 1]], 4.5);
        assert_eq!(Array::from_ndarray(&a.to_ndarray_f32().unwrap()), a);
    }

    #[test]
    fn refuses_bytes_that_do_not_fill_the_shape() {
        let error = Array::new(Dtype::F32, vec![3], vec![0; 11]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "array: expected f32 of shape [3], found 11 bytes"
        );
        assert!(Array::new(Dtype::F32, vec![usize::MAX, 8], vec![]).is_err());
        assert!(Array::new(Dtype::Bool, vec![2], vec![0, 2]).is_err());
    }

    #[test]
    fn rows_and_padding() {
        let mut a = Array::from_slice(&[3, 2], &[1i32, 2, 3, 4, 5, 6]).unwrap();
        let b = a.rows(1..2).unwrap();
        assert_eq!(b, Array::from_slice(&[1, 2], &[3i32, 4]).unwrap());
        assert!(a.rows(2..4).is_err());
        a.pad_rows(5);
        assert_eq!(a.shape(), &[5, 2]);
        assert_eq!(a.as_slice::<i32>().unwrap()[6..], [5, 6, 5, 6]);
    }

    #[test]
    fn unaligned_bytes_still_decode() {
        let mut bytes = vec![0u8];
        bytes.extend_from_slice(&7.25f64.to_le_bytes());
        assert_eq!(&*typed::<f64>(&bytes[1..]), &[7.25]);
    }
}
