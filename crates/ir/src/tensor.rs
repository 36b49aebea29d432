//! Constant tensors over shared buffers.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::element::{self, Element};
use crate::types::DType;

/// A constant tensor: element type, dimensions and little-endian data in a shared buffer
/// (a slice of the mapped model file, or one owned by the pass that made it).
#[derive(Clone, PartialEq, Eq)]
pub struct Tensor {
    dtype: DType,
    dims: Vec<usize>,
    data: Option<Bytes>,
    sparse: bool,
}

impl Tensor {
    /// A tensor over `data`, little-endian and row-major. `None` unless the length of `data`
    /// is that of the product of `dims` elements ([`DType::bytes_of`]).
    pub fn new(dtype: DType, dims: Vec<usize>, data: Bytes) -> Option<Self> {
        let count = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        (dtype.bytes_of(count)? == data.len()).then_some(Self {
            dtype,
            dims,
            data: Some(data),
            sparse: false,
        })
    }

    /// A tensor whose elements this crate does not read: strings, 8-bit floats.
    pub fn opaque(dtype: DType, dims: Vec<usize>) -> Self {
        Self {
            dtype,
            dims,
            data: None,
            sparse: false,
        }
    }

    /// A tensor that is stored as the list of its elements that are not zero (`SparseTensorProto`),
    /// which this crate does not read.
    pub fn sparse(dtype: DType, dims: Vec<usize>) -> Self {
        Self {
            sparse: true,
            ..Self::opaque(dtype, dims)
        }
    }

    /// True for a tensor that is stored as a list of its elements that are not zero.
    pub fn is_sparse(&self) -> bool {
        self.sparse
    }

    /// An f32 tensor.
    ///
    /// # Panics
    /// If the length of `values` is not the product of `dims`.
    pub fn from_f32(dims: Vec<usize>, values: Vec<f32>) -> Self {
        assert_eq!(dims.iter().product::<usize>(), values.len());
        #[cfg(target_endian = "little")]
        let data = Bytes::from_owner(F32Owner(values));
        #[cfg(target_endian = "big")]
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self {
            dtype: DType::F32,
            dims,
            data: Some(data),
            sparse: false,
        }
    }

    /// An i64 tensor.
    ///
    /// # Panics
    /// If the length of `values` is not the product of `dims`.
    pub fn from_i64(dims: Vec<usize>, values: &[i64]) -> Self {
        assert_eq!(dims.iter().product::<usize>(), values.len());
        Self {
            dtype: DType::I64,
            dims,
            data: Some(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            sparse: false,
        }
    }

    /// A tensor of a floating-point type from f32 values, rounded to nearest.
    /// `None` if `dtype` is not a floating-point type or the count does not fit `dims`.
    pub fn from_floats(dtype: DType, dims: Vec<usize>, values: Vec<f32>) -> Option<Self> {
        if dims.iter().product::<usize>() != values.len() {
            return None;
        }
        if dtype == DType::F32 {
            return Some(Self::from_f32(dims, values));
        }
        let wide: Vec<f64> = values.into_iter().map(f64::from).collect();
        Self::from_f64s(dtype, dims, &wide)
    }

    /// A tensor of a floating-point type from f64 values, rounded to nearest (half types by way
    /// of f32: `half` drops the low bits of an f64 before it rounds).
    /// `None` if `dtype` is not a floating-point type or the count does not fit `dims`.
    pub fn from_f64s(dtype: DType, dims: Vec<usize>, values: &[f64]) -> Option<Self> {
        if dims.iter().product::<usize>() != values.len() {
            return None;
        }
        let data: Bytes = match dtype {
            DType::F32 => {
                let values = values.iter().map(|v| *v as f32).collect();
                return Some(Self::from_f32(dims, values));
            }
            DType::F64 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            DType::F16 => values
                .iter()
                .flat_map(|v| half::f16::from_f32(*v as f32).to_le_bytes())
                .collect(),
            DType::BF16 => values
                .iter()
                .flat_map(|v| half::bf16::from_f32(*v as f32).to_le_bytes())
                .collect(),
            _ => return None,
        };
        Some(Self {
            dtype,
            dims,
            data: Some(data),
            sparse: false,
        })
    }

    /// A tensor of the elements of `values`, row-major. `None` if their number is not the product
    /// of `dims`.
    pub fn from_slice<T: Element>(dims: &[usize], values: &[T]) -> Option<Self> {
        Self::new(T::DTYPE, dims.to_vec(), element::bytes_of(values).into())
    }

    /// The first `rows` of the first axis, over the same data. `None` as with [`Tensor::rows`].
    pub fn first_rows(&self, rows: usize) -> Option<Self> {
        self.rows(0..rows)
    }

    /// Some rows of the first axis, over the same data. `None` for opaque tensors, scalars and
    /// where there are no such rows, or where they do not begin at a byte.
    pub fn rows(&self, rows: Range<usize>) -> Option<Self> {
        let (have, data) = (*self.dims.first()?, self.data.as_ref()?);
        if rows.start > rows.end || rows.end > have {
            return None;
        }
        let row: usize = self.dims[1..].iter().product();
        let start = self.dtype.bytes_of(rows.start * row)?;
        let mut dims = self.dims.clone();
        dims[0] = rows.len();
        let length = self.dtype.bytes_of(rows.len() * row)?;
        let whole = self.dtype.size().is_some() || (rows.start * row).is_multiple_of(2);
        whole.then(|| Self::new(self.dtype, dims, data.slice(start..start + length)))?
    }

    /// A tensor of an integer type or of booleans from i64 values, of which it takes the low bits
    /// (true is 1). `None` if `dtype` is no such type or the count does not fit `dims`.
    pub fn from_i64s(dtype: DType, dims: Vec<usize>, values: &[i64]) -> Option<Self> {
        let size = match dtype {
            DType::I4 | DType::U4 => {
                let pairs = values.chunks(2);
                let byte = |pair: &[i64]| {
                    let high = pair.get(1).copied().unwrap_or_default();
                    (pair[0] & 15 | (high & 15) << 4) as u8
                };
                return Self::new(dtype, dims, pairs.map(byte).collect())
                    .filter(|t| t.len() == values.len());
            }
            DType::String => return None,
            _ if dtype.is_float() => return None,
            _ => dtype.size()?,
        };
        let mut data = Vec::with_capacity(values.len() * size);
        for value in values {
            data.extend_from_slice(&value.to_le_bytes()[..size]);
        }
        Self::new(dtype, dims, data.into())
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Dimensions, outermost first.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// True for a tensor without elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The little-endian data; `None` for opaque tensors.
    pub fn data(&self) -> Option<&Bytes> {
        self.data.as_ref()
    }

    /// The elements as `T`, borrowed where alignment allows. `None` for other types.
    pub fn as_slice<T: Element>(&self) -> Option<Cow<'_, [T]>> {
        let data = self.data.as_deref()?;
        (T::DTYPE == self.dtype).then(|| element::typed(data))
    }

    /// The elements of a floating-point tensor as f32, borrowed where they are stored so.
    /// `None` for other types.
    pub fn to_f32(&self) -> Option<Cow<'_, [f32]>> {
        let data = self.data.as_deref()?;
        Some(match self.dtype {
            DType::F32 => element::typed(data),
            DType::F64 => decode(data, |b| f64::from_le_bytes(b) as f32),
            DType::F16 => decode(data, |b| half::f16::from_le_bytes(b).to_f32()),
            DType::BF16 => decode(data, |b| half::bf16::from_le_bytes(b).to_f32()),
            _ => return None,
        })
    }

