//! Long graphs, cut into pieces: the time of tract's optimiser grows faster than the graph.
//!
//! A piece ends where one value alone is alive, apart from the graph's inputs: the trunk of a
//! network. A graph without such places stays whole.

use std::collections::{HashMap, HashSet};

use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::type_proto::{self, Value};
use tract_onnx::pb::{GraphProto, NodeProto, TensorShapeProto, TypeProto, ValueInfoProto};

/// Operators up to which a graph stays whole.
const WHOLE: usize = 1024;
/// Operators of a piece, at least.
const PIECE: usize = 256;

/// A part of a graph: its nodes, and the values that it reads and makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cut {
    /// The first of its nodes, and the one behind the last.
    nodes: (usize, usize),
    /// The value that the piece before it makes.
    pub given: Option<String>,
    /// Numbers of the graph's inputs that it reads.
    pub inputs: Vec<usize>,
    /// Numbers of the graph's outputs that it makes.
    pub outputs: Vec<usize>,
    /// The value that the next piece reads.
    pub made: Option<String>,
}

/// Cuts of a graph of many operators; `None` where it is short or can't be cut.
pub(super) fn cuts(graph: &GraphProto) -> Option<Vec<Cut>> {
    cuts_of(graph, WHOLE, PIECE)
}

fn cuts_of(graph: &GraphProto, whole: usize, piece: usize) -> Option<Vec<Cut>> {
    if graph.node.len() <= whole {
        return None;
    }
    let mut made_at: HashMap<&str, usize> = HashMap::new();
    for (i, node) in graph
        .node
        .iter()
        .enumerate()
        .filter(|(_, n)| !is_constant(n))
    {
        made_at.extend(node.output.iter().map(|name| (name.as_str(), i)));
    }
    let mut last_use: HashMap<&str, usize> = HashMap::new();
    for (i, node) in graph.node.iter().enumerate() {
        for name in reads(node) {
            match made_at.get(name) {
                // ONNX's order; operators that are not in it are left to tract.
                Some(made) if *made >= i => return None,
                _ => last_use.insert(name, i),
            };
        }
    }
    // For every place in front of a node: values that are alive from there, and until there.
    let mut begins: Vec<Vec<&str>> = vec![Vec::new(); graph.node.len() + 1];
    let mut ends = begins.clone();
    for (name, made) in &made_at {
        if let Some(last) = last_use.get(name) {
            begins[made + 1].push(name);
            ends[last + 1].push(name);
        }
    }
    let mut alive: HashSet<&str> = HashSet::new();
    let mut found = vec![(0, None)];
    for place in 0..graph.node.len() {
        alive.extend(&begins[place]);
        ends[place].iter().for_each(|name| {
            alive.remove(name);
        });
        let long = place >= found.last().map_or(0, |f: &(usize, Option<&str>)| f.0) + piece;
        if let (true, 1, Some(only)) = (long, alive.len(), alive.iter().next()) {
            found.push((place, Some(*only)));
        }
    }
    if found.len() == 1 {
        return None;
    }
    let mut cuts = Vec::new();
    for (i, (first, given)) in found.iter().enumerate() {
        let next = found.get(i + 1);
        let nodes = (*first, next.map_or(graph.node.len(), |n| n.0));
        let own = &graph.node[nodes.0..nodes.1];
        let read: HashSet<&str> = own.iter().flat_map(reads).collect();
        let inputs = numbers(&graph.input, |name| read.contains(name));
        let made = |name: &str| {
            made_at
                .get(name)
                .is_some_and(|i| (nodes.0..nodes.1).contains(i))
        };
        cuts.push(Cut {
            nodes,
            given: given.map(str::to_owned),
            inputs,
            outputs: numbers(&graph.output, made),
            made: next.and_then(|n| n.1).map(str::to_owned),
        });
    }
    // An output that no operator makes is left to tract.
    let outputs: usize = cuts.iter().map(|c| c.outputs.len()).sum();
    (outputs == graph.output.len()).then_some(cuts)
}

impl Cut {
    /// All of a graph of so many inputs and outputs.
    pub fn whole(inputs: usize, outputs: usize) -> Self {
        Self {
            nodes: (0, usize::MAX),
            given: None,
            inputs: (0..inputs).collect(),
            outputs: (0..outputs).collect(),
            made: None,
        }
    }

