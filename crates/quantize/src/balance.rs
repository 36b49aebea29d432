//! Channels between the stages of a chain brought nearer to one range.
//!
//! A tensor of eight bits has one grid: a channel of a small range uses few of its steps. Between two layers
//! with nothing else in between, channel `c` may be scaled by any `s_c > 0`: the rows of the first
//! layer and its biases by `s_c`, the columns of the second by `1 / s_c`. With `s_c = 1 / r_c`, `r_c` the
//! channel's range on data, all channels would use all of the grid, and the columns of the second layer would be
//! rounded as coarsely as the largest of them asks for. `s_c = r_c^(-1/2)` divides the error between
//! both, as cross-layer equalisation does between weights (Nagel et al. 2019, arXiv 1906.04721, section 4.1).

use std::collections::BTreeMap;

use sepconv_ir::{DType, Graph, IrError, NodeId, Patch, Tensor, ValueId};
use sepconv_model::Error;

use crate::layers::Layer;
use crate::windows::{Run, valid_part};

/// The most that a channel is scaled by.
const MOST: f64 = 8.0;

/// Two layers of which the second alone reads the channels that the first makes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pair {
    first: NodeId,
    second: NodeId,
    /// The input of the second.
    value: ValueId,
    channels: usize,
    /// Channels are the last axis, as those of a product's rows; else the second.
    last: bool,
}

impl Pair {
    /// All pairs of a graph's layers, in the order of the network.
    pub fn all(graph: &Graph, layers: &[Layer]) -> Vec<Self> {
        let by_node: BTreeMap<NodeId, &Layer> = layers.iter().map(|l| (l.node, l)).collect();
        let pairs = layers.iter().filter_map(|second| {
            let first = by_node.get(&maker(graph, second.input)?)?;
            let channels = first.shape.out_channels;
            let same = channels == second.shape.in_channels;
            let spatial = first.geometry.is_some() == second.geometry.is_some();
            (same && spatial).then_some(Self {
                first: first.node,
                second: second.node,
                value: second.input,
                channels,
                last: second.geometry.is_none(),
            })
        });
        pairs.collect()
    }
}

impl Pair {
    /// Values of a channel that lie side by side in an input of these extents.
    fn inner(&self, dims: &[usize]) -> usize {
        match self.last {
            true => 1,
            false => dims.iter().skip(2).product(),
        }
    }
}

/// The operator that makes a value which one operator reads.
fn maker(graph: &Graph, value: ValueId) -> Option<NodeId> {
    let alone = graph.readers(value).len() == 1 && !graph.is_output(value);
    graph
        .producer(value)
        .filter(|_| alone)
        .map(|(node, _)| node)
}

/// The factors of every pair's channels, by the ranges that a run sees.
pub(crate) fn factors(run: Run<'_>, pairs: &[Pair]) -> Result<Vec<Vec<f64>>, Error> {
    let wanted: Vec<ValueId> = pairs.iter().map(|pair| pair.value).collect();
    let mut ranges: Vec<Vec<f64>> = pairs.iter().map(|pair| vec![0.0; pair.channels]).collect();
    let samples = run.samples;
    let see = |batch: usize, values: Vec<Tensor>| -> Vec<Vec<f64>> {
        let (valid, rows) = (samples.valid(batch), samples.rows());
        let seen = pairs.iter().zip(&values);
        let seen = seen.map(|(pair, value)| match value.to_f32() {
            Some(numbers) => spans(
                pair.inner(value.dims()),
                pair.channels,
                valid_part(&numbers, valid, rows),
            ),
            None => vec![0.0; pair.channels],
        });
        seen.collect()
    };
    let take = |seen: Vec<Vec<f64>>| {
        for (own, seen) in ranges.iter_mut().zip(seen) {
            own.iter_mut()
                .zip(seen)
                .for_each(|(own, seen)| *own += seen);
        }
    };
    run.each("balancing", &wanted, see, take)?;
    Ok(ranges.iter().map(|ranges| factors_of(ranges)).collect())
}

/// Summed over rows, the largest absolute value of every channel in a row, of which a channel has `inner` values.
fn spans(inner: usize, channels: usize, numbers: &[f32]) -> Vec<f64> {
    let mut spans = vec![0.0; channels];
    for row in numbers.chunks_exact((inner * channels).max(1)) {
        for (span, values) in spans.iter_mut().zip(row.chunks_exact(inner.max(1))) {
            let most = values.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
            *span += f64::from(most);
        }
    }
    spans
}

/// The root of the largest range over a channel's; 1 where a range is none.
fn factors_of(ranges: &[f64]) -> Vec<f64> {
    let largest = ranges.iter().copied().fold(0.0, f64::max);
    let factor = |range: &f64| match *range > 0.0 && largest.is_finite() {
        true => (largest / range).sqrt().min(MOST),
        false => 1.0,
    };
    ranges.iter().map(factor).collect()
}

/// Scales the channels of every pair.
pub(crate) fn balance(
    graph: &mut Graph,
    pairs: &[Pair],
    factors: &[Vec<f64>],
) -> Result<(), IrError> {
    let mut now: BTreeMap<NodeId, NodeId> = BTreeMap::new();
    let mut scaled = |graph: &mut Graph, node: NodeId, side: Side<'_>| -> Result<(), IrError> {
        let at = *now.get(&node).unwrap_or(&node);
        if let Some(patch) = patch(graph, at, side) {
            let applied = graph.apply(patch)?;
            if let Some(new) = applied.operators.last() {
                now.insert(node, *new);
            }
        }
        Ok(())
    };
    for (pair, factors) in pairs.iter().zip(factors) {
        scaled(graph, pair.first, Side::Outputs(factors))?;
        scaled(graph, pair.second, Side::Inputs(factors))?;
    }
    Ok(())
}

