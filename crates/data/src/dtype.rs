//! Element types of arrays.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The element type of an [`crate::Array`]: the numeric ONNX types and bool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
    /// IEEE half precision.
    F16,
    /// Truncated single precision (bfloat16); no NumPy equivalent.
    Bf16,
    /// Unsigned 8 bits.
    U8,
    /// Signed 8 bits.
    I8,
    /// Unsigned 16 bits.
    U16,
    /// Signed 16 bits.
    I16,
    /// Unsigned 32 bits.
    U32,
    /// Signed 32 bits.
    I32,
    /// Unsigned 64 bits.
    U64,
    /// Signed 64 bits.
    I64,
    /// One byte, 0 or 1.
    Bool,
}

impl Dtype {
    /// Every dtype, in declaration order.
    pub const ALL: [Dtype; 13] = [
        Dtype::F32,
        Dtype::F64,
        Dtype::F16,
        Dtype::Bf16,
        Dtype::U8,
        Dtype::I8,
        Dtype::U16,
        Dtype::I16,
        Dtype::U32,
        Dtype::I32,
        Dtype::U64,
        Dtype::I64,
        Dtype::Bool,
    ];

    /// Bytes of one element.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Dtype::U8 | Dtype::I8 | Dtype::Bool => 1,
            Dtype::F16 | Dtype::Bf16 | Dtype::U16 | Dtype::I16 => 2,
            Dtype::F32 | Dtype::U32 | Dtype::I32 => 4,
            Dtype::F64 | Dtype::U64 | Dtype::I64 => 8,
        }
    }

    /// True for floating-point types.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::Bf16)
    }

    /// True for integer types (bool is none).
    #[must_use]
    pub fn is_int(self) -> bool {
        !self.is_float() && self != Dtype::Bool
    }

    /// The short name: `f32`, `bf16`, `u8`, `bool`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::F64 => "f64",
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
            Dtype::U8 => "u8",
            Dtype::I8 => "i8",
            Dtype::U16 => "u16",
            Dtype::I16 => "i16",
            Dtype::U32 => "u32",
            Dtype::I32 => "i32",
            Dtype::U64 => "u64",
            Dtype::I64 => "i64",
            Dtype::Bool => "bool",
        }
    }

    /// The little-endian NumPy descriptor (`<f4`), none for bfloat16.
    #[must_use]
    pub fn npy_descr(self) -> Option<&'static str> {
        Some(match self {
            Dtype::F32 => "<f4",
            Dtype::F64 => "<f8",
            Dtype::F16 => "<f2",
            Dtype::Bf16 => return None,
            Dtype::U8 => "|u1",
            Dtype::I8 => "|i1",
            Dtype::U16 => "<u2",
            Dtype::I16 => "<i2",
            Dtype::U32 => "<u4",
            Dtype::I32 => "<i4",
            Dtype::U64 => "<u8",
            Dtype::I64 => "<i8",
            Dtype::Bool => "|b1",
        })
    }

    /// The dtype of an ONNX `TensorProto.DataType` number, none for strings, complex and sub-byte types.
    #[must_use]
    pub fn from_onnx(code: i32) -> Option<Dtype> {
        Some(match code {
            1 => Dtype::F32,
            2 => Dtype::U8,
            3 => Dtype::I8,
            4 => Dtype::U16,
            5 => Dtype::I16,
            6 => Dtype::I32,
            7 => Dtype::I64,
            9 => Dtype::Bool,
            10 => Dtype::F16,
            11 => Dtype::F64,
            12 => Dtype::U32,
            13 => Dtype::U64,
            16 => Dtype::Bf16,
            _ => return None,
        })
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_agree_with_sizes() {
        for dtype in Dtype::ALL {
            if let Some(descr) = dtype.npy_descr() {
                assert_eq!(
                    descr[2..].parse::<usize>().unwrap(),
                    dtype.size(),
                    "{dtype}"
                );
                assert_eq!(descr.starts_with('|'), dtype.size() == 1, "{dtype}");
            }
        }
    }

    #[test]
    fn onnx_codes_cover_every_dtype_once() {
        let known: Vec<Dtype> = (0..64).filter_map(Dtype::from_onnx).collect();
        assert_eq!(known.len(), Dtype::ALL.len());
        assert!(Dtype::ALL.iter().all(|d| known.contains(d)));
    }
}
