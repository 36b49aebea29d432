//! Tucker-2: pointwise to few channels, the window between few channels, pointwise back.
//!
//! - **Before**: `W[Co, Ci/g, taps]`, `g` groups.
//! - **After**: pointwise `[g*Rin, Ci/g, 1]` at input resolution and without a bias (so that the
//!   zero padding of the next stage stays exact); `[g*Rout, Rin, taps]` with the stride, pads and
//!   dilation of the original; pointwise `[Co, Rout, 1]` with the bias; all in `g` groups.
//! - **Formula**: for each group, `W[o, i, t] = sum over p, r of P[o, p] G[p, r, t] Q[r, i]`.
//! - **Rank**: `R` in `1..=max(Mi, Mo)`, where `Mi = min(Ci/g, Co/g * taps)` and
//!   `Mo = min(Co/g, Ci/g * taps)`; both sides shrink in proportion, `Rin = ceil(R Mi / max)` and
//!   `Rout = ceil(R Mo / max)`. Exact at the maximum.
//! - **Skipped**: one tap; one input or one output per group.
//! - **Data-free**: HOSVD; close to the optimum, not the optimum.
//! - **Fit**: start from the whitened features of `W*`; alternate between `Q` (conjugate gradients)
//!   and `(G, P)` (reduced-rank regression, in closed form).
//! - **Source**: Kim et al. 2016 (arXiv 1511.06530).

use crate::alternation::Alternation;
use crate::chain::StageShape;
use crate::error::FactorError;
use crate::factored::Factored;
use crate::families::grouped::{Grouped, Part, rank_step};
use crate::family::{Decomposition, RankRange, Resolution, check_rank};
use crate::fit::{
    Calibration, Fitter, Front, GroupSolver, MapExtents, Problem, StartBasis, Target, Weights,
    feature_basis, reduced_rank,
};
use crate::kernel::Kernel;
use crate::linalg::dense;
use crate::shape::KernelShape;
use crate::skip::Skip;

/// The family `tucker`, see the head of `families/tucker.rs`: pointwise, `[g*Rout, Rin, taps]`,
/// pointwise. Kim et al. 2016.
#[derive(Debug, Clone, Copy)]
pub struct Tucker;

/// Full ranks of both sides of a group.
fn full(shape: &KernelShape) -> (usize, usize) {
    let (inputs, outputs, taps) = (shape.group_in(), shape.group_out(), shape.taps());
    (inputs.min(outputs * taps), outputs.min(inputs * taps))
}

/// `(Rin, Rout)` at a rank.
fn sides(shape: &KernelShape, rank: usize) -> (usize, usize) {
    let (input, output) = full(shape);
    let max = input.max(output);
    let side = |full: usize| (rank * full).div_ceil(max).min(full);
    (side(input), side(output))
}

/// Skips that `tucker` and `cp` have in common.
pub(super) fn skip_between_pointwise(shape: &KernelShape) -> Result<(), Skip> {
    shape.validate().map_err(|_| Skip::InvalidShape)?;
    match (shape.is_pointwise(), shape.group_in(), shape.group_out()) {
        (true, _, _) => Err(Skip::Pointwise),
        (_, 1, _) if shape.is_depthwise() => Err(Skip::Depthwise),
        (_, 1, _) => Err(Skip::SingleInput),
        (_, _, 1) => Err(Skip::SingleOutput),
        _ => Ok(()),
    }
}

