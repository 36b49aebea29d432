//! A graph with the facts of its file that passes need.

use crate::graph::Graph;

/// An operator set that a model imports: its domain (empty for the ONNX domain) and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opset {
    /// Domain, `""` for the default ONNX domain.
    pub domain: String,
    /// Version of the operator set.
    pub version: i64,
}

/// A model: its main graph and the facts of the file around it that passes need.
#[derive(Debug, Clone)]
pub struct Model {
    /// The main graph.
    pub graph: Graph,
    /// Imported operator sets, in file order. Passes never change them.
    pub opsets: Vec<Opset>,
    /// ONNX IR version of the file.
    pub ir_version: i64,
}

impl Model {
    /// Version of the default ONNX operator set, 0 where the model imports none.
    pub fn opset(&self) -> i64 {
        self.opsets
            .iter()
            .filter(|o| o.domain.is_empty() || o.domain == "ai.onnx")
            .map(|o| o.version)
            .max()
            .unwrap_or(0)
    }
}
