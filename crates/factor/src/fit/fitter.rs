//! The contract of a fitter, and its result.

use crate::chain::Chain;
use crate::error::FactorError;
use crate::kernel::Kernel;
use crate::linalg::dense;
use crate::statistics::{SplitStatistics, Statistics};

/// A chain fitted to data.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The chain, with the bias that is best on all positions: `mean_y - We mean_x`. Without a
    /// bias only where there was no position at all.
    pub chain: Chain,
    /// Relative squared output error on the positions fitted to, see [`Statistics::score`].
    pub error_fit: f64,
    /// The same on the positions held out, with the bias of those fitted to; `None` where none
    /// were held out.
    pub error_held_out: Option<f64>,
    /// Relative squared error behind the activation, see [`crate::PostActivation::error`]; `None` where the fit
    /// does not look at one.
    pub error_activated: Option<f64>,
    /// Rounds of alternation behind the chain: 0 for a closed form or the data-free chain.
    pub rounds: usize,
    /// The chain is the data-free one, or that of a lower rank with channels of zeros: fitted ones
    /// are worse on the positions held out.
    pub is_floor: bool,
}

/// Fits one convolution in one family, at any rank.
pub trait Fitter: Send + Sync {
    /// The best chain found at `rank`. Its error on the positions fitted to is not above that of
    /// the data-free chain (with [`crate::FitOptions::floor`]), nor (with [`crate::FitOptions::monotone`]) of
    /// any lower rank of the family's range. Among the chains that keep to that, the one with the
    /// lowest held-out error.
    ///
    /// Deterministic: a function of the fitter's arguments and the rank, whatever was
    /// fitted before and on how many threads.
    ///
    /// # Errors
    /// [`FactorError::Rank`]; [`FactorError::NonFinite`] where a weight overflows.
    fn fit(&self, rank: usize) -> Result<Fit, FactorError>;

    /// A chain at `rank` and its error, as a planner needs it: one round from the closed-form start,
    /// or less, scored once. Without the promises of [`Fitter::fit`].
    ///
    /// # Errors
    /// As [`Fitter::fit`].
    fn estimate(&self, rank: usize) -> Result<Estimate, FactorError>;

    /// A chain of the family, alternated on from where it is for [`crate::FitOptions::rounds`], with
    /// its best bias; in closed form the fit at its rank. Nothing is scored, and none of the promises
    /// of [`Fitter::fit`] holds.
    ///
    /// # Errors
    /// As [`Fitter::fit`].
    fn resume(&self, chain: &Chain) -> Result<Chain, FactorError>;
}

/// A chain that was fitted in short.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// The chain, with its best bias.
    pub chain: Chain,
    /// Relative squared output error on the positions held out, on those fitted to where none is
    /// held out.
    pub error: f64,
}

/// Relative squared error on held-out positions, with the bias of those fitted to.
pub(crate) fn held_out_error(
    statistics: &SplitStatistics,
    kernel: &Kernel,
) -> Result<Option<f64>, FactorError> {
    if statistics.held_out.count == 0 {
        return Ok(None);
    }
    let bias = statistics.fit.bias(kernel)?;
    statistics.held_out.score_biased(kernel, &bias).map(Some)
}

/// The best bias on all positions: linear in the means, so no covariance needs merging.
pub(crate) fn best_bias(
    statistics: &SplitStatistics,
    kernel: &Kernel,
) -> Result<Option<Vec<f32>>, FactorError> {
    let parts = [&statistics.fit, &statistics.held_out];
    let total: u64 = parts.iter().map(|s| s.count).sum();
    if total == 0 {
        return Ok(None);
    }
    let mut bias = vec![0.0; kernel.shape().out_channels];
    for part in parts.into_iter().filter(|s: &&Statistics| s.count > 0) {
        dense::axpy(
            &mut bias,
            part.count as f64 / total as f64,
            &part.bias(kernel)?,
        );
    }
    Ok(Some(bias.iter().map(|&b| b as f32).collect()))
}
