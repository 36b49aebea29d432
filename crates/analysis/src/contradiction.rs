//! Nodes that do not fit the shapes around them.

use sepconv_ir::NodeId;

/// A node whose inputs or attributes do not fit together under the shapes inferred: the
/// pinned or assumed extents are wrong, or the model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The node.
    pub node: NodeId,
    /// One line that names the node and the reason.
    pub message: String,
}

impl std::fmt::Display for Contradiction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}
