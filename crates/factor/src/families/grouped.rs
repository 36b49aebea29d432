//! The common part of families that factor each group as one matrix or tensor.

use crate::chain::Chain;
use crate::error::FactorError;
use crate::factored::Factored;
use crate::family::Decomposition;
use crate::fit::{Weights, balance};
use crate::kernel::Kernel;
use crate::shape::KernelShape;
use crate::spectrum::Spectrum;

/// One group of a factored kernel.
pub(super) trait Part: Send + Sync {
    /// Squared norm that each rank adds, at least up to the full rank.
    fn energies(&self) -> Vec<f64>;

    /// The weights of the stages at `rank`, in ONNX's order.
    fn weights(&self, rank: usize) -> Weights;
}

/// A factored kernel, group by group.
pub(super) struct Grouped<P> {
    family: &'static dyn Decomposition,
    shape: KernelShape,
    parts: Vec<P>,
    spectrum: Spectrum,
}

impl<P: Part> Grouped<P> {
    /// Factors every group: `part` is given its number and its weights `[Co/g, d]` in f64.
    pub fn new(
        family: &'static dyn Decomposition,
        kernel: &Kernel,
        part: impl Fn(usize, &[f64]) -> Result<P, FactorError>,
    ) -> Result<Self, FactorError> {
        let shape = kernel.shape();
        let max = family.ranks(shape)?.max;
        let weights = kernel.data();
        let groups = weights
            .chunks_exact(weights.len() / shape.groups)
            .enumerate();
        let parts = groups
            .map(|(group, weight)| part(group, weight))
            .collect::<Result<Vec<P>, _>>()?;
        let mut pooled = vec![0.0; max];
        for part in &parts {
            pooled
                .iter_mut()
                .zip(part.energies())
                .for_each(|(p, e)| *p += e.max(0.0));
        }
        Ok(Self {
            family,
            shape: shape.clone(),
            parts,
            spectrum: Spectrum::new(pooled)?,
        })
    }
}

impl<P: Part> Factored for Grouped<P> {
    fn spectrum(&self) -> &Spectrum {
        &self.spectrum
    }

    fn chain(&self, rank: usize) -> Result<Chain, FactorError> {
        let shapes = self.family.stages(&self.shape, rank)?;
        let parts: Vec<Weights> = self.parts.iter().map(|p| p.weights(rank)).collect();
        let stage = |s: usize| parts.iter().flat_map(|p| p[s].iter().copied()).collect();
        let mut weights: Weights = (0..shapes.len()).map(stage).collect();
        balance(&shapes, &mut weights);
        Ok(Chain::of_weights(self.family.name(), rank, shapes, weights))
    }
}

/// Distance of the ranks worth looking at where a rank is a number of channels: a sixteenth of
/// the channels, at most 16 (runtimes compute channels in blocks of 16).
pub(super) fn rank_step(shape: &KernelShape) -> usize {
    (shape.group_in().min(shape.group_out()) / 16).clamp(1, 16)
}
