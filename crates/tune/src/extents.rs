//! Extents that a graph computes with, where they are known.

use sepconv_analysis::constants;
use sepconv_ir::{AttributeValue, Graph, NodeId, Operator, Patch, Tensor};

use crate::typed::TypedGraph;

/// The graph with the results of `Shape` and `Size` (ONNX opset 1 and later) as constants, where the shapes are known: a
/// detector's grid of anchors, which it computes of the extents of its maps, then depends on no input. All other
/// values keep their identifiers. Nothing changes where an input has a first extent of more than 1: several batches are joined
/// in training, and a constant may have the rows of one.
pub(crate) fn with_known_extents(model: TypedGraph<'_>) -> Graph {
    let mut graph = model.graph.clone();
    let mut inputs = model.graph.inputs().filter_map(|v| model.shapes.extents(v));
    if inputs.any(|extents| extents.first().is_some_and(|rows| *rows > 1)) {
        return graph;
    }
    let known = model.graph.operators().filter_map(|(id, op)| {
        let extents = model.shapes.extents(op.input(0)?)?;
        let tensor = constants::of_extents(op, &extents)?;
        Some((id, op, tensor))
    });
    let known: Vec<(NodeId, &Operator, Tensor)> = known.collect();
    for (id, op, tensor) in known {
        let [Some(result)] = op.outputs[..] else {
            continue;
        };
        let mut patch = Patch::replace("known-extents", id);
        let constant = Operator::new("Constant", op.name.as_str());
        let constant = constant.with("value", AttributeValue::Tensor(tensor));
        patch.operator_into(constant, Vec::new(), result);
        // One that does not fit stays as it is.
        let _ = graph.apply(patch);
    }
    graph
}
