//! CP: pointwise to R channels, depthwise, pointwise back (a MobileNet block without activations).
//!
//! - **Before**: `W[Co, Ci/g, taps]`, `g` groups.
//! - **After**: pointwise `[g*R, Ci/g, 1]` at input resolution and without a bias (so that the zero
//!   padding of the next stage stays exact); depthwise `[g*R, 1, taps]` with the stride, pads and
//!   dilation of the original; pointwise `[Co, R, 1]`, `g` groups, with the bias.
//! - **Formula**: for each group, `W[o, i, t] = sum over r of P[o, r] D[r, t] Q[r, i]`.
//! - **Full rank**: `Ci/g * min(taps, Co/g)` (enough, not always needed); exact there.
//! - **Skipped**: one tap; one input or one output per group.
//! - **Data-free**: the inputs are turned to their singular vectors; of the SVDs of the turned
//!   channels' slices the largest R components stay. They are orthogonal, so the error is known at
//!   every rank; close to the optimum, not the optimum.
//! - **Fit**: start from the same for `W*`, whitened; alternate between `Q`, `D` (conjugate
//!   gradients) and `P` (closed form).
//! - **Source**: Astrid and Lee 2017 (arXiv 1701.07148); CP: Lebedev et al. 2015 (arXiv
//!   1412.6553), with the two spatial factors in one.

use std::sync::OnceLock;

use crate::alternation::Alternation;
use crate::chain::StageShape;
use crate::error::FactorError;
use crate::factored::Factored;
use crate::families::grouped::{Grouped, Part, rank_step};
use crate::families::tucker::skip_between_pointwise;
use crate::family::{Decomposition, RankRange, Resolution, check_rank};
use crate::fit::{
    Calibration, DepthwiseSolver, Fitter, Front, GroupSolver, MapExtents, Problem, Target, Weights,
    Whitening, feature_basis, filters_between, mixture_behind, slice_components,
};
use crate::kernel::Kernel;
use crate::linalg::dense;
use crate::once::made_once;
use crate::shape::KernelShape;
use crate::skip::Skip;

/// The family `cp`, see the head of `families/cp.rs`: pointwise, depthwise on R channels a group,
/// pointwise. Astrid and Lee 2017.
#[derive(Debug, Clone, Copy)]
pub struct Cp;

impl Decomposition for Cp {
    fn name(&self) -> &'static str {
        "cp"
    }

    fn ranks(&self, shape: &KernelShape) -> Result<RankRange, Skip> {
        skip_between_pointwise(shape)?;
        Ok(RankRange {
            max: shape.group_in() * shape.taps().min(shape.group_out()),
            step: rank_step(shape),
        })
    }

    fn stages(&self, shape: &KernelShape, rank: usize) -> Result<Vec<StageShape>, FactorError> {
        check_rank(self, shape, rank)?;
        let (groups, spatial) = (shape.groups, &shape.spatial);
        let (middle, axes) = (rank * groups, spatial.len());
        Ok(vec![
            StageShape::pointwise(middle, shape.in_channels, groups, axes)?,
            StageShape::depthwise(middle, middle, middle, spatial)?,
            StageShape::pointwise(shape.out_channels, middle, groups, axes)?,
        ])
    }

    fn factor(&self, kernel: &Kernel) -> Result<Box<dyn Factored>, FactorError> {
        let shape = kernel.shape();
        let extents = MapExtents {
            outputs: shape.group_out(),
            inner: shape.group_in(),
            outer: shape.taps(),
        };
        let grouped = Grouped::new(&Self, kernel, |group, weight| {
            Components::new(weight, extents, None, group)
        })?;
        Ok(Box::new(grouped))
    }

    fn is_optimal(&self) -> bool {
        false
    }

    fn resolutions(&self) -> &'static [Resolution] {
        &[Resolution::Input, Resolution::Output, Resolution::Output]
    }

    fn widths(&self, _: &KernelShape, rank: usize) -> Vec<usize> {
        vec![rank; 2]
    }

    fn fitter<'a>(
        &self,
        calibration: &'a Calibration<'a>,
    ) -> Result<Box<dyn Fitter + 'a>, FactorError> {
        self.ranks(calibration.kernel().shape())?;
        let groups = calibration
            .by_tap()?
            .iter()
            .zip(calibration.targets())
            .enumerate();
        let solvers = groups.map(|(group, (problem, target))| Solver::new(problem, target, group));
        Ok(Box::new(Alternation::new(&Self, calibration, solvers)?))
    }
}

/// Components of one group, largest first.
struct Components {
    extents: MapExtents,
    /// `[Ci/g, Ci/g]`: the turned channels.
    basis: Vec<f64>,
    /// Energy, turned channel, filter `[taps]`, outputs `[Co/g]`.
    components: Vec<(f64, usize, Vec<f64>, Vec<f64>)>,
}

