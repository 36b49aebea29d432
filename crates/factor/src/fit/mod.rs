//! Calibrated fits: chains that imitate a convolution's *outputs* on data, not its weight.
//!
//! For one group, with the [statistics](crate::Statistics) `C` and `B` and the chain's product
//! `We`, every fit minimises
//!
//! `J(We) = tr(We C We^T) - 2 tr(We B^T) + eps |We - W|^2`,
//!
//! the output error plus a pull towards the original weight `W` (not towards zero): directions
//! in which the data has no energy, such as dead channels, keep what the data-free decomposition
//! would do with them. That is the problem without a pull and with `C + eps I` and
//! `B + eps W` in place of `C` and `B`, so no solver has to know of it. Its unrestricted minimum is
//! `W* = (B + eps W) (C + eps I)^-1`.
//!
//! | Module | Solves | For |
//! |---|---|---|
//! | `depthwise` | filters per input channel, pointwise refit | `dw-pw`, `cp` |
//! | `per_output` | a rank-K problem per output channel | `pw-dw` |
//! | `front` | a first stage that mixes features the same way at every outer tap | `spatial`, `tucker`, `cp` |
//! | `reduced_rank` | two dense factors, in closed form | `channel`, `tucker` |
//! | `dual` | systems of `C + eps I` in the space of the positions | patches wider than those are many |
//! | `activated` | the step behind an activation, by moving the targets | all |
//! | `last_stage` | the last stage in closed form, behind a front that stays | families that bring no fit |
//! | `driver` | alternation, its end, and the guarantees of [`Fitter::fit`] | all |
//!
//! Where statistics keep the patches themselves, `X` `[n, d]` with `C = X^T X`, nothing of the size
//! `d^2` is formed: `C` is known by its products `v C = (v X^T) X` ([`Rows`](crate::rows)), systems
//! that have more unknowns than there are positions are solved in the space of the positions, and
//! `W* = W + (B - W C) (C + eps I)^-1` by `X X^T + eps I` `[n, n]`. The problem is the same, and so
//! are its solutions, to rounding.
//!
//! Seconds for one fit with the default options but for `monotone`, on a shared 2-core AMD EPYC
//! that others used at the time (load 6); random weights, on which the alternation takes all its
//! rounds or the first few (`cargo bench -p sepconv-factor --bench calibrate -- fit`). What all
//! fits share ([`Calibration::new`]): 0.003 for 64-64 3x3, 0.2 for 256-256 3x3.
//!
//! | layer | dw-pw | pw-dw | spatial | channel | tucker | cp |
//! |---|---|---|---|---|---|---|
//! | 64-64, K = 1 / 2 / 3 / 4 | 0.02 / 0.03 / 0.03 / 0.04 | 0.03 / 0.06 / - / 0.07 | | | | |
//! | 64-64, R = 32 (cp: 64) | | | 0.11 | 0.014 | 0.14 | 0.76 |
//! | 256-256, K = 2 | 0.44 | 1.7 | | | | |
//! | 256-256, R = 128 (channel: 64) | | | 3.0 | 0.63 | 5.7 | |
//!
//! Since then `pw-dw` solves by products where an output has many unknowns (one round of 64-64, K = 7: 0.131
//! before, 0.033 after; 256-256: 12.8 before, 1.8 after, means over ranks), and `cp` forms no map of its filters.
//!
//! Method: asymmetric reconstruction, Zhang et al. 2015 (arXiv 1505.06798), section 3.3, with
//! alternating least squares.

mod activated;
mod balance;
mod depthwise;
mod driver;
mod dual;
mod front;
mod last_stage;
mod per_output;
mod positions;
mod problem;
mod reduced_rank;

use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use activated::Behind;
pub(crate) use balance::balance;
pub(crate) use depthwise::{DepthwiseFirstSolver, DepthwiseSolver};
pub(crate) use driver::{Alternation, GroupSolver, Weights, assembled};
pub(crate) use front::{Front, StartBasis, Whitening, feature_basis, slice_components};
pub(crate) use last_stage::LastStage;
pub(crate) use per_output::PerOutputSolver;
pub use positions::Positions;
pub(crate) use problem::Problem;
pub(crate) use reduced_rank::reduced_rank;

