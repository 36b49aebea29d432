//! Tensors that are known before the model runs, whichever way they reach their reader.

use std::borrow::Cow;

use sepconv_ir::{AttributeValue, Graph, NodeId, Operator, Tensor, ValueId};

use crate::dequantize::dequantize;

/// Operators between a constant and its reader that are followed: beyond that a chain is
/// taken for one that is not constant.
const MAX_DEPTH: usize = 32;

/// The tensor of a value that depends on constants alone: an initializer that callers can't
/// override, or a `Constant`, seen through `Identity`, `Reshape` (opset 5 and later) and
/// `Transpose`. `None` for everything else, `DequantizeLinear` of a constant among it: a
/// quantised weight stays as it is.
pub fn resolve(graph: &Graph, value: ValueId) -> Option<Cow<'_, Tensor>> {
    Sight::Plain.resolve(graph, value)
}

/// What a constant is seen through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sight {
    /// As [`resolve`] does.
    #[default]
    Plain,
    /// `DequantizeLinear` (10 to 24) as well: a quantised weight is the floats that it stands
    /// for.
    Quantized,
}

impl Sight {
    /// As [`resolve`], as far as this sees.
    pub fn resolve(self, graph: &Graph, value: ValueId) -> Option<Cow<'_, Tensor>> {
        self.through(graph, value, MAX_DEPTH)
    }

    fn through(self, graph: &Graph, value: ValueId, depth: usize) -> Option<Cow<'_, Tensor>> {
        if let Some(tensor) = graph.constant(value) {
            return Some(Cow::Borrowed(tensor));
        }
        let (_, op) = graph.producer(value)?;
        if op.is("Constant") {
            return literal(op);
        }
        // In a local function, what an attribute refers to is known to its callers alone.
        let depth = depth.checked_sub(1).filter(|_| op.is_literal())?;
        let input = |slot| self.through(graph, op.input(slot)?, depth);
        if op.is("Identity") {
            input(0)
        } else if op.is("Reshape") {
            reshape(op, &*input(0)?, &input(1)?.to_i64()?).map(Cow::Owned)
        } else if op.is("Transpose") {
            transpose(op, &*input(0)?).map(Cow::Owned)
        } else if op.is("DequantizeLinear") && self == Self::Quantized {
            let zero = match op.input(2) {
                Some(_) => Some(input(2)?),
                None => None,
            };
            dequantize(op, &*input(0)?, &*input(1)?, zero.as_deref()).map(Cow::Owned)
        } else {
            None
        }
    }
}

/// The operators that make `values` out of constants, and that nothing but `gone` and one
/// another read: they go with `gone`, except for what makes a value of `kept`. Values that
/// `sight` does not find constant are left alone.
pub fn orphans(
    graph: &Graph,
    sight: Sight,
    values: &[ValueId],
    gone: &[NodeId],
    kept: &[ValueId],
) -> Vec<NodeId> {
    let mut gone = gone.to_vec();
    let known = gone.len();
    let mut open = values.to_vec();
    while let Some(value) = open.pop() {
        let read = |(reader, _): &(NodeId, _)| gone.contains(reader);
        let Some((node, op)) = graph.producer(value) else {
            continue;
        };
        let goes = !kept.contains(&value) && sight.resolve(graph, value).is_some();
        if goes && !gone.contains(&node) && graph.readers(value).iter().all(read) {
            gone.push(node);
            open.extend(op.inputs.iter().flatten());
        }
    }
    gone.split_off(known)
}

/// What a `Constant` (1 to 24) holds, where it is a tensor or numbers (opset 12).
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

/// `Reshape`: 0 keeps an extent (unless `allowzero`), -1 is what is left.
fn reshape(op: &Operator, tensor: &Tensor, target: &[i64]) -> Option<Tensor> {
    let mut dims = Vec::new();
    let mut free = None;
    for (axis, extent) in target.iter().enumerate() {
        dims.push(match extent {
            0 if op.int("allowzero", 0) == 0 => *tensor.dims().get(axis)?,
            -1 if free.is_none() => {
                free = Some(axis);
                1
            }
            n => usize::try_from(*n).ok()?,
        });
    }
    if let Some(axis) = free {
        let known = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        dims[axis] = tensor.len().checked_div(known)?;
    }
    // Refuses extents whose product is not the number of elements.
    Tensor::new(tensor.dtype(), dims, tensor.data()?.clone())
}

/// `Transpose`: axis `i` of the result is axis `perm[i]`, by default in reverse.
fn transpose(op: &Operator, tensor: &Tensor) -> Option<Tensor> {
    let dims = tensor.dims();
    let perm: Vec<usize> = match op.attribute("perm") {
        None => (0..dims.len()).rev().collect(),
        Some(AttributeValue::Ints(perm)) => perm
            .iter()
            .map(|axis| usize::try_from(*axis).ok())
            .collect::<Option<_>>()?,
        Some(_) => return None,
    };
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..dims.len()) {
        return None;
    }
    let mut strides = vec![1usize; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(dims[axis]);
    }
    let size = tensor.dtype().size()?;
    let data = tensor.data()?;
    let moved: Vec<usize> = perm.iter().map(|axis| dims[*axis]).collect();
    let mut out = Vec::with_capacity(data.len());
    let mut at = vec![0; dims.len()];
    for _ in 0..tensor.len() {
        let from: usize = at.iter().zip(&perm).map(|(i, p)| i * strides[*p]).sum();
        out.extend_from_slice(data.get(from * size..(from + 1) * size)?);
        for (i, n) in at.iter_mut().zip(&moved).rev() {
            *i += 1;
            if *i < *n {
                break;
            }
            *i = 0;
        }
    }
    Tensor::new(tensor.dtype(), moved, out.into())
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
        assert_eq!(of(Operator::new("Relu", "r"), None), None);
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
