//! Errors of graph construction and editing.

/// Failure to build, verify or edit a graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IrError {
    /// Two nodes produce a value of the same name: the model is not in SSA form.
    #[error("value '{0}' is defined twice")]
    DuplicateValue(String),
    /// A node or graph output reads a value that nothing produces.
    #[error("{reader} reads '{value}', which nothing produces")]
    MissingValue {
        /// The reader, such as "node 'conv1' (Conv)".
        reader: String,
        /// Name of the missing value.
        value: String,
    },
    /// The operators depend on one another in a circle.
    #[error("the graph has a cycle through {0}")]
    Cycle(String),
    /// A patch does not fit the graph: a fault of the pass that made it.
    #[error("patch '{rule}' at {node}: {reason}")]
    Patch {
        /// Name of the rewrite rule.
        rule: String,
        /// The anchor node.
        node: String,
        /// The part that does not fit.
        reason: String,
    },
    /// The graph's own records contradict one another: a fault of this crate.
    #[error("inconsistent graph: {0}")]
    Inconsistent(String),
}
