//! Gradients of every operator against finite differences.

#![allow(clippy::unwrap_used)]

use sepconv_analysis::{Assumptions, Pins, Shapes};
use sepconv_factor::random::SplitMix64;
use sepconv_ir::{
    AttributeValue, Builder, DType, Dim, Graph, Operator, Tensor, ValueId, ValueType,
};

use crate::testing::{COMPUTE, numbers, tensor};
use crate::{Nature, Network, OutputKind, TypedGraph, Values};

fn typed<'a>(graph: &'a Graph, shapes: &'a Shapes) -> TypedGraph<'a> {
    TypedGraph {
        graph,
        shapes,
        opset: 13,
    }
}

fn ints(list: &[i64]) -> AttributeValue {
    AttributeValue::Ints(list.to_vec())
}

/// A convolution of 4 to 6 channels, whose weight is the parameter, then the operators of `rest`.
fn network(dims: &[u64], rest: impl FnOnce(&mut Builder, ValueId) -> ValueId) -> (Graph, Network) {
    let mut b = Builder::new();
    let all = dims.iter().map(|n| Dim::Known(*n)).collect();
    let ty = ValueType {
        dtype: DType::F32,
        dims: Some(all),
    };
    let x = b.input("x", Some(ty)).unwrap();
    let mut kernel = vec![6, dims[1] as usize];
    kernel.extend(dims[2..].iter().map(|_| 1));
    let w = Tensor::from_f32(kernel.clone(), numbers(kernel.iter().product(), 5));
    let w = b.initializer("w", w).unwrap();
    let op = Operator::new("Conv", "first");
    let y = b.operator(op, &[Some(x), Some(w)], &["y"]).unwrap()[0];
    let z = rest(&mut b, y);
    b.output(z).unwrap();
    let graph = b.finish().unwrap();
    let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::default()).unwrap();
    let movable: Vec<ValueId> = ["w", "w2", "b2"]
        .iter()
        .filter_map(|n| graph.find(n))
        .collect();
    let network = Network::new(COMPUTE, typed(&graph, &shapes), &[], &[z], &movable).unwrap();
    assert!(
        network.without_gradient().is_empty(),
        "{:?}",
        network.without_gradient()
    );
    (graph, network)
}

/// The derivative along a direction, and its finite difference.
fn check(name: &str, dims: &[u64], rest: impl FnOnce(&mut Builder, ValueId) -> ValueId) {
    check_by(1e-3, name, dims, rest);
}

fn check_by(
    step: f64,
    name: &str,
    dims: &[u64],
    rest: impl FnOnce(&mut Builder, ValueId) -> ValueId,
) {
    let (_, network) = network(dims, rest);
    let extents: Vec<usize> = dims.iter().map(|n| *n as usize).collect();
    let x = tensor(&extents, 7, network.device());
    let loss = || {
        let y = network
            .run(std::slice::from_ref(&x), true)
            .unwrap()
            .remove(0);
        let r = tensor(y.dims(), 9, network.device());
        (y * r).unwrap().sum_all().unwrap()
    };
    let gradients = loss().backward().unwrap();
    for parameter in network.parameters() {
        let gradient = gradients.get(&parameter.var).unwrap();
        let start = parameter.var.as_detached_tensor().copy().unwrap();
        let d = tensor(start.dims(), 11, network.device());
        let found = (gradient * &d)
            .unwrap()
            .sum_all()
            .unwrap()
            .to_scalar::<f32>()
            .unwrap();
        let at = |t: f64| {
            parameter
                .var
                .set(&(&start + (&d * t).unwrap()).unwrap())
                .unwrap();
            f64::from(loss().to_scalar::<f32>().unwrap())
        };
        let expected = (at(step) - at(-step)) / (2.0 * step);
        at(0.0);
        let size = gradient
            .sqr()
            .unwrap()
            .sum_all()
            .unwrap()
            .to_scalar::<f32>()
            .unwrap()
            .sqrt();
        let off = (f64::from(found) - expected).abs();
        assert!(size > 1e-3, "{name}: '{}' has no gradient", parameter.name);
        assert!(
            off < 0.02 * f64::from(size).max(0.1),
            "{name}: {found} not {expected} ({size})"
        );
    }
}

