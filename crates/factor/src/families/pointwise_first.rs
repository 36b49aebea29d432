//! PW->DW: a pointwise convolution to K channels per output, then a grouped one that sums them.
//!
//! - **Before**: `W[Co, Ci/g, taps]`, `g` groups.
//! - **After**: pointwise `[K*Co, Ci/g, 1]`, `g` groups, channel `o*K + r`, at input resolution and
//!   without a bias (so that the zero padding of the next stage stays exact); depthwise
//!   `[Co, K, taps]`, `Co` groups, with the stride, pads, dilation and bias of the original.
//! - **Formula**: for each output channel `o`, the SVD of its slice `[Ci/g, taps]`:
//!   `W[o, i, t] = sum over r of P[o*K + r, i] * D[o, r, t]`.
//! - **Full rank**: `min(taps, Ci/g)`; exact there.
//! - **Skipped**: one tap; one input per group, where every slice has rank one and the pointwise
//!   stage is pure overhead.
//! - **Source**: Guo et al., Network Decoupling, BMVC 2018 (arXiv 1808.05517), PW+DW.

use crate::alternation::Alternation;
use crate::chain::{Chain, StageShape};
use crate::error::FactorError;
use crate::factored::Factored;
use crate::family::{Decomposition, RankRange, RankUnit, Resolution, check_rank};
use crate::fit::{Calibration, Fitter, PerOutputSolver};
use crate::kernel::Kernel;
use crate::shape::KernelShape;
use crate::skip::Skip;
use crate::slice_svd::{SliceBy, SliceSvd};
use crate::spectrum::Spectrum;

/// The family `pw-dw`, see the head of `families/pointwise_first.rs`: pointwise
/// (`[K*Co, Ci/g, 1]`), then depthwise (`[Co, K, taps]`). Network Decoupling's PW+DW.
#[derive(Debug, Clone, Copy)]
pub struct PointwiseFirst;

impl Decomposition for PointwiseFirst {
    fn name(&self) -> &'static str {
        "pw-dw"
    }

    fn ranks(&self, shape: &KernelShape) -> Result<RankRange, Skip> {
        shape.validate().map_err(|_| Skip::InvalidShape)?;
        match (shape.is_pointwise(), shape.group_in()) {
            (true, _) => Err(Skip::Pointwise),
            (_, 1) if shape.is_depthwise() => Err(Skip::Depthwise),
            (_, 1) => Err(Skip::SingleInput),
            (_, inputs) => Ok(RankRange {
                max: inputs.min(shape.taps()),
                step: 1,
            }),
        }
    }

    fn stages(&self, shape: &KernelShape, rank: usize) -> Result<Vec<StageShape>, FactorError> {
        check_rank(self, shape, rank)?;
        let (outputs, spatial) = (shape.out_channels, &shape.spatial);
        let middle = rank * outputs;
        Ok(vec![
            StageShape::pointwise(middle, shape.in_channels, shape.groups, spatial.len())?,
            StageShape::depthwise(outputs, middle, outputs, spatial)?,
        ])
    }

    fn factor(&self, kernel: &Kernel) -> Result<Box<dyn Factored>, FactorError> {
        self.ranks(kernel.shape())?;
        Ok(Box::new(Factors(SliceSvd::new(kernel, SliceBy::Output)?)))
    }

    fn rank_unit(&self) -> RankUnit {
        RankUnit::Terms
    }

    fn resolutions(&self) -> &'static [Resolution] {
        &[Resolution::Input, Resolution::Output]
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
        let solvers = groups.map(|(problem, target)| PerOutputSolver::new(problem, target));
        Ok(Box::new(Alternation::new(
            &PointwiseFirst,
            calibration,
            solvers,
        )?))
    }
}

/// One SVD per output channel.
struct Factors(SliceSvd);

impl Factored for Factors {
    fn spectrum(&self) -> &Spectrum {
        self.0.spectrum()
    }

    fn chain(&self, rank: usize) -> Result<Chain, FactorError> {
        let shapes = PointwiseFirst.stages(self.0.kernel().shape(), rank)?;
        let weights = [self.0.mixing_by_slice(rank), self.0.filters(rank)];
        Ok(Chain::of_weights(
            PointwiseFirst.name(),
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
        let ranks = |s: KernelShape| PointwiseFirst.ranks(&s).map(|r| r.max);
        assert_eq!(ranks(shape(64, 32, 1, &[3, 3])), Ok(9));
        assert_eq!(ranks(shape(64, 6, 2, &[3, 3])), Ok(3));
        assert_eq!(ranks(shape(1, 4, 1, &[3])), Ok(3));
        assert_eq!(ranks(shape(8, 4, 1, &[1])), Err(Skip::Pointwise));
        assert_eq!(ranks(shape(8, 4, 4, &[3])), Err(Skip::Depthwise));
        assert_eq!(ranks(shape(8, 1, 1, &[3])), Err(Skip::SingleInput));
    }

    #[test]
    fn geometry_of_a_grouped_kernel() {
        let stages = PointwiseFirst.stages(&shape(8, 6, 2, &[3, 5]), 3).unwrap();
        assert_eq!(stages[0].kernel, shape(24, 6, 2, &[1, 1]));
        assert_eq!(stages[1].kernel, shape(8, 24, 8, &[3, 5]));
        assert_eq!(stages[0].axes, [false, false]);
        assert_eq!(stages[1].axes, [true, true]);
        assert_eq!(
            PointwiseFirst.stages(&shape(8, 6, 2, &[3, 5]), 0),
            Err(FactorError::Rank { rank: 0, max: 3 })
        );
    }

    #[test]
    fn channel_order_is_output_major() {
        // Slices by output: [[16, 0], [0, 4]] and zero.
        let kernel = Kernel::new(
            shape(2, 2, 1, &[2]),
            vec![16.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0],
        )
        .unwrap();
        let chain = PointwiseFirst.factor(&kernel).unwrap().chain(2).unwrap();
        assert_eq!(
            chain.stages[0].weight,
            [4.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]
        );
        assert_eq!(
            chain.stages[1].weight,
            [4.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]
        );
    }
}
