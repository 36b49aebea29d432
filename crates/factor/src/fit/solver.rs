//! The contract of a solver for one group of a convolution.

use crate::error::FactorError;

/// The weights of all stages of one group, each in ONNX's order. Of the whole convolution they
/// are one group after another.
pub(crate) type Weights = Vec<Vec<f64>>;

/// A family's solver for one group.
pub(crate) trait GroupSolver: Send + Sync {
    /// The closed-form start.
    fn start(&self, rank: usize) -> Result<Weights, FactorError>;

    /// True where the start is the optimum, so that there is nothing to alternate.
    fn is_closed(&self) -> bool {
        false
    }

    /// One round: does not raise the regularised error.
    fn improve(&self, rank: usize, weights: &mut Weights) -> Result<(), FactorError>;
}
