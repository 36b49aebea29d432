//! Tensors that are known before the model runs, whichever way they reach their reader.

use std::borrow::Cow;
use std::collections::HashMap;

use sepconv_ir::{AttributeValue, Graph, NodeId, Operator, Tensor, ValueId};

use crate::evaluate::{self, Call, rule};

/// The tensor of a value that depends on constants alone: an initializer that callers can't
/// override, a `Constant`, or a result of operators on those, computed as ONNX says, in the type
/// that it gives the result (arithmetic, casts, layout, reductions, normalisations, products,
/// `QuantizeLinear`). `None` for everything else, `DequantizeLinear` of stored integers among it: a
/// quantised weight stays as it is.
pub fn resolve(graph: &Graph, value: ValueId) -> Option<Cow<'_, Tensor>> {
    Sight::Plain.resolve(graph, value)
}

/// The result of a `Shape` or `Size` (ONNX opset 1 and later) on an input of these extents; `None` of other operators.
pub fn of_extents(op: &Operator, extents: &[u64]) -> Option<Tensor> {
    let dims = extents.iter().map(|n| usize::try_from(*n).ok());
    evaluate::of_extents(op, &dims.collect::<Option<Vec<_>>>()?)
}

/// Operators that a constant is seen through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sight {
    /// Those of [`resolve`].
    #[default]
    Plain,
    /// `DequantizeLinear` (10 to 24) of stored integers as well: a quantised weight is the floats
    /// that it stands for.
    Quantized,
}

impl Sight {
    /// As [`resolve`], as far as this sees.
    pub fn resolve(self, graph: &Graph, value: ValueId) -> Option<Cow<'_, Tensor>> {
        if let Some(tensor) = graph.constant(value) {
            return Some(Cow::Borrowed(tensor));
        }
        let (_, op) = graph.producer(value)?;
        if op.is("Constant") {
            return literal(op);
        }
        if graph.varies(value) {
            return None;
        }
        self.evaluate(graph, value).map(Cow::Owned)
    }

    /// Computes a value from the constants that it depends on, at any depth.
    fn evaluate(self, graph: &Graph, value: ValueId) -> Option<Tensor> {
        let mut known: HashMap<ValueId, Tensor> = HashMap::new();
        // Wanted values, with true where the inputs of their operators have been asked for.
        let mut open = vec![(value, false)];
        while let Some((value, asked)) = open.pop() {
            if known.contains_key(&value) {
                continue;
            }
            if let Some(tensor) = graph.constant(value) {
                known.insert(value, tensor.clone());
                continue;
            }
            let (_, op) = graph.producer(value)?;
            if op.is("Constant") {
                known.insert(value, literal(op)?.into_owned());
                continue;
            }
            let rule = rule(op).filter(|_| self.sees_through(graph, op))?;
            let missing = op
                .inputs
                .iter()
                .flatten()
                .filter(|v| !known.contains_key(v));
            let missing: Vec<(ValueId, bool)> = missing.map(|v| (*v, false)).collect();
            if missing.is_empty() {
                let inputs = op.inputs.iter();
                let inputs: Vec<Option<Tensor>> =
                    inputs.map(|v| known.get(&(*v)?).cloned()).collect();
                let output = op.outputs.iter().position(|v| *v == Some(value))?;
                let made = rule(&Call {
                    op,
                    inputs: &inputs,
                    output,
                })?;
                known.insert(value, made);
            } else if asked {
                return None;
            } else {
                open.push((value, true));
                open.extend(missing);
            }
        }
        known.remove(&value)
    }

    /// True for an operator that results are computed of: in plain sight, all but a
    /// `DequantizeLinear` of integers that the model stores.
    fn sees_through(self, graph: &Graph, op: &Operator) -> bool {
        if self == Self::Quantized || !op.is("DequantizeLinear") {
            return true;
        }
        let mut value = op.input(0);
        while let Some((_, op)) = value.and_then(|v| graph.producer(v)) {
            if op.is("QuantizeLinear") {
                return true;
            }
            value = op.input(0);
        }
        false
    }
}

/// True for a value that is made of a tensor by a `DequantizeLinear`, perhaps with other operators behind it: a model
/// computes with it in eight bits, whether it stores integers or floats that it rounds.
pub fn is_dequantized(graph: &Graph, value: ValueId) -> bool {
    let mut value = Some(value);
    while let Some((_, op)) = value.and_then(|v| graph.producer(v)) {
        if op.is("DequantizeLinear") {
            return true;
        }
        value = op.input(0);
    }
    false
}

