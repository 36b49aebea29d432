//! Fits to the post-activation objective.
//!
//! Behind a `Relu`, all outputs below zero are alike, so a fit that spends its few weights on
//! them wastes them. Minimised is `|f(y + s) - f(y^ + s)|^2`, with `f` the activation and `s`
//! the value that is added before it (a shortcut), by majorise-minimise: every step takes
//! [`Activation::majorise`] for the targets, which leaves the covariance of the patches as it is and moves their
//! covariance with the outputs alone, and alternates least squares once more from where it is.
//! The nonlinear case of Zhang et al. 2015 (arXiv 1505.06798), section 3.2, with a majoriser
//! in closed form in place of their penalty and for all families, not only a low-rank one.

mod positions;

pub use positions::Positions;

use crate::activation::Activation;
use crate::chain::Chain;
use crate::error::FactorError;
use crate::family::Decomposition;
use crate::fit::{Calibration, Fit, FitOptions, best_bias, held_out_error};
use crate::kernel::Kernel;
use crate::statistics::{SplitStatistics, Statistics};
use positions::{PositionSet, retarget};

/// Rounds of alternating least squares of a step.
const ROUNDS: usize = 2;
/// Steps with the positions held out as well, at the end.
const LAST: usize = 2;
/// The steps end where one lowers the error by less than this share.
const TOLERANCE: f64 = 2e-2;

/// The objective behind the activation of a convolution: the squared error of the values that it lets through,
/// at positions that were seen.
#[derive(Debug, Clone, Copy)]
pub struct PostActivation<'a> {
    /// The activation.
    pub activation: Activation,
    /// Positions that were seen.
    pub positions: &'a Positions,
    /// True where the last steps are taken on all positions, held-out ones included.
    pub whole: bool,
}

/// A convolution and the statistics of its patches and outputs.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// Its weight.
    pub kernel: &'a Kernel,
    /// The statistics, of a kernel of the same shape.
    pub statistics: &'a SplitStatistics,
}

impl PostActivation<'_> {
    /// Relative squared error of a chain with its bias behind the activation,
    /// `|f(y + s) - f(y^ + s)|^2 / |f(y + s)|^2`, on the positions held out where there are any,
    /// else on those fitted to.
    ///
    /// # Errors
    /// [`FactorError::Chain`], [`FactorError::NonFinite`] from [`Chain::compose`].
    pub fn error(&self, chain: &Chain) -> Result<f64, FactorError> {
        self.deciding().error(chain, self.activation)
    }

    fn deciding(&self) -> &PositionSet {
        match self.positions.held_out.is_empty() {
            true => &self.positions.fit,
            false => &self.positions.held_out,
        }
    }

    /// Improves a fit of `family` by the values that pass the activation. The steps end where they
    /// don't lower the error on the positions held out, at most [`FitOptions::steps`] of them. Where
    /// the data-free chain is nearer than the fit, they begin there. Steps that gained go on, on all positions;
    /// the errors are those of the chain before.
    ///
    /// # Errors
    /// As of [`crate::Fitter::fit`]; [`FactorError::Statistics`] where shapes differ.
    pub fn improve(
        &self,
        observed: Observed<'_>,
        family: &dyn Decomposition,
        fit: &Fit,
        options: FitOptions,
    ) -> Result<Fit, FactorError> {
        let Observed { kernel, statistics } = observed;
        let shape = kernel.shape();
        if *shape != self.positions.shape || *shape != statistics.fit.shape {
            return Err(FactorError::Statistics("of a kernel of another shape"));
        }
        let options = FitOptions {
            rounds: ROUNDS,
            tolerance: 0.0,
            monotone: false,
            ..options
        };
        let part = |fit: Statistics| SplitStatistics {
            fit,
            held_out: Statistics::empty(shape),
        };
        let fitted = part(statistics.fit.clone());
        let calibration = Calibration::new(kernel, &fitted, options)?;
        let (mut best, mut error) = self.start(observed, family, fit)?;
        let mut now = best.clone();
        let mut gained = false;
        for _ in 0..options.steps {
            now = self.step(&now, &calibration, family, &[&self.positions.fit])?;
            let (found, before) = (self.error(&now)?, error);
            if found < error {
                (best, error, gained) = (now.clone(), found, true);
            }
            if before - found <= TOLERANCE * before {
                break;
            }
        }
        drop(calibration);
        // What is seen in the last steps is not held out.
        let product = best.compose()?;
        let error_held_out = held_out_error(statistics, &product)?;
        let error_fit = statistics.fit.score_kernel(&product)?;
        if gained && self.whole && !self.positions.held_out.is_empty() {
            let all = part(statistics.merged()?);
            let calibration = Calibration::new(kernel, &all, options)?;
            let rows = [&self.positions.fit, &self.positions.held_out];
            for _ in 0..LAST.min(options.steps) {
                best = self.step(&best, &calibration, family, &rows)?;
            }
        }
        Ok(Fit {
            error_fit,
            error_held_out,
            error_activated: Some(error),
            chain: best,
            rounds: fit.rounds,
            is_floor: fit.is_floor,
        })
    }

    /// The fit, or the data-free chain where that is nearer, and its error.
    fn start(
        &self,
        Observed { kernel, statistics }: Observed<'_>,
        family: &dyn Decomposition,
        fit: &Fit,
    ) -> Result<(Chain, f64), FactorError> {
        let mut free = family.factor(kernel)?.chain(fit.chain.rank)?;
        free.bias = best_bias(statistics, &free.compose()?)?;
        let (of_free, of_fit) = (self.error(&free)?, self.error(&fit.chain)?);
        Ok(match of_free < of_fit {
            true => (free, of_free),
            false => (fit.chain.clone(), of_fit),
        })
    }

    /// One step of majorise-minimise on `rows`, whose statistics are those of `calibration`.
    fn step(
        &self,
        chain: &Chain,
        calibration: &Calibration<'_>,
        family: &dyn Decomposition,
        rows: &[&PositionSet],
    ) -> Result<Chain, FactorError> {
        let mut retargeted = calibration.statistics().clone();
        let moves = rows.iter().map(|r| r.moves(chain, self.activation));
        let moves = moves.collect::<Result<Vec<_>, _>>()?;
        retarget(&mut retargeted.fit, rows, &moves);
        let calibration = calibration.retargeted(&retargeted);
        family.fitter(&calibration)?.resume(chain)
    }
}