    /// The elements of a floating-point tensor as f64. `None` for other types.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        if self.dtype == DType::F64 {
            let chunks = self.data.as_deref()?.as_chunks::<8>().0.iter();
            return Some(chunks.map(|b| f64::from_le_bytes(*b)).collect());
        }
        Some(self.to_f32()?.iter().map(|v| f64::from(*v)).collect())
    }

    /// The elements of an integer or boolean tensor as i64. `None` for other types.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        let data = self.data.as_deref()?;
        Some(match self.dtype {
            DType::I64 => ints(data, i64::from_le_bytes),
            DType::I32 => ints(data, |b| i64::from(i32::from_le_bytes(b))),
            DType::I16 => ints(data, |b| i64::from(i16::from_le_bytes(b))),
            DType::I8 => ints(data, |b| i64::from(i8::from_le_bytes(b))),
            DType::U8 | DType::Bool => data.iter().map(|b| i64::from(*b)).collect(),
            DType::U16 => ints(data, |b| i64::from(u16::from_le_bytes(b))),
            DType::U32 => ints(data, |b| i64::from(u32::from_le_bytes(b))),
            DType::U64 => ints(data, |b| u64::from_le_bytes(b) as i64),
            DType::U4 => self.nibbles(data).collect(),
            // Two's complement of 4 bits.
            DType::I4 => self.nibbles(data).map(|n| (n ^ 8) - 8).collect(),
            _ => return None,
        })
    }

    /// Elements of 4 bits, without a sign.
    fn nibbles<'a>(&self, data: &'a [u8]) -> impl Iterator<Item = i64> + use<'a> {
        let halves = data.iter().flat_map(|b| [b & 15, b >> 4]);
        halves.take(self.len()).map(i64::from)
    }
}

/// Its type and extents, such as `f32[2, 3]`.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.dims)
    }
}

fn decode<const N: usize>(data: &[u8], f: impl Fn([u8; N]) -> f32) -> Cow<'_, [f32]> {
    Cow::Owned(data.as_chunks::<N>().0.iter().map(|b| f(*b)).collect())
}

fn ints<const N: usize>(data: &[u8], f: impl Fn([u8; N]) -> i64) -> Vec<i64> {
    data.as_chunks::<N>().0.iter().map(|b| f(*b)).collect()
}

