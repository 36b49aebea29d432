//! DW->PW: a depthwise convolution with multiplier K, then a pointwise one.
//!
//! - **Before**: `W[Co, Ci/g, taps]`, `g` groups.
//! - **After**: depthwise `[K*Ci, 1, taps]`, `Ci` groups, channel `i*K + r`, with the stride, pads
//!   and dilation of the original; pointwise `[Co, K*Ci/g, 1]`, `g` groups, with the bias.
//! - **Formula**: for each input channel `i`, the SVD of its slice `[Co/g, taps]`:
//!   `W[o, i, t] = sum over r of P[o, i*K + r] * D[i*K + r, t]`.
//! - **Full rank**: `min(taps, Co/g)`; exact there.
//! - **Skipped**: one tap; one output per group, where every slice has rank one and the pointwise
//!   stage is pure overhead. A depthwise kernel with a multiplier above one is not skipped: its
//!   filters can be similar enough to share.
//! - **Source**: Guo et al., Network Decoupling, BMVC 2018 (arXiv 1808.05517), DW+PW.

use crate::alternation::Alternation;
use crate::chain::{Chain, StageShape};
use crate::error::FactorError;
use crate::factored::Factored;
use crate::family::{Decomposition, RankRange, RankUnit, Resolution, check_rank};
use crate::fit::{Calibration, DepthwiseFirstSolver, Fitter};
use crate::kernel::Kernel;
use crate::shape::KernelShape;
use crate::skip::Skip;
use crate::slice_svd::{SliceBy, SliceSvd};
use crate::spectrum::Spectrum;

/// The family `dw-pw`, see the head of `families/depthwise_first.rs`: depthwise with multiplier
/// K (`[K*Ci, 1, taps]`), then pointwise (`[Co, K*Ci/g, 1]`). Network Decoupling's DW+PW.
#[derive(Debug, Clone, Copy)]
pub struct DepthwiseFirst;

impl Decomposition for DepthwiseFirst {
    fn name(&self) -> &'static str {
        "dw-pw"
    }

    fn ranks(&self, shape: &KernelShape) -> Result<RankRange, Skip> {
        shape.validate().map_err(|_| Skip::InvalidShape)?;
        match (shape.is_pointwise(), shape.group_out()) {
            (true, _) => Err(Skip::Pointwise),
            (_, 1) if shape.is_depthwise() => Err(Skip::Depthwise),
            (_, 1) => Err(Skip::SingleOutput),
            (_, outputs) => Ok(RankRange {
                max: outputs.min(shape.taps()),
                step: 1,
            }),
        }
    }

    fn stages(&self, shape: &KernelShape, rank: usize) -> Result<Vec<StageShape>, FactorError> {
        check_rank(self, shape, rank)?;
        let (inputs, spatial) = (shape.in_channels, &shape.spatial);
        let middle = rank * inputs;
        Ok(vec![
            StageShape::depthwise(middle, inputs, inputs, spatial)?,
            StageShape::pointwise(shape.out_channels, middle, shape.groups, spatial.len())?,
        ])
    }

    fn factor(&self, kernel: &Kernel) -> Result<Box<dyn Factored>, FactorError> {
        self.ranks(kernel.shape())?;
        Ok(Box::new(Factors(SliceSvd::new(kernel, SliceBy::Input)?)))
    }

    fn rank_unit(&self) -> RankUnit {
        RankUnit::Terms
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
        self.ranks(calibration.kernel().shape())?;
        let groups = calibration.by_tap()?.iter().zip(calibration.targets());
        let solvers = groups.map(|(problem, target)| DepthwiseFirstSolver::new(problem, target));
        Ok(Box::new(Alternation::new(
            &DepthwiseFirst,
            calibration,
            solvers,
        )?))
    }
}

/// One SVD per input channel.
struct Factors(SliceSvd);

impl Factored for Factors {
    fn spectrum(&self) -> &Spectrum {
        self.0.spectrum()
    }

    fn chain(&self, rank: usize) -> Result<Chain, FactorError> {
        let shapes = DepthwiseFirst.stages(self.0.kernel().shape(), rank)?;
        let weights = [self.0.filters(rank), self.0.mixing_by_row(rank)];
        Ok(Chain::of_weights(
            DepthwiseFirst.name(),
            rank,
            shapes,
            weights,
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shape(co: usize, ci: usize, groups: usize, spatial: &[usize]) -> KernelShape {
        KernelShape::new(co, ci, groups, spatial).unwrap()
    }

    #[test]
    fn ranks_and_skips() {
        let ranks = |s: KernelShape| DepthwiseFirst.ranks(&s).map(|r| r.max);
        assert_eq!(ranks(shape(64, 32, 1, &[3, 3])), Ok(9));
        assert_eq!(ranks(shape(8, 32, 2, &[3, 3])), Ok(4));
        assert_eq!(ranks(shape(8, 1, 1, &[3, 3])), Ok(8));
        assert_eq!(ranks(shape(8, 4, 4, &[3, 3])), Ok(2));
        assert_eq!(ranks(shape(8, 4, 1, &[1, 1])), Err(Skip::Pointwise));
        assert_eq!(ranks(shape(4, 4, 4, &[3])), Err(Skip::Depthwise));
        assert_eq!(ranks(shape(2, 4, 2, &[3])), Err(Skip::SingleOutput));
    }

    #[test]
    fn geometry_of_a_grouped_kernel() {
        let stages = DepthwiseFirst.stages(&shape(8, 6, 2, &[3, 5]), 3).unwrap();
        assert_eq!(stages[0].kernel, shape(18, 6, 6, &[3, 5]));
        assert_eq!(stages[1].kernel, shape(8, 18, 2, &[1, 1]));
        assert_eq!(stages[0].axes, [true, true]);
        assert_eq!(stages[1].axes, [false, false]);
        assert_eq!(
            DepthwiseFirst.stages(&shape(8, 6, 2, &[3, 5]), 5),
            Err(FactorError::Rank { rank: 5, max: 4 })
        );
    }

    #[test]
    fn channel_order_is_input_major() {
        // W[o, i, t]: both slices have rank one, with disjoint taps.
        let kernel = Kernel::new(
            shape(2, 2, 1, &[2]),
            vec![4.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0],
        )
        .unwrap();
        let chain = DepthwiseFirst.factor(&kernel).unwrap().chain(1).unwrap();
        // sigma = 4 and 9, split evenly: 2 * 2 and 3 * 3.
        assert_eq!(chain.stages[0].weight, [2.0, 0.0, 0.0, 3.0]);
        assert_eq!(chain.stages[1].weight, [2.0, 3.0, 0.0, 0.0]);
    }
}
