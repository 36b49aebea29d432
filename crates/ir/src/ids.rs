//! Identifiers of nodes and values.

use petgraph::stable_graph::NodeIndex;

/// Identifies a node of a [`Graph`](crate::Graph)(crate::Graph). An identifier of a removed node may be given to a new one.
pub type NodeId = NodeIndex<u32>;

/// Identifies a value of a [`Graph`](crate::Graph); never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub(crate) u32);

impl ValueId {
    /// Position in tables indexed by value, below [`Graph::value_capacity`](crate::Graph::value_capacity).
    pub fn index(self) -> usize {
        self.0 as usize
    }
}
