//! `AttributeProto` to [`Attribute`].

use bytes::Bytes;
use prost::Message;
use sepconv_ir::{Attribute, AttributeValue};

use crate::external::DataFiles;
use crate::proto::AttributeProto;
use crate::proto::attribute_proto::AttributeType;
use crate::scope::Scope;
use crate::tensor;
use crate::wire::records;

/// Decodes an attribute and collects the names that its subgraphs use.
///
/// `record` is the whole field of the node, key included; `message` its payload.
pub(crate) fn decode(
    record: &Bytes,
    message: &Bytes,
    files: &DataFiles,
    scope: &mut Scope,
) -> Result<Attribute, String> {
    let proto = AttributeProto::decode(message.clone()).map_err(|e| e.to_string())?;
    scope.add(&proto);
    let name = proto.name().to_owned();
    Ok(Attribute {
        value: value(proto, message, files).map_err(|e| format!("attribute '{name}': {e}"))?,
        name,
        source: Some(record.clone()),
    })
}

fn value(
    proto: AttributeProto,
    message: &Bytes,
    files: &DataFiles,
) -> Result<AttributeValue, String> {
    if proto.ref_attr_name.as_ref().is_some_and(|n| !n.is_empty()) {
        return Ok(AttributeValue::Opaque);
    }
    Ok(match kind(&proto) {
        AttributeType::Float => AttributeValue::Float(proto.f()),
        AttributeType::Int => AttributeValue::Int(proto.i()),
        AttributeType::String => AttributeValue::String(proto.s.unwrap_or_default()),
        AttributeType::Floats => AttributeValue::Floats(proto.floats),
        AttributeType::Ints => AttributeValue::Ints(proto.ints),
        AttributeType::Strings => AttributeValue::Strings(proto.strings),
        AttributeType::Tensor => {
            let encoded = records(message)?.into_iter().rfind(|r| r.number == 5);
            let encoded = encoded.ok_or("no tensor in it")?;
            AttributeValue::Tensor(tensor::decode(encoded.payload()?, files)?.tensor)
        }
        _ => AttributeValue::Opaque,
    })
}

/// The declared type; models of IR version 1 declare none, then by the field that is set.
fn kind(proto: &AttributeProto) -> AttributeType {
    match proto.r#type() {
        AttributeType::Undefined if proto.f.is_some() => AttributeType::Float,
        AttributeType::Undefined if proto.i.is_some() => AttributeType::Int,
        AttributeType::Undefined if proto.s.is_some() => AttributeType::String,
        AttributeType::Undefined if proto.t.is_some() => AttributeType::Tensor,
        AttributeType::Undefined if !proto.floats.is_empty() => AttributeType::Floats,
        AttributeType::Undefined if !proto.ints.is_empty() => AttributeType::Ints,
        AttributeType::Undefined if !proto.strings.is_empty() => AttributeType::Strings,
        declared => declared,
    }
}