fn unary(op: Operator) -> impl FnOnce(&mut Builder, ValueId) -> ValueId {
    move |b, y| b.operator(op, &[Some(y)], &["z"]).unwrap()[0]
}

/// With constants behind the first operand.
fn with(op: Operator, constants: Vec<Tensor>) -> impl FnOnce(&mut Builder, ValueId) -> ValueId {
    move |b, y| {
        let mut inputs = vec![Some(y)];
        for (i, tensor) in constants.into_iter().enumerate() {
            inputs.push(Some(
                b.initializer(["w2", "b2", "c2", "d2"][i], tensor).unwrap(),
            ));
        }
        b.operator(op, &inputs, &["z"]).unwrap()[0]
    }
}

fn floats(dims: &[usize], seed: u64) -> Tensor {
    Tensor::from_f32(dims.to_vec(), numbers(dims.iter().product(), seed))
}

const MAP: [u64; 4] = [2, 4, 5, 7];
/// A step within which maxima seldom change places.
const FINE: f64 = 1e-4;

#[test]
fn activations() {
    for name in [
        "Relu",
        "LeakyRelu",
        "Sigmoid",
        "Tanh",
        "HardSigmoid",
        "HardSwish",
        "Elu",
        "Softplus",
        "Mish",
        "Exp",
        "Neg",
        "Abs",
        "Erf",
        "Gelu",
        "Identity",
        "Dropout",
    ] {
        check(name, &MAP, unary(Operator::new(name, "op")));
    }
    let clip = Operator::new("Clip", "op")
        .with("min", AttributeValue::Float(-0.3))
        .with("max", AttributeValue::Float(0.4));
    check("Clip", &MAP, unary(clip));
    check(
        "PRelu",
        &MAP,
        with(Operator::new("PRelu", "op"), vec![floats(&[6, 1, 1], 3)]),
    );
    check(
        "Pow",
        &MAP,
        with(
            Operator::new("Pow", "op"),
            vec![Tensor::from_f32(vec![], vec![2.0])],
        ),
    );
}

#[test]
fn positive_functions() {
    for name in ["Log", "Sqrt", "Reciprocal"] {
        check(name, &MAP, |b, y| {
            let s = b
                .operator(Operator::new("Sigmoid", "s"), &[Some(y)], &["s"])
                .unwrap()[0];
            b.operator(Operator::new(name, "op"), &[Some(s)], &["z"])
                .unwrap()[0]
        });
    }
}

#[test]
fn arithmetic() {
    for name in ["Add", "Sub", "Mul", "Div", "Min", "Max", "Sum"] {
        check(name, &MAP, |b, y| {
            let s = b
                .operator(Operator::new("Exp", "s"), &[Some(y)], &["s"])
                .unwrap()[0];
            let t = b
                .operator(Operator::new("Add", "t"), &[Some(s), Some(y)], &["t"])
                .unwrap()[0];
            b.operator(Operator::new(name, "op"), &[Some(t), Some(s)], &["z"])
                .unwrap()[0]
        });
        let tensor = Tensor::from_f32(vec![6, 1, 1], vec![0.5, -0.7, 0.9, 1.5, -2.0, 0.8]);
        check(name, &MAP, with(Operator::new(name, "op"), vec![tensor]));
    }
}

