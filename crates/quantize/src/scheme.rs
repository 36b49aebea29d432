//! Which operators are computed in eight bits, and which values are stored so.
//!
//! A layer is, unless it is left. Another operator is where something that it reads is stored in eight
//! bits, and a layer reads what comes of it, at whatever distance: what only leads to the outputs stays in
//! floats, where it costs little time and all of its errors would be seen. An activation that is a
//! clamp belongs to the operator before it, whose grid is then that of what the clamp lets through.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sepconv_analysis::{Shapes, constants};
use sepconv_ir::{DType, Graph, NodeId, Operator, Slot, ValueId};

use crate::layers::Layer;

/// Operators that hand values on as they are: what they make has the grid of what they read.
const MOVES: [&str; 11] = [
    "MaxPool",
    "Reshape",
    "Transpose",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Resize",
    "Split",
    "Slice",
    "Identity",
    "Pad",
];

/// Operators that make values of their own range.
const MAKES: [&str; 7] = [
    "Add",
    "Mul",
    "Concat",
    "AveragePool",
    "GlobalAveragePool",
    "LeakyRelu",
    "Sigmoid",
];

/// Operators and values in eight bits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scheme {
    /// Operators that read values in eight bits, layers among them.
    pub operators: BTreeSet<NodeId>,
    /// Clamps behind those, which make the value in their place.
    pub clamps: HashSet<NodeId>,
    /// Values that their operator hands out in eight bits, and the values whose grids they have.
    pub made: BTreeMap<ValueId, ValueId>,
    /// Values that come in floats and are read in eight bits, and the values whose grids they have.
    pub entries: BTreeMap<ValueId, ValueId>,
}

impl Scheme {
    /// The scheme of a graph with these layers, all but those of `left` in eight bits.
    pub fn of(graph: &Graph, shapes: &Shapes, layers: &[Layer], left: &BTreeSet<NodeId>) -> Self {
        let layers = layers
            .iter()
            .map(|l| l.node)
            .filter(|node| !left.contains(node));
        let layers: HashSet<NodeId> = layers.collect();
        let mut found = Found::default();
        for (node, _) in graph.operators() {
            found.look(graph, shapes, node, layers.contains(&node));
        }
        let kept = found.leading_to_layers(graph, &layers);
        let mut scheme = Self::default();
        for (node, op) in graph.operators().filter(|(id, _)| kept.contains(id)) {
            scheme.operators.insert(node);
            scheme.clamps.extend(found.clamp_of.get(&node));
            for value in found.results(graph, node) {
                let read = graph.readers(value).iter().any(|(r, _)| kept.contains(r));
                // A product whose result nothing reads in eight bits hands out floats; with a clamp behind
                // it runtimes would join the two in floats first.
                let alone = !found.clamp_of.contains_key(&node);
                if !read && alone && (op.is("Gemm") || op.is("MatMul")) {
                    continue;
                }
                if let Some(grid) = found.grid_of.get(&value) {
                    let alone = op.outputs.len() == 1;
                    let into = if alone {
                        &mut scheme.made
                    } else {
                        &mut scheme.entries
                    };
                    into.insert(value, *grid);
                }
            }
        }
        for (_, op) in graph.operators().filter(|(id, _)| kept.contains(id)) {
            for value in data_inputs(op) {
                if graph.varies(value) && !scheme.made.contains_key(&value) {
                    scheme.entries.entry(value).or_insert(value);
                }
            }
        }
        scheme
    }

    /// All values that a grid is wanted for, whichever layers are left.
    pub fn values(&self) -> Vec<ValueId> {
        let pairs = self.made.iter().chain(&self.entries);
        let all: BTreeSet<ValueId> = pairs.flat_map(|(value, grid)| [*value, *grid]).collect();
        all.into_iter().collect()
    }

    /// The value whose grid `value` has.
    pub fn grid_of(&self, value: ValueId) -> Option<ValueId> {
        self.made
            .get(&value)
            .or_else(|| self.entries.get(&value))
            .copied()
    }
}

#[derive(Default)]
struct Found {
    operators: BTreeSet<NodeId>,
    clamp_of: HashMap<NodeId, NodeId>,
    /// Values in eight bits, and the values whose grids they have.
    grid_of: HashMap<ValueId, ValueId>,
}