impl Components {
    /// Of a map `[Co/g, Ci/g, taps]`, under a metric.
    fn new(
        map: &[f64],
        extents: MapExtents,
        whitening: Option<&Whitening>,
        group: usize,
    ) -> Result<Self, FactorError> {
        let MapExtents {
            outputs,
            inner,
            outer,
        } = extents;
        let (_, basis) = feature_basis(map, extents, whitening, group)?;
        // The inverse of the basis, transposed: the basis times the metric.
        let mut inverse = basis.clone();
        if let Some(whitening) = whitening {
            let (rows, metric) = (dense::view(&basis, inner, inner), &whitening.metric);
            dense::product(&mut inverse, false, rows, dense::view(metric, inner, inner));
        }
        let inverse = dense::view(&inverse, inner, inner);
        let mut turned = vec![0.0; map.len()];
        let slices = map.chunks_exact(inner * outer);
        for (slice, out) in slices.zip(turned.chunks_exact_mut(inner * outer)) {
            dense::panel(out, false, inverse, dense::view(slice, inner, outer));
        }
        if let Some(whitening) = whitening {
            whitening.outer.multiply(&mut turned);
        }
        let mut components = Vec::with_capacity(inner * outer);
        for channel in 0..inner {
            let rows = (0..outputs).flat_map(|o| &turned[(o * inner + channel) * outer..][..outer]);
            let slice: Vec<f64> = rows.copied().collect();
            let (energies, vectors) = slice_components(&slice, outer, group)?;
            let parts = energies.iter().zip(vectors.chunks_exact(outer));
            for (&energy, vector) in parts.take(outputs) {
                let loads = slice
                    .chunks_exact(outer)
                    .map(|row| dense::dot(row, vector))
                    .collect();
                let mut filter = vector.to_vec();
                if let Some(whitening) = whitening {
                    whitening.outer.divide(&mut filter);
                }
                components.push((energy, channel, filter, loads));
            }
        }
        components.sort_by(|a, b| b.0.total_cmp(&a.0));
        Ok(Self {
            extents,
            basis,
            components,
        })
    }
}

impl Part for Components {
    fn energies(&self) -> Vec<f64> {
        self.components.iter().map(|c| c.0).collect()
    }

    fn weights(&self, rank: usize) -> Weights {
        let MapExtents { outputs, inner, .. } = self.extents;
        let taken = &self.components[..rank];
        let fronts = taken
            .iter()
            .flat_map(|c| &self.basis[c.1 * inner..][..inner]);
        let loads: Vec<f64> = taken.iter().flat_map(|c| c.3.iter().copied()).collect();
        vec![
            fronts.copied().collect(),
            taken.iter().flat_map(|c| c.2.iter().copied()).collect(),
            dense::transposed(&loads, rank, outputs),
        ]
    }
}

struct Solver<'a> {
    front: Front<'a>,
    target: &'a Target,
    group: usize,
    /// Made where it is first asked for: who goes on from a chain does not need it.
    components: OnceLock<Components>,
}

impl<'a> Solver<'a> {
    fn new(problem: &'a Problem, target: &'a Target, group: usize) -> Result<Self, FactorError> {
        Ok(Self {
            front: Front::new(problem)?,
            target,
            group,
            components: OnceLock::new(),
        })
    }

    fn components(&self) -> Result<&Components, FactorError> {
        made_once(&self.components, || {
            let problem = self.front.problem;
            let extents = problem.extents();
            let whitening = Some(&self.front.whitening);
            Components::new(self.target.optimum()?, extents, whitening, self.group)
        })
    }
}

impl GroupSolver for Solver<'_> {
    fn start(&self, rank: usize) -> Result<Weights, FactorError> {
        let mut weights = self.components()?.weights(rank);
        weights[2] = mixture_behind(self.front.problem, &weights[0], &weights[1])?;
        Ok(weights)
    }

    fn improve(&self, rank: usize, weights: &mut Weights) -> Result<(), FactorError> {
        let [front, filters, last] = weights.as_mut_slice() else {
            return Ok(());
        };
        let problem = self.front.problem;
        self.front.improve_before_filters(filters, last, front)?;
        // The problem behind the front would be larger than the one before it.
        if rank > problem.inner && problem.seen().is_none() {
            *last = mixture_behind(problem, front, filters)?;
            filters_between(problem, front, last, filters)?;
            *last = mixture_behind(problem, front, filters)?;
            return Ok(());
        }
        let reduced = problem.reduced(front, rank)?;
        let solver = DepthwiseSolver::new(&reduced)?;
        *last = solver.mixture(filters)?;
        solver.filters(last, filters)?;
        *last = solver.mixture(filters)?;
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
        let ranks = |s: KernelShape| Cp.ranks(&s).map(|r| (r.max, r.step));
        assert_eq!(ranks(shape(64, 32, 1, &[3, 3])), Ok((288, 2)));
        assert_eq!(ranks(shape(4, 32, 2, &[3, 3])), Ok((32, 1)));
        assert_eq!(ranks(shape(4, 4, 1, &[1])), Err(Skip::Pointwise));
        assert_eq!(ranks(shape(4, 4, 4, &[3])), Err(Skip::Depthwise));
        let stages = Cp.stages(&shape(8, 6, 2, &[3, 5]), 4).unwrap();
        assert_eq!(stages[0].kernel, shape(8, 6, 2, &[1, 1]));
        assert_eq!(stages[1].kernel, shape(8, 8, 8, &[3, 5]));
        assert_eq!(stages[2].kernel, shape(8, 8, 2, &[1, 1]));
    }
}