use crate::chain::Chain;
use crate::error::FactorError;
use crate::kernel::Kernel;
use crate::linalg::cholesky::Cholesky;
use crate::linalg::dense;
use crate::rows::Rows;
use crate::statistics::{Covariance, GroupStatistics, SplitStatistics, Statistics};
use dual::Dual;

/// How a fit is made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FitOptions {
    /// Rounds of alternating least squares at most; 0 takes the closed-form start.
    pub rounds: usize,
    /// Pull towards the original weight, as a share of the mean variance of an input value.
    pub ridge: f64,
    /// The alternation ends where a round lowers the held-out error by less than this share.
    pub tolerance: f64,
    /// Also fits the lower ranks, so that the error never rises with the rank. Costs about as
    /// much again at K = 2, up to the number of lower ranks elsewhere.
    pub monotone: bool,
    /// Also tries the data-free chain, so that the error on the positions fitted to is never
    /// above its. Costs its decomposition and a score or two.
    pub floor: bool,
    /// Steps towards what an activation lets through at most, see [`Behind`]; 0 fits to the
    /// outputs themselves.
    pub steps: usize,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            rounds: 16,
            ridge: 1e-5,
            tolerance: 1e-3,
            monotone: true,
            floor: true,
            steps: 12,
        }
    }
}

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
    /// Relative squared error behind the activation, see [`Behind::error`]; `None` where the fit
    /// does not look at one.
    pub error_activated: Option<f64>,
    /// Rounds of alternation behind the chain: 0 for a closed form or the data-free chain.
    pub rounds: usize,
}

/// Fits one convolution in one family, at any rank.
pub trait Fitter: Send + Sync {
    /// The best chain found at `rank`. Its error on the positions fitted to is not above that of
    /// the data-free chain (with [`FitOptions::floor`]), nor (with [`FitOptions::monotone`]) of
    /// any lower rank of the family's range. Among the chains that keep to that, the one with the
    /// lowest held-out error.
    ///
    /// Deterministic: a function of what the fitter was made of and the rank, whatever was
    /// fitted before and on how many threads.
    ///
    /// # Errors
    /// [`FactorError::Rank`]; [`FactorError::NonFinite`] where a weight overflows.
    fn fit(&self, rank: usize) -> Result<Fit, FactorError>;

    /// A chain of the family, alternated on from where it is, with its best bias; in closed form
    /// the fit at its rank. Without the promises of [`Fitter::fit`].
    ///
    /// # Errors
    /// As [`Fitter::fit`].
    fn resume(&self, chain: &Chain) -> Result<Fit, FactorError>;
}

/// What all fits of one convolution share, whatever the family: the regularised statistics and
/// the unrestricted optimum `W*`.
pub struct Calibration<'a> {
    kernel: Kernel,
    statistics: &'a SplitStatistics,
    options: FitOptions,
    /// Of `C + eps I` of every group.
    factors: Arc<Vec<Inverse>>,
    targets: Vec<Target>,
    by_tap: OnceLock<Vec<Problem>>,
    by_column: OnceLock<Vec<Problem>>,
}

/// `eps`, and a factor of `C + eps I`.
struct Inverse {
    ridge: f64,
    by: Factor,
}

enum Factor {
    Matrix(Cholesky),
    Positions(Dual),
}

