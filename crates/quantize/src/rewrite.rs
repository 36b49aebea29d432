//! A QDQ model from a scheme, grids and rounded weights.
//!
//! Before: an operator with inputs `x` and output `y`, in floats. After: `y` is the output of a
//! `DequantizeLinear` of a `QuantizeLinear` of the operator's own, so that all readers of
//! `y`, and the outputs of the graph, read values of eight bits; constant weights and biases
//! come through a `DequantizeLinear` each; layers that share weights read the same integers. A value that
//! comes in floats gets its pair where it is first read in eight bits. Runtimes fuse an operator with the pairs around it.

use std::collections::{BTreeMap, HashMap};

use sepconv_ir::{
    AttributeValue, Graph, IrError, NodeId, Operator, Patch, PatchValue, Tensor, ValueId,
};

use crate::grid::Grid;
use crate::layers::Layer;
use crate::pairs::{RULE, Stored};
use crate::ranges::Ranges;
use crate::scheme::{Scheme, data_inputs};
use crate::weights::Rounded;

/// A layer with its weights in eight bits.
pub(crate) struct RoundedLayer<'a> {
    pub layer: &'a Layer,
    pub rounded: &'a Rounded,
    /// The grid of its input, by which its bias is stored.
    pub input: Grid,
}

impl<'a> RoundedLayer<'a> {
    /// Layers with the grids of their inputs and their rounded weights, by their nodes.
    pub fn by_node(
        layers: impl IntoIterator<Item = (&'a Layer, Grid)>,
        rounded: &'a [Rounded],
    ) -> BTreeMap<NodeId, Self> {
        let pairs = layers.into_iter().zip(rounded);
        let own = pairs.map(|((layer, input), rounded)| {
            let own = Self {
                layer,
                rounded,
                input,
            };
            (layer.node, own)
        });
        own.collect()
    }
}

/// The grids and weights that a graph is rewritten by.
pub(crate) struct Rewrite<'a> {
    pub scheme: &'a Scheme,
    pub ranges: &'a Ranges,
    pub layers: &'a BTreeMap<NodeId, RoundedLayer<'a>>,
}

/// An operator's new inputs.
struct Edit {
    patch: Patch,
    inputs: Vec<Option<PatchValue>>,
    changed: bool,
    /// Values that get their pair here, and the slots that read it.
    entries: Vec<(ValueId, usize)>,
}

