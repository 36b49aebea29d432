//! Refusals, and graphs of great depth; `tests/evaluate.rs` compares results with ONNX Runtime.
#![allow(clippy::unwrap_used)]

use sepconv_ir::{AttributeValue, Builder, DType, Graph, Operator, Tensor, ValueId};

use crate::constants::{Sight, resolve};
use crate::testing::{i64s, zeros};

/// The value of one operator on constants.
fn of(op: Operator, inputs: &[Tensor]) -> Option<Tensor> {
    let mut b = Builder::new();
    let values = inputs.iter().enumerate();
    let values: Vec<_> = values
        .map(|(i, t)| Some(b.initializer(&format!("i{i}"), t.clone()).unwrap()))
        .collect();
    let y = b.operator(op, &values, &["y"]).unwrap()[0];
    let (graph, y) = finish(b, y);
    Some(resolve(&graph, y)?.into_owned())
}

fn finish(mut b: Builder, y: ValueId) -> (Graph, ValueId) {
    b.output(y).unwrap();
    (b.finish().unwrap(), y)
}

fn op(name: &str) -> Operator {
    Operator::new(name, "n")
}

#[test]
fn results_that_are_far_larger_than_what_they_are_made_of_are_not_made() {
    let one = || Tensor::from_f32(vec![1], vec![1.0]);
    let huge = i64s(&[1 << 31]);
    assert!(of(op("ConstantOfShape"), std::slice::from_ref(&huge)).is_none());
    assert!(of(op("ConstantOfShape"), &[i64s(&[i64::MAX, i64::MAX])]).is_none());
    assert!(of(op("Expand"), &[one(), huge.clone()]).is_none());
    assert!(of(op("Tile"), &[one(), huge.clone()]).is_none());
    assert!(of(op("Tile"), &[zeros(&[0]), huge]).unwrap().is_empty());
    let pads = i64s(&[0, i64::MAX]);
    assert!(of(op("Pad"), &[one(), pads]).is_none());
    let scalar = |v| Tensor::from_i64(vec![], &[v]);
    let ends = [scalar(i64::MIN), scalar(i64::MAX), scalar(1)];
    assert!(of(op("Range"), &ends).is_none());
    let empty = [zeros(&[1 << 20, 0]), zeros(&[0, 1 << 20])];
    assert!(of(op("MatMul"), &empty).is_none());
}

#[test]
fn what_does_not_fit_is_no_constant() {
    assert!(of(op("Add"), &[zeros(&[2]), zeros(&[3])]).is_none());
    assert!(of(op("Add"), &[zeros(&[2]), i64s(&[1, 2])]).is_none());
    assert!(of(op("Div"), &[i64s(&[1]), i64s(&[0])]).is_none());
    assert!(of(op("Reshape"), &[zeros(&[6]), i64s(&[4, -1])]).is_none());
    assert!(of(op("Gather"), &[zeros(&[2]), i64s(&[2])]).is_none());
    assert!(of(op("Unsqueeze"), &[zeros(&[2]), i64s(&[0, 0])]).is_none());
    assert!(of(op("Squeeze"), &[zeros(&[2]), i64s(&[0])]).is_none());
    assert!(of(op("ReduceMean"), &[zeros(&[2, 0])]).is_none());
    assert!(of(op("RandomUniformLike"), &[zeros(&[2])]).is_none());
    assert!(of(op("MatMul"), &[zeros(&[2, 3]), zeros(&[2, 3])]).is_none());
    let perm = AttributeValue::Ints(vec![0, 0]);
    assert!(of(op("Transpose").with("perm", perm), &[zeros(&[2, 3])]).is_none());
    let to = |code| op("Cast").with("to", AttributeValue::Int(code));
    let infinite = Tensor::from_f32(vec![1], vec![f32::INFINITY]);
    assert!(of(to(7), std::slice::from_ref(&infinite)).is_none());
    assert!(of(to(8), std::slice::from_ref(&infinite)).is_none());
    assert_eq!(of(to(10), &[infinite]).unwrap().dtype(), DType::F16);
    let opaque = Tensor::opaque(DType::Other(17), vec![2]);
    assert!(of(op("Neg"), &[opaque]).is_none());
}

