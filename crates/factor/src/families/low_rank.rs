//! Low rank: a pointwise convolution through R channels.
//!
//! - **Before**: `W[Co, Ci/g, 1]`, `g` groups.
//! - **After**: pointwise `[g*R, Ci/g, 1]`, `g` groups, with the stride and pads of the original;
//!   pointwise `[Co, R, 1]`, `g` groups, with the bias.
//! - **Formula**: for each group, `W[o, i] = sum over r of U[o, r] V[r, i]`.
//! - **Full rank**: `min(Co/g, Ci/g)`; exact there, and costlier than the original.
//! - **Skipped**: more than one tap (that is `channel`); one input or output per group.
//! - **Fit**: reduced-rank regression, in closed form.
//! - **Source**: Denton et al. 2014 (arXiv 1404.0736), the SVD; Zhang et al. 2015
//!   (arXiv 1505.06798), section 3.1, the fit.
//! - **Optional**: it is not separable, and left out unless it is asked for.

use crate::alternation::Alternation;
use crate::chain::StageShape;
use crate::error::FactorError;
use crate::factored::Factored;
use crate::families::channel::{Rows, Solver};
use crate::families::grouped::{Grouped, rank_step};
use crate::family::{Decomposition, RankRange, Resolution, check_rank};
use crate::fit::{Calibration, Fitter};
use crate::kernel::Kernel;
use crate::shape::KernelShape;
use crate::skip::Skip;

/// The family `lowrank`, see the head of `families/low_rank.rs`: pointwise `[g*R, Ci/g, 1]`,
/// then pointwise `[Co, R, 1]`. Denton et al. 2014.
#[derive(Debug, Clone, Copy)]
pub struct LowRank;

impl Decomposition for LowRank {
    fn name(&self) -> &'static str {
        "lowrank"
    }

    fn is_optional(&self) -> bool {
        true
    }

    fn ranks(&self, shape: &KernelShape) -> Result<RankRange, Skip> {
        shape.validate().map_err(|_| Skip::InvalidShape)?;
        match (shape.is_pointwise(), shape.group_in(), shape.group_out()) {
            (false, ..) => Err(Skip::Spatial),
            (_, 1, _) if shape.is_depthwise() => Err(Skip::Depthwise),
            (_, 1, _) => Err(Skip::SingleInput),
            (_, _, 1) => Err(Skip::SingleOutput),
            (_, inputs, outputs) => Ok(RankRange {
                max: inputs.min(outputs),
                step: rank_step(shape),
            }),
        }
    }

    fn stages(&self, shape: &KernelShape, rank: usize) -> Result<Vec<StageShape>, FactorError> {
        check_rank(self, shape, rank)?;
        let (groups, spatial) = (shape.groups, &shape.spatial);
        let middle = rank * groups;
        Ok(vec![
            StageShape::dense(middle, shape.in_channels, groups, spatial)?,
            StageShape::pointwise(shape.out_channels, middle, groups, spatial.len())?,
        ])
    }

    fn factor(&self, kernel: &Kernel) -> Result<Box<dyn Factored>, FactorError> {
        let outputs = kernel.shape().group_out();
        let rows = |group, weight: &[f64]| Rows::new(weight, outputs, group);
        Ok(Box::new(Grouped::new(&Self, kernel, rows)?))
    }

    fn resolutions(&self) -> &'static [Resolution] {
        &[Resolution::Output, Resolution::Output]
    }

    fn widths(&self, _: &KernelShape, rank: usize) -> Vec<usize> {
        vec![rank]
    }

    fn fitter<'a>(
        &self,
        calibration: &'a Calibration<'a>,
    ) -> Result<Box<dyn Fitter + 'a>, FactorError> {
        let shape = calibration.kernel().shape();
        self.ranks(shape)?;
        let outputs = shape.group_out();
        let groups = calibration.targets().iter().enumerate();
        let solvers = groups.map(|(group, target)| Solver::new(target, outputs, group));
        Ok(Box::new(Alternation::new(&Self, calibration, solvers)?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranks_geometry_and_skips() {
        let shape = |co, ci, g, s: &[usize]| KernelShape::new(co, ci, g, s).unwrap();
        let ranks = |s: KernelShape| LowRank.ranks(&s).map(|r| (r.max, r.step));
        assert_eq!(ranks(shape(64, 32, 1, &[1, 1])), Ok((32, 2)));
        assert_eq!(ranks(shape(8, 12, 2, &[1])), Ok((4, 1)));
        assert_eq!(ranks(shape(4, 4, 1, &[1, 3])), Err(Skip::Spatial));
        assert_eq!(ranks(shape(4, 4, 4, &[1])), Err(Skip::Depthwise));
        assert_eq!(ranks(shape(4, 1, 1, &[1])), Err(Skip::SingleInput));
        assert_eq!(ranks(shape(2, 4, 2, &[1])), Err(Skip::SingleOutput));
        let stages = LowRank.stages(&shape(8, 6, 2, &[1, 1]), 3).unwrap();
        assert_eq!(stages[0].kernel, shape(6, 6, 2, &[1, 1]));
        assert_eq!(stages[0].axes, [true, true]);
        assert_eq!(stages[1].kernel, shape(8, 6, 2, &[1, 1]));
        assert_eq!(stages[1].axes, [false, false]);
    }

    #[test]
    fn a_matrix_is_cut_at_its_rank() {
        // [2, 4] x [1, 3]^T.
        let shape = KernelShape::new(2, 2, 1, [1, 1]).unwrap();
        let kernel = Kernel::new(shape, vec![2.0, 6.0, 4.0, 12.0]).unwrap();
        let factored = LowRank.factor(&kernel).unwrap();
        assert!(factored.spectrum().error(1) < 1e-7);
        let found = factored.chain(1).unwrap().compose().unwrap();
        assert!(kernel.relative_error(&found).unwrap() < 1e-6);
    }
}