#[test]
fn convolutions() {
    for (group, strides, dilations, pads) in [
        (1, [1, 1], [1, 1], [1, 1, 1, 1]),
        (2, [2, 1], [1, 2], [0, 1, 2, 1]),
        (6, [1, 2], [1, 1], [1, 1, 0, 1]),
        (6, [1, 1], [2, 1], [2, 1, 2, 1]),
    ] {
        let op = Operator::new("Conv", "op")
            .with("group", AttributeValue::Int(group))
            .with("strides", ints(&strides))
            .with("dilations", ints(&dilations))
            .with("pads", ints(&pads));
        let weight = floats(&[12, 6 / group as usize, 3, 3], 3);
        check("Conv", &MAP, with(op, vec![weight, floats(&[12], 4)]));
    }
    let same = Operator::new("Conv", "op")
        .with("auto_pad", AttributeValue::String("SAME_LOWER".into()))
        .with("strides", ints(&[2, 2]));
    check("Conv", &MAP, with(same, vec![floats(&[3, 6, 2, 4], 3)]));
    check(
        "Conv",
        &[2, 4, 9],
        with(Operator::new("Conv", "op"), vec![floats(&[3, 6, 4], 3)]),
    );
    let cube = Operator::new("Conv", "op").with("pads", ints(&[1, 0, 1, 1, 1, 0]));
    check(
        "Conv",
        &[2, 4, 3, 4, 3],
        with(cube, vec![floats(&[3, 6, 2, 3, 2], 3)]),
    );
}

#[test]
fn pools() {
    let pool = |name: &str| {
        Operator::new(name, "op")
            .with("kernel_shape", ints(&[3, 2]))
            .with("strides", ints(&[2, 1]))
            .with("pads", ints(&[1, 0, 0, 1]))
    };
    check_by(FINE, "MaxPool", &MAP, unary(pool("MaxPool")));
    check("AveragePool", &MAP, unary(pool("AveragePool")));
    let padded = pool("AveragePool").with("count_include_pad", AttributeValue::Int(1));
    check("AveragePool", &MAP, unary(padded));
    let ceil = pool("MaxPool").with("ceil_mode", AttributeValue::Int(1));
    check_by(FINE, "MaxPool", &MAP, unary(ceil));
    check(
        "GlobalAveragePool",
        &MAP,
        unary(Operator::new("GlobalAveragePool", "op")),
    );
    check(
        "GlobalMaxPool",
        &MAP,
        unary(Operator::new("GlobalMaxPool", "op")),
    );
    let mean = Operator::new("ReduceMean", "op").with("axes", ints(&[2, -1]));
    check("ReduceMean", &MAP, unary(mean));
}

#[test]
fn heads() {
    for (name, last) in [("Softmax", "Softmax"), ("LogSoftmax", "LogSoftmax")] {
        check(name, &[3, 4, 2, 2], |b, y| {
            let f = b
                .operator(Operator::new("Flatten", "f"), &[Some(y)], &["f"])
                .unwrap()[0];
            let w = b.initializer("w2", floats(&[5, 24], 3)).unwrap();
            let c = b.initializer("b2", floats(&[5], 4)).unwrap();
            let gemm = Operator::new("Gemm", "g").with("transB", AttributeValue::Int(1));
            let g = b
                .operator(gemm, &[Some(f), Some(w), Some(c)], &["g"])
                .unwrap()[0];
            b.operator(Operator::new(last, "op"), &[Some(g)], &["z"])
                .unwrap()[0]
        });
    }
    check("MatMul", &[3, 4, 2, 2], |b, y| {
        let target = b
            .initializer("shape", Tensor::from_i64(vec![2], &[0, -1]))
            .unwrap();
        let f = b
            .operator(
                Operator::new("Reshape", "f"),
                &[Some(y), Some(target)],
                &["f"],
            )
            .unwrap()[0];
        let w = b.initializer("w2", floats(&[24, 5], 3)).unwrap();
        b.operator(Operator::new("MatMul", "op"), &[Some(f), Some(w)], &["z"])
            .unwrap()[0]
    });
}

