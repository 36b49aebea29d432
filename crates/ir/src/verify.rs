//! The invariants of a graph.

use std::collections::HashSet;

use petgraph::Direction;
use petgraph::visit::EdgeRef;

use crate::error::IrError;
use crate::graph::{Graph, Slot};
use crate::ids::{NodeId, ValueId};
use crate::node::Node;

impl Graph {
    /// Checks that edges, operators and values tell the same story and that the operators
    /// form no cycle.
    ///
    /// # Errors
    /// [`IrError::Cycle`] for a model that depends on itself, [`IrError::Inconsistent`]
    /// where an edit broke the graph.
    pub fn verify(&self) -> Result<(), IrError> {
        if let Err(cycle) = petgraph::algo::toposort(&self.g, None) {
            return Err(IrError::Cycle(self.describe(cycle.node_id())));
        }
        let mut names = HashSet::new();
        for (id, value) in self.values() {
            let node = self
                .g
                .node_weight(value.producer)
                .ok_or_else(|| bad(format!("'{}' has no producer", value.name)))?;
            let produced = match node {
                Node::Input(v) => *v == id,
                Node::Initializer(i) => i.value == id,
                Node::Operator(op) => op.output(value.slot) == Some(id),
                Node::Output(_) => false,
            };
            if !produced {
                return Err(bad(format!("'{}' is not made where it says", value.name)));
            }
            if !names.insert(value.name.as_str()) {
                return Err(bad(format!("two values are called '{}'", value.name)));
            }
        }
        for (id, op) in self.operators() {
            self.check_reads(id, &op.inputs, &op.captures)?;
            for out in op.outputs.iter().flatten() {
                if self.value(*out).is_none_or(|v| v.producer != id) {
                    return Err(bad(format!("{} lost an output", self.describe(id))));
                }
            }
        }
        for id in &self.outputs {
            if let Some(Node::Output(v)) = self.g.node_weight(*id) {
                self.check_reads(*id, &[Some(*v)], &[])?;
            }
        }
        Ok(())
    }

    fn check_reads(
        &self,
        node: NodeId,
        inputs: &[Option<ValueId>],
        captures: &[ValueId],
    ) -> Result<(), IrError> {
        let mut expected = 0;
        for value in inputs.iter().flatten().chain(captures) {
            expected += 1;
            if self.value(*value).is_none() {
                return Err(bad(format!(
                    "{} reads a removed value",
                    self.describe(node)
                )));
            }
        }
        let mut seen = 0;
        for edge in self.g.edges_directed(node, Direction::Incoming) {
            seen += 1;
            let e = edge.weight();
            let agrees = match e.slot {
                Slot::Input(i) => inputs.get(i as usize).copied().flatten() == Some(e.value),
                Slot::Capture => captures.contains(&e.value),
            };
            let source = self.value(e.value).map(|v| v.producer);
            if !agrees || source != Some(edge.source()) {
                return Err(bad(format!("{} has a stray edge", self.describe(node))));
            }
        }
        if seen != expected {
            return Err(bad(format!("{} misses an edge", self.describe(node))));
        }
        Ok(())
    }
}

fn bad(what: String) -> IrError {
    IrError::Inconsistent(what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use crate::{Builder, IrError, Operator};

    #[test]
    fn cycles_are_refused() {
        let mut b = Builder::new();
        let a = b.declare(Operator::new("Relu", "a"), &["x"]).unwrap();
        let c = b.declare(Operator::new("Relu", "b"), &["y"]).unwrap();
        let (x, y) = (b.find("x").unwrap(), b.find("y").unwrap());
        b.connect(a, vec![Some(y)], vec![]).unwrap();
        b.connect(c, vec![Some(x)], vec![]).unwrap();
        assert!(matches!(b.finish(), Err(IrError::Cycle(_))));
    }

    #[test]
    fn duplicates_are_refused() {
        let mut b = Builder::new();
        b.input("x", None).unwrap();
        let again = b.input("x", None);
        assert_eq!(again, Err(IrError::DuplicateValue("x".into())));
    }
}