impl Inverse {
    /// Of the covariance of a group's patches of `d` values; `share` is [`FitOptions::ridge`].
    fn new(group: &GroupStatistics, d: usize, share: f64) -> Result<Self, FactorError> {
        let matrix = match &group.covariance {
            Covariance::Dense(matrix) => matrix,
            Covariance::Seen(parts) => {
                let rows = Rows::seen(parts, &group.mean_x);
                let ridge = absolute_ridge(rows.energy() / d as f64, share.max(LEAST_RIDGE));
                return Ok(Self {
                    ridge,
                    by: Factor::Positions(Dual::new(rows, ridge)?),
                });
            }
        };
        let mean = matrix.iter().step_by(d + 1).sum::<f64>() / d as f64;
        let ridge = absolute_ridge(mean, share);
        let mut ridged = dense::zeros(d, d)?;
        ridged.copy_from_slice(matrix);
        dense::add_to_diagonal(&mut ridged, d, ridge);
        let factor = Cholesky::new(ridged, d).map_or_else(|| factored(matrix, d), Ok)?;
        Ok(Self {
            ridge,
            by: Factor::Matrix(factor),
        })
    }

    /// The unrestricted optimum of `cross`, which is `B + eps W`, for the weight `W`.
    fn optimum(&self, group: &GroupStatistics, cross: &[f64], weight: &[f64]) -> Vec<f64> {
        match &self.by {
            Factor::Matrix(factor) => {
                let mut optimum = cross.to_vec();
                factor.solve(&mut optimum);
                optimum
            }
            Factor::Positions(dual) => {
                let mut missed = dual.rows().times(weight);
                let pairs = missed.iter_mut().zip(&group.cross);
                pairs.for_each(|(seen, b)| *seen = b - *seen);
                let mut optimum = dual.solve(&missed);
                dense::axpy(&mut optimum, 1.0, weight);
                optimum
            }
        }
    }
}

/// Least share of the ridge where systems are solved in the space of the positions.
const LEAST_RIDGE: f64 = 1e-10;

/// The regularised least-squares problem of one group, but for its matrix.
pub(crate) struct Target {
    /// `eps`.
    ridge: f64,
    /// `B + eps W`, `[Co/g, d]`.
    pub cross: Vec<f64>,
    /// `W*`, `[Co/g, d]`.
    pub optimum: Vec<f64>,
}

impl<'a> Calibration<'a> {
    /// Factors the covariance of every group: `d^3 / 3 + 2 Co/g d^2` multiply-adds each; where
    /// statistics keep their `n` patches, `n^2 (d / 2 + n / 3) + 12 Co/g n d`.
    ///
    /// # Errors
    /// [`FactorError::Statistics`] where the shapes differ or an option is not a number at or
    /// above zero; [`FactorError::Singular`], [`FactorError::Memory`].
    pub fn new(
        kernel: &Kernel,
        statistics: &'a SplitStatistics,
        options: FitOptions,
    ) -> Result<Self, FactorError> {
        let shape = kernel.shape();
        if *shape != statistics.fit.shape || *shape != statistics.held_out.shape {
            return Err(FactorError::Statistics("of a kernel of another shape"));
        }
        let valid = |x: f64| x.is_finite() && x >= 0.0;
        if !valid(options.ridge) || !valid(options.tolerance) {
            return Err(FactorError::Statistics(
                "ridge or tolerance is not a number from 0",
            ));
        }
        let d = statistics.fit.extents().1;
        let groups = statistics.fit.groups.par_iter();
        let factors = groups.map(|group| Inverse::new(group, d, options.ridge));
        let factors = factors.collect::<Result<Vec<_>, FactorError>>()?;
        Ok(Self::with(kernel, statistics, options, Arc::new(factors)))
    }

