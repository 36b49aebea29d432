//! Multiply-accumulates and parameters.
//!
//! A MAC is one multiplication and one addition: *not* a FLOP, of which it has two. Bias
//! additions are not counted. Counts are for the shapes inferred: one sample where the batch
//! is free and assumed (at 1), the whole batch where the file or a pin fixes one.
//!
//! | Operator | MACs |
//! |---|---|
//! | `Conv`, `ConvInteger`, `QLinearConv`, `FusedConv`, `DeformConv` | N·Co·(Ci/g)·Πk·Πout: output elements × elements of one filter |
//! | `ConvTranspose` | N·Ci·Πin·(Co/g)·Πk: input elements × elements of one filter |
//! | `Gemm`, `FusedGemm`, `QGemm` | M·N·K |
//! | `MatMul`, `MatMulInteger`, `QLinearMatMul`, `FusedMatMul` | batch·M·N·K: elements of the product × K |
//! | `LSTM`, `GRU`, `RNN` | seq·batch·(elements of W + elements of R), which hold 4, 3 and 1 gates per direction; peepholes and gate products are not counted |
//! | `BatchNormalization` | one per element, scale and shift; none directly after a convolution that nothing else reads, into which every runtime folds it |
//! | `Einsum`, `If`, `Loop`, `Scan`, `SequenceMap`, `Attention`, `DFT`, `STFT` | not counted |
//! | Operators of domains that this crate does not know, local functions | not counted |
//! | All other operators | 0 |
//!
//! Parameters are the elements of floating-point constants (initializers, and `Constant`
//! nodes, which some exporters write instead), whatever they are for: weights, biases,
//! statistics of batch normalisations; and those of the integer weights and biases of operators
//! that compute with integers (`ConvInteger`, `QLinearConv` and their kin). The model's total counts each constant once, the row
//! of a node all those that it reads.

use std::collections::HashSet;

use sepconv_ir::{AttributeValue, Graph, Model, NodeId, Operator, Tensor, ValueId};
use serde::Serialize;

use crate::rules;
use crate::shapes::Shapes;

/// Cost of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NodeCost {
    /// Multiply-accumulates; `None` where the shapes are unknown, the operator is one that is
    /// not counted, or the number is beyond 64 bits.
    pub macs: Option<u64>,
    /// Elements of the floating-point constants that the node reads, and of its integer weight and
    /// bias where it computes with integers.
    pub params: u64,
}

/// One row of the table of costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeRow {
    /// The node.
    #[serde(skip)]
    pub node: NodeId,
    /// Its name, or that of its first output.
    pub name: String,
    /// Its operator type.
    pub op_type: String,
    /// Its cost.
    #[serde(flatten)]
    pub cost: NodeCost,
}

/// Cost of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ModelCost {
    /// Multiply-accumulates of all nodes that were counted.
    pub macs: u64,
    /// Elements of all floating-point constants, and of integer weights and biases, each counted
    /// once.
    pub params: u64,
    /// Number of nodes whose MACs could not be counted: where it is not 0, `macs` is a lower
    /// bound.
    pub uncounted: usize,
    /// One row per operator, in file order.
    pub nodes: Vec<NodeRow>,
}

impl ModelCost {
    /// Counts a model under inferred shapes.
    pub fn of(model: &Model, shapes: &Shapes) -> Self {
        let graph = &model.graph;
        let mut total = Self {
            params: parameters(graph),
            ..Self::default()
        };
        for (node, op) in graph.operators() {
            let cost = NodeCost::of(graph, node, shapes);
            match cost.macs.and_then(|macs| total.macs.checked_add(macs)) {
                Some(sum) => total.macs = sum,
                None => total.uncounted += 1,
            }
            total.nodes.push(NodeRow {
                node,
                name: graph.label(node).to_owned(),
                op_type: op.op_type.clone(),
                cost,
            });
        }
        total
    }
}

impl NodeCost {
    /// Counts one node under inferred shapes. Nodes that are not operators cost nothing.
    pub fn of(graph: &Graph, node: NodeId, shapes: &Shapes) -> Self {
        let Some(op) = graph.operator(node) else {
            return Self {
                macs: Some(0),
                params: 0,
            };
        };
        Self {
            macs: macs(&Site { graph, op, shapes }),
            params: params(graph, op),
        }
    }
}

/// A node with the arguments of its formula.
struct Site<'a> {
    graph: &'a Graph,
    op: &'a Operator,
    shapes: &'a Shapes,
}

impl Site<'_> {
    fn input(&self, slot: usize) -> Option<Vec<u64>> {
        self.shapes.extents(self.op.input(slot)?)
    }

    fn output(&self) -> Option<Vec<u64>> {
        self.shapes.extents(self.op.output(0)?)
    }
}

