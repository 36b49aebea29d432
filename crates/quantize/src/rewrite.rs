//! A QDQ model from a scheme, grids and rounded weights.
//!
//! Before: an operator with inputs `x` and output `y`, in floats. After: `y` is what a
//! `DequantizeLinear` makes of a `QuantizeLinear` of what the operator makes, so that all readers of
//! `y`, and the outputs of the graph, read what is stored in eight bits; constant weights and biases
//! come through a `DequantizeLinear` each. A value that comes in floats gets its pair where it is first
//! read in eight bits. Runtimes fuse an operator with the pairs around it.

use std::collections::{BTreeMap, HashMap};

use sepconv_ir::{
    AttributeValue, DType, Graph, IrError, NodeId, Operator, Patch, PatchValue, Tensor, ValueId,
};

use crate::grid::Grid;
use crate::layers::Layer;
use crate::ranges::Ranges;
use crate::scheme::{Scheme, data_inputs};
use crate::weights::Rounded;

const RULE: &str = "quantize";

/// A layer with its weights in eight bits.
pub(crate) struct RoundedLayer<'a> {
    pub layer: &'a Layer,
    pub rounded: &'a Rounded,
}

/// What a graph is rewritten by.
pub(crate) struct Rewrite<'a> {
    pub scheme: &'a Scheme,
    pub ranges: &'a Ranges,
    pub layers: &'a BTreeMap<NodeId, RoundedLayer<'a>>,
    pub correct_bias: bool,
}

impl Rewrite<'_> {
    /// Rewrites the graph that the scheme is of.
    pub fn apply(&self, graph: &mut Graph) -> Result<(), IrError> {
        let mut entered: HashMap<ValueId, ValueId> = HashMap::new();
        let order: Vec<NodeId> = graph.operators().map(|(id, _)| id).collect();
        for node in order {
            let eight = self.scheme.operators.contains(&node);
            if eight || self.scheme.clamps.contains(&node) {
                self.operator(graph, node, &mut entered)?;
            }
        }
        Ok(())
    }

    fn grid(&self, value: ValueId) -> Option<Grid> {
        self.ranges.get(self.scheme.grid_of(value)?)
    }

    fn operator(
        &self,
        graph: &mut Graph,
        node: NodeId,
        entered: &mut HashMap<ValueId, ValueId>,
    ) -> Result<(), IrError> {
        let Some(op) = graph.operator(node).cloned() else {
            return Ok(());
        };
        let mut patch = Patch::replace(RULE, node);
        let mut inputs: Vec<Option<PatchValue>> =
            op.inputs.iter().map(|v| v.map(PatchValue::from)).collect();
        let mut changed = false;
        let mut entries: Vec<(ValueId, usize)> = Vec::new();
        if self.scheme.operators.contains(&node) {
            let wide = data_inputs(&op).count();
            for slot in 0..inputs.len().min(wide.max(1)) {
                let Some(value) = op.input(slot) else {
                    continue;
                };
                let (true, Some(grid)) =
                    (self.scheme.entries.contains_key(&value), self.grid(value))
                else {
                    continue;
                };
                changed = true;
                let twice = entries.iter().find(|(known, _)| *known == value);
                inputs[slot] = match (entered.get(&value), twice) {
                    (Some(known), _) => Some((*known).into()),
                    (None, Some((_, slot))) => inputs[*slot],
                    (None, None) => {
                        entries.push((value, slot));
                        Some(pair(graph.name(value), &mut patch, value.into(), grid))
                    }
                };
            }
        }
        if let Some(own) = self
            .layers
            .get(&node)
            .filter(|_| self.scheme.operators.contains(&node))
        {
            let grid = self.grid(own.layer.input).unwrap_or(Grid {
                scale: 1.0,
                zero: 0,
            });
            self.weights(graph, own, grid, (&mut patch, &mut inputs));
            changed = true;
        }
        let made = op.output(0).filter(|v| self.scheme.made.contains_key(v));
        let grid = made.and_then(|v| self.grid(v));
        if !changed && grid.is_none() {
            return Ok(());
        }
        let Some(output) = op.output(0) else {
            return Ok(());
        };
        let mut new = op.clone();
        new.inputs.clear();
        new.outputs.clear();
        match grid {
            Some(grid) => {
                let name = graph.name(output).to_owned();
                let float = patch.operator(new, inputs, format!("{name}/float"));
                let stored = quantize(&name, &mut patch, float, grid);
                let back = Operator::new("DequantizeLinear", format!("{name}/dequantize"));
                patch.operator_into(back, stored.inputs(), output);
            }
            None if op.outputs.len() == 1 => patch.operator_into(new, inputs, output),
            // Only a Split has more: it reads what its operator hands out in eight bits.
            None => return Ok(()),
        }
        graph.apply(patch)?;
        for (value, slot) in entries {
            if let Some(read) = reads_now(graph, output, slot) {
                entered.insert(value, read);
            }
        }
        Ok(())
    }

    /// Puts a layer's weights and bias behind a `DequantizeLinear` each.
    fn weights(
        &self,
        graph: &Graph,
        own: &RoundedLayer<'_>,
        grid: Grid,
        (patch, inputs): (&mut Patch, &mut Vec<Option<PatchValue>>),
    ) {
        let (layer, rounded) = (own.layer, own.rounded);
        let name = match inputs.get(1) {
            Some(Some(PatchValue::Existing(w))) => graph.name(*w).to_owned(),
            _ => format!("{}/weight", layer.name),
        };
        let outputs = layer.shape.out_channels;
        let biased = self.correct_bias || layer.bias.is_some();
        let can_be_biased =
            layer.geometry.is_some() || inputs.len() > 2 || is_gemm(graph, layer.node);
        let bias: Vec<f64> = (0..outputs)
            .map(|o| {
                let own = layer.bias.as_ref().map_or(0.0, |b| b[o]);
                own + if self.correct_bias {
                    rounded.mean_loss[o]
                } else {
                    0.0
                }
            })
            .collect();
        let integers = layer.in_file_order(&rounded.integers);
        let stored = tensor(Tensor::from_slice(&layer.dims, &integers), DType::I8);
        let weights = constant(
            patch,
            &name,
            (stored, DType::I8),
            &rounded.scales,
            layer.axis(),
        );
        inputs[1] = Some(weights);
        if biased && can_be_biased {
            let scales: Vec<f32> = rounded.scales.iter().map(|s| s * grid.scale).collect();
            let integers: Vec<i32> = bias
                .iter()
                .zip(&scales)
                .map(|(b, s)| (b / f64::from(*s)).round() as i32)
                .collect();
            let stored = tensor(Tensor::from_slice(&[outputs], &integers), DType::I32);
            let name = format!("{}/bias", layer.name);
            let bias = constant(patch, &name, (stored, DType::I32), &scales, 0);
            inputs.resize(inputs.len().max(3), None);
            inputs[2] = Some(bias);
        }
    }
}

