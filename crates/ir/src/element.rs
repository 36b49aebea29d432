//! Rust types that the elements of a tensor can be read as.

use std::borrow::Cow;

use half::{bf16, f16};

use crate::types::DType;

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that holds the elements of one [`DType`]; sealed.
///
/// `bool` is not among them: not every byte is one.
pub trait Element: bytemuck::Pod + sealed::Sealed {
    /// The element type of tensors that hold this type.
    const DTYPE: DType;

    /// The value with its bytes in little-endian order, or back again.
    #[must_use]
    fn swap_if_big_endian(self) -> Self;
}

macro_rules! element {
    ($($t:ty => $d:ident, $swap:expr;)*) => {$(
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$d;
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
    bf16 => BF16, |x: bf16| bf16::from_bits(x.to_bits().swap_bytes());
    u8 => U8, u8::swap_bytes;
    i8 => I8, i8::swap_bytes;
    u16 => U16, u16::swap_bytes;
    i16 => I16, i16::swap_bytes;
    u32 => U32, u32::swap_bytes;
    i32 => I32, i32::swap_bytes;
    u64 => U64, u64::swap_bytes;
    i64 => I64, i64::swap_bytes;
}

/// Little-endian bytes as elements: borrowed on an aligned little-endian machine, else copied.
pub(crate) fn typed<T: Element>(bytes: &[u8]) -> Cow<'_, [T]> {
    if cfg!(target_endian = "little")
        && let Ok(slice) = bytemuck::try_cast_slice(bytes)
    {
        return Cow::Borrowed(slice);
    }
    let elements = bytes.chunks_exact(size_of::<T>());
    let element = |chunk| bytemuck::pod_read_unaligned::<T>(chunk).swap_if_big_endian();
    Cow::Owned(elements.map(element).collect())
}

/// The little-endian bytes of elements.
pub(crate) fn bytes_of<T: Element>(values: &[T]) -> Vec<u8> {
    if cfg!(target_endian = "little") {
        return bytemuck::cast_slice(values).to_vec();
    }
    let swapped: Vec<T> = values.iter().map(|v| v.swap_if_big_endian()).collect();
    bytemuck::cast_slice(&swapped).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unaligned_bytes_still_decode() {
        let mut bytes = vec![0u8];
        bytes.extend_from_slice(&7.25f64.to_le_bytes());
        assert_eq!(&*typed::<f64>(&bytes[1..]), &[7.25]);
        assert_eq!(bytes_of(&[7.25f64]), bytes[1..]);
    }
}
