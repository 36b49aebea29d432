//! Names that subgraphs read from the graphs around them.

use std::collections::BTreeSet;

use crate::proto::{AttributeProto, GraphProto};

/// Names of an attribute's subgraphs.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    /// Read inside but defined outside, in order of names.
    pub free: BTreeSet<String>,
    /// Defined inside.
    pub defined: BTreeSet<String>,
}

impl Scope {
    /// Adds the subgraphs of `attribute`.
    pub fn add(&mut self, attribute: &AttributeProto) {
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            let inner = Self::of(graph);
            self.free.extend(inner.free);
            self.defined.extend(inner.defined);
        }
    }

    /// Names of one graph.
    pub fn of(graph: &GraphProto) -> Self {
        let mut scope = Self::default();
        let here = own(graph);
        for node in &graph.node {
            scope.free.extend(node.input.iter().cloned());
            for attribute in &node.attribute {
                scope.add(attribute);
            }
        }
        scope
            .free
            .extend(graph.output.iter().map(|v| v.name().to_owned()));
        scope.free.retain(|n| !n.is_empty() && !here.contains(n));
        scope.defined.extend(here);
        scope
    }
}

/// Names that a graph defines, without those of graphs within it.
pub(crate) fn own(graph: &GraphProto) -> BTreeSet<String> {
    let inputs = graph.input.iter().map(|v| v.name().to_owned());
    let tensors = graph.initializer.iter().map(|t| t.name().to_owned());
    let sparse = graph.sparse_initializer.iter();
    let sparse = sparse.filter_map(|t| Some(t.values.as_ref()?.name().to_owned()));
    let made = graph.node.iter().flat_map(|n| n.output.iter().cloned());
    inputs.chain(tensors).chain(sparse).chain(made).collect()
}