fn is_gemm(graph: &Graph, node: NodeId) -> bool {
    graph.operator(node).is_some_and(|op| op.is("Gemm"))
}

/// The value that the producer of the floats behind `output` reads at `slot`.
fn reads_now(graph: &Graph, output: ValueId, slot: usize) -> Option<ValueId> {
    let mut at = output;
    loop {
        let (_, op) = graph.producer(at)?;
        if !op.is("DequantizeLinear") && !op.is("QuantizeLinear") {
            return op.input(slot);
        }
        at = op.input(0)?;
    }
}

/// A value stored in eight bits, and the scale and zero point of its grid.
struct Stored {
    integers: PatchValue,
    scale: PatchValue,
    zero: PatchValue,
}

impl Stored {
    /// The inputs of the `DequantizeLinear` that reads it.
    fn inputs(&self) -> Vec<Option<PatchValue>> {
        vec![Some(self.integers), Some(self.scale), Some(self.zero)]
    }
}

fn quantize(name: &str, patch: &mut Patch, value: PatchValue, grid: Grid) -> Stored {
    let scale = Tensor::from_f32(Vec::new(), vec![grid.scale]);
    let zero = tensor(Tensor::from_slice(&[], &[grid.zero]), DType::U8);
    let scale = patch.initializer(format!("{name}/scale"), scale);
    let zero = patch.initializer(format!("{name}/zero"), zero);
    let op = Operator::new("QuantizeLinear", format!("{name}/quantize"));
    let inputs = vec![Some(value), Some(scale), Some(zero)];
    let integers = patch.operator(op, inputs, format!("{name}/eight"));
    Stored {
        integers,
        scale,
        zero,
    }
}

/// `QuantizeLinear` and `DequantizeLinear` of a value that comes in floats.
fn pair(name: &str, patch: &mut Patch, value: PatchValue, grid: Grid) -> PatchValue {
    let stored = quantize(name, patch, value, grid);
    let op = Operator::new("DequantizeLinear", format!("{name}/dequantize"));
    patch.operator(op, stored.inputs(), format!("{name}/read"))
}

/// A constant of integers behind a `DequantizeLinear` with a scale per index of `axis`.
fn constant(
    patch: &mut Patch,
    name: &str,
    (stored, dtype): (Tensor, DType),
    scales: &[f32],
    axis: usize,
) -> PatchValue {
    let zeros = vec![0_i64; scales.len()];
    let zeros = tensor(Tensor::from_i64s(dtype, vec![scales.len()], &zeros), dtype);
    let stored = patch.initializer(format!("{name}/integers"), stored);
    let scale = patch.initializer(
        format!("{name}/scale"),
        Tensor::from_f32(vec![scales.len()], scales.to_vec()),
    );
    let zero = patch.initializer(format!("{name}/zero"), zeros);
    let op = Operator::new("DequantizeLinear", format!("{name}/dequantize"))
        .with("axis", AttributeValue::Int(axis as i64));
    patch.operator(
        op,
        vec![Some(stored), Some(scale), Some(zero)],
        format!("{name}/floats"),
    )
}

/// A tensor that fits its extents by the way it was made.
fn tensor(made: Option<Tensor>, dtype: DType) -> Tensor {
    made.unwrap_or_else(|| Tensor::opaque(dtype, Vec::new()))
}
