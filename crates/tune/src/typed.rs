//! Graphs with all that is known of their values.

use sepconv_analysis::Shapes;
use sepconv_ir::Graph;

/// A graph, the shapes of its values and the version of its operators.
#[derive(Clone, Copy)]
pub struct TypedGraph<'a> {
    /// The graph.
    pub graph: &'a Graph,
    /// Shapes inferred in it.
    pub shapes: &'a Shapes,
    /// ONNX opset of its operators.
    pub opset: i64,
}