#[test]
fn layouts() {
    let perm = Operator::new("Transpose", "op").with("perm", ints(&[0, 2, 3, 1]));
    check("Transpose", &MAP, unary(perm));
    let blocks = |mode: &'static str| {
        Operator::new("DepthToSpace", "op")
            .with("blocksize", AttributeValue::Int(1))
            .with("mode", AttributeValue::String(mode.into()))
    };
    check("DepthToSpace", &MAP, unary(blocks("CRD")));
    let list = |v: &[i64]| Tensor::from_i64(vec![v.len()], v);
    let pad = vec![list(&[0, 0, 1, 0, 0, 0, 0, 2])];
    check("Pad", &MAP, with(Operator::new("Pad", "op"), pad));
    let cut = vec![list(&[1, -3]), list(&[5, 100]), list(&[1, 3])];
    check("Slice", &MAP, with(Operator::new("Slice", "op"), cut));
    let steps = vec![
        list(&[0, -6]),
        list(&[i64::MAX, 100]),
        list(&[2, 3]),
        list(&[2, 3]),
    ];
    check("Slice", &MAP, with(Operator::new("Slice", "op"), steps));
    check("Concat", &MAP, |b, y| {
        let s = b
            .operator(Operator::new("Tanh", "s"), &[Some(y)], &["s"])
            .unwrap()[0];
        let op = Operator::new("Concat", "op").with("axis", AttributeValue::Int(1));
        b.operator(op, &[Some(y), Some(s)], &["z"]).unwrap()[0]
    });
    check("Concat", &MAP, |b, y| {
        let shape = b
            .operator(Operator::new("Shape", "s"), &[Some(y)], &["s"])
            .unwrap()[0];
        let by = |b: &mut Builder, op: &str, x: ValueId, list: &[i64]| {
            let list = Tensor::from_i64(vec![list.len()], list);
            let list = b.initializer(&format!("{op}_by"), list).unwrap();
            let made = b.operator(Operator::new(op, op), &[Some(x), Some(list)], &[op]);
            made.unwrap()[0]
        };
        let kept = by(b, "Mul", shape, &[1, 1, 0, 1]);
        let dims = by(b, "Add", kept, &[0, 0, 2, 0]);
        let zeros = Operator::new("ConstantOfShape", "zeros");
        let zeros = b.operator(zeros, &[Some(dims)], &["zeros"]).unwrap()[0];
        let op = Operator::new("Concat", "op").with("axis", AttributeValue::Int(2));
        b.operator(op, &[Some(zeros), Some(y), Some(zeros)], &["z"])
            .unwrap()[0]
    });
    check("Split", &MAP, |b, y| {
        let op = Operator::new("Split", "op").with("axis", AttributeValue::Int(1));
        let parts = b.operator(op, &[Some(y)], &["p", "q"]).unwrap();
        b.operator(
            Operator::new("Mul", "m"),
            &[Some(parts[0]), Some(parts[1])],
            &["z"],
        )
        .unwrap()[0]
    });
    check("Resize", &MAP, |b, y| {
        let roi = b
            .initializer("roi", Tensor::from_f32(vec![0], vec![]))
            .unwrap();
        let scales = Tensor::from_f32(vec![4], vec![1.0, 1.0, 2.0, 3.0]);
        let scales = b.initializer("scales", scales).unwrap();
        let op = Operator::new("Resize", "op");
        b.operator(op, &[Some(y), Some(roi), Some(scales)], &["z"])
            .unwrap()[0]
    });
}

#[test]
fn normalisations() {
    let norm = Operator::new("BatchNormalization", "op");
    let mut positive = numbers(6, 8);
    positive.iter_mut().for_each(|v| *v = v.abs() + 0.5);
    let variance = Tensor::from_f32(vec![6], positive);
    check("BatchNormalization", &MAP, |b, y| {
        let mut inputs = vec![Some(y)];
        for (name, tensor) in [
            ("s", floats(&[6], 1)),
            ("o", floats(&[6], 2)),
            ("m", floats(&[6], 3)),
            ("v", variance),
        ] {
            inputs.push(Some(b.initializer(name, tensor).unwrap()));
        }
        b.operator(norm, &inputs, &["z"]).unwrap()[0]
    });
    let lrn = Operator::new("LRN", "op")
        .with("size", AttributeValue::Int(3))
        .with("alpha", AttributeValue::Float(0.5));
    check("LRN", &MAP, unary(lrn));
}

