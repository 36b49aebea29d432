//! Elements outside the network.

/// Elements of a value, in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    /// Extents, batch first.
    pub dims: Vec<usize>,
    /// The elements.
    pub elements: Vec<f32>,
}
