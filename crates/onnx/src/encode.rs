//! Encoding of operators, attributes and tensors that passes made.

use bytes::Bytes;
use prost::Message;
use sepconv_ir::{Attribute, AttributeValue, DType, Graph, Operator, Tensor};

use crate::proto::attribute_proto::AttributeType;
use crate::proto::tensor_proto::DataLocation;
use crate::proto::tensor_shape_proto::{Dimension, dimension};
use crate::proto::type_proto::{self, Value};
use crate::proto::{
    AttributeProto, StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto,
};
use crate::rope::Rope;

/// A `NodeProto`.
pub(crate) fn operator(graph: &Graph, op: &Operator) -> Rope {
    let mut out = Rope::default();
    for (number, values) in [(1, &op.inputs), (2, &op.outputs)] {
        for value in values {
            let name = value.map_or("", |v| graph.name(v));
            out.push_bytes(number, name.as_bytes());
        }
    }
    let texts = [
        (3, &op.name),
        (4, &op.op_type),
        (7, &op.domain),
        (8, &op.overload),
    ];
    for (number, text) in texts {
        if !text.is_empty() {
            out.push_bytes(number, text.as_bytes());
        }
    }
    for a in &op.attributes {
        match &a.source {
            Some(raw) => out.push(raw.clone()),
            None => out.push_field(5, attribute(a)),
        }
    }
    if !op.doc_string.is_empty() {
        out.push_bytes(6, op.doc_string.as_bytes());
    }
    for raw in op.metadata.iter().chain(&op.extra) {
        out.push(raw.clone());
    }
    out
}

/// An `AttributeProto`.
fn attribute(a: &Attribute) -> Rope {
    let mut proto = AttributeProto {
        name: Some(a.name.clone()),
        ..Default::default()
    };
    let mut tail = Rope::default();
    let kind = match &a.value {
        AttributeValue::Int(v) => {
            proto.i = Some(*v);
            AttributeType::Int
        }
        AttributeValue::Float(v) => {
            proto.f = Some(*v);
            AttributeType::Float
        }
        AttributeValue::String(v) => {
            proto.s = Some(v.clone());
            AttributeType::String
        }
        AttributeValue::Ints(v) => {
            proto.ints.clone_from(v);
            AttributeType::Ints
        }
        AttributeValue::Floats(v) => {
            proto.floats.clone_from(v);
            AttributeType::Floats
        }
        AttributeValue::Strings(v) => {
            proto.strings.clone_from(v);
            AttributeType::Strings
        }
        AttributeValue::Tensor(t) => {
            tail.push_field(5, tensor("", t));
            AttributeType::Tensor
        }
        AttributeValue::Opaque => AttributeType::Undefined,
    };
    proto.r#type = Some(kind as i32);
    let mut out = Rope::from(Bytes::from(proto.encode_to_vec()));
    out.append(tail);
    out
}

/// A `TensorProto` with `raw_data`, which shares the tensor's buffer.
pub(crate) fn tensor(name: &str, t: &Tensor) -> Rope {
    let head = TensorProto {
        dims: t.dims().iter().map(|d| *d as i64).collect(),
        data_type: Some(t.dtype().code()),
        name: (!name.is_empty()).then(|| name.to_owned()),
        ..Default::default()
    };
    let mut out = Rope::from(Bytes::from(head.encode_to_vec()));
    if let Some(data) = t.data() {
        out.push_field(9, data.clone().into());
    }
    out
}

/// A `TensorProto` whose data is tensor `index` of a [`crate::Detached`].
pub(crate) fn detached(name: &str, t: &Tensor, index: usize) -> Rope {
    let entry = |key: &str, value: String| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value),
    };
    let entries = vec![
        entry("location", ".".into()),
        entry("offset", index.to_string()),
    ];
    external(name, t, entries)
}

/// A `TensorProto` whose data is elsewhere.
pub(crate) fn external(name: &str, t: &Tensor, place: Vec<StringStringEntryProto>) -> Rope {
    let proto = TensorProto {
        dims: t.dims().iter().map(|d| *d as i64).collect(),
        data_type: Some(t.dtype().code()),
        name: Some(name.to_owned()),
        data_location: Some(DataLocation::External as i32),
        external_data: place,
        ..Default::default()
    };
    Bytes::from(proto.encode_to_vec()).into()
}

/// A `ValueInfoProto` of a name alone.
pub(crate) fn untyped_value_info(name: &str) -> Rope {
    let proto = ValueInfoProto {
        name: Some(name.to_owned()),
        ..Default::default()
    };
    Bytes::from(proto.encode_to_vec()).into()
}

/// A `ValueInfoProto` of a tensor.
pub(crate) fn value_info(name: &str, t: &Tensor) -> Rope {
    typed_value_info(name, t.dtype(), t.dims())
}

/// A `ValueInfoProto` of a tensor type.
pub(crate) fn typed_value_info(name: &str, dtype: DType, dims: &[usize]) -> Rope {
    let dim = dims.iter().map(|d| Dimension {
        value: Some(dimension::Value::DimValue(*d as i64)),
        denotation: None,
    });
    let tensor = type_proto::Tensor {
        elem_type: Some(dtype.code()),
        shape: Some(TensorShapeProto { dim: dim.collect() }),
    };
    let proto = ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(Value::TensorType(tensor)),
            denotation: None,
        }),
        ..Default::default()
    };
    Bytes::from(proto.encode_to_vec()).into()
}
