//! Which operators are computed in eight bits, and which values are stored so.
//!
//! A layer is, unless it is left. Another operator is where something that it reads is stored in eight
//! bits, and a layer reads the result, at any distance: operators that only lead to the outputs stay in
//! floats, where it costs little time and all of its errors would be seen. An activation that is a
//! clamp belongs to the operator before it, whose grid is then that of the values which the clamp lets through.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sepconv_analysis::{Shapes, constants};
use sepconv_ir::{DType, Graph, NodeId, Operator, Slot, ValueId};

use crate::layers::Layer;

/// Operators that hand values on as they are: their outputs have the grid of their inputs.
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
pub(crate) fn is_clamp(graph: &Graph, op: &Operator) -> bool {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_analysis::{Assumptions, Pins};

    use super::*;

    /// Names of the operators in eight bits, of the values that they make, and of those that enter.
    fn scheme(text: &str, left: &[&str]) -> [String; 3] {
        let graph: Graph = text.parse().unwrap();
        let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::default()).unwrap();
        let layers = Layer::all(&graph);
        let left = layers
            .iter()
            .filter(|l| left.contains(&l.name.as_str()))
            .map(|l| l.node);
        let scheme = Scheme::of(&graph, &shapes, &layers, &left.collect());
        let in_order = graph.operators().map(|(id, _)| id);
        let operators = in_order.filter(|id| scheme.operators.contains(id));
        let operators: Vec<&str> = operators.map(|id| graph.label(id)).collect();
        let names = |values: &BTreeMap<ValueId, ValueId>| {
            let pairs = values.iter().map(|(value, grid)| match value == grid {
                true => graph.name(*value).to_owned(),
                false => format!("{}={}", graph.name(*value), graph.name(*grid)),
            });
            pairs.collect::<Vec<_>>().join(" ")
        };
        [
            operators.join(" "),
            names(&scheme.made),
            names(&scheme.entries),
        ]
    }

    const NET: &str = "\
input x: f32[1,2,8,8]
const w: f32[2,2,1,1] noise(1)
a = Conv(x, w) # a
r = Relu(a) # r
m = MaxPool{kernel_shape=[2,2], strides=[2,2]}(r) # m
b = Conv(m, w) # b
s = Add(b, m) # s
l = LeakyRelu(s) # l
c = Conv(l, w) # c
e = Exp(c) # e
t = Add(e, c) # t
output t
";

    #[test]
    fn what_leads_to_layers_is_in_eight_bits() {
        let expected = ["a m b s l c", "r m=r b s l c", "x"];
        assert_eq!(scheme(NET, &[]), expected);
    }

    #[test]
    fn a_layer_that_is_left_hands_out_floats() {
        assert_eq!(scheme(NET, &["a"]), ["b s l c", "b s l c", "m"]);
        assert_eq!(scheme(NET, &["c"]), ["a m b", "r m=r b", "x"]);
        assert_eq!(scheme(NET, &["b"])[1], "r m=r s l c");
    }

    #[test]
    fn products_hand_out_floats_unless_eight_bits_are_read() {
        let text = "\
input x: f32[1,4]
const w: f32[4,4] noise(1)
a = MatMul(x, w) # a
b = Gemm(a, w) # b
output b
";
        assert_eq!(scheme(text, &[]), ["a b", "a", "x"]);
    }

    #[test]
    fn parts_of_a_split_have_its_grid() {
        let text = "\
input x: f32[1,2,4,4]
const w: f32[2,2,1,1] noise(1)
const v: f32[1,1,1,1] noise(2)
a = Conv(x, w) # a
p, q = Split{axis=1}(a) # s
c = Conv(p, v) # c
d = Concat{axis=1}(c, q) # d
e = Conv(d, w) # e
output e
";
        assert_eq!(scheme(text, &[]), ["a s c d e", "a c d e", "x p=a q=a"]);
    }
}