impl Decomposition for Tucker {
    fn name(&self) -> &'static str {
        "tucker"
    }

    fn ranks(&self, shape: &KernelShape) -> Result<RankRange, Skip> {
        skip_between_pointwise(shape)?;
        let (input, output) = full(shape);
        Ok(RankRange {
            max: input.max(output),
            step: rank_step(shape),
        })
    }

    fn stages(&self, shape: &KernelShape, rank: usize) -> Result<Vec<StageShape>, FactorError> {
        check_rank(self, shape, rank)?;
        let (groups, spatial) = (shape.groups, &shape.spatial);
        let (input, output) = sides(shape, rank);
        let (input, output, axes) = (input * groups, output * groups, spatial.len());
        Ok(vec![
            StageShape::pointwise(input, shape.in_channels, groups, axes)?,
            StageShape::dense(output, input, groups, spatial)?,
            StageShape::pointwise(shape.out_channels, output, groups, axes)?,
        ])
    }

    fn factor(&self, kernel: &Kernel) -> Result<Box<dyn Factored>, FactorError> {
        let shape = kernel.shape().clone();
        let max = self.ranks(&shape)?.max;
        let grouped = Grouped::new(&Self, kernel, |group, weight| {
            Core::new(&shape, max, weight, group)
        })?;
        Ok(Box::new(grouped))
    }

    fn is_optimal(&self) -> bool {
        false
    }

    fn resolutions(&self) -> &'static [Resolution] {
        &[Resolution::Input, Resolution::Output, Resolution::Output]
    }

    fn widths(&self, shape: &KernelShape, rank: usize) -> Vec<usize> {
        let (input, output) = sides(shape, rank);
        vec![input, output]
    }

    fn fitter<'a>(
        &self,
        calibration: &'a Calibration<'a>,
    ) -> Result<Box<dyn Fitter + 'a>, FactorError> {
        let shape = calibration.kernel().shape();
        self.ranks(shape)?;
        let groups = calibration
            .by_tap()?
            .iter()
            .zip(calibration.targets())
            .enumerate();
        let solvers =
            groups.map(|(group, (problem, target))| Solver::new(shape, problem, target, group));
        Ok(Box::new(Alternation::new(&Self, calibration, solvers)?))
    }
}

/// HOSVD of one group.
struct Core {
    shape: KernelShape,
    max: usize,
    /// `[Ci/g, Ci/g]`, best first.
    inputs: Vec<f64>,
    /// `[Co/g, Co/g]`, best first.
    outputs: Vec<f64>,
    /// The weight in both bases, `[Co/g, Ci/g, taps]`.
    core: Vec<f64>,
}

impl Core {
    fn new(
        shape: &KernelShape,
        max: usize,
        weight: &[f64],
        group: usize,
    ) -> Result<Self, FactorError> {
        let (m, n, taps) = (shape.group_out(), shape.group_in(), shape.taps());
        let extents = |outputs, inner, outer| MapExtents {
            outputs,
            inner,
            outer,
        };
        let (_, inputs) = feature_basis(weight, extents(m, n, taps), None, group)?;
        let (_, outputs) = feature_basis(weight, extents(1, m, n * taps), None, group)?;
        let mut half = vec![0.0; m * n * taps];
        let rows = dense::view(&outputs, m, m);
        dense::product(&mut half, false, rows, dense::view(weight, m, n * taps));
        let mut core = vec![0.0; m * n * taps];
        let rows = dense::view(&inputs, n, n);
        for (half, core) in half
            .chunks_exact(n * taps)
            .zip(core.chunks_exact_mut(n * taps))
        {
            dense::panel(core, false, rows, dense::view(half, n, taps));
        }
        Ok(Self {
            shape: shape.clone(),
            max,
            inputs,
            outputs,
            core,
        })
    }

    fn corner(&self, input: usize, output: usize) -> impl Iterator<Item = &f64> {
        let (n, taps) = (self.shape.group_in(), self.shape.taps());
        let rows = self.core.chunks_exact(n * taps).take(output);
        rows.flat_map(move |row| &row[..input * taps])
    }
}

impl Part for Core {
    /// The bases are orthonormal, so a rank keeps the corner of the core.
    fn energies(&self) -> Vec<f64> {
        let (n, taps) = (self.shape.group_in(), self.shape.taps());
        let mut kept = 0.0;
        let mut last = (0, 0);
        let added = |rank: usize| {
            let next = sides(&self.shape, rank);
            for (p, row) in self.core.chunks_exact(n * taps).take(next.1).enumerate() {
                let from = if p < last.1 { last.0 } else { 0 };
                kept += row[from * taps..next.0 * taps]
                    .iter()
                    .map(|x| x * x)
                    .sum::<f64>();
            }
            last = next;
            std::mem::take(&mut kept)
        };
        (1..=self.max).map(added).collect()
    }

