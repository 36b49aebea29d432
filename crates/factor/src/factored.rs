//! Kernels factored once, to be cut at any rank.

use crate::chain::Chain;
use crate::error::FactorError;
use crate::spectrum::Spectrum;

/// A factored kernel, ready to be cut at any rank.
pub trait Factored: Send + Sync {
    /// The approximation error at every rank.
    fn spectrum(&self) -> &Spectrum;

    /// The chain at `rank`, optimal in the Frobenius norm among those of its family where
    /// [`crate::Decomposition::is_optimal`].
    ///
    /// # Errors
    /// [`FactorError::Rank`] outside `1..=spectrum().len()`.
    fn chain(&self, rank: usize) -> Result<Chain, FactorError>;
}
