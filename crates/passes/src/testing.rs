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

/// Runs a graph of f32 `Conv`, `Add` and `Concat`, and of operators that make zeros around a map, on one
/// input: a naive reference.
pub(crate) fn run(graph: &Graph, x: Map) -> Map {
    use std::collections::HashMap;
    let mut values = HashMap::from([(graph.inputs().next().unwrap(), x)]);
    let mut shapes: HashMap<ValueId, Vec<i64>> = HashMap::new();
    for (_, op) in graph.operators() {
        let output = op.output(0).unwrap();
        let integers = |slot: usize| {
            let value = op.input(slot).unwrap();
            let constant = || graph.constant(value).unwrap().to_i64().unwrap();
            shapes.get(&value).cloned().unwrap_or_else(constant)
        };
        let known = op.inputs.iter().flatten();
        let inputs: Vec<&Map> = known.filter_map(|v| values.get(v)).collect();
        let both = |f: fn(i64, i64) -> i64| {
            let pairs = integers(0).into_iter().zip(integers(1));
            pairs.map(|(a, b)| f(a, b)).collect()
        };
        let y = match op.op_type.as_str() {
            "Conv" => convolve(graph, op, inputs[0]),
            "Add" if !inputs.is_empty() => {
                let pairs = inputs[0].data.iter().zip(&inputs[1].data);
                Map {
                    data: pairs.map(|(a, b)| a + b).collect(),
                    ..*inputs[0]
                }
            }
            "Concat" => join(&inputs, op.int("axis", 1)),
            "Shape" => {
                let x = inputs[0];
                let all = [1, x.channels, x.rows, x.columns];
                shapes.insert(output, all.map(|n| n as i64).to_vec());
                continue;
            }
            "Mul" => {
                shapes.insert(output, both(|a, b| a * b));
                continue;
            }
            "Add" => {
                shapes.insert(output, both(|a, b| a + b));
                continue;
            }
            "ConstantOfShape" => {
                let all: Vec<usize> = integers(0).iter().map(|n| *n as usize).collect();
                Map {
                    channels: all[1],
                    rows: all[2],
                    columns: all[3],
                    data: vec![0.0; all.iter().product()],
                }
            }
            other => panic!("no reference for {other}"),
        };
        values.insert(output, y);
    }
    values.remove(&graph.outputs().next().unwrap()).unwrap()
}

/// Maps along an axis of `[1, channels, rows, columns]`.
fn join(maps: &[&Map], axis: i64) -> Map {
    let extent = |m: &Map| [m.channels, m.rows, m.columns];
    let axis = usize::try_from(axis).unwrap() - 1;
    let mut all = extent(maps[0]);
    all[axis] = maps.iter().map(|m| extent(m)[axis]).sum();
    let chunk = |m: &Map| extent(m)[axis..].iter().product::<usize>();
    let chunks = all[..axis].iter().product::<usize>();
    let data = (0..chunks).flat_map(|i| {
        let parts = maps.iter();
        parts.flat_map(move |m| m.data[i * chunk(m)..][..chunk(m)].to_vec())
    });
    Map {
        data: data.collect(),
        channels: all[0],
        rows: all[1],
        columns: all[2],
    }
}

/// A feature map.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Map {
    pub channels: usize,
    pub rows: usize,
    pub columns: usize,
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
    let of = |n: usize| (n + 2 * pad - k) / stride + 1;
    let (rows, columns) = (of(x.rows), of(x.columns));
    let mut data = Vec::new();
    for o in 0..co {
        for (row, column) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
            let mut sum = bias.as_ref().map_or(0.0, |b| f64::from(b[o]));
            for (i, u, v) in
                (0..ci).flat_map(|i| (0..k).flat_map(move |u| (0..k).map(move |v| (i, u, v))))
            {
                let (r, c) = (row * stride + u, column * stride + v);
                if r < pad || c < pad || r - pad >= x.rows || c - pad >= x.columns {
                    continue;
                }
                let channel = o / per_group * ci + i;
                let at = (channel * x.rows + r - pad) * x.columns + c - pad;
                sum += f64::from(x.data[at] * w[((o * ci + i) * k + u) * k + v]);
            }
            data.push(sum as f32);
        }
    }
    Map {
        channels: co,
        rows,
        columns,
        data,
    }
}
