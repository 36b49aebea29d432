//! Element types, dimensions and values.

use crate::ids::NodeId;

/// Element type of a tensor: the codes of ONNX `TensorProto.DataType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum DType {
    F32,
    U8,
    I8,
    U16,
    I16,
    I32,
    I64,
    String,
    Bool,
    F16,
    F64,
    U32,
    U64,
    BF16,
    U4,
    I4,
    /// Any other code: complex numbers, 8- and 4-bit floats, 2-bit integers.
    Other(i32),
}

/// Types, their codes, bits per element (0: none that this crate reads) and names.
const CODES: [(DType, i32, usize, &str); 16] = [
    (DType::F32, 1, 32, "f32"),
    (DType::U8, 2, 8, "u8"),
    (DType::I8, 3, 8, "i8"),
    (DType::U16, 4, 16, "u16"),
    (DType::I16, 5, 16, "i16"),
    (DType::I32, 6, 32, "i32"),
    (DType::I64, 7, 64, "i64"),
    (DType::String, 8, 0, "string"),
    (DType::Bool, 9, 8, "bool"),
    (DType::F16, 10, 16, "f16"),
    (DType::F64, 11, 64, "f64"),
    (DType::U32, 12, 32, "u32"),
    (DType::U64, 13, 64, "u64"),
    (DType::BF16, 16, 16, "bf16"),
    (DType::U4, 21, 4, "u4"),
    (DType::I4, 22, 4, "i4"),
];

impl DType {
    /// From the ONNX code.
    pub fn from_code(code: i32) -> Self {
        CODES
            .iter()
            .find(|c| c.1 == code)
            .map_or(Self::Other(code), |c| c.0)
    }

    /// From the name that `Display` writes.
    pub fn from_name(name: &str) -> Option<Self> {
        CODES.iter().find(|c| c.3 == name).map(|c| c.0)
    }

    /// The ONNX code.
    pub fn code(self) -> i32 {
        match self {
            Self::Other(code) => code,
            known => CODES.iter().find(|c| c.0 == known).map_or(0, |c| c.1),
        }
    }

    /// Bytes per element; `None` for strings, for types this crate does not read, and where two
    /// elements share a byte.
    pub fn size(self) -> Option<usize> {
        self.bits()
            .filter(|bits| bits % 8 == 0)
            .map(|bits| bits / 8)
    }

    /// Bytes that `count` elements take: those of 4 bits lie two in a byte, the first in the
    /// lower half (ONNX IR 10). `None` for strings and types this crate does not read, and for
    /// more bits than can be counted.
    pub fn bytes_of(self, count: usize) -> Option<usize> {
        Some(count.checked_mul(self.bits()?)?.div_ceil(8))
    }

    fn bits(self) -> Option<usize> {
        CODES.iter().find(|c| c.0 == self && c.2 > 0).map(|c| c.2)
    }

    /// True for the floating-point types f16, bf16, f32, f64.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
    }

    /// True for integer types; booleans are none.
    pub fn is_int(self) -> bool {
        let other = self.is_float() || self == Self::Bool;
        !other && self.bits().is_some()
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Other(code) => write!(f, "dtype {code}"),
            known => f.write_str(CODES.iter().find(|c| c.0 == *known).map_or("?", |c| c.3)),
        }
    }
}

/// One dimension of a shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A fixed extent.
    Known(u64),
    /// A named free extent (`dim_param`), such as the batch.
    Symbol(String),
    /// A free extent without a name.
    Unknown,
}

impl Dim {
    /// The extent, if fixed.
    pub fn known(&self) -> Option<u64> {
        match self {
            Self::Known(n) => Some(*n),
            _ => None,
        }
    }
}

impl std::fmt::Display for Dim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(n) => write!(f, "{n}"),
            Self::Symbol(s) => f.write_str(s),
            Self::Unknown => f.write_str("?"),
        }
    }
}

/// Type of a tensor value. Values of other types (sequences, maps, optionals) carry none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueType {
    /// Element type.
    pub dtype: DType,
    /// Shape; `None` where even the rank is unknown.
    pub dims: Option<Vec<Dim>>,
}

impl std::fmt::Display for ValueType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.dtype)?;
        if let Some(dims) = &self.dims {
            let dims: Vec<String> = dims.iter().map(Dim::to_string).collect();
            write!(f, "[{}]", dims.join(","))?;
        }
        Ok(())
    }
}

/// A value, which a node produces and others read.
#[derive(Debug, Clone)]
pub struct Value {
    /// Name, unique in the graph.
    pub name: String,
    /// Declared type, where the file declares one.
    pub ty: Option<ValueType>,
    /// The node that produces it.
    pub producer: NodeId,
    /// The producer's output slot.
    pub slot: usize,
}
