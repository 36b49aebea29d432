//! Spatial: a `kh x 1` convolution to R channels, then a `1 x kw` one.
//!
//! - **Before**: `W[Co, Ci/g, kh, kw]`, `g` groups.
//! - **After**: `[g*R, Ci/g, kh, 1]`, `g` groups, with the stride, pads and dilation of the first
//!   axis; `[Co, R, 1, kw]`, `g` groups, with those of the second and the bias.
//! - **Formula**: for each group, `W[o, i, a, b] = sum over r of H[o, r, b] V[r, i, a]`: a matrix
//!   product of `[(o, b), r]` and `[r, (i, a)]`.
//! - **Full rank**: `min(Ci/g * kh, Co/g * kw)`; exact there.
//! - **Skipped**: one tap; not two spatial axes, or one of extent 1.
//! - **Fit**: start from the SVD of `W*` whitened by the partial traces of `C`; alternate between
//!   `V` (conjugate gradients) and `H` (closed form).
//! - **Source**: Jaderberg et al. 2014 (arXiv 1405.3866), scheme 2; data-free as Tai et al. 2016
//!   (arXiv 1511.06067).

use crate::alternation::Alternation;
use crate::chain::{Role, StageShape};
use crate::error::FactorError;
use crate::factored::Factored;
use crate::families::grouped::{Grouped, Part, rank_step};
use crate::family::{Decomposition, RankRange, Resolution, check_rank};
use crate::fit::{
    Calibration, Fitter, Front, GroupSolver, MapExtents, Problem, StartBasis, Target, Weights,
    leading_features,
};
use crate::kernel::Kernel;
use crate::linalg::dense;
use crate::shape::KernelShape;
use crate::skip::Skip;

/// The family `spatial`, see the head of `families/spatial.rs`: `[g*R, Ci/g, kh, 1]`, then
/// `[Co, R, 1, kw]`. Jaderberg et al. 2014.
#[derive(Debug, Clone, Copy)]
pub struct Spatial;

impl Decomposition for Spatial {
    fn name(&self) -> &'static str {
        "spatial"
    }

    fn ranks(&self, shape: &KernelShape) -> Result<RankRange, Skip> {
        shape.validate().map_err(|_| Skip::InvalidShape)?;
        match shape.spatial.as_slice() {
            _ if shape.is_pointwise() => Err(Skip::Pointwise),
            &[height, width] if height > 1 && width > 1 => Ok(RankRange {
                max: (shape.group_in() * height).min(shape.group_out() * width),
                step: rank_step(shape),
            }),
            _ => Err(Skip::NotPlanar),
        }
    }

    fn stages(&self, shape: &KernelShape, rank: usize) -> Result<Vec<StageShape>, FactorError> {
        check_rank(self, shape, rank)?;
        let middle = rank * shape.groups;
        let stage = |out, input, axis: usize| {
            let mut spatial = vec![1; 2];
            spatial[axis] = shape.spatial[axis];
            Ok::<_, FactorError>(StageShape {
                role: Role::Spatial,
                kernel: KernelShape::new(out, input, shape.groups, spatial)?,
                axes: vec![axis == 0, axis == 1],
            })
        };
        Ok(vec![
            stage(middle, shape.in_channels, 0)?,
            stage(shape.out_channels, middle, 1)?,
        ])
    }

    fn factor(&self, kernel: &Kernel) -> Result<Box<dyn Factored>, FactorError> {
        self.ranks(kernel.shape())?;
        let shape = kernel.shape();
        let outer = shape.spatial[1];
        let inner = shape.group_in() * shape.spatial[0];
        let extents = MapExtents {
            outputs: shape.group_out(),
            inner,
            outer,
        };
        let grouped = Grouped::new(&Self, kernel, |group, weight| {
            let (energies, basis) = leading_features(weight, extents, None, group)?;
            Ok(Columns {
                extents,
                weight: weight.to_vec(),
                energies,
                basis,
            })
        })?;
        Ok(Box::new(grouped))
    }

    fn resolutions(&self) -> &'static [Resolution] {
        &[Resolution::Mixed, Resolution::Output]
    }

    fn widths(&self, _: &KernelShape, rank: usize) -> Vec<usize> {
        vec![rank]
    }

    fn fitter<'a>(
        &self,
        calibration: &'a Calibration<'a>,
    ) -> Result<Box<dyn Fitter + 'a>, FactorError> {
        self.ranks(calibration.kernel().shape())?;
        let groups = calibration
            .by_column()?
            .iter()
            .zip(calibration.targets())
            .enumerate();
        let solvers = groups.map(|(group, (problem, target))| Solver::new(problem, target, group));
        Ok(Box::new(Alternation::new(&Self, calibration, solvers)?))
    }
}

