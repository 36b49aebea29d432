//! The contract of a family of decompositions.
//!
//! A family of another crate implements [`Decomposition`] and is handed to whoever plans (in
//! `sepconv-passes`, `Families::with`); nothing is registered here.

use serde::{Deserialize, Serialize};

use crate::chain::StageShape;
use crate::error::FactorError;
use crate::factored::Factored;
use crate::fit::{Calibration, Fit, FitOptions, Fitter, LastStage};
use crate::kernel::Kernel;
use crate::metric::{Metric, Unwhitened};
use crate::shape::KernelShape;
use crate::skip::Skip;
use crate::statistics::SplitStatistics;

/// The ranks that a family offers for a kernel: multiples of `step`, and `max` itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RankRange {
    /// The full rank, at which the decomposition is exact.
    pub max: usize,
    /// Distance of the ranks that are worth looking at (1 for depthwise-separable families).
    pub step: usize,
}

impl RankRange {
    /// The ranks in rising order, `max` last.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let step = self.step.max(1);
        (1..)
            .map(move |i| i * step)
            .take_while(move |&rank| rank < self.max)
            .chain((self.max > 0).then_some(self.max))
    }
}

/// The unit that the rank of a family counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RankUnit {
    /// Depthwise-separable terms `K` that are summed: a rank means the same for every kernel, and in
    /// every family that counts so.
    Terms,
    /// Channels between the stages, or a number in proportion to them.
    Channels,
}

/// The resolution at which a stage of a chain runs, by the maps of the convolution in whose place
/// the chain stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// That of the input map: neither the stage nor one before it carries an axis.
    Input,
    /// That of the output map along the axes carried so far, that of the input map along others.
    Mixed,
    /// That of the output map: the stage and those before it carry all axes.
    Output,
}

/// A family of decompositions: a way to write a kernel as a [`Chain`](crate::Chain), at several ranks.
pub trait Decomposition: Send + Sync {
    /// Stable name for the command line and for plans, for example `dw-pw`.
    fn name(&self) -> &'static str;

    /// The ranks that a kernel of this shape can be cut at.
    ///
    /// # Errors
    /// The reason why the family does not apply.
    fn ranks(&self, shape: &KernelShape) -> Result<RankRange, Skip>;

    /// Geometry of the chain at `rank`, without looking at any weight.
    ///
    /// # Errors
    /// [`FactorError::Skipped`] or [`FactorError::Rank`].
    fn stages(&self, shape: &KernelShape, rank: usize) -> Result<Vec<StageShape>, FactorError>;

    /// Factors a kernel for all ranks at once, from its weights alone. Deterministic: the same
    /// bytes whatever the number of rayon threads.
    ///
    /// # Errors
    /// [`FactorError::Skipped`] or [`FactorError::NoConvergence`].
    fn factor(&self, kernel: &Kernel) -> Result<Box<dyn Factored>, FactorError>;

    /// True where the chains of [`Decomposition::factor`] are the closest of their family in the
    /// Frobenius norm, and not only close.
    fn is_optimal(&self) -> bool {
        true
    }

    /// True where it is left out unless it is asked for by name.
    fn is_optional(&self) -> bool {
        false
    }

    /// The unit that the rank counts.
    fn rank_unit(&self) -> RankUnit {
        RankUnit::Channels
    }

    /// The resolution at which each stage runs, first stage first; empty where the family does not
    /// say. Of a transposed convolution a stage that carries axes runs at the resolution before it.
    fn resolutions(&self) -> &'static [Resolution] {
        &[]
    }

    /// Channels of one block between every two stages of a chain: channel `b * width + r` is
    /// component `r` of block `b` (an input channel, an output channel or a group).
    fn widths(&self, shape: &KernelShape, rank: usize) -> Vec<usize>;

    /// Prepares fits to data, for many ranks. A family that brings none of its own is fitted by
    /// its last stage where that only mixes channels, in closed form behind the stages that the
    /// weights alone give, and else by its bias; such fits keep to the first promise of
    /// [`Fitter::fit`], not to that of [`FitOptions::monotone`].
    ///
    /// # Errors
    /// [`FactorError::Skipped`], [`FactorError::NoConvergence`] or [`FactorError::Singular`].
    fn fitter<'a>(
        &self,
        calibration: &'a Calibration<'a>,
    ) -> Result<Box<dyn Fitter + 'a>, FactorError> {
        let factored = self.factor(calibration.kernel())?;
        Ok(Box::new(LastStage::new(factored, calibration)))
    }

    /// Factors a kernel from its weights and an assumed correlation of the taps: as
    /// [`Decomposition::factor`], but close in the norm of the output on such data. The spectrum
    /// is in that norm.
    ///
    /// # Errors
    /// As [`Decomposition::factor`]; [`FactorError::Metric`] where the metric has another number
    /// of axes.
    fn factor_with(
        &self,
        kernel: &Kernel,
        metric: &Metric,
    ) -> Result<Box<dyn Factored>, FactorError> {
        if metric.is_identity() {
            return self.factor(kernel);
        }
        let inner = self.factor(&metric.whitened(kernel)?)?;
        Ok(Box::new(Unwhitened::new(inner, metric, kernel.shape())?))
    }

    /// One fit; [`Decomposition::fitter`] shares the work between families and ranks.
    ///
    /// # Errors
    /// As [`Calibration::new`], [`Decomposition::fitter`] and [`Fitter::fit`].
    fn fit(
        &self,
        kernel: &Kernel,
        statistics: &SplitStatistics,
        rank: usize,
        options: &FitOptions,
    ) -> Result<Fit, FactorError> {
        let calibration = Calibration::new(kernel, statistics, *options)?;
        self.fitter(&calibration)?.fit(rank)
    }
}

/// The rank range, if `rank` is in it.
pub(crate) fn check_rank(
    family: &dyn Decomposition,
    shape: &KernelShape,
    rank: usize,
) -> Result<(), FactorError> {
    let max = family.ranks(shape)?.max;
    if (1..=max).contains(&rank) {
        Ok(())
    } else {
        Err(FactorError::Rank { rank, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_ranges_end_at_the_full_rank() {
        let ranks = |max, step| RankRange { max, step }.iter().collect::<Vec<_>>();
        assert_eq!(ranks(4, 1), [1, 2, 3, 4]);
        assert_eq!(ranks(40, 16), [16, 32, 40]);
        assert_eq!(ranks(32, 16), [16, 32]);
        assert_eq!(ranks(0, 1), [0_usize; 0]);
    }
}