impl Found {
    fn look(&mut self, graph: &Graph, shapes: &Shapes, node: NodeId, layer: bool) {
        let Some(op) = graph.operator(node) else {
            return;
        };
        let known = |v: &ValueId| self.grid_of.get(v).copied();
        let is = |names: &[&str]| names.iter().any(|name| op.is(name));
        if layer {
            self.makes(graph, node, op);
        } else if is(&MAKES) {
            let floats = |v: &ValueId| shapes.get(*v).and_then(|s| s.dtype) == Some(DType::F32);
            let all = data_inputs(op).all(|v| known(&v).is_some() || graph.varies(v) && floats(&v));
            if all && data_inputs(op).any(|v| known(&v).is_some()) {
                self.makes(graph, node, op);
            }
        } else if is(&MOVES) && movable(graph, op) {
            let Some(grid) = op.input(0).and_then(|v| known(&v)) else {
                return;
            };
            self.operators.insert(node);
            let outputs = op.outputs.iter().flatten();
            let floats = outputs.filter(|v| {
                shapes
                    .get(**v)
                    .and_then(|s| s.dtype)
                    .is_none_or(|d| d == DType::F32)
            });
            self.grid_of.extend(floats.map(|v| (*v, grid)));
        }
    }

    fn makes(&mut self, graph: &Graph, node: NodeId, op: &Operator) {
        let Some(output) = op.output(0) else { return };
        self.operators.insert(node);
        let behind = match graph.readers(output)[..] {
            [(reader, Slot::Input(0))] => graph.operator(reader).map(|op| (reader, op)),
            _ => None,
        };
        let clamp = behind.filter(|(_, op)| is_clamp(graph, op));
        let clamped = clamp.and_then(|(reader, op)| Some((reader, op.output(0)?)));
        let value = match clamped {
            Some((reader, value)) => {
                self.clamp_of.insert(node, reader);
                value
            }
            None => output,
        };
        self.grid_of.insert(value, value);
    }

    /// The values that come of an operator, behind its clamp.
    fn results(&self, graph: &Graph, node: NodeId) -> Vec<ValueId> {
        let last = self.clamp_of.get(&node).unwrap_or(&node);
        let op = graph.operator(*last);
        op.into_iter()
            .flat_map(|op| op.outputs.iter().flatten().copied())
            .collect()
    }

    /// Layers, and the operators whose results one of these reads.
    fn leading_to_layers(&self, graph: &Graph, layers: &HashSet<NodeId>) -> HashSet<NodeId> {
        let mut kept = HashSet::new();
        for (node, _) in graph.operators().rev() {
            let leads = || {
                let readers = self.results(graph, node).into_iter();
                readers
                    .flat_map(|v| graph.readers(v))
                    .any(|(reader, _)| kept.contains(&reader))
            };
            if self.operators.contains(&node) && (layers.contains(&node) || leads()) {
                kept.insert(node);
            }
        }
        kept
    }
}

/// The inputs that hold activations.
pub(crate) fn data_inputs(op: &Operator) -> impl Iterator<Item = ValueId> + '_ {
    let all = ["Add", "Mul", "Concat"].iter().any(|name| op.is(name));
    let count = if all { op.inputs.len() } else { 1 };
    op.inputs.iter().take(count).flatten().copied()
}

/// An activation that the ends of a grid of eight bits replace.
fn is_clamp(graph: &Graph, op: &Operator) -> bool {
    let bound = |slot: usize| {
        let tensor = op.input(slot).map(|v| constants::resolve(graph, v));
        tensor.map(|t| t.and_then(|t| t.to_f32()?.first().copied()))
    };
    match op.op_type.as_str() {
        "Relu" => op.is("Relu"),
        "Clip" => {
            op.is("Clip") && bound(1) == Some(Some(0.0)) && bound(2).is_none_or(|b| b.is_some())
        }
        _ => false,
    }
}

/// An operator of [`MOVES`] that moves values and makes none.
fn movable(graph: &Graph, op: &Operator) -> bool {
    // A constant that is padded with is zero where it is absent.
    let zeros = op.string("mode").unwrap_or("constant") != "constant"
        || op.input(2).is_none_or(|v| {
            let tensor = constants::resolve(graph, v);
            tensor
                .and_then(|t| t.to_f64())
                .is_some_and(|t| t.iter().all(|v| *v == 0.0))
        });
    let nearest = op.string("mode").unwrap_or("nearest") == "nearest";
    match op.op_type.as_str() {
        "MaxPool" => op.outputs.len() == 1,
        "Resize" => nearest,
        "Pad" => zeros,
        _ => true,
    }
}