#[test]
fn opsets_before_7_say_which_axes_broadcast() {
    let by = |axis: Option<i64>, b: &[usize]| {
        let op = op("Add").with("broadcast", AttributeValue::Int(1));
        let op = axis
            .into_iter()
            .fold(op, |op, a| op.with("axis", AttributeValue::Int(a)));
        let ones = Tensor::from_f32(
            b.to_vec(),
            (0..b.iter().product()).map(|v| v as f32).collect(),
        );
        Some(of(op, &[zeros(&[2, 2, 2]), ones])?.to_f32()?.into_owned())
    };
    assert_eq!(by(Some(1), &[2]).unwrap()[..4], [0.0, 0.0, 1.0, 1.0]);
    assert_eq!(by(Some(0), &[2]).unwrap()[..4], [0.0; 4]);
    assert_eq!(by(None, &[2, 2]).unwrap()[..4], [0.0, 1.0, 2.0, 3.0]);
    assert_eq!(by(Some(2), &[2, 2]), None);
}

#[test]
fn what_depends_on_an_input_is_no_constant() {
    let mut b = Builder::new();
    let x = b.input("x", None).unwrap();
    let w = b.initializer("w", zeros(&[2])).unwrap();
    let y = b.operator(op("Add"), &[Some(w), Some(x)], &["y"]).unwrap()[0];
    let z = b.operator(op("Shape"), &[Some(y)], &["z"]).unwrap()[0];
    let (graph, z) = finish(b, z);
    assert!(graph.varies(y) && graph.varies(z) && !graph.varies(w));
    assert!(resolve(&graph, z).is_none() && resolve(&graph, y).is_none());
}

/// A chain of so many operators from a vector of ones.
fn chain(length: usize, name: &str) -> (Graph, ValueId) {
    let mut b = Builder::new();
    let mut y = b
        .initializer("w", Tensor::from_f32(vec![2], vec![1.0; 2]))
        .unwrap();
    for i in 0..length {
        let inputs = match name {
            "Concat" => vec![Some(y), Some(y)],
            _ => vec![Some(y)],
        };
        let op = op(name).with("axis", AttributeValue::Int(0));
        y = b.operator(op, &inputs, &[&format!("v{i}")]).unwrap()[0];
    }
    finish(b, y)
}

#[test]
fn depth_is_no_matter_and_doubling_ends() {
    let (graph, y) = chain(20_001, "Neg");
    let value = resolve(&graph, y).unwrap();
    assert_eq!(&*value.to_f32().unwrap(), &[-1.0, -1.0]);
    let (graph, y) = chain(20, "Concat");
    assert_eq!(resolve(&graph, y).unwrap().len(), 1 << 21);
    let (graph, y) = chain(64, "Concat");
    assert!(resolve(&graph, y).is_none());
}

#[test]
fn stored_integers_stay_and_those_made_of_floats_do_not() {
    let mut b = Builder::new();
    let scale = b
        .initializer("s", Tensor::from_f32(vec![], vec![0.5]))
        .unwrap();
    let stored = Tensor::new(DType::U8, vec![2], vec![2u8, 4].into()).unwrap();
    let stored = b.initializer("q", stored).unwrap();
    let moved = b.operator(op("Identity"), &[Some(stored)], &["m"]).unwrap()[0];
    let read = |b: &mut Builder, q, name: &str| {
        let inputs = [Some(q), Some(scale)];
        b.operator(op("DequantizeLinear"), &inputs, &[name])
            .unwrap()[0]
    };
    let kept = read(&mut b, moved, "kept");
    let w = b
        .initializer("w", Tensor::from_f32(vec![2], vec![1.1, 0.2]))
        .unwrap();
    let inputs = [Some(w), Some(scale)];
    let made = b
        .operator(op("QuantizeLinear"), &inputs, &["made"])
        .unwrap()[0];
    let made = b
        .operator(op("Identity"), &[Some(made)], &["same"])
        .unwrap()[0];
    let computed = read(&mut b, made, "computed");
    b.output(kept).unwrap();
    let (graph, computed) = finish(b, computed);
    let floats = |sight: Sight, value| Some(sight.resolve(&graph, value)?.to_f32()?.into_owned());
    assert_eq!(floats(Sight::Plain, kept), None);
    assert_eq!(floats(Sight::Quantized, kept), Some(vec![1.0, 2.0]));
    assert_eq!(floats(Sight::Plain, computed), Some(vec![1.0, 0.0]));
}
