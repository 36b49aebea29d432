//! Subgraphs in attributes: the knowledge that a graph has of the graphs within it.

use petgraph::Direction;
use petgraph::visit::EdgeRef;

use crate::error::IrError;
use crate::graph::{Graph, Slot};
use crate::ids::{NodeId, ValueId};
use crate::node::{Attribute, Initializer, Node};
use crate::tensor::Tensor;

impl Graph {
    /// Puts `attribute`, which holds changed subgraphs in its encoded form, in the place of the
    /// operator's attribute number `index`. `captures` are the values of this graph that all
    /// subgraphs of the operator read now. Initializers that nothing reads any more leave the
    /// graph. Returns the values that were read before and are not now, those that left
    /// excepted.
    ///
    /// # Errors
    /// [`IrError::Inconsistent`] where there is no such operator, attribute or value.
    pub fn set_subgraphs(
        &mut self,
        node: NodeId,
        index: usize,
        attribute: Attribute,
        mut captures: Vec<ValueId>,
    ) -> Result<Vec<ValueId>, IrError> {
        captures.sort_unstable();
        captures.dedup();
        if captures.iter().any(|v| self.value(*v).is_none()) {
            return Err(IrError::Inconsistent(format!(
                "a subgraph of {} reads a value that is not there",
                self.describe(node)
            )));
        }
        let what = self.describe(node);
        let Some(Node::Operator(op)) = self.g.node_weight_mut(node) else {
            return Err(IrError::Inconsistent(format!("{what} has no subgraphs")));
        };
        let Some(slot) = op.attributes.get_mut(index) else {
            return Err(IrError::Inconsistent(format!(
                "{what} has no attribute number {index}"
            )));
        };
        *slot = attribute;
        op.source = None;
        let before = std::mem::replace(&mut op.captures, captures.clone());
        let edges = self.g.edges_directed(node, Direction::Incoming);
        let stale: Vec<_> = edges
            .filter(|e| e.weight().slot == Slot::Capture)
            .map(|e| e.id())
            .collect();
        for edge in stale {
            self.g.remove_edge(edge);
        }
        self.connect(node, &[], &captures);
        self.touch();
        let unread: Vec<ValueId> = before
            .into_iter()
            .filter(|v| captures.binary_search(v).is_err())
            .collect();
        for value in &unread {
            self.drop_unread_initializer(*value, &std::collections::HashSet::new());
        }
        Ok(unread
            .into_iter()
            .filter(|v| self.value(*v).is_some())
            .collect())
    }

    /// Tells the graph that one of its inputs stands for a constant, such as an initializer of
    /// the graph around it: it becomes an initializer. This does not count as an edit.
    ///
    /// # Errors
    /// [`IrError::Inconsistent`] where `value` is no input.
    pub fn fix_input(&mut self, value: ValueId, tensor: Tensor) -> Result<(), IrError> {
        let producer = self.value(value).map(|v| v.producer);
        let known = producer.filter(|n| self.inputs.contains(n));
        let Some(node) = known else {
            let name = self.name(value);
            return Err(IrError::Inconsistent(format!("'{name}' is no input")));
        };
        if let Some(weight) = self.g.node_weight_mut(node) {
            *weight = Node::Initializer(Initializer {
                value,
                tensor,
                overridable: false,
                source: None,
            });
        }
        self.inputs.retain(|n| *n != node);
        self.initializers.push(node);
        self.varying.take();
        Ok(())
    }

    /// Keeps new values and operators from taking any name that `other` uses or reserves: a
    /// subgraph must not define a name of a graph around it.
    pub fn reserve_names(&mut self, other: &Self) {
        self.value_names.extend(&other.value_names);
        self.node_names.extend(&other.node_names);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{AttributeValue, Builder, Operator, Patch};

    fn attribute(text: &'static str) -> Attribute {
        Attribute {
            name: "then_branch".into(),
            value: AttributeValue::Opaque,
            source: Some(text.into()),
        }
    }

    /// x, w, v -> If capturing x, w and v -> y; v is an output too.
    fn sample() -> (Graph, NodeId) {
        let mut b = Builder::new();
        let x = b.input("x", None).unwrap();
        let one = || Tensor::from_f32(vec![1], vec![1.0]);
        let w = b.initializer("w", one()).unwrap();
        let v = b.initializer("v", one()).unwrap();
        let mut op = Operator::new("If", "if");
        op.attributes.push(attribute("old"));
        let node = b.declare(op, &["y"]).unwrap();
        b.connect(node, vec![Some(x)], vec![x, w, v]).unwrap();
        let y = b.find("y").unwrap();
        b.output(y).unwrap();
        b.output(v).unwrap();
        (b.finish().unwrap(), node)
    }

    #[test]
    fn captures_follow_a_changed_subgraph() {
        let (mut g, node) = sample();
        let find = |g: &Graph, name| g.find(name).unwrap();
        let x = find(&g, "x");
        let left = g.set_subgraphs(node, 0, attribute("new"), vec![x]).unwrap();
        g.verify().unwrap();
        assert!(g.is_modified());
        assert_eq!(left, [find(&g, "v")], "an output stays");
        assert_eq!(g.find("w"), None, "nothing reads it any more");
        assert_eq!(g.operator(node).unwrap().captures, [x]);
        let odd = g.set_subgraphs(node, 1, attribute("new"), vec![]);
        assert!(odd.unwrap_err().to_string().contains("attribute number 1"));
    }

    #[test]
    fn an_input_that_is_fixed_is_a_constant() {
        let (mut g, _) = sample();
        let x = g.find("x").unwrap();
        g.fix_input(x, Tensor::from_f32(vec![1], vec![2.0]))
            .unwrap();
        g.verify().unwrap();
        assert!(!g.is_modified());
        assert_eq!(g.inputs().count(), 0);
        assert_eq!(&*g.constant(x).unwrap().to_f32().unwrap(), [2.0]);
        let again = g.fix_input(x, Tensor::from_f32(vec![1], vec![2.0]));
        assert!(again.unwrap_err().to_string().contains("'x' is no input"));
    }

    #[test]
    fn names_of_another_graph_are_kept_free() {
        let (mut g, node) = sample();
        let (other, _) = sample();
        let mut b = Builder::new();
        b.reserve_name("taken");
        g.reserve_names(&b.finish().unwrap());
        g.reserve_names(&other);
        let mut p = Patch::replace("test", node);
        let c = p.initializer("taken", Tensor::from_f32(vec![1], vec![2.0]));
        let y = g.find("y").unwrap();
        p.operator_into(Operator::new("Identity", "if"), vec![Some(c)], y);
        let made = g.apply(p).unwrap();
        assert_eq!(g.name(made.initializers[0]), "taken_1");
    }
}
