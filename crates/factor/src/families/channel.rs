//! Channel: the same window with R outputs, then a pointwise convolution.
//!
//! - **Before**: `W[Co, Ci/g, taps]`, `g` groups.
//! - **After**: `[g*R, Ci/g, taps]`, `g` groups, with the stride, pads and dilation of the
//!   original; pointwise `[Co, R, 1]`, `g` groups, with the bias.
//! - **Formula**: for each group, `W[o, i, t] = sum over r of P[o, r] D[r, i, t]`.
//! - **Full rank**: `min(Co/g, Ci/g * taps)`; exact there.
//! - **Skipped**: one tap; one output per group.
//! - **Fit**: reduced-rank regression, in closed form.
//! - **Source**: Zhang et al. 2015 (arXiv 1505.06798), section 3.1; data-free: the SVD, Denton et
//!   al. 2014 (arXiv 1404.0736).

use crate::alternation::Alternation;
use crate::chain::StageShape;
use crate::error::FactorError;
use crate::factored::Factored;
use crate::families::grouped::{Grouped, Part, rank_step};
use crate::family::{Decomposition, RankRange, Resolution, check_rank};
use crate::fit::{Calibration, Fitter, GroupSolver, Target, Weights, reduced_rank};
use crate::kernel::Kernel;
use crate::shape::KernelShape;
use crate::skip::Skip;

/// The family `channel`, see the head of `families/channel.rs`: `[g*R, Ci/g, taps]`, then
/// pointwise `[Co, R, 1]`. Zhang et al. 2015.
#[derive(Debug, Clone, Copy)]
pub struct Channel;

impl Decomposition for Channel {
    fn name(&self) -> &'static str {
        "channel"
    }

    fn ranks(&self, shape: &KernelShape) -> Result<RankRange, Skip> {
        shape.validate().map_err(|_| Skip::InvalidShape)?;
        match (shape.is_pointwise(), shape.group_out()) {
            (true, _) => Err(Skip::Pointwise),
            (_, 1) if shape.is_depthwise() => Err(Skip::Depthwise),
            (_, 1) => Err(Skip::SingleOutput),
            (_, outputs) => Ok(RankRange {
                max: outputs.min(shape.group_in() * shape.taps()),
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

/// One group at the full rank, best component first: `first` `[Co/g, d]`, `second`
/// `[Co/g, Co/g]`.
pub(super) struct Rows {
    outputs: usize,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Rows {
    /// The leading left singular vectors of a group's weight `[Co/g, d]`.
    pub fn new(weight: &[f64], outputs: usize, group: usize) -> Result<Self, FactorError> {
        // C = I.
        let (first, second) = reduced_rank(weight, weight, outputs, outputs, group)?;
        Ok(Self {
            outputs,
            first,
            second,
        })
    }
}

impl Part for Rows {
    fn energies(&self) -> Vec<f64> {
        let rows = self.first.chunks_exact(self.first.len() / self.outputs);
        rows.map(|row| row.iter().map(|x| x * x).sum()).collect()
    }

    fn weights(&self, rank: usize) -> Weights {
        let d = self.first.len() / self.outputs;
        let rows = self.second.chunks_exact(self.outputs);
        let second = rows.flat_map(|row| row[..rank].iter().copied()).collect();
        vec![self.first[..rank * d].to_vec(), second]
    }
}

/// Reduced-rank regression of one group.
pub(super) struct Solver(Rows);

impl Solver {
    pub fn new(target: &Target, outputs: usize, group: usize) -> Result<Self, FactorError> {
        let (cross, optimum) = (&target.cross, target.optimum()?);
        let (first, second) = reduced_rank(cross, optimum, outputs, outputs, group)?;
        Ok(Self(Rows {
            outputs,
            first,
            second,
        }))
    }
}

impl GroupSolver for Solver {
    fn start(&self, rank: usize) -> Result<Weights, FactorError> {
        Ok(self.0.weights(rank))
    }

    fn is_closed(&self) -> bool {
        true
    }

    fn improve(&self, _: usize, _: &mut Weights) -> Result<(), FactorError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranks_geometry_and_skips() {
        let shape = |co, ci, g, s: &[usize]| KernelShape::new(co, ci, g, s).unwrap();
        let ranks = |s: KernelShape| Channel.ranks(&s).map(|r| (r.max, r.step));
        assert_eq!(ranks(shape(64, 32, 1, &[3, 3])), Ok((64, 2)));
        assert_eq!(ranks(shape(64, 1, 1, &[3, 3])), Ok((9, 1)));
        assert_eq!(ranks(shape(4, 4, 1, &[1])), Err(Skip::Pointwise));
        assert_eq!(ranks(shape(4, 4, 4, &[3])), Err(Skip::Depthwise));
        assert_eq!(ranks(shape(2, 4, 2, &[3])), Err(Skip::SingleOutput));
        let stages = Channel.stages(&shape(8, 6, 2, &[3, 5]), 3).unwrap();
        assert_eq!(stages[0].kernel, shape(6, 6, 2, &[3, 5]));
        assert_eq!(stages[1].kernel, shape(8, 6, 2, &[1, 1]));
    }
}
