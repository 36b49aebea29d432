//! The model with some layers left in floats.

use std::collections::{BTreeMap, BTreeSet};

use sepconv_ir::{Graph, IrError, NodeId, Operator, Patch, ValueId};
use sepconv_model::{Error, Loaded};
use sepconv_onnx::Document;
use sepconv_passes::drop_unread;

use crate::error::QuantizeError;
use crate::float_readers::keep_float_weights;
use crate::layers::Layer;
use crate::ranges::Ranges;
use crate::rewrite::{Rewrite, RoundedLayer};
use crate::scheme::Scheme;

/// All that models with some layers left in floats are built of.
pub(crate) struct Parts<'a> {
    /// The model with its norms folded.
    pub folded: &'a Loaded,
    pub layers: &'a [Layer],
    pub ranges: &'a Ranges,
}

impl Parts<'_> {
    /// The model with the layers of `rounded` in eight bits, but for those of `left`.
    pub fn model(
        &self,
        rounded: &BTreeMap<NodeId, RoundedLayer<'_>>,
        left: &BTreeSet<NodeId>,
    ) -> Result<Loaded, QuantizeError> {
        let nodes = self.layers.iter().map(|layer| layer.node);
        let stay = |node: &NodeId| left.contains(node) || !rounded.contains_key(node);
        let left = nodes.filter(stay).collect();
        let graph = self.folded.graph();
        let rewrite = Rewrite {
            scheme: &Scheme::of(graph, &self.folded.shapes, self.layers, &left),
            ranges: self.ranges,
            layers: rounded,
        };
        let mut document = self.folded.document.clone();
        let graph = &mut document.model.graph;
        let applied = rewrite.apply(graph);
        let applied = applied.and_then(|()| keep_float_weights(graph));
        let applied = applied.and_then(|()| drop_unread_floats(graph));
        applied.map_err(|source| QuantizeError::graph(self.folded, source))?;
        // Operators that made the floats of weights that are integers now.
        let before = self.folded.graph();
        let read = self
            .layers
            .iter()
            .filter_map(|layer| before.operator(layer.node));
        let constants: Vec<ValueId> = read
            .flat_map(|op| [op.input(1), op.input(2)])
            .flatten()
            .collect();
        drop_unread(graph, &constants).map_err(|source| Error::Pass {
            file: self.folded.file(),
            source,
        })?;
        verified(self.folded, document)
    }
}

/// Removes the floats of values that are read in eight bits alone.
fn drop_unread_floats(graph: &mut Graph) -> Result<(), IrError> {
    // Graph outputs are readers.
    let is_unread = |op: &Operator| {
        let made = op.output(0);
        op.is("DequantizeLinear") && made.is_some_and(|made| graph.readers(made).is_empty())
    };
    let unread: Vec<NodeId> = graph
        .operators()
        .filter(|(_, op)| is_unread(op))
        .map(|(id, _)| id)
        .collect();
    for node in unread {
        graph.apply(Patch::replace("unread-floats", node))?;
    }
    Ok(())
}

/// A changed document, with its graph checked.
pub(crate) fn verified(model: &Loaded, document: Document) -> Result<Loaded, QuantizeError> {
    let checked = document.model.graph.verify();
    checked.map_err(|source| QuantizeError::graph(model, source))?;
    Ok(model.with(document)?)
}
