//! Which values a part of the network needs from the part before it.

use std::collections::{HashMap, HashSet};

use sepconv_ir::{Graph, Node, NodeId, ValueId};

use sepconv_model::Loaded;

/// Places at which a network can be cut in two.
pub struct Cuts<'a> {
    model: &'a Loaded,
    positions: HashMap<NodeId, usize>,
    /// Nodes that the values of interest depend on.
    needed: HashSet<NodeId>,
    /// Nodes that depend on an input.
    live: HashSet<NodeId>,
}

impl<'a> Cuts<'a> {
    /// For computing `values` and nothing else.
    pub fn new(model: &'a Loaded, values: &[ValueId]) -> Self {
        let graph = model.graph();
        let order = graph.operators().enumerate();
        Self {
            model,
            positions: order.map(|(i, (id, _))| (id, i)).collect(),
            needed: graph.ancestors(values),
            live: depending_on_inputs(graph),
        }
    }

    /// The values before `node`, in the order of operators, that `node` and those behind it
    /// read. Values that are not activations (shapes, indices) are left to be computed again
    /// from the activations that they depend on: a runtime wants to know them beforehand.
    pub fn before(&self, node: NodeId) -> Vec<ValueId> {
        let Some(&cut) = self.positions.get(&node) else {
            return Vec::new();
        };
        let graph = self.model.graph();
        let behind = self
            .positions
            .iter()
            .filter(|(id, p)| **p >= cut && self.needed.contains(*id));
        let mut open: Vec<ValueId> = behind.flat_map(|(id, _)| graph.reads(*id)).collect();
        let mut seen = HashSet::new();
        let mut live = Vec::new();
        while let Some(value) = open.pop() {
            if !seen.insert(value) {
                continue;
            }
            match graph.value(value).and_then(|v| graph.node(v.producer)) {
                Some(Node::Input(_)) => live.push(value),
                Some(Node::Operator(_)) => {
                    let producer = graph.producer(value).map(|(id, _)| id);
                    let before = producer.is_some_and(|id| self.positions[&id] < cut);
                    if before && self.is_activation(value) {
                        live.push(value);
                    } else if before {
                        open.extend(producer.into_iter().flat_map(|id| graph.reads(id)));
                    }
                }
                _ => {}
            }
        }
        live.sort_unstable();
        live
    }

    fn is_activation(&self, value: ValueId) -> bool {
        let shape = self.model.shapes.get(value);
        let producer = self.model.graph().value(value).map(|v| v.producer);
        shape.and_then(|s| s.dtype).is_none_or(|d| d.is_float())
            && producer.is_some_and(|id| self.live.contains(&id))
    }
}

/// The inputs, and all that is computed from them.
fn depending_on_inputs(graph: &Graph) -> HashSet<NodeId> {
    let inputs = graph.inputs().filter_map(|v| graph.value(v));
    let mut open: Vec<NodeId> = inputs.map(|v| v.producer).collect();
    let mut found = HashSet::new();
    while let Some(node) = open.pop() {
        if found.insert(node) {
            open.extend(graph.petgraph().neighbors(node));
        }
    }
    found
}
