//! Element types, dimensions and values.

use crate::graph::NodeId;

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
    /// Any other code: complex numbers, 8- and 4-bit floats, sub-byte integers.
    Other(i32),
}

const CODES: [(DType, i32, usize, &str); 14] = [
    (DType::F32, 1, 4, "f32"),
    (DType::U8, 2, 1, "u8"),
    (DType::I8, 3, 1, "i8"),
    (DType::U16, 4, 2, "u16"),
    (DType::I16, 5, 2, "i16"),
    (DType::I32, 6, 4, "i32"),
    (DType::I64, 7, 8, "i64"),
    (DType::String, 8, 0, "string"),
    (DType::Bool, 9, 1, "bool"),
    (DType::F16, 10, 2, "f16"),
    (DType::F64, 11, 8, "f64"),
    (DType::U32, 12, 4, "u32"),
    (DType::U64, 13, 8, "u64"),
    (DType::BF16, 16, 2, "bf16"),
];

impl DType {
    /// From the ONNX code.
    pub fn from_code(code: i32) -> Self {
        CODES
            .iter()
            .find(|c| c.1 == code)
            .map_or(Self::Other(code), |c| c.0)
    }

    /// The ONNX code.
    pub fn code(self) -> i32 {
        match self {
            Self::Other(code) => code,
            known => CODES.iter().find(|c| c.0 == known).map_or(0, |c| c.1),
        }
    }

    /// Bytes per element; `None` for strings and for types this crate does not read.
    pub fn size(self) -> Option<usize> {
        CODES.iter().find(|c| c.0 == self && c.2 > 0).map(|c| c.2)
    }

    /// Whether this is one of the floating-point types f16, bf16, f32, f64.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::BF16 | Self::F32 | Self::F64)
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

/// A value: what a node produces and others read.
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
