//! Layers in floats that read values in eight bits.
//!
//! ONNX Runtime rounds the weights of every `Conv`, `ConvTranspose` and `Gemm` that reads a
//! `DequantizeLinear` of one scale, per tensor (`WeightBiasQuantization`, in its
//! `optimizer/qdq_transformer/weight_bias_quantization.cc`). A layer that is to stay in floats reads a
//! `DequantizeLinear` of one scale per channel, all alike: the numbers are the same, and its weights
//! stay as they are.

use std::collections::HashMap;

use sepconv_analysis::constants;
use sepconv_ir::{DType, Graph, IrError, NodeId, Operator, Patch, Tensor, ValueId};

use crate::pairs::{RULE, Stored};

/// The axis of channels.
const AXIS: usize = 1;

/// Gives layers of float weights that read values in eight bits scales per channel.
pub(crate) fn keep_float_weights(graph: &mut Graph) -> Result<(), IrError> {
    let order: Vec<NodeId> = graph.operators().map(|(id, _)| id).collect();
    // Values of eight bits, and what stands for them by channels.
    let mut known: HashMap<ValueId, ValueId> = HashMap::new();
    for node in order {
        let Some((op, channels)) = float_layer(graph, node) else {
            continue;
        };
        let Some((reader, scale, zero)) = op.input(0).and_then(|value| by_tensor(graph, value))
        else {
            continue;
        };
        let Some(integers) = reader.input(0) else {
            continue;
        };
        let mut patch = Patch::replace(RULE, node);
        let floats = match known.get(&integers) {
            Some(floats) => (*floats).into(),
            None => {
                let name = format!("{}/channels", graph.name(integers));
                let Some((scale, zero)) = repeated(&scale, &zero, channels) else {
                    continue;
                };
                let stored = Stored::of_integers(&mut patch, name, integers.into(), scale, zero);
                stored.read(&mut patch, Some(AXIS))
            }
        };
        let [Some(output)] = op.outputs[..] else {
            continue;
        };
        let mut inputs: Vec<_> = op.inputs.iter().map(|v| v.map(Into::into)).collect();
        inputs[0] = Some(floats);
        patch.operator_into(op, inputs, output);
        graph.apply(patch)?;
        let now = graph.producer(output).and_then(|(_, op)| op.input(0));
        known.extend(now.map(|floats| (integers, floats)));
    }
    Ok(())
}

/// A layer whose weights are constant floats, and the channels that it reads.
fn float_layer(graph: &Graph, node: NodeId) -> Option<(Operator, usize)> {
    let op = graph.operator(node)?;
    let weights = constants::resolve(graph, op.input(1)?)?;
    if weights.dtype() != DType::F32 {
        return None;
    }
    let dims = weights.dims();
    let channels = if op.is("Conv") {
        dims.get(1)? * usize::try_from(op.int("group", 1)).ok()?
    } else if op.is("ConvTranspose") {
        *dims.first()?
    } else if op.is("Gemm") && op.int("transA", 0) == 0 {
        *dims.get(usize::from(op.int("transB", 0) != 0))?
    } else {
        return None;
    };
    Some((op.clone(), channels))
}

/// The `DequantizeLinear` that makes a value, its one scale and its zero point.
fn by_tensor(graph: &Graph, value: ValueId) -> Option<(Operator, Tensor, Tensor)> {
    let (_, reader) = graph.producer(value)?;
    let constant = |slot: usize| graph.constant(reader.input(slot)?);
    let (scale, zero) = (constant(1)?, constant(2)?);
    let one = reader.is("DequantizeLinear") && scale.len() == 1 && zero.len() == 1;
    one.then(|| (reader.clone(), scale.clone(), zero.clone()))
}

/// A scale and a zero point, the same for every channel.
fn repeated(scale: &Tensor, zero: &Tensor, channels: usize) -> Option<(Tensor, Tensor)> {
    let (value, point) = (*scale.to_f32()?.first()?, *zero.to_i64()?.first()?);
    let scale = Tensor::from_f32(vec![channels], vec![value; channels]);
    let zero = Tensor::from_i64s(zero.dtype(), vec![channels], &vec![point; channels])?;
    Some((scale, zero))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn weights_need_not_be_initializers() {
        let text = "\
input x
const s: f32[] [0.1]
const z: u8[] [0]
const v: f32[4,3,1,1] noise(1)
q = QuantizeLinear(x, s, z)
d = DequantizeLinear(q, s, z)
w = Identity(v)
y = Conv(d, w)
output y
";
        let mut graph: Graph = text.parse().unwrap();
        keep_float_weights(&mut graph).unwrap();
        let (_, layer) = graph.producer(graph.find("y").unwrap()).unwrap();
        let (_, reader) = graph.producer(layer.input(0).unwrap()).unwrap();
        assert_eq!(graph.constant(reader.input(1).unwrap()).unwrap().len(), 3);
    }
}
