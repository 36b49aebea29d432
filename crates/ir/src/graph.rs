//! The graph and its read access.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use petgraph::Direction;
use petgraph::stable_graph::StableDiGraph;
use petgraph::visit::{EdgeRef, NodeIndexable};

use crate::ids::{NodeId, ValueId};
use crate::names::Names;
use crate::node::{Initializer, Node, Operator};
use crate::tensor::Tensor;
use crate::types::Value;

/// Place at which an edge enters its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The numbered input.
    Input(u32),
    /// Read by name from within a subgraph attribute.
    Capture,
}

/// An edge: a value on its way to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The value carried.
    pub value: ValueId,
    /// Place at which it enters.
    pub slot: Slot,
}

/// A dataflow graph of operators. Built by [`crate::Builder`], edited by [`crate::Patch`].
#[derive(Debug, Clone, Default)]
pub struct Graph {
    pub(crate) g: StableDiGraph<Node, Edge, u32>,
    pub(crate) values: Vec<Option<Value>>,
    pub(crate) by_name: HashMap<String, ValueId>,
    pub(crate) order: Vec<NodeId>,
    pub(crate) inputs: Vec<NodeId>,
    pub(crate) initializers: Vec<NodeId>,
    pub(crate) outputs: Vec<NodeId>,
    pub(crate) value_names: Names,
    pub(crate) node_names: Names,
    pub(crate) keep_initializers: bool,
    pub(crate) modified: bool,
    /// By node: true where it depends on an input. Found when first asked for.
    pub(crate) varying: OnceLock<Vec<bool>>,
}

impl Graph {
    /// True where a patch has changed the graph since it was built.
    pub fn is_modified(&self) -> bool {
        self.modified
    }

    /// The underlying petgraph graph, for its algorithms.
    pub fn petgraph(&self) -> &StableDiGraph<Node, Edge, u32> {
        &self.g
    }