/// Lets a `Vec<f32>` back a byte buffer without a copy.
struct F32Owner(Vec<f32>);

impl AsRef<[u8]> for F32Owner {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lengths_must_agree() {
        assert!(Tensor::new(DType::F32, vec![2], Bytes::from_static(&[0; 8])).is_some());
        assert!(Tensor::new(DType::F32, vec![3], Bytes::from_static(&[0; 8])).is_none());
        let huge = vec![usize::MAX, 2];
        assert!(Tensor::new(DType::F32, huge, Bytes::from_static(&[0; 8])).is_none());
    }

    #[test]
    fn two_integers_of_4_bits_share_a_byte() {
        let data = Bytes::from_static(&[0x21, 0xf8, 0x07]);
        let read = |dtype| Tensor::new(dtype, vec![5], data.clone())?.to_i64();
        assert_eq!(read(DType::U4).unwrap(), [1, 2, 8, 15, 7]);
        assert_eq!(read(DType::I4).unwrap(), [1, 2, -8, -1, 7]);
        assert!(Tensor::new(DType::I4, vec![7], data.clone()).is_none());
        assert!(Tensor::new(DType::I4, vec![4], data).is_none());
        assert_eq!(DType::I4.size(), None);
    }

    #[test]
    fn rows_share_the_data() {
        let all = Tensor::from_slice(&[3, 2], &[1i32, 2, 3, 4, 5, 6]).unwrap();
        let middle = all.rows(1..2).unwrap();
        assert_eq!(
            (middle.dims(), middle.to_i64().unwrap()),
            (&[1, 2][..], vec![3, 4])
        );
        assert_eq!(
            middle.data().unwrap().as_ptr(),
            all.data().unwrap()[8..].as_ptr()
        );
        assert_eq!(all.rows(3..3).unwrap().len(), 0);
        assert!(all.rows(2..4).is_none());
        let nibbles = Tensor::from_i64s(DType::I4, vec![3, 1], &[1, 2, 3]).unwrap();
        assert_eq!(nibbles.rows(2..3).unwrap().to_i64().unwrap(), [3]);
        assert!(nibbles.rows(1..2).is_none());
    }

    #[test]
    fn elements_are_read_as_their_own_type() {
        let t = Tensor::from_slice(&[2], &[1.5f32, -2.0]).unwrap();
        assert_eq!(&*t.as_slice::<f32>().unwrap(), &[1.5, -2.0]);
        assert!(t.as_slice::<i32>().is_none());
        assert!(Tensor::from_slice(&[3], &[1u8]).is_none());
    }

    #[test]
    fn integers_keep_their_low_bits() {
        let all = [1, -1, 300];
        let read = |dtype| Tensor::from_i64s(dtype, vec![3], &all)?.to_i64();
        assert_eq!(read(DType::I64).unwrap(), all);
        assert_eq!(read(DType::I16).unwrap(), all);
        assert_eq!(read(DType::U8).unwrap(), [1, 255, 44]);
        assert_eq!(read(DType::I4).unwrap(), [1, -1, -4]);
        assert_eq!(read(DType::U4).unwrap(), [1, 15, 12]);
        assert_eq!(read(DType::F32), None);
        assert!(Tensor::from_i64s(DType::I4, vec![4], &all).is_none());
        assert!(Tensor::from_i64s(DType::I8, vec![2], &all).is_none());
    }

    #[test]
    fn unaligned_f32_are_read() {
        let mut raw = vec![0u8];
        raw.extend(1.5f32.to_le_bytes());
        raw.extend((-2.0f32).to_le_bytes());
        let t = Tensor::new(DType::F32, vec![2], Bytes::from(raw).slice(1..)).unwrap();
        assert_eq!(&*t.to_f32().unwrap(), &[1.5, -2.0]);
    }

    #[test]
    fn half_types_round_trip() {
        for dtype in [DType::F16, DType::BF16, DType::F64, DType::F32] {
            let t = Tensor::from_floats(dtype, vec![3], vec![1.0, -0.5, 2.0]).unwrap();
            assert_eq!(&*t.to_f32().unwrap(), &[1.0, -0.5, 2.0], "{dtype}");
            assert_eq!(t.data().unwrap().len(), 3 * dtype.size().unwrap());
        }
    }

    #[test]
    fn doubles_keep_their_digits() {
        let third = 1.0 / 3.0;
        let t = Tensor::from_f64s(DType::F64, vec![1], &[third]).unwrap();
        assert_eq!(t.to_f64().unwrap(), [third]);
        let t = Tensor::from_f64s(DType::F32, vec![1], &[third]).unwrap();
        assert_eq!(t.to_f64().unwrap(), [f64::from(third as f32)]);
        assert!(Tensor::from_f64s(DType::I64, vec![1], &[third]).is_none());
        assert!(Tensor::from_f64s(DType::F64, vec![2], &[third]).is_none());
    }
}
