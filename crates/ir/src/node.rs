//! Nodes of a graph: inputs, initializers and operators.

use bytes::Bytes;

use crate::ids::ValueId;
use crate::tensor::Tensor;

/// A node of the graph.
#[derive(Debug, Clone)]
pub enum Node {
    /// A graph input and the value it introduces.
    Input(ValueId),
    /// A constant of the graph.
    Initializer(Initializer),
    /// An operator.
    Operator(Box<Operator>),
    /// A graph output and the value it hands out.
    Output(ValueId),
}

/// A constant of the graph.
#[derive(Debug, Clone)]
pub struct Initializer {
    /// The value it introduces.
    pub value: ValueId,
    /// Its contents.
    pub tensor: Tensor,
    /// A caller may override it: it is also a graph input, in models of ONNX IR version 4 and
    /// later that do not list all initializers. Passes must not read it as a constant.
    pub overridable: bool,
    /// Encoded form in the source file, written back as it stands.
    pub source: Option<Bytes>,
}

/// An operator (ONNX `NodeProto`).
#[derive(Debug, Clone, Default)]
pub struct Operator {
    /// Name; may be empty.
    pub name: String,
    /// Operator type, such as `Conv`.
    pub op_type: String,
    /// Operator domain, empty for ONNX's own.
    pub domain: String,
    /// Overload of a local function (ONNX IR version 10).
    pub overload: String,
    /// Documentation.
    pub doc_string: String,
    /// Encoded `metadata_props` entries (ONNX IR version 10), in file order.
    pub metadata: Vec<Bytes>,
    /// Attributes, in file order.
    pub attributes: Vec<Attribute>,
    /// Values read, by slot; `None` for an optional input left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Values produced, by slot; `None` for an optional output left out.
    pub outputs: Vec<Option<ValueId>>,
    /// Values of this graph that subgraphs in the attributes read by name.
    pub captures: Vec<ValueId>,
    /// Encoded fields that this crate has no member for (device configuration,
    /// fields unknown to this version), in file order. They survive edits.
    pub extra: Vec<Bytes>,
    /// Encoded form in the source file, written back as it stands; a pass that makes a
    /// changed copy of the operator must clear it.
    pub source: Option<Bytes>,
}

impl Operator {
    /// A new operator of the ONNX domain without attributes.
    pub fn new(op_type: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            op_type: op_type.into(),
            name: name.into(),
            ..Self::default()
        }
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: AttributeValue) -> Self {
        self.attributes.push(Attribute {
            name: name.into(),
            value,
            source: None,
        });
        self
    }

    /// True for `op_type` of the ONNX domain.
    pub fn is(&self, op_type: &str) -> bool {
        self.op_type == op_type && (self.domain.is_empty() || self.domain == "ai.onnx")
    }

    /// An attribute's value.
    pub fn attribute(&self, name: &str) -> Option<&AttributeValue> {
        self.attributes
            .iter()
            .find(|a| a.name == name)
            .map(|a| &a.value)
    }

    /// True where the values of all attributes are known: none is a reference to an attribute of
    /// the local function around it, and none is a graph.
    pub fn is_literal(&self) -> bool {
        let opaque = |a: &Attribute| matches!(a.value, AttributeValue::Opaque);
        !self.attributes.iter().any(opaque)
    }

    /// An integer attribute, or `default` where it is absent or of another type.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        match self.attribute(name) {
            Some(AttributeValue::Int(v)) => *v,
            _ => default,
        }
    }

    /// A float attribute, or `default` where it is absent or of another type.
    pub fn float(&self, name: &str, default: f32) -> f32 {
        match self.attribute(name) {
            Some(AttributeValue::Float(v)) => *v,
            _ => default,
        }
    }

    /// An attribute that is a list of integers.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attribute(name) {
            Some(AttributeValue::Ints(v)) => Some(v),
            _ => None,
        }
    }

    /// A string attribute.
    pub fn string(&self, name: &str) -> Option<&str> {
        match self.attribute(name) {
            Some(AttributeValue::String(v)) => std::str::from_utf8(v).ok(),
            _ => None,
        }
    }

    /// The value read at `slot`, if that slot is filled.
    pub fn input(&self, slot: usize) -> Option<ValueId> {
        self.inputs.get(slot).copied().flatten()
    }

    /// The value produced at `slot`, if that slot is filled.
    pub fn output(&self, slot: usize) -> Option<ValueId> {
        self.outputs.get(slot).copied().flatten()
    }
}

/// A named attribute.
#[derive(Debug, Clone)]
pub struct Attribute {
    /// Name.
    pub name: String,
    /// Value.
    pub value: AttributeValue,
    /// Encoded form in the source file, written back as it stands.
    pub source: Option<Bytes>,
}

/// Value of an attribute.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub enum AttributeValue {
    Int(i64),
    Float(f32),
    String(Bytes),
    Tensor(Tensor),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Strings(Vec<Bytes>),
    /// Graphs, sparse tensors, type protos, references to function attributes: kept in
    /// their encoded form alone.
    Opaque,
}