/// One group: features `(i, a)` by outer taps `b`.
struct Columns {
    extents: MapExtents,
    weight: Vec<f64>,
    energies: Vec<f64>,
    basis: Vec<f64>,
}

impl Part for Columns {
    fn energies(&self) -> Vec<f64> {
        self.energies.clone()
    }

    fn weights(&self, rank: usize) -> Weights {
        let MapExtents {
            outputs,
            inner,
            outer,
        } = self.extents;
        let front = self.basis[..rank * inner].to_vec();
        let mut back = vec![0.0; outputs * rank * outer];
        let rows = dense::view(&front, rank, inner);
        let slices = self.weight.chunks_exact(inner * outer);
        for (slice, out) in slices.zip(back.chunks_exact_mut(rank * outer)) {
            dense::panel(out, false, rows, dense::view(slice, inner, outer));
        }
        vec![front, back]
    }
}

struct Solver<'a> {
    front: Front<'a>,
    basis: StartBasis<'a>,
}

impl<'a> Solver<'a> {
    fn new(problem: &'a Problem, target: &'a Target, group: usize) -> Result<Self, FactorError> {
        Ok(Self {
            front: Front::new(problem)?,
            basis: StartBasis::new(target, group),
        })
    }

    /// The best `H` `[Co, R, kw]` behind `front`.
    fn back(&self, front: &[f64], rank: usize) -> Result<Vec<f64>, FactorError> {
        let (_, back) = self.front.problem.best_behind(front, rank)?;
        Ok(dense::rows_transposed(
            &back,
            self.front.problem.outer,
            rank,
        ))
    }
}

impl GroupSolver for Solver<'_> {
    fn start(&self, rank: usize) -> Result<Weights, FactorError> {
        let front = self.basis.first(rank, &self.front)?;
        let back = self.back(&front, rank)?;
        Ok(vec![front, back])
    }

    fn improve(&self, rank: usize, weights: &mut Weights) -> Result<(), FactorError> {
        let [front, back] = weights.as_mut_slice() else {
            return Ok(());
        };
        self.front.improve(
            &dense::rows_transposed(back, rank, self.front.problem.outer),
            front,
        )?;
        self.front.orthonormalise(front)?;
        *back = self.back(front, rank)?;
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
        let ranks = |s: KernelShape| Spatial.ranks(&s).map(|r| (r.max, r.step));
        assert_eq!(ranks(shape(64, 32, 1, &[3, 3])), Ok((96, 2)));
        assert_eq!(ranks(shape(512, 512, 1, &[3, 3])), Ok((1536, 16)));
        assert_eq!(ranks(shape(4, 4, 4, &[3, 5])), Ok((3, 1)));
        assert_eq!(ranks(shape(4, 4, 1, &[1, 1])), Err(Skip::Pointwise));
        assert_eq!(ranks(shape(4, 4, 1, &[1, 3])), Err(Skip::NotPlanar));
        assert_eq!(ranks(shape(4, 4, 1, &[3])), Err(Skip::NotPlanar));
        let stages = Spatial.stages(&shape(8, 6, 2, &[3, 5]), 4).unwrap();
        assert_eq!(stages[0].kernel, shape(8, 6, 2, &[3, 1]));
        assert_eq!(stages[1].kernel, shape(8, 8, 2, &[1, 5]));
    }
}