/// The channels of a layer that are scaled, and their factors.
#[derive(Debug, Clone, Copy)]
enum Side<'a> {
    Outputs(&'a [f64]),
    Inputs(&'a [f64]),
}

/// The layer on `node` with its weights scaled.
fn patch(graph: &Graph, node: NodeId, side: Side<'_>) -> Option<Patch> {
    let layer = Layer::of(graph, node)?.ok()?;
    let op = graph.operator(node)?;
    let (outputs, d) = (layer.shape.out_channels, layer.width());
    let (per_group, taps) = (outputs / layer.shape.groups, layer.shape.taps());
    let own = layer.shape.group_in();
    let factor = |row: usize, column: usize| match side {
        Side::Outputs(factors) => factors[row],
        Side::Inputs(factors) => 1.0 / factors[row / per_group * own + column / taps],
    };
    let mut weights = vec![0.0; layer.weights.len()];
    for (at, weight) in layer.weights.iter().enumerate() {
        let (row, column) = (at / d, at % d);
        let place = match layer.outputs_last {
            true => column * outputs + row,
            false => at,
        };
        weights[place] = weight * factor(row, column);
    }
    let mut patch = Patch::replace("balance", node);
    let name = layer.name.clone();
    let weights = Tensor::from_f64s(DType::F32, layer.dims.clone(), &weights)?;
    let mut inputs: Vec<_> = op.inputs.iter().map(|v| v.map(Into::into)).collect();
    inputs[1] = Some(patch.initializer(format!("{name}/weight"), weights));
    if let (Side::Outputs(factors), Some(bias)) = (side, &layer.bias) {
        let bias: Vec<f64> = bias.iter().zip(factors).map(|(b, s)| b * s).collect();
        let bias = Tensor::from_f64s(DType::F32, vec![outputs], &bias)?;
        inputs[2] = Some(patch.initializer(format!("{name}/bias"), bias));
    }
    let output = op.output(0)?;
    patch.operator_into(op.clone(), inputs, output);
    Some(patch)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CHAIN: &str = "\
input x: f32[1,2,4,4]
const w: f32[3,2,3,1] noise(1)
const v: f32[2,3,1,3] noise(2)
const b: f32[3] noise(3)
a = Conv{pads=[1,0,1,0]}(x, w, b) # a
c = Conv{pads=[0,1,0,1]}(a, v) # c
r = Relu(c) # r
d = Conv{pads=[1,0,1,0]}(r, w) # d
output d
";

    /// Weights of the stages multiplied along one path: `[out, middle, in]` at the first taps.
    fn products(layers: &[Layer]) -> Vec<f64> {
        let (a, c) = (&layers[0], &layers[1]);
        let mut found = Vec::new();
        for (out, middle, input) in
            (0..2).flat_map(|o| (0..3).flat_map(move |m| (0..2).map(move |i| (o, m, i))))
        {
            let first = a.weights[middle * a.width() + input * 3];
            found.push(c.weights[out * c.width() + middle * 3] * first);
        }
        found
    }

    #[test]
    fn channels_of_a_product_are_the_last_axis() {
        let text = "\
input x: f32[1,3,8]
const v: f32[8,4] noise(1)
const w: f32[4,4] noise(2)
y = MatMul(x, v) # a
z = MatMul(y, w) # b
output z
";
        let graph: Graph = text.parse().unwrap();
        let pairs = Pair::all(&graph, &Layer::all(&graph));
        assert_eq!(pairs[0].inner(&[1, 3, 4]), 1);
        let rows: Vec<f32> = vec![1.0, 0.0, 0.0, -8.0, 0.0, 2.0, 0.0, 0.0];
        assert_eq!(spans(1, 4, &rows), [1.0, 2.0, 0.0, 8.0]);
        let convs: Graph = CHAIN.parse().unwrap();
        let pairs = Pair::all(&convs, &Layer::all(&convs));
        assert_eq!(pairs[0].inner(&[1, 3, 5]), 5);
    }

    #[test]
    fn scaled_stages_compute_the_same_and_only_they_are_scaled() {
        let mut graph: Graph = CHAIN.parse().unwrap();
        let before = Layer::all(&graph);
        let pairs = Pair::all(&graph, &before);
        assert_eq!(pairs.len(), 1);
        assert_eq!(
            (pairs[0].first, pairs[0].second),
            (before[0].node, before[1].node)
        );
        let factors = factors_of(&[4.0, 1.0, 0.0]);
        assert_eq!(factors, [1.0, 2.0, 1.0]);
        balance(&mut graph, &pairs, &[factors]).unwrap();
        let after = Layer::all(&graph);
        let bias = |layer: &Layer| layer.bias.clone().unwrap();
        let same = |a: f64, b: f64| assert!((a - b).abs() <= 1e-6 * a.abs(), "{a} {b}");
        same(bias(&before[0])[1] * 2.0, bias(&after[0])[1]);
        same(before[0].weights[6] * 2.0, after[0].weights[6]);
        let both = products(&before).into_iter().zip(products(&after));
        both.for_each(|(a, b)| same(a, b));
        // The last layer shares its weights with the first.
        assert_eq!(before[2].weights, after[2].weights);
    }
}
