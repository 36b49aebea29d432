//! Half precision, widened to single: tract computes halves in software, and knows no bf16.
//!
//! Everything of type f16 or bf16 in a model becomes f32: initializers, constants, the types of
//! values, and the types that operators are told to make. The inputs and outputs of a session are
//! converted where they enter and leave it.

use std::collections::HashMap;

use sepconv_ir::{DType, Tensor};
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, TensorProto, ValueInfoProto};

/// Values that were of half precision before a model was widened.
#[derive(Debug, Default)]
pub(super) struct Halves {
    /// The detached tensors, by number.
    pub tensors: HashMap<usize, DType>,
    /// Per graph output: its type, where it was declared as one of these.
    pub outputs: Vec<Option<DType>>,
}

impl Halves {
    /// Widens a model.
    pub fn widen(proto: &mut ModelProto) -> Self {
        let mut halves = Self::default();
        if let Some(graph) = &mut proto.graph {
            let outputs = graph.output.iter();
            halves.outputs = outputs.map(|o| half(*element_type(o)?)).collect();
            halves.graph(graph);
        }
        halves
    }

    fn graph(&mut self, graph: &mut GraphProto) {
        graph.initializer.iter_mut().for_each(|t| self.tensor(t));
        let sparse = graph.sparse_initializer.iter_mut();
        sparse.for_each(|s| s.values.iter_mut().for_each(|t| self.tensor(t)));
        let values = graph.input.iter_mut().chain(&mut graph.output);
        for ty in values
            .chain(&mut graph.value_info)
            .filter_map(element_type_mut)
        {
            widened(ty);
        }
        for node in &mut graph.node {
            node.attribute.iter_mut().for_each(|a| self.attribute(a));
        }
    }

    fn attribute(&mut self, attribute: &mut AttributeProto) {
        attribute.t.iter_mut().for_each(|t| self.tensor(t));
        attribute.tensors.iter_mut().for_each(|t| self.tensor(t));
        let sparse = attribute
            .sparse_tensor
            .iter_mut()
            .chain(&mut attribute.sparse_tensors);
        sparse.for_each(|s| s.values.iter_mut().for_each(|t| self.tensor(t)));
        attribute.g.iter_mut().for_each(|g| self.graph(g));
        attribute.graphs.iter_mut().for_each(|g| self.graph(g));
        if attribute.r#type == AttributeType::Int as i32
            && NAMES_A_TYPE.contains(&&*attribute.name)
            && let Ok(mut code) = i32::try_from(attribute.i)
        {
            widened(&mut code);
            attribute.i = code.into();
        }
    }

    fn tensor(&mut self, tensor: &mut TensorProto) {
        let Some(dtype) = half(tensor.data_type) else {
            return;
        };
        if tensor.data_location == Some(DataLocation::External as i32) {
            let mut entries = tensor.external_data.iter();
            let offset = entries.find(|e| e.key == "offset");
            if let Some(number) = offset.and_then(|e| e.value.parse().ok()) {
                self.tensors.insert(number, dtype);
                widened(&mut tensor.data_type);
            }
            return;
        }
        let bits = match std::mem::take(&mut tensor.raw_data) {
            raw if !raw.is_empty() => raw,
            // ONNX: the bits of a half in the low half of an i32.
            _ => {
                let bits = std::mem::take(&mut tensor.int32_data);
                bits.iter()
                    .flat_map(|v| (*v as u16).to_le_bytes())
                    .collect()
            }
        };
        if let Some(wide) = wide(dtype, &bits.into()) {
            tensor.raw_data = wide;
            widened(&mut tensor.data_type);
        }
    }
}

/// Attributes whose number is an element type: of `Cast`, of operators that make constants or
/// random values, of the sums within a normalisation.
const NAMES_A_TYPE: [&str; 5] = [
    "to",
    "dtype",
    "output_dtype",
    "output_datatype",
    "stash_type",
];

/// The half type of a code of `TensorProto.DataType`.
fn half(code: i32) -> Option<DType> {
    let dtype = DType::from_code(code);
    matches!(dtype, DType::F16 | DType::BF16).then_some(dtype)
}

/// Turns the code of a half type into that of f32.
fn widened(code: &mut i32) {
    if half(*code).is_some() {
        *code = DataType::Float as i32;
    }
}

fn element_type(info: &ValueInfoProto) -> Option<&i32> {
    match info.r#type.as_ref()?.value.as_ref()? {
        Value::TensorType(tensor) => Some(&tensor.elem_type),
    }
}

fn element_type_mut(info: &mut ValueInfoProto) -> Option<&mut i32> {
    match info.r#type.as_mut()?.value.as_mut()? {
        Value::TensorType(tensor) => Some(&mut tensor.elem_type),
    }
}

/// The little-endian f32 of little-endian halves.
pub(super) fn wide(dtype: DType, halves: &prost::bytes::Bytes) -> Option<Vec<u8>> {
    let tensor = Tensor::new(dtype, vec![halves.len() / 2], halves.clone())?;
    let values = tensor.to_f32()?;
    Some(values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

/// The type that stands for `dtype` in tract.
pub(super) fn stand_in(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        other => other,
    }
}
