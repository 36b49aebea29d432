//! Rewritten layers of a model, found by comparison with the original.

use std::collections::HashSet;

use sepconv_ir::{Graph, NodeId, Slot, ValueId};
use sepconv_passes::Site;

use sepconv_model::Loaded;

/// Operators that took the place of a convolution.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// The value that they read, in the rewritten model.
    pub input: ValueId,
    /// Initializers of the rewritten model that may move.
    pub movable: Vec<ValueId>,
    /// The value behind them, and behind the activation that follows: in the rewritten model.
    pub output: ValueId,
    /// The same value of the original.
    pub target: ValueId,
}

/// Operators that keep a value's meaning in another form: a match behind them says more.
const ACTIVATIONS: [&str; 8] = [
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Clip",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Elu",
];

/// The blocks of `compressed` in the order of the network: runs of operators that `original`
/// has not, up to a value that both have.
pub(super) fn of(original: &Loaded, compressed: &Loaded) -> Vec<Block> {
    let (old, new) = (original.graph(), compressed.graph());
    let labels: HashSet<&str> = old.operators().map(|(id, _)| old.label(id)).collect();
    let added = |id: NodeId| !labels.contains(new.label(id));
    let mut blocks = Vec::new();
    for (id, op) in new.operators().filter(|(id, _)| added(*id)) {
        let Some(output) = op.output(0) else { continue };
        let Some(target) = old
            .find(new.name(output))
            .filter(|v| old.producer(*v).is_some())
        else {
            continue;
        };
        let (nodes, input) = members(new, id, &added);
        let movable = movable(new, &nodes);
        let (Some(input), false) = (input, movable.is_empty()) else {
            continue;
        };
        let (output, target) = behind(new, old, output, target);
        blocks.push(Block {
            input,
            movable,
            output,
            target,
        });
    }
    blocks
}

/// The added operators that `last` is computed by, and the one value that they read.
fn members(
    graph: &Graph,
    last: NodeId,
    added: &dyn Fn(NodeId) -> bool,
) -> (Vec<NodeId>, Option<ValueId>) {
    let mut nodes = vec![last];
    let mut inputs: Vec<ValueId> = Vec::new();
    let mut next = 0;
    while let Some(id) = nodes.get(next).copied() {
        next += 1;
        for value in graph.reads(id) {
            let producer = graph.producer(value).map(|(producer, _)| producer);
            match producer {
                Some(producer) if added(producer) => found(&mut nodes, producer),
                Some(_) => inputs.push(value),
                None if graph.inputs().any(|i| i == value) => inputs.push(value),
                None => {}
            }
        }
    }
    inputs.dedup();
    let only = inputs.first().copied();
    (
        nodes,
        only.filter(|first| inputs.iter().all(|i| i == first)),
    )
}

/// Adds a node that is not there yet.
fn found(nodes: &mut Vec<NodeId>, node: NodeId) {
    if !nodes.contains(&node) {
        nodes.push(node);
    }
}

/// Weights and biases of the convolutions and products among `nodes`.
fn movable(graph: &Graph, nodes: &[NodeId]) -> Vec<ValueId> {
    let mut found = Vec::new();
    for id in nodes {
        let Some(op) = graph.operator(*id).filter(|op| Site::is_layer(op)) else {
            continue;
        };
        let constants = [op.input(1), op.input(2)].into_iter().flatten();
        found.extend(constants.filter(|v| is_movable(graph, *v)));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Biases of all linear operators.
pub(super) fn biases(graph: &Graph) -> Vec<ValueId> {
    let operators = graph.operators().filter(|(_, op)| Site::is_layer(op));
    let found = operators.filter_map(|(_, op)| op.input(2));
    found.filter(|v| is_movable(graph, *v)).collect()
}

fn is_movable(graph: &Graph, value: ValueId) -> bool {
    graph
        .constant(value)
        .is_some_and(|t| t.dtype().is_float() && t.data().is_some())
}

/// The values behind the activation that alone reads `new_value`, where both graphs have it.
fn behind(new: &Graph, old: &Graph, new_value: ValueId, old_value: ValueId) -> (ValueId, ValueId) {
    let step = |graph: &Graph, value: ValueId| -> Option<ValueId> {
        let [(reader, Slot::Input(0))] = graph.readers(value)[..] else {
            return None;
        };
        let op = graph.operator(reader)?;
        let activation = ACTIVATIONS.iter().any(|a| op.is(a)) && !graph.is_output(value);
        activation.then(|| op.output(0)).flatten()
    };
    match (step(new, new_value), step(old, old_value)) {
        (Some(a), Some(b)) if new.name(a) == old.name(b) => (a, b),
        _ => (new_value, old_value),
    }
}
