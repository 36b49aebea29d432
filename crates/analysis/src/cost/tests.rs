#![allow(clippy::unwrap_used)]
use sepconv_ir::{AttributeValue, Builder, DType};

use super::*;
use crate::testing::{Op, f32s, fixed, free, i64s, zeros};
use crate::{Assumptions, Pins};

fn model(graph: Graph) -> Model {
    Model {
        graph,
        opsets: Vec::new(),
        ir_version: 8,
    }
}

fn count(graph: Graph, pins: &[&str]) -> ModelCost {
    let pins = Pins::parse(pins).unwrap();
    let shapes = Shapes::infer(&graph, &pins, &Assumptions::default()).unwrap();
    ModelCost::of(&model(graph), &shapes)
}

/// MACs and parameters of a graph of one operator.
fn one(op: Op) -> NodeCost {
    count(op.graph(), &[]).nodes[0].cost
}

fn cost(macs: u64, params: u64) -> NodeCost {
    NodeCost {
        macs: Some(macs),
        params,
    }
}

#[test]
fn convolutions() {
    // ResNet's stem: 118.0 million MACs.
    let stem = Op::new("Conv")
        .input(f32s(&[1, 3, 224, 224]))
        .constant(zeros(&[64, 3, 7, 7]))
        .constant(zeros(&[64]))
        .ints("strides", &[2, 2])
        .ints("pads", &[3, 3, 3, 3]);
    assert_eq!(one(stem), cost(118_013_952, 9408 + 64));
    let depthwise = Op::new("Conv")
        .input(f32s(&[2, 32, 16, 16]))
        .constant(zeros(&[32, 1, 3, 3]))
        .int("group", 32)
        .ints("pads", &[1, 1, 1, 1]);
    assert_eq!(one(depthwise), cost(2 * 32 * 256 * 9, 288));
    // Every input element meets Co/g filters: independent of stride and padding.
    let transposed = Op::new("ConvTranspose")
        .input(f32s(&[1, 8, 10, 10]))
        .constant(zeros(&[8, 4, 2, 2]))
        .ints("strides", &[2, 2]);
    assert_eq!(one(transposed), cost(8 * 100 * 4 * 4, 128));
    let integer = Op::new("ConvInteger")
        .input(fixed(DType::U8, &[1, 3, 8, 8]))
        .input(fixed(DType::U8, &[4, 3, 1, 1]));
    assert_eq!(one(integer), cost(4 * 64 * 3, 0));
}

#[test]
fn integer_weights_are_parameters() {
    let bytes = |dims: &[usize]| {
        Tensor::from_i64s(DType::I8, dims.to_vec(), &vec![1; dims.iter().product()]).unwrap()
    };
    let x = || fixed(DType::U8, &[1, 8, 16, 16]);
    let conv = Op::new("ConvInteger").ints("pads", &[1; 4]).input(x());
    let conv = conv.constant(bytes(&[16, 8, 3, 3])).constant(bytes(&[]));
    assert_eq!(one(conv), cost(16 * 8 * 9 * 256, 16 * 8 * 9));
    let scale = || Tensor::from_f32(vec![], vec![1.0]);
    let conv = Op::new("QLinearConv").ints("pads", &[1; 4]).input(x());
    let conv = conv.constant(scale()).constant(bytes(&[]));
    let conv = conv.constant(bytes(&[16, 8, 3, 3])).constant(scale());
    let conv = conv
        .constant(bytes(&[]))
        .constant(scale())
        .constant(bytes(&[]));
    let bias = Tensor::from_i64s(DType::I32, vec![16], &[1; 16]).unwrap();
    let graph = conv.constant(bias).graph();
    // The weight and its bias, and three scales.
    assert_eq!(parameters(&graph), 16 * 8 * 9 + 16 + 3);
    assert_eq!(
        count(graph, &[]).nodes[0].cost,
        cost(16 * 8 * 9 * 256, 16 * 8 * 9 + 16 + 3)
    );
    // An operator that only moves integers has none.
    let moved = Op::new("Identity").constant(bytes(&[4]));
    assert_eq!(one(moved), cost(0, 0));
}