    /// For statistics of the same patches with other targets.
    pub(crate) fn aimed<'b>(&self, statistics: &'b SplitStatistics) -> Calibration<'b> {
        let aimed = Calibration::with(
            &self.kernel,
            statistics,
            self.options,
            Arc::clone(&self.factors),
        );
        let targets = |problems: &[Problem]| {
            let pairs = problems.iter().zip(&aimed.targets);
            pairs.map(|(p, t)| p.aimed(&t.cross)).collect()
        };
        // What was arranged stays arranged.
        for (from, to) in [
            (&self.by_tap, &aimed.by_tap),
            (&self.by_column, &aimed.by_column),
        ] {
            if let Some(problems) = from.get() {
                to.get_or_init(|| targets(problems));
            }
        }
        aimed
    }

    fn with(
        kernel: &Kernel,
        statistics: &'a SplitStatistics,
        options: FitOptions,
        factors: Arc<Vec<Inverse>>,
    ) -> Self {
        let (m, d) = statistics.fit.extents();
        let weights = kernel.data().par_chunks(m * d);
        let groups = statistics.fit.groups.par_iter().zip(weights);
        let targets = groups.zip(&*factors).map(|((group, weight), factor)| {
            let mut cross = group.cross.clone();
            for (b, &w) in cross.iter_mut().zip(weight) {
                *b += factor.ridge * w;
            }
            let optimum = factor.optimum(group, &cross, weight);
            Target {
                ridge: factor.ridge,
                cross,
                optimum,
            }
        });
        Self {
            targets: targets.collect(),
            factors,
            kernel: kernel.clone(),
            statistics,
            options,
            by_tap: OnceLock::new(),
            by_column: OnceLock::new(),
        }
    }

    /// The convolution's weight.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// How fits are made.
    pub fn options(&self) -> &FitOptions {
        &self.options
    }

    /// Relative squared error on the positions fitted to of the best convolution of the same
    /// shape, `W*`: what no chain can beat (but for the regularisation).
    ///
    /// # Errors
    /// [`FactorError::NonFinite`] where a weight overflows.
    pub fn error_of_optimum(&self) -> Result<f64, FactorError> {
        let optimum = self.targets.iter().flat_map(|t| &t.optimum);
        let data: Vec<f64> = optimum.copied().collect();
        let kernel = Kernel::new(self.kernel.shape().clone(), data)?;
        self.statistics.fit.score_kernel(&kernel)
    }

    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// What the convolution saw and answered, split into what is fitted to and what is held out.
    pub fn statistics(&self) -> &'a SplitStatistics {
        self.statistics
    }

    /// The problems of all groups with every tap an outer index.
    pub(crate) fn by_tap(&self) -> Result<&[Problem], FactorError> {
        let outer = self.kernel.shape().taps();
        Ok(made_once(&self.by_tap, || self.problems(outer))?)
    }

    /// The problems of all groups with the position along the last axis the outer index.
    pub(crate) fn by_column(&self) -> Result<&[Problem], FactorError> {
        let outer = self.kernel.shape().spatial.last().copied().unwrap_or(1);
        Ok(made_once(&self.by_column, || self.problems(outer))?)
    }

    fn problems(&self, outer: usize) -> Result<Vec<Problem>, FactorError> {
        let m = self.statistics.fit.extents().0;
        let groups = self.statistics.fit.groups.par_iter().zip(&self.targets);
        let problems = groups.map(|(group, target)| match &group.covariance {
            Covariance::Dense(c) => Problem::new(c, target.ridge, &target.cross, m, outer),
            Covariance::Seen(parts) => {
                let rows = Rows::seen(parts, &group.mean_x);
                let (ridge, cross) = (target.ridge, &target.cross);
                Ok(Problem::of_rows(rows, ridge, cross, m, outer))
            }
        });
        problems.collect()
    }
}

/// `eps` for a covariance: a share of its mean diagonal, 1 (any value does) where that is zero.
fn absolute_ridge(mean: f64, share: f64) -> f64 {
    if mean > 1e-200 {
        (mean * share).max(mean * 1e-12)
    } else {
        1.0
    }
}

/// What `cell` holds, made where it is first asked for.
pub(crate) fn made_once<T>(
    cell: &OnceLock<T>,
    make: impl FnOnce() -> Result<T, FactorError>,
) -> Result<&T, FactorError> {
    if let Some(found) = cell.get() {
        return Ok(found);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}

/// [`Cholesky::semidefinite`] or an error.
pub(crate) fn factored(matrix: &[f64], order: usize) -> Result<Cholesky, FactorError> {
    Cholesky::semidefinite(matrix, order).ok_or(FactorError::Singular { order })
}

/// Relative squared error on held-out positions, with the bias of those fitted to.
fn held_out_error(
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
fn best_bias(
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