/// The operators that make `values` out of constants, and that nothing but `gone` and one
/// another read: they go with `gone`, except for those that make a value of `kept`. Values that
/// depend on an input are left alone.
pub fn orphans(
    graph: &Graph,
    values: &[ValueId],
    gone: &[NodeId],
    kept: &[ValueId],
) -> Vec<NodeId> {
    let mut gone = gone.to_vec();
    let known = gone.len();
    let mut open = values.to_vec();
    while let Some(value) = open.pop() {
        let Some((node, op)) = graph.producer(value) else {
            continue;
        };
        let unread = |value: ValueId| {
            let mut readers = graph.readers(value).into_iter();
            !kept.contains(&value) && readers.all(|(reader, _)| gone.contains(&reader))
        };
        let all_unread = || op.outputs.iter().flatten().all(|v| unread(*v));
        if !gone.contains(&node) && !graph.varies(value) && all_unread() {
            gone.push(node);
            open.extend(op.inputs.iter().flatten());
        }
    }
    gone.split_off(known)
}

/// The value of a `Constant` (1 to 24), where it is a tensor or numbers (opset 12).
fn literal(op: &Operator) -> Option<Cow<'_, Tensor>> {
    let kinds = [
        "value",
        "value_int",
        "value_ints",
        "value_float",
        "value_floats",
    ];
    Some(match kinds.iter().find_map(|kind| op.attribute(kind))? {
        AttributeValue::Tensor(tensor) => Cow::Borrowed(tensor),
        AttributeValue::Int(v) => Cow::Owned(Tensor::from_i64(vec![], &[*v])),
        AttributeValue::Ints(v) => Cow::Owned(Tensor::from_i64(vec![v.len()], v)),
        AttributeValue::Float(v) => Cow::Owned(Tensor::from_f32(vec![], vec![*v])),
        AttributeValue::Floats(v) => Cow::Owned(Tensor::from_f32(vec![v.len()], v.clone())),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_ir::{Builder, DType};

    use super::*;

    /// `dims` and elements of `op` on a constant `[2, 3]` of 0 to 5 and, for `Reshape`, a
    /// `Constant` of the target.
    fn of(op: Operator, target: Option<&[i64]>) -> Option<(Vec<usize>, Vec<f32>)> {
        let mut b = Builder::new();
        let numbers = (0u8..6).map(f32::from).collect();
        let w = b
            .initializer("w", Tensor::from_f32(vec![2, 3], numbers))
            .unwrap();
        let same = Operator::new("Identity", "i");
        let same = b.operator(same, &[Some(w)], &["same"]).unwrap()[0];
        let mut inputs = vec![Some(same)];
        if let Some(target) = target {
            let ints = AttributeValue::Ints(target.to_vec());
            let constant = Operator::new("Constant", "t").with("value_ints", ints);
            inputs.push(Some(b.operator(constant, &[], &["t"]).unwrap()[0]));
        }
        let y = b.operator(op, &inputs, &["y"]).unwrap()[0];
        b.output(y).unwrap();
        let graph = b.finish().unwrap();
        let tensor = resolve(&graph, y)?;
        Some((tensor.dims().to_vec(), tensor.to_f32()?.into_owned()))
    }

    #[test]
    fn constants_are_followed() {
        let reshape = || Operator::new("Reshape", "r");
        let kept = vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(
            of(reshape(), Some(&[3, -1])),
            Some((vec![3, 2], kept.clone()))
        );
        assert_eq!(of(reshape(), Some(&[0, 3, 1])), Some((vec![2, 3, 1], kept)));
        assert_eq!(of(reshape(), Some(&[4, -1])), None);
        let turned = vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0];
        let transpose = Operator::new("Transpose", "t");
        assert_eq!(of(transpose, None), Some((vec![3, 2], turned)));
        let perm = AttributeValue::Ints(vec![0, 0]);
        let broken = Operator::new("Transpose", "t").with("perm", perm);
        assert_eq!(of(broken, None), None);
        assert_eq!(of(Operator::new("Bernoulli", "r"), None), None);
    }

    #[test]
    fn every_kind_of_literal_is_read() {
        let read = |kind: &str, value| {
            let op = Operator::new("Constant", "c").with(kind, value);
            let tensor = literal(&op)?.into_owned();
            let numbers = tensor.to_i64().or_else(|| {
                let floats = tensor.to_f32()?;
                Some(floats.iter().map(|v| *v as i64).collect())
            });
            Some((tensor.dtype(), tensor.dims().to_vec(), numbers?))
        };
        let (int, float) = (DType::I64, DType::F32);
        let ints = AttributeValue::Ints(vec![4, 5]);
        let floats = AttributeValue::Floats(vec![6.0, 7.0]);
        let tensor = AttributeValue::Tensor(Tensor::from_i64(vec![1], &[8]));
        for (kind, value, expected) in [
            ("value_int", AttributeValue::Int(3), (int, vec![], vec![3])),
            ("value_ints", ints, (int, vec![2], vec![4, 5])),
            (
                "value_float",
                AttributeValue::Float(3.0),
                (float, vec![], vec![3]),
            ),
            ("value_floats", floats, (float, vec![2], vec![6, 7])),
            ("value", tensor, (int, vec![1], vec![8])),
        ] {
            assert_eq!(read(kind, value), Some(expected), "{kind}");
        }
        assert_eq!(
            read("value_string", AttributeValue::String("s".into())),
            None
        );
    }
}