#[test]
fn products() {
    let gemm = Op::new("Gemm")
        .input(f32s(&[512, 2]))
        .constant(zeros(&[10, 512]))
        .constant(zeros(&[10]))
        .int("transA", 1)
        .int("transB", 1);
    assert_eq!(one(gemm), cost(2 * 512 * 10, 5130));
    let matmul = |a: &[u64], b: &[u64]| one(Op::new("MatMul").input(f32s(a)).input(f32s(b)));
    assert_eq!(
        matmul(&[8, 1, 5, 6], &[3, 6, 7]),
        cost(8 * 3 * 5 * 7 * 6, 0)
    );
    assert_eq!(matmul(&[6], &[6]), cost(6, 0));
    let lstm = Op::new("LSTM")
        .input(f32s(&[7, 2, 10]))
        .constant(zeros(&[1, 80, 10]))
        .constant(zeros(&[1, 80, 20]));
    assert_eq!(one(lstm), cost(7 * 2 * 4 * (20 * 10 + 20 * 20), 800 + 1600));
}

#[test]
fn what_is_not_counted_is_flagged() {
    let unknown = |op: Op| assert_eq!(one(op).macs, None);
    unknown(
        Op::new("Einsum")
            .input(f32s(&[2]))
            .string("equation", "i->i"),
    );
    unknown(Op::new("If").input(fixed(DType::Bool, &[])));
    unknown(Op::new("Conv").domain("example.org").input(f32s(&[2])));
    unknown(Op::new("Conv").input(f32s(&[1, 3, 8, 8])));
    unknown(
        Op::new("MatMul")
            .input(f32s(&[u64::MAX, 2]))
            .input(f32s(&[2, 8])),
    );
    assert_eq!(one(Op::new("Relu").input(f32s(&[2]))), cost(0, 0));
    assert_eq!(
        one(Op::new("QLinearAdd")
            .domain("com.microsoft")
            .input(f32s(&[2]))),
        cost(0, 0)
    );
}

fn chain(batch: &str) -> Graph {
    let mut b = Builder::new();
    let x = b.input("x", Some(free(&[batch, "3", "8", "8"]))).unwrap();
    let w = b.initializer("w", zeros(&[4, 3, 1, 1])).unwrap();
    let s = b.initializer("s", zeros(&[4])).unwrap();
    let unused = b.initializer("steps", i64s(&[1, 2, 3])).unwrap();
    let mut last = x;
    for (op, inputs, out) in [
        ("Conv", vec![w], "c"),
        ("BatchNormalization", vec![s, s, s, s], "b1"),
        ("BatchNormalization", vec![s, s, s, s], "b2"),
        ("Custom", vec![unused], "o"),
    ] {
        let mut operator = Operator::new(op, "");
        if op == "Custom" {
            operator.domain = "example.org".into();
        }
        let inputs: Vec<_> = std::iter::once(last).chain(inputs).map(Some).collect();
        last = b.operator(operator, &inputs, &[out]).unwrap()[0];
    }
    b.output(last).unwrap();
    b.finish().unwrap()
}

#[test]
fn totals() {
    let cost = count(chain("N"), &[]);
    // The first normalisation folds into the convolution, the second stands alone.
    assert_eq!(cost.macs, 4 * 64 * 3 + 4 * 64);
    assert_eq!(cost.params, 12 + 4, "shared constants count once");
    assert_eq!(cost.uncounted, 1);
    let rows: Vec<_> = cost
        .nodes
        .iter()
        .map(|r| (r.name.as_str(), r.cost.params))
        .collect();
    assert_eq!(rows, [("c", 12), ("b1", 4), ("b2", 4), ("o", 0)]);
}

#[test]
fn a_given_batch_counts() {
    let sample = count(chain("N"), &[]).macs;
    assert_eq!(count(chain("N"), &["x=5x3x8x8"]).macs, 5 * sample);
    assert_eq!(count(chain("7"), &[]).macs, 7 * sample);
}

#[test]
fn constant_nodes_are_parameters() {
    let mut b = Builder::new();
    let x = b.input("x", Some(f32s(&[1, 2]))).unwrap();
    let op = Operator::new("Constant", "").with("value", AttributeValue::Tensor(zeros(&[2, 3])));
    let w = b.operator(op, &[], &["w"]).unwrap()[0];
    let y = b
        .operator(Operator::new("MatMul", ""), &[Some(x), Some(w)], &["y"])
        .unwrap();
    b.output(y[0]).unwrap();
    let cost = count(b.finish().unwrap(), &[]);
    assert_eq!((cost.macs, cost.params), (6, 6));
    assert_eq!(cost.nodes[1].cost.params, 6);
}
