//! The part of a fit that all families share: the regularised statistics and their optimum.

use std::sync::{Arc, OnceLock};

use rayon::prelude::*;

use super::dual::Dual;
use super::options::FitOptions;
use super::problem::Problem;
use crate::error::FactorError;
use crate::kernel::Kernel;
use crate::linalg::cholesky::Cholesky;
use crate::linalg::dense;
use crate::once::made_once;
use crate::patch_matrix::PatchMatrix;
use crate::statistics::{Covariance, GroupStatistics, SplitStatistics};

/// The part that all fits of one convolution share, whatever the family: the regularised statistics and
/// the unrestricted optimum `W*`.
pub struct Calibration<'a> {
    kernel: Arc<Kernel>,
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
            Covariance::Patches(parts) => {
                let rows = PatchMatrix::seen(parts, &group.mean_x);
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
        let factor =
            Cholesky::new(ridged, d).map_or_else(|| Cholesky::regularised(matrix, d), Ok)?;
        Ok(Self {
            ridge,
            by: Factor::Matrix(factor),
        })
    }

    /// The unrestricted optimum of `cross`, which is `B + eps W`, for the weight `W`.
    fn optimum(&self, cross: &[f64], weight: &[f64]) -> Vec<f64> {
        match &self.by {
            Factor::Matrix(factor) => {
                let mut optimum = cross.to_vec();
                factor.solve(&mut optimum);
                optimum
            }
            Factor::Positions(dual) => {
                let mut missed = dual.rows().times(weight);
                let pairs = missed.iter_mut().zip(cross.iter().zip(weight));
                pairs.for_each(|(seen, (b, w))| *seen = b - self.ridge * w - *seen);
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
    pub ridge: f64,
    /// `B + eps W`, `[Co/g, d]`.
    pub cross: Vec<f64>,
    kernel: Arc<Kernel>,
    factors: Arc<Vec<Inverse>>,
    group: usize,
    optimum: OnceLock<Vec<f64>>,
}

impl Target {
    /// `W*`, `[Co/g, d]`; made where it is first asked for, as a fit that goes on from a chain has no
    /// use for it.
    pub fn optimum(&self) -> Result<&[f64], FactorError> {
        let weight = self.kernel.data().chunks_exact(self.cross.len());
        let weight = weight.skip(self.group).flatten();
        let make = || {
            let weight: Vec<f64> = weight.take(self.cross.len()).copied().collect();
            Ok(self.factors[self.group].optimum(&self.cross, &weight))
        };
        made_once(&self.optimum, make).map(Vec::as_slice)
    }
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
        let kernel = Arc::new(kernel.clone());
        Ok(Self::with(kernel, statistics, options, Arc::new(factors)))
    }

    /// For statistics of the same patches with other targets.
    pub(crate) fn retargeted<'b>(&self, statistics: &'b SplitStatistics) -> Calibration<'b> {
        let retargeted = Calibration::with(
            Arc::clone(&self.kernel),
            statistics,
            self.options,
            Arc::clone(&self.factors),
        );
        let targets = |problems: &[Problem]| {
            let pairs = problems.iter().zip(&retargeted.targets);
            pairs.map(|(p, t)| p.retargeted(&t.cross)).collect()
        };
        // An arranged problem stays arranged.
        for (from, to) in [
            (&self.by_tap, &retargeted.by_tap),
            (&self.by_column, &retargeted.by_column),
        ] {
            if let Some(problems) = from.get() {
                to.get_or_init(|| targets(problems));
            }
        }
        retargeted
    }

    fn with(
        kernel: Arc<Kernel>,
        statistics: &'a SplitStatistics,
        options: FitOptions,
        factors: Arc<Vec<Inverse>>,
    ) -> Self {
        let (m, d) = statistics.fit.extents();
        let weights = kernel.data().chunks_exact(m * d);
        let groups = statistics.fit.groups.iter().zip(weights).enumerate();
        let targets = groups.map(|(place, (group, weight))| {
            let ridge = factors[place].ridge;
            let mut cross = group.cross.clone();
            dense::axpy(&mut cross, ridge, weight);
            Target {
                ridge,
                cross,
                kernel: Arc::clone(&kernel),
                factors: Arc::clone(&factors),
                group: place,
                optimum: OnceLock::new(),
            }
        });
        Self {
            targets: targets.collect(),
            factors,
            kernel,
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

    /// The settings of fits.
    pub fn options(&self) -> &FitOptions {
        &self.options
    }

    /// Relative squared error on the positions fitted to of the best convolution of the same
    /// shape, `W*`: no chain can beat it (but for the regularisation).
    ///
    /// # Errors
    /// [`FactorError::NonFinite`] where a weight overflows.
    pub fn error_of_optimum(&self) -> Result<f64, FactorError> {
        let mut data: Vec<f64> = Vec::with_capacity(self.kernel.data().len());
        for target in &self.targets {
            data.extend(target.optimum()?);
        }
        let kernel = Kernel::new(self.kernel.shape().clone(), data)?;
        self.statistics.fit.score_kernel(&kernel)
    }

    pub(crate) fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Statistics of the patches and outputs, split into those fitted to and those held out.
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
            Covariance::Patches(parts) => {
                let rows = PatchMatrix::seen(parts, &group.mean_x);
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