type Formula = fn(&Site<'_>) -> Option<u64>;

/// All formulas; operators in no row cost 0, unless their domain is unknown.
const TABLE: &[(&[&str], Formula)] = &[
    (&["Conv", "ConvInteger", "FusedConv", "DeformConv"], |s| {
        convolution(&s.output()?, &s.input(1)?)
    }),
    (&["QLinearConv"], |s| {
        convolution(&s.output()?, &s.input(3)?)
    }),
    (&["ConvTranspose"], |s| {
        convolution(&s.input(0)?, &s.input(1)?)
    }),
    (&["Gemm", "FusedGemm", "QGemm"], |s| inner(s, "transA")),
    (
        &["MatMul", "MatMulInteger", "QLinearMatMul", "FusedMatMul"],
        |s| inner(s, "transA"),
    ),
    (&["LSTM", "GRU", "RNN"], recurrent),
    (&["BatchNormalization"], normalisation),
    (
        &[
            "Einsum",
            "If",
            "Loop",
            "Scan",
            "SequenceMap",
            "Attention",
            "DFT",
            "STFT",
        ],
        |_| None,
    ),
];

fn macs(site: &Site<'_>) -> Option<u64> {
    let op = site.op;
    let known = matches!(op.domain.as_str(), "" | "ai.onnx") || rules::find(op).is_some();
    if !known {
        return None;
    }
    match TABLE
        .iter()
        .find(|row| row.0.contains(&op.op_type.as_str()))
    {
        Some((_, formula)) => formula(site),
        None => Some(0),
    }
}

fn product(dims: &[u64]) -> Option<u64> {
    if dims.contains(&0) {
        return Some(0);
    }
    dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d))
}

fn convolution(elements: &[u64], weight: &[u64]) -> Option<u64> {
    product(elements)?.checked_mul(product(weight.get(1..)?)?)
}

/// Elements of the product × the extent that is summed over: A's last, or the one before
/// where A is transposed.
fn inner(site: &Site<'_>, transposed: &str) -> Option<u64> {
    let a = site.input(0)?;
    let from_back = match site.op.int(transposed, 0) {
        0 => 1,
        _ if a.len() < 2 => 1,
        _ => 2,
    };
    let summed = *a.get(a.len().checked_sub(from_back)?)?;
    product(&site.output()?)?.checked_mul(summed)
}

fn recurrent(site: &Site<'_>) -> Option<u64> {
    let x = site.input(0)?;
    let [steps, batch, _] = x.as_slice() else {
        return None;
    };
    let weights = product(&site.input(1)?)?.checked_add(product(&site.input(2)?)?)?;
    steps.checked_mul(*batch)?.checked_mul(weights)
}

fn normalisation(site: &Site<'_>) -> Option<u64> {
    let x = site.op.input(0)?;
    let folds = site.graph.producer(x).is_some_and(|(_, op)| {
        (op.is("Conv") || op.is("ConvTranspose")) && site.graph.readers(x).len() == 1
    });
    if folds {
        return Some(0);
    }
    product(&site.shapes.extents(x)?)
}

/// The slots of the weight and of the bias, by operator, where those are integers.
const INTEGER: &[(&[&str], &[usize])] = &[
    (&["ConvInteger", "MatMulInteger"], &[1]),
    (&["QLinearConv"], &[3, 8]),
    (&["QLinearMatMul"], &[3]),
    (&["QGemm"], &[3, 6]),
];

/// The integer weight and bias of an operator that computes with integers.
fn integers(op: &Operator) -> impl Iterator<Item = ValueId> {
    let row = INTEGER
        .iter()
        .find(|row| row.0.contains(&op.op_type.as_str()));
    let slots = row.into_iter().flat_map(|row| row.1);
    slots.filter_map(|slot| op.input(*slot))
}

/// Elements of a floating-point tensor, 0 for others.
fn elements(tensor: &Tensor) -> u64 {
    if tensor.dtype().is_float() {
        extent(tensor)
    } else {
        0
    }
}

fn extent(tensor: &Tensor) -> u64 {
    let dims: Vec<u64> = tensor.dims().iter().map(|n| *n as u64).collect();
    product(&dims).unwrap_or(u64::MAX)
}

/// The tensor of a `Constant` node.
fn constant(op: &Operator) -> Option<&Tensor> {
    match op.attribute("value") {
        Some(AttributeValue::Tensor(tensor)) if op.is("Constant") => Some(tensor),
        _ => None,
    }
}

/// Elements of all floating-point constants of a graph, and of the integer weights and biases of
/// its operators, each counted once.
pub fn parameters(graph: &Graph) -> u64 {
    let read: HashSet<ValueId> = graph.operators().flat_map(|(_, op)| integers(op)).collect();
    let weights = read.into_iter().filter_map(|v| tensor(graph, v));
    let whole = weights.filter(|t| !t.dtype().is_float()).map(extent);
    let whole = whole.fold(0, u64::saturating_add);
    let constants = graph.operators().filter_map(|(_, op)| constant(op));
    graph
        .initializers()
        .map(|init| &init.tensor)
        .chain(constants)
        .fold(whole, |sum, tensor| sum.saturating_add(elements(tensor)))
}

/// The tensor of an initializer or of a `Constant` node.
fn tensor(graph: &Graph, value: ValueId) -> Option<&Tensor> {
    let node = graph.value(value)?.producer;
    match graph.initializer(node) {
        Some(init) => Some(&init.tensor),
        None => constant(graph.operator(node)?),
    }
}

fn params(graph: &Graph, op: &Operator) -> u64 {
    let read: HashSet<ValueId> = op
        .inputs
        .iter()
        .flatten()
        .chain(&op.captures)
        .copied()
        .collect();
    let whole: HashSet<ValueId> = integers(op).collect();
    let count = |value: ValueId| {
        let tensor = tensor(graph, value)?;
        Some(if whole.contains(&value) {
            extent(tensor)
        } else {
            elements(tensor)
        })
    };
    let counts = read.into_iter().filter_map(count);
    counts.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests;
