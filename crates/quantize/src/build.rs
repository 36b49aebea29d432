//! The model with some layers left in floats.

use std::collections::{BTreeMap, BTreeSet};

use sepconv_ir::NodeId;
use sepconv_model::Loaded;
use sepconv_onnx::Document;

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
        applied.map_err(|source| QuantizeError::graph(self.folded, source))?;
        verified(self.folded, document)
    }
}

/// A changed document, with its graph checked.
pub(crate) fn verified(model: &Loaded, document: Document) -> Result<Loaded, QuantizeError> {
    let checked = document.model.graph.verify();
    checked.map_err(|source| QuantizeError::graph(model, source))?;
    Ok(model.with(document)?)
}