#[test]
fn an_operator_without_a_gradient_freezes_what_is_upstream() {
    let mut b = Builder::new();
    let dims = [2, 4, 5, 5].map(Dim::Known).to_vec();
    let x = b
        .input(
            "x",
            Some(ValueType {
                dtype: DType::F32,
                dims: Some(dims),
            }),
        )
        .unwrap();
    let w = b.initializer("w", floats(&[4, 4, 1, 1], 1)).unwrap();
    let y = b
        .operator(Operator::new("Conv", "c"), &[Some(x), Some(w)], &["y"])
        .unwrap()[0];
    let odd = Operator {
        domain: "other".into(),
        ..Operator::new("Odd", "odd")
    };
    let z = b.operator(odd, &[Some(y)], &["z"]).unwrap()[0];
    let w2 = b.initializer("w2", floats(&[4, 4, 1, 1], 2)).unwrap();
    let t = b
        .operator(Operator::new("Conv", "d"), &[Some(z), Some(w2)], &["t"])
        .unwrap()[0];
    b.output(t).unwrap();
    let graph = b.finish().unwrap();
    let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::default()).unwrap();
    let network = Network::new(COMPUTE, typed(&graph, &shapes), &[], &[t], &[w, w2]).unwrap();
    assert_eq!(network.given(), [z]);
    assert_eq!(network.frozen(), ["w"]);
    assert_eq!(network.without_gradient(), ["node 'odd' (Odd)"]);
    let names: Vec<&str> = network
        .parameters()
        .iter()
        .map(|p| p.name.as_str())
        .collect();
    assert_eq!(names, ["w2"]);
    let none = Network::new(COMPUTE, typed(&graph, &shapes), &[], &[t], &[w])
        .err()
        .unwrap()
        .to_string();
    assert_eq!(
        none,
        "no weight can be moved: node 'odd' (Odd) has no gradient"
    );
}

/// A detector's grid: `[1, anchors]`, computed of the extents of its map, and concatenated to what it scales.
#[test]
fn grids_that_extents_make_are_constants() {
    let mut b = Builder::new();
    let dims = [1, 4, 3, 5].map(Dim::Known).to_vec();
    let dtype = DType::F32;
    let x = b
        .input(
            "x",
            Some(ValueType {
                dtype,
                dims: Some(dims),
            }),
        )
        .unwrap();
    let w = Tensor::from_f32(vec![2, 4, 1, 1], numbers(8, 5));
    let w = b.initializer("w", w).unwrap();
    let mut by = |op: Operator, inputs: &[ValueId]| {
        let name = op.name.clone();
        let inputs: Vec<Option<ValueId>> = inputs.iter().copied().map(Some).collect();
        b.operator(op, &inputs, &[name.as_str()]).unwrap()[0]
    };
    let constant = |name: &str, tensor: Tensor| {
        Operator::new("Constant", name).with("value", AttributeValue::Tensor(tensor))
    };
    let list = |values: &[i64]| Tensor::from_i64(vec![values.len()], values);
    let conv = by(Operator::new("Conv", "conv"), &[x, w]);
    let flat = by(constant("flat", list(&[0, 2, -1])), &[]);
    let rows = by(Operator::new("Reshape", "rows"), &[conv, flat]);
    let count = by(Operator::new("Size", "count"), &[rows]);
    let two = by(constant("two", Tensor::from_i64(vec![], &[2])), &[]);
    let zero = by(constant("zero", Tensor::from_i64(vec![], &[0])), &[]);
    let one = by(constant("one", Tensor::from_i64(vec![], &[1])), &[]);
    let anchors = by(Operator::new("Div", "anchors"), &[count, two]);
    let grid = by(Operator::new("Range", "range"), &[zero, anchors, one]);
    let to = AttributeValue::Int(i64::from(dtype.code()));
    let grid = by(Operator::new("Cast", "grid").with("to", to), &[grid]);
    let front = by(constant("front", list(&[0])), &[]);
    let strides = by(Operator::new("Unsqueeze", "strides"), &[grid, front]);
    let scaled = by(Operator::new("Mul", "scaled"), &[rows, strides]);
    let beside = by(Operator::new("Unsqueeze", "beside"), &[strides, front]);
    let op = Operator::new("Concat", "both").with("axis", AttributeValue::Int(1));
    let y = by(op, &[scaled, beside]);
    b.output(y).unwrap();
    let graph = b.finish().unwrap();
    let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::default()).unwrap();
    let network = Network::new(COMPUTE, typed(&graph, &shapes), &[], &[y], &[w]).unwrap();
    assert_eq!(
        (network.given(), network.without_gradient().len()),
        (&[x][..], 0)
    );
    // Two samples share the grid.
    let x = numbers(120, 7);
    let given = Values {
        dims: vec![2, 4, 3, 5],
        elements: x.clone(),
    };
    let found = network.values(&[given]).unwrap().remove(0);
    assert_eq!(found.dims, [2, 3, 15]);
    let kernel = numbers(8, 5);
    let at = |sample: usize, channel: usize, place: usize| {
        let terms = (0..4).map(|c| kernel[channel * 4 + c] * x[(sample * 4 + c) * 15 + place]);
        terms.sum::<f32>() * place as f32
    };
    for (i, value) in found.elements.iter().enumerate() {
        let (sample, channel, place) = (i / 45, i / 15 % 3, i % 15);
        let expected = match channel {
            2 => place as f32,
            _ => at(sample, channel, place),
        };
        assert!(
            (value - expected).abs() < 1e-4,
            "{i}: {value} not {expected}"
        );
    }
}