impl Rewrite<'_> {
    /// Rewrites the graph that the scheme is of.
    pub fn apply(&self, graph: &mut Graph) -> Result<(), IrError> {
        let mut entered: HashMap<ValueId, ValueId> = HashMap::new();
        // Weights that several layers share, in eight bits.
        let mut shared: Vec<(&Layer, [ValueId; 3])> = Vec::new();
        let order: Vec<NodeId> = graph.operators().map(|(id, _)| id).collect();
        for node in order {
            let eight = self.scheme.operators.contains(&node);
            if !eight && !self.scheme.clamps.contains(&node) {
                continue;
            }
            let Some(op) = graph.operator(node).cloned() else {
                continue;
            };
            let mut edit = Edit {
                patch: Patch::replace(RULE, node),
                inputs: op.inputs.iter().map(|v| v.map(PatchValue::from)).collect(),
                changed: false,
                entries: Vec::new(),
            };
            if eight {
                self.enter(graph, &op, &entered, &mut edit)?;
            }
            let own = self.layers.get(&node).filter(|_| eight);
            let mut known = None;
            if let Some(own) = own {
                let same = shared
                    .iter()
                    .find(|(other, _)| other.shares_weights(own.layer));
                known = same.map(|(_, stored)| *stored);
                self.weights(graph, own, known, &mut edit)?;
            }
            let output = op.output(0);
            let entries = self.replace(graph, op, edit)?;
            entered.extend(entries);
            if let (Some(own), None) = (own, known) {
                let stored = output.and_then(|output| stored_weights(graph, output));
                shared.extend(stored.map(|stored| (own.layer, stored)));
            }
        }
        Ok(())
    }

    fn grid(&self, value: ValueId) -> Option<Grid> {
        self.ranges.get(self.scheme.grid_of(value)?)
    }

    /// Stores the float inputs of an operator in eight bits, where nothing before has.
    fn enter(
        &self,
        graph: &Graph,
        op: &Operator,
        entered: &HashMap<ValueId, ValueId>,
        edit: &mut Edit,
    ) -> Result<(), IrError> {
        for (slot, value) in data_inputs(op).enumerate() {
            let (true, Some(grid)) = (self.scheme.entries.contains_key(&value), self.grid(value))
            else {
                continue;
            };
            let twice = edit.entries.iter().find(|(known, _)| *known == value);
            edit.inputs[slot] = match (entered.get(&value), twice) {
                (Some(known), _) => Some((*known).into()),
                (None, Some((_, slot))) => edit.inputs[*slot],
                (None, None) => {
                    let name = graph.name(value);
                    let stored = Stored::activation(&mut edit.patch, name, value.into(), grid)?;
                    edit.entries.push((value, slot));
                    Some(stored.read(&mut edit.patch, None))
                }
            };
            edit.changed = true;
        }
        Ok(())
    }

    /// Puts a layer's weights and bias behind a `DequantizeLinear` each; weights that are `known` are those of another
    /// layer: their integers, scales and zero points.
    fn weights(
        &self,
        graph: &Graph,
        own: &RoundedLayer<'_>,
        known: Option<[ValueId; 3]>,
        edit: &mut Edit,
    ) -> Result<(), IrError> {
        let (layer, rounded) = (own.layer, own.rounded);
        let name = match edit.inputs.get(1) {
            Some(Some(PatchValue::Existing(w))) => graph.name(*w).to_owned(),
            _ => format!("{}/weight", layer.name),
        };
        let patch = &mut edit.patch;
        let stored = match known {
            Some(known) => Stored::of_values(name, known),
            None => {
                let integers = layer.in_file_order(&rounded.integers);
                let integers = Tensor::from_slice(&layer.dims, &integers);
                Stored::constant(patch, name, integers, &rounded.scales)?
            }
        };
        edit.inputs[1] = Some(stored.read(patch, Some(layer.axis())));
        edit.changed = true;
        let Some(bias) = &rounded.bias else {
            return Ok(());
        };
        let input = self.grid(layer.input).unwrap_or(own.input);
        let scales: Vec<f32> = rounded.scales.iter().map(|s| s * input.scale).collect();
        let integers = bias.iter().zip(&scales);
        let integers = integers.map(|(b, s)| (b / f64::from(*s)).round() as i32);
        let integers = Tensor::from_slice(&[bias.len()], &integers.collect::<Vec<i32>>());
        let name = format!("{}/bias", layer.name);
        let stored = Stored::constant(patch, name, integers, &scales)?;
        edit.inputs.resize(edit.inputs.len().max(3), None);
        edit.inputs[2] = Some(stored.read(patch, Some(0)));
        Ok(())
    }

    /// Puts an operator with its new inputs in the place of `op`, its output in eight bits where
    /// the scheme says so. Returns the values that got their pair, and those that are read of them.
    fn replace(
        &self,
        graph: &mut Graph,
        op: Operator,
        edit: Edit,
    ) -> Result<Vec<(ValueId, ValueId)>, IrError> {
        let Edit {
            mut patch,
            inputs,
            changed,
            entries,
        } = edit;
        // Without a bias its factor says nothing.
        let op = match op.is("Gemm") && op.input(2).is_none() && inputs.len() > 2 {
            true => op.with("beta", AttributeValue::Float(1.0)),
            false => op,
        };
        // An operator of several outputs, a Split, stays: its readers store their inputs.
        let [Some(output)] = op.outputs[..] else {
            return Ok(Vec::new());
        };
        let made = self.scheme.made.contains_key(&output);
        let grid = self.grid(output).filter(|_| made);
        if !changed && grid.is_none() {
            return Ok(Vec::new());
        }
        match grid {
            Some(grid) => {
                let name = graph.name(output).to_owned();
                let float = patch.operator(op, inputs, format!("{name}/float"));
                let stored = Stored::activation(&mut patch, &name, float, grid)?;
                let (reader, inputs) = stored.reader(None);
                patch.operator_into(reader, inputs, output);
            }
            None => patch.operator_into(op, inputs, output),
        }
        graph.apply(patch)?;
        let now = producer_of_floats(graph, output);
        let read = |(value, slot): (ValueId, usize)| Some((value, now.as_ref()?.input(slot)?));
        Ok(entries.into_iter().filter_map(read).collect())
    }
}

/// The integers, scales and zero points of the weights of the layer that makes `output`.
fn stored_weights(graph: &Graph, output: ValueId) -> Option<[ValueId; 3]> {
    let layer = producer_of_floats(graph, output)?;
    let (_, reader) = graph.producer(layer.input(1)?)?;
    Some([reader.input(0)?, reader.input(1)?, reader.input(2)?])
}

/// The operator that makes the floats which `value` stands for.
fn producer_of_floats(graph: &Graph, value: ValueId) -> Option<Operator> {
    let mut at = value;
    loop {
        let (_, op) = graph.producer(at)?;
        if !op.is("DequantizeLinear") && !op.is("QuantizeLinear") {
            return Some(op.clone());
        }
        at = op.input(0)?;
    }
}
