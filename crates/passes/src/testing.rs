//! Small graphs for the tests of this crate.
#![allow(clippy::unwrap_used)]

use sepconv_ir::{
    AttributeValue, Builder, DType, Dim, Graph, Operator, Tensor, ValueId, ValueType,
};

use crate::pass::{Pass, run as run_passes};
use crate::select::Selection;

/// Adds a constant vector.
pub(crate) fn vector(b: &mut Builder, name: &str, values: &[f32]) -> ValueId {
    b.initializer(name, Tensor::from_f32(vec![values.len()], values.to_vec()))
        .unwrap()
}

/// Runs a fold: how many places were changed, or, where none was, why not.
pub(crate) fn fold_by(
    pass: &dyn Pass,
    graph: &mut Graph,
    selection: &Selection,
) -> Result<usize, Vec<String>> {
    let mut outcomes = run_passes(&[pass], graph, &selection.into()).unwrap();
    let outcome = outcomes.pop().unwrap();
    if outcome.changed.is_empty() {
        return Err(outcome.kept.into_iter().map(|note| note.what).collect());
    }
    Ok(outcome.changed.len())
}

/// Deterministic weights without structure.
pub(crate) fn weights(count: usize) -> Vec<f32> {
    (0..count)
        .map(|i| ((i * 7919 + 13) % 1009) as f32 / 504.5 - 1.0)
        .collect()
}

/// x[1, ci, 8, 8] -> Conv(co, ci/groups, 3, 3; pads 1, stride) with bias -> y.
pub(crate) fn conv(co: usize, ci: usize, groups: usize, stride: i64) -> Graph {
    let mut b = Builder::new();
    let dims = [1, ci as u64, 8, 8].map(Dim::Known).to_vec();
    let ty = ValueType {
        dtype: DType::F32,
        dims: Some(dims),
    };
    let x = b.input("x", Some(ty)).unwrap();
    let dims = vec![co, ci / groups, 3, 3];
    let count = dims.iter().product();
    let w = b
        .initializer("w", Tensor::from_f32(dims, weights(count)))
        .unwrap();
    let bias = vector(&mut b, "b", &weights(co));
    let op = Operator::new("Conv", "c")
        .with("group", AttributeValue::Int(groups as i64))
        .with("pads", AttributeValue::Ints(vec![1; 4]))
        .with("strides", AttributeValue::Ints(vec![stride; 2]));
    let y = b
        .operator(op, &[Some(x), Some(w), Some(bias)], &["y"])
        .unwrap()[0];
    b.output(y).unwrap();
    b.finish().unwrap()
}

/// Runs a graph of f32 `Conv`, `Add` and `Concat` (axis 1) on one input: a naive reference.
pub(crate) fn run(graph: &Graph, x: Map) -> Map {
    use std::collections::HashMap;
    let mut values = HashMap::from([(graph.inputs().next().unwrap(), x)]);
    for (_, op) in graph.operators() {
        let inputs: Vec<&Map> = op
            .inputs
            .iter()
            .flatten()
            .filter_map(|v| values.get(v))
            .collect();
        let y = match op.op_type.as_str() {
            "Conv" => convolve(graph, op, inputs[0]),
            "Add" => Map {
                data: inputs[0]
                    .data
                    .iter()
                    .zip(&inputs[1].data)
                    .map(|(a, b)| a + b)
                    .collect(),
                ..*inputs[0]
            },
            "Concat" => Map {
                channels: inputs.iter().map(|m| m.channels).sum(),
                data: inputs.iter().flat_map(|m| m.data.clone()).collect(),
                ..*inputs[0]
            },
            other => panic!("no reference for {other}"),
        };
        values.insert(op.output(0).unwrap(), y);
    }
    values.remove(&graph.outputs().next().unwrap()).unwrap()
}

/// A square feature map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Map {
    pub channels: usize,
    pub side: usize,
    pub data: Vec<f32>,
}

fn convolve(graph: &Graph, op: &Operator, x: &Map) -> Map {
    let tensor = |slot| graph.constant(op.input(slot)?);
    let w = tensor(1).unwrap();
    let [co, ci, k] = [w.dims()[0], w.dims()[1], w.dims()[2]];
    let w = w.to_f32().unwrap();
    let bias = tensor(2).map(|b| b.to_f32().unwrap().into_owned());
    let first = |name: &str, default: i64| op.ints(name).map_or(default, |v| v[0]) as usize;
    let (stride, pad) = (first("strides", 1), first("pads", 0));
    let per_group = co / op.int("group", 1) as usize;
    let side = (x.side + 2 * pad - k) / stride + 1;
    let mut data = Vec::new();
    for o in 0..co {
        for (row, column) in (0..side).flat_map(|r| (0..side).map(move |c| (r, c))) {
            let mut sum = bias.as_ref().map_or(0.0, |b| f64::from(b[o]));
            for (i, u, v) in
                (0..ci).flat_map(|i| (0..k).flat_map(move |u| (0..k).map(move |v| (i, u, v))))
            {
                let (r, c) = (row * stride + u, column * stride + v);
                if r < pad || c < pad || r - pad >= x.side || c - pad >= x.side {
                    continue;
                }
                let channel = o / per_group * ci + i;
                let at = (channel * x.side + r - pad) * x.side + c - pad;
                sum += f64::from(x.data[at] * w[((o * ci + i) * k + u) * k + v]);
            }
            data.push(sum as f32);
        }
    }
    Map {
        channels: co,
        side,
        data,
    }
}