    fn weights(&self, rank: usize) -> Weights {
        let (input, output) = sides(&self.shape, rank);
        let (m, n) = (self.shape.group_out(), self.shape.group_in());
        vec![
            self.inputs[..input * n].to_vec(),
            self.corner(input, output).copied().collect(),
            dense::transposed(&self.outputs[..output * m], output, m),
        ]
    }
}

struct Solver<'a> {
    shape: KernelShape,
    front: Front<'a>,
    group: usize,
    basis: StartBasis<'a>,
}

impl<'a> Solver<'a> {
    fn new(
        shape: &KernelShape,
        problem: &'a Problem,
        target: &'a Target,
        group: usize,
    ) -> Result<Self, FactorError> {
        Ok(Self {
            shape: shape.clone(),
            front: Front::new(problem)?,
            group,
            basis: StartBasis::new(target, group),
        })
    }

    /// The best core and last stage behind `front`.
    fn back(&self, front: Vec<f64>, rank: usize) -> Result<Weights, FactorError> {
        let (input, output) = sides(&self.shape, rank);
        let Problem { outer, outputs, .. } = *self.front.problem;
        let (cross, optimum) = self.front.problem.best_behind(&front, input)?;
        let (core, last) = reduced_rank(&cross, &optimum, outputs, output, self.group)?;
        Ok(vec![
            front,
            dense::rows_transposed(&core, outer, input),
            last,
        ])
    }
}

impl GroupSolver for Solver<'_> {
    fn start(&self, rank: usize) -> Result<Weights, FactorError> {
        let (input, _) = sides(&self.shape, rank);
        self.back(self.basis.first(input, &self.front)?, rank)
    }

    fn improve(&self, rank: usize, weights: &mut Weights) -> Result<(), FactorError> {
        let [front, core, last] = weights.as_mut_slice() else {
            return Ok(());
        };
        let (input, output) = sides(&self.shape, rank);
        let Problem { outer, outputs, .. } = *self.front.problem;
        let core = dense::rows_transposed(core, input, outer);
        let mut map = vec![0.0; outputs * outer * input];
        let last = dense::view(last, outputs, output);
        dense::product(
            &mut map,
            false,
            last,
            dense::view(&core, output, outer * input),
        );
        let mut front = std::mem::take(front);
        self.front.improve(&map, &mut front)?;
        self.front.orthonormalise(&mut front)?;
        *weights = self.back(front, rank)?;
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
        let ranks = |s: KernelShape| Tucker.ranks(&s).map(|r| (r.max, r.step));
        assert_eq!(ranks(shape(128, 64, 1, &[3, 3])), Ok((128, 4)));
        assert_eq!(ranks(shape(128, 3, 1, &[3, 3])), Ok((27, 1)));
        assert_eq!(ranks(shape(4, 4, 1, &[1])), Err(Skip::Pointwise));
        assert_eq!(ranks(shape(4, 4, 4, &[3])), Err(Skip::Depthwise));
        assert_eq!(ranks(shape(4, 1, 1, &[3])), Err(Skip::SingleInput));
        assert_eq!(ranks(shape(2, 4, 2, &[3])), Err(Skip::SingleOutput));
        let stages = Tucker.stages(&shape(8, 4, 2, &[3, 5]), 3).unwrap();
        assert_eq!(stages[0].kernel, shape(4, 4, 2, &[1, 1]));
        assert_eq!(stages[1].kernel, shape(6, 4, 2, &[3, 5]));
        assert_eq!(stages[2].kernel, shape(8, 6, 2, &[1, 1]));
    }
}
