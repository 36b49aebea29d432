//! An array whose bytes belong to someone else.

use std::fmt;

use bytes::Bytes;

use crate::array::{Array, count};
use crate::dtype::Dtype;
use crate::error::DataError;

/// A dense row-major array, samples first, that is read where it lies: [`Bytes::from_owner`]
/// takes memory of any owner without a copy. Cloning shares it.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedArray {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Bytes,
}

impl SharedArray {
    /// An array of `bytes`, which are little-endian elements in row-major order.
    ///
    /// # Errors
    /// [`DataError::Array`] when the number of bytes is not that of the shape.
    pub fn new(dtype: Dtype, shape: Vec<usize>, bytes: Bytes) -> Result<Self, DataError> {
        let wanted = count(&shape).map(|n| n * dtype.size());
        if wanted != Some(bytes.len()) {
            return Err(DataError::array(
                format!("{dtype} of shape {shape:?}"),
                format!("{} bytes", bytes.len()),
            ));
        }
        Ok(Self {
            dtype,
            shape,
            bytes,
        })
    }

    /// The type of its elements.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its extents, the number of samples first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The little-endian bytes, row-major.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl From<Array> for SharedArray {
    fn from(array: Array) -> Self {
        Self {
            dtype: array.dtype(),
            shape: array.shape().to_vec(),
            bytes: array.into_bytes().into(),
        }
    }
}

impl fmt::Debug for SharedArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_the_owner() {
        let owner = vec![1u8, 2, 3, 4, 5, 6];
        let place = owner.as_ptr();
        let array = SharedArray::new(Dtype::U8, vec![2, 3], Bytes::from_owner(owner)).unwrap();
        assert_eq!(array.clone().bytes().as_ptr(), place);
        assert_eq!(format!("{array:?}"), "u8[2, 3]");
    }

    #[test]
    fn a_wrong_number_of_bytes_is_refused() {
        let short = SharedArray::new(Dtype::F32, vec![2], Bytes::from_static(&[0; 7]));
        assert!(short.unwrap_err().to_string().contains("7 bytes"));
    }
}
