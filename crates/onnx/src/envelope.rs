//! The encoded records around the decoded ones.

use bytes::Bytes;
use sepconv_ir::ValueId;

/// The records of `ModelProto` and `GraphProto` in file order.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub model: Vec<ModelRecord>,
    pub graph: Vec<GraphRecord>,
}

#[derive(Debug, Clone)]
pub(crate) enum ModelRecord {
    /// The graph, as it was encoded.
    Graph(Bytes),
    /// Any other record.
    Verbatim(Bytes),
}

#[derive(Debug, Clone)]
pub(crate) enum GraphRecord {
    /// An operator; where and how it is written follows from the graph.
    Node,
    /// An initializer.
    Initializer(ValueId),
    /// A record about a value, to be dropped when the value is gone: `value_info`.
    About(ValueId, Bytes),
    /// An input that lists an initializer.
    Listing(ValueId, Bytes),
    /// A graph input.
    Input(Bytes),
    /// A graph output.
    Output(Bytes),
    /// Any other record.
    Verbatim(Bytes),
}