    /// A node, if it exists.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.g.node_weight(id)
    }

    /// The operator on a node, if it is one.
    pub fn operator(&self, id: NodeId) -> Option<&Operator> {
        match self.g.node_weight(id) {
            Some(Node::Operator(op)) => Some(op),
            _ => None,
        }
    }

    /// The initializer on a node, if it is one.
    pub fn initializer(&self, id: NodeId) -> Option<&Initializer> {
        match self.g.node_weight(id) {
            Some(Node::Initializer(init)) => Some(init),
            _ => None,
        }
    }

    /// Operators in file order (new ones stand where those they replaced stood).
    pub fn operators(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Operator)> {
        self.order
            .iter()
            .filter_map(|id| self.operator(*id).map(|op| (*id, op)))
    }

    /// Initializers in file order, new ones last.
    pub fn initializers(&self) -> impl Iterator<Item = &Initializer> {
        self.initializers
            .iter()
            .filter_map(|id| self.initializer(*id))
    }

    /// Values of the graph inputs that are not initializers, in file order.
    pub fn inputs(&self) -> impl Iterator<Item = ValueId> {
        self.inputs
            .iter()
            .filter_map(|id| match self.g.node_weight(*id) {
                Some(Node::Input(value)) => Some(*value),
                _ => None,
            })
    }

    /// Values of the graph outputs, in file order.
    pub fn outputs(&self) -> impl Iterator<Item = ValueId> {
        self.outputs
            .iter()
            .filter_map(|id| match self.g.node_weight(*id) {
                Some(Node::Output(value)) => Some(*value),
                _ => None,
            })
    }

    /// A value, if it exists.
    pub fn value(&self, id: ValueId) -> Option<&Value> {
        self.values.get(id.index())?.as_ref()
    }

    /// All values with their identifiers.
    pub fn values(&self) -> impl Iterator<Item = (ValueId, &Value)> {
        (0u32..)
            .zip(&self.values)
            .filter_map(|(i, v)| v.as_ref().map(|v| (ValueId(i), v)))
    }

    /// One more than the largest [`ValueId::index`]: the size of tables indexed by value.
    pub fn value_capacity(&self) -> usize {
        self.values.len()
    }

    /// Name of a value; empty for one that does not exist.
    pub fn name(&self, id: ValueId) -> &str {
        self.value(id).map_or("", |v| &v.name)
    }

    /// The value of a name.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.by_name.get(name).copied()
    }

    /// The operator that produces a value, unless an input or initializer does.
    pub fn producer(&self, id: ValueId) -> Option<(NodeId, &Operator)> {
        let node = self.value(id)?.producer;
        self.operator(node).map(|op| (node, op))
    }

    /// The tensor of a value that is a constant: an initializer that callers can't override.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.initializer(self.value(id)?.producer)
            .filter(|init| !init.overridable)
            .map(|init| &init.tensor)
    }

    /// True for a value that depends on an input of the graph, or on an initializer that callers
    /// may override. Other values are the same in every run, unless an operator draws them.
    pub fn varies(&self, id: ValueId) -> bool {
        let varying = self.varying.get_or_init(|| self.find_varying());
        let producer = self.value(id).map(|v| v.producer.index());
        producer.is_none_or(|node| varying.get(node).copied().unwrap_or(true))
    }

    fn find_varying(&self) -> Vec<bool> {
        let mut varying = vec![false; self.g.node_bound()];
        let starts = |id: &NodeId| match self.g.node_weight(*id) {
            Some(Node::Input(_)) => true,
            Some(Node::Initializer(init)) => init.overridable,
            _ => false,
        };
        let mut open: Vec<NodeId> = self.g.node_indices().filter(starts).collect();
        while let Some(node) = open.pop() {
            if !std::mem::replace(&mut varying[node.index()], true) {
                open.extend(self.g.neighbors(node));
            }
        }
        varying
    }

    /// Notes an edit.
    pub(crate) fn touch(&mut self) {
        self.modified = true;
        self.varying = OnceLock::new();
    }

    /// The readers of a value: nodes and where the value enters them. Graph outputs count.
    pub fn readers(&self, id: ValueId) -> Vec<(NodeId, Slot)> {
        let Some(value) = self.value(id) else {
            return Vec::new();
        };
        let mut found: Vec<_> = self
            .g
            .edges_directed(value.producer, Direction::Outgoing)
            .filter(|e| e.weight().value == id)
            .map(|e| (e.target(), e.weight().slot))
            .collect();
        found.sort_by_key(|(n, s)| {
            (
                n.index(),
                match s {
                    Slot::Input(i) => *i,
                    Slot::Capture => u32::MAX,
                },
            )
        });
        found
    }

    /// The values that a node reads, captures of its subgraphs among them; each once.
    pub fn reads(&self, node: NodeId) -> Vec<ValueId> {
        let edges = self.g.edges_directed(node, Direction::Incoming);
        let mut values: Vec<ValueId> = edges.map(|e| e.weight().value).collect();
        values.sort_unstable();
        values.dedup();
        values
    }

    /// The nodes that some values depend on, their producers included.
    pub fn ancestors(&self, values: &[ValueId]) -> HashSet<NodeId> {
        self.between(&[], values)
    }

    /// The nodes that some values depend on once others are given: their producers, and so on
    /// back to the given values.
    pub fn between(&self, given: &[ValueId], values: &[ValueId]) -> HashSet<NodeId> {
        let given: HashSet<ValueId> = given.iter().copied().collect();
        let mut found = HashSet::new();
        let mut open: Vec<NodeId> = values
            .iter()
            .filter(|v| !given.contains(v))
            .filter_map(|v| self.value(*v).map(|v| v.producer))
            .collect();
        while let Some(node) = open.pop() {
            if found.insert(node) {
                let edges = self.g.edges_directed(node, Direction::Incoming);
                let needed = edges.filter(|e| !given.contains(&e.weight().value));
                open.extend(needed.map(|e| e.source()));
            }
        }
        found
    }

    /// True for a graph output.
    pub fn is_output(&self, id: ValueId) -> bool {
        self.outputs().any(|o| o == id)
    }

    /// Name of a node in errors and tables: "node 'conv1' (Conv)", or by its first output
    /// where it has no name.
    pub fn describe(&self, id: NodeId) -> String {
        match self.g.node_weight(id) {
            Some(Node::Operator(op)) => format!("node '{}' ({})", self.label(id), op.op_type),
            Some(Node::Input(v)) => format!("input '{}'", self.name(*v)),
            Some(Node::Initializer(i)) => format!("initializer '{}'", self.name(i.value)),
            Some(Node::Output(v)) => format!("output '{}'", self.name(*v)),
            None => format!("removed node {}", id.index()),
        }
    }

    /// An operator's name, or the name of its first output where it has none.
    pub fn label(&self, id: NodeId) -> &str {
        let Some(op) = self.operator(id) else {
            return "";
        };
        if op.name.is_empty() {
            op.outputs
                .iter()
                .flatten()
                .next()
                .map_or("", |v| self.name(*v))
        } else {
            &op.name
        }
    }
}
