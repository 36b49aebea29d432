//! Topological order.

use std::collections::HashSet;

use sepconv_ir::{Graph, NodeId, ValueId};

/// The operators of a graph, producers before readers, otherwise in file order. Iterative,
/// so that a long chain can't exhaust the stack.
pub(crate) fn topological(graph: &Graph) -> Vec<NodeId> {
    let mut order = Vec::new();
    let mut seen = HashSet::new();
    for (root, _) in graph.operators() {
        // A node is expanded when first met and listed when met again.
        let mut stack = vec![(root, false)];
        while let Some((node, expanded)) = stack.pop() {
            if expanded {
                order.push(node);
            } else if seen.insert(node) {
                stack.push((node, true));
                stack.extend(producers(graph, node).map(|p| (p, false)));
            }
        }
    }
    order
}

fn producers(graph: &Graph, node: NodeId) -> impl Iterator<Item = NodeId> {
    graph
        .operator(node)
        .into_iter()
        .flat_map(|op| op.inputs.iter().flatten().chain(&op.captures))
        .filter_map(|v: &ValueId| graph.producer(*v).map(|(node, _)| node))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_ir::{Builder, Operator};

    use super::*;

    #[test]
    fn producers_come_first_and_file_order_is_kept() {
        let mut b = Builder::new();
        let x = b.input("x", None).unwrap();
        let last = b.declare(Operator::new("Add", "last"), &["z"]).unwrap();
        let first = b.declare(Operator::new("Relu", "first"), &["y"]).unwrap();
        let other = b.declare(Operator::new("Relu", "other"), &["o"]).unwrap();
        let y = b.find("y").unwrap();
        b.connect(last, vec![Some(x), Some(y)], vec![]).unwrap();
        b.connect(first, vec![Some(x)], vec![]).unwrap();
        b.connect(other, vec![], vec![y]).unwrap();
        let graph = b.finish().unwrap();
        assert_eq!(topological(&graph), [first, last, other]);
    }

    #[test]
    fn long_chains_do_not_recurse() {
        let mut b = Builder::new();
        let mut nodes = Vec::new();
        for i in 0..20_000 {
            nodes.push(
                b.declare(Operator::new("Relu", ""), &[&format!("v{i}")])
                    .unwrap(),
            );
        }
        // Each reads the next one: the first root reaches all of them.
        for (i, node) in nodes.iter().enumerate().take(19_999) {
            let next = b.find(&format!("v{}", i + 1)).unwrap();
            b.connect(*node, vec![Some(next)], vec![]).unwrap();
        }
        let graph = b.finish().unwrap();
        nodes.reverse();
        assert_eq!(topological(&graph), nodes);
    }
}