/// `y = W2 relu(W1 x)` of known weights: the mean square of a projection's derivative with respect to
/// a channel is that of the rows of `W2`, where the channel is on.
#[test]
fn sensitivities_are_those_of_a_known_network() {
    let mut b = Builder::new();
    let dims = [1, 2, 3, 3].map(Dim::Known).to_vec();
    let ty = ValueType {
        dtype: DType::F32,
        dims: Some(dims),
    };
    let x = b.input("x", Some(ty)).unwrap();
    let conv = |b: &mut Builder, name: &str, x: ValueId, dims: &[usize], w: &[f32]| {
        let w = Tensor::from_f32(dims.to_vec(), w.to_vec());
        let w = b.initializer(&format!("{name}.w"), w).unwrap();
        let op = Operator::new("Conv", name);
        b.operator(op, &[Some(x), Some(w)], &[name]).unwrap()[0]
    };
    // Channels: always on, always off, on and not read.
    let h = conv(
        &mut b,
        "h",
        x,
        &[3, 2, 1, 1],
        &[1.0, 1.0, -1.0, -1.0, 2.0, 0.0],
    );
    let a = b
        .operator(Operator::new("Relu", "a"), &[Some(h)], &["a"])
        .unwrap()[0];
    let y = conv(&mut b, "y", a, &[1, 3, 1, 1], &[0.5, 3.0, 0.0]);
    b.output(y).unwrap();
    let graph = b.finish().unwrap();
    let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::default()).unwrap();
    let network = Network::fixed(COMPUTE, typed(&graph, &shapes), &[y]).unwrap();
    let given = Values {
        dims: vec![1, 2, 3, 3],
        elements: vec![1.0; 18],
    };
    let of = |kind: OutputKind, watched: &[ValueId]| {
        let draw = SplitMix64::new(1, 2);
        let given = std::slice::from_ref(&given);
        network
            .sensitivities(given, &[kind], watched, draw)
            .unwrap()
    };
    // y is 1 everywhere, and so is its size.
    let found = of(OutputKind::Numbers(None), &[h, a, x]);
    assert_eq!(found[0], Some(vec![0.25, 0.0, 0.0]));
    assert_eq!(found[1], Some(vec![0.25, 9.0, 0.0]));
    assert_eq!(found[2], None);
    // On a scale of a half.
    let found = of(OutputKind::Numbers(Some(vec![2.0; 9])), &[h]);
    assert_eq!(found[0], Some(vec![1.0, 0.0, 0.0]));
    // One of nine classes that are all as likely: its log-probability has the derivative 8/9, the
    // others' -1/9.
    let found = of(OutputKind::Classes(Nature::Logits), &[y]);
    let expected = (64.0 / 81.0 + 8.0 / 81.0) / 9.0;
    assert!(
        (found[0].as_ref().unwrap()[0] - expected).abs() < 1e-6,
        "{found:?}"
    );
}