    /// The piece, with the element type and the extents of the value that it is given.
    pub fn graph(&self, whole: &GraphProto, given: Option<(i32, &[usize])>) -> GraphProto {
        let mut node = whole.node[self.nodes.0..self.nodes.1].to_vec();
        let read: HashSet<&str> = node.iter().flat_map(reads).collect();
        let outside = whole.node.iter().enumerate();
        let outside = outside.filter(|(i, _)| !(self.nodes.0..self.nodes.1).contains(i));
        let constants = outside.filter(|(_, n)| {
            is_constant(n) && n.output.iter().any(|name| read.contains(name.as_str()))
        });
        let constants: Vec<NodeProto> = constants.map(|(_, n)| n.clone()).collect();
        let of = |all: &[ValueInfoProto], numbers: &[usize]| -> Vec<ValueInfoProto> {
            numbers.iter().map(|i| all[*i].clone()).collect()
        };
        let initializers = whole.initializer.iter();
        let initializer = initializers.filter(|t| read.contains(t.name.as_str()));
        let initializer = initializer.cloned().collect();
        let mut input = of(&whole.input, &self.inputs);
        if let (Some(name), Some((elem_type, dims))) = (&self.given, given) {
            let dim = dims.iter().map(|n| Dimension {
                denotation: String::new(),
                value: Some(dimension::Value::DimValue(*n as i64)),
            });
            let shape = Some(TensorShapeProto { dim: dim.collect() });
            input.insert(
                0,
                ValueInfoProto {
                    name: name.clone(),
                    r#type: Some(TypeProto {
                        denotation: String::new(),
                        value: Some(Value::TensorType(type_proto::Tensor { elem_type, shape })),
                    }),
                    ..ValueInfoProto::default()
                },
            );
        }
        let mut output = of(&whole.output, &self.outputs);
        output.extend(self.made.as_ref().map(|name| ValueInfoProto {
            name: name.clone(),
            ..ValueInfoProto::default()
        }));
        node.splice(0..0, constants);
        GraphProto {
            node,
            name: whole.name.clone(),
            initializer,
            input,
            output,
            ..GraphProto::default()
        }
    }
}

fn numbers(all: &[ValueInfoProto], mut f: impl FnMut(&str) -> bool) -> Vec<usize> {
    let numbered = all.iter().enumerate();
    numbered
        .filter(|(_, v)| f(&v.name))
        .map(|(i, _)| i)
        .collect()
}

/// A constant can be in every piece that reads it.
fn is_constant(node: &NodeProto) -> bool {
    node.op_type == "Constant"
}

/// Names that a node reads: its inputs, and all that its subgraphs read.
fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).collect();
    for attribute in &node.attribute {
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            names.extend(graph.node.iter().flat_map(reads));
            names.extend(graph.output.iter().map(|v| v.name.as_str()));
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn node(inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: "Add".into(),
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.into()],
            ..NodeProto::default()
        }
    }

    fn info(name: &str) -> ValueInfoProto {
        ValueInfoProto {
            name: name.into(),
            ..ValueInfoProto::default()
        }
    }

    /// x -> a -> b -> c -> d -> e -> f, with a shortcut from b to d, another input at e, and b for
    /// an output too.
    fn graph() -> GraphProto {
        GraphProto {
            node: vec![
                node(&["x", "one"], "a"),
                node(&["a"], "b"),
                node(&["b"], "c"),
                node(&["c", "b"], "d"),
                node(&["d", "late"], "e"),
                node(&["e"], "f"),
            ],
            input: vec![info("x"), info("late")],
            output: vec![info("f"), info("b")],
            ..GraphProto::default()
        }
    }

    #[test]
    fn pieces_end_where_one_value_is_alive() {
        let graph = graph();
        let cuts = cuts_of(&graph, 4, 2).unwrap();
        let places: Vec<_> = cuts.iter().map(|c| c.nodes).collect();
        // In front of the fourth node c and b are alive.
        assert_eq!(places, [(0, 2), (2, 4), (4, 6)]);
        let given: Vec<_> = cuts.iter().map(|c| c.given.as_deref()).collect();
        assert_eq!(given, [None, Some("b"), Some("d")]);
        let both: Vec<_> = cuts.iter().map(|c| (&*c.inputs, &*c.outputs)).collect();
        assert_eq!(both, [(&[0][..], &[1][..]), (&[], &[]), (&[1], &[0])]);
        let last = cuts[2].graph(&graph, Some((1, &[2, 3])));
        let names: Vec<_> = last.input.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(names, ["d", "late"]);
    }

    #[test]
    fn short_graphs_and_those_without_a_trunk_stay_whole() {
        assert_eq!(cuts(&graph()), None);
        let mut wide = graph();
        wide.node[5].input.push("a".into());
        wide.node[4].input.push("c".into());
        // From the second node on two values are alive everywhere.
        let cuts = cuts_of(&wide, 4, 2);
        assert_eq!(cuts, None);
        let mut odd = graph();
        odd.node.swap(1, 2);
        assert_eq!(cuts_of(&odd, 4, 2), None);
        let mut through = graph();
        through.output.push(info("x"));
        assert_eq!(cuts_of(&through, 4, 2), None);
    }
}
