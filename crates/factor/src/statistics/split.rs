//! Statistics in two parts: one to fit to, one to know when to stop.

use serde::{Deserialize, Serialize};

use super::{Statistics, StatisticsBuilder};
use crate::error::FactorError;
use crate::patches::{ConvGeometry, InputMap, gather_outputs, sample_positions};
use crate::random::mix;
use crate::shape::KernelShape;

/// Statistics of the samples to fit to, and of those held out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitStatistics {
    /// Those that the weights are fitted to.
    pub fit: Statistics,
    /// Those that end the fit, so that it cannot over-fit; may have no position.
    pub held_out: Statistics,
}

impl SplitStatistics {
    /// The statistics of both parts.
    ///
    /// # Errors
    /// [`FactorError::Statistics`] where the shapes differ.
    pub fn merged(&self) -> Result<Statistics, FactorError> {
        self.fit.merge(&self.held_out)
    }

    /// All positions to fit to, none held out.
    ///
    /// # Errors
    /// [`FactorError::Statistics`] where the shapes differ.
    pub fn whole(&self) -> Result<Self, FactorError> {
        Ok(Self {
            fit: self.merged()?,
            held_out: Statistics::empty(&self.fit.shape),
        })
    }

    /// Part by part [`Statistics::merge`].
    ///
    /// # Errors
    /// [`FactorError::Statistics`] where the shapes differ.
    pub fn merge(&self, other: &Self) -> Result<Self, FactorError> {
        Ok(Self {
            fit: self.fit.merge(&other.fit)?,
            held_out: self.held_out.merge(&other.held_out)?,
        })
    }
}

/// Sampling of the positions of a sample: those that are looked at, and the values there.
#[derive(Debug, Clone)]
pub struct PositionSampler {
    shape: KernelShape,
    geometry: ConvGeometry,
    seed: u64,
    positions: usize,
}

impl PositionSampler {
    /// Takes `positions` positions of each sample, drawn by `seed`.
    pub fn new(shape: &KernelShape, geometry: ConvGeometry, seed: u64, positions: usize) -> Self {
        Self {
            shape: shape.clone(),
            geometry,
            seed,
            positions,
        }
    }

    /// Row-major positions in an output map of `total` positions, rising.
    pub fn positions(&self, sample: u64, total: usize) -> Vec<usize> {
        sample_positions(self.seed, sample, total, self.positions)
    }

    /// For each group the patches `[positions, d]` of an input map.
    ///
    /// # Errors
    /// [`FactorError::Geometry`] where the map does not fit.
    pub fn patches(&self, sample: u64, map: InputMap<'_>) -> Result<Vec<Vec<f32>>, FactorError> {
        let output = self.geometry.output_spatial(&self.shape, map.extents)?;
        let positions = self.positions(sample, output.iter().product());
        self.geometry.gather(&self.shape, map, &positions)
    }

    /// The outputs `[positions, Co]` of an output map `y` `[Co, output...]`.
    ///
    /// # Errors
    /// [`FactorError::Geometry`] where the length is no multiple of `Co`.
    pub fn outputs(&self, sample: u64, y: &[f32]) -> Result<Vec<f32>, FactorError> {
        let channels = self.shape.out_channels;
        let positions = self.positions(sample, y.len() / channels);
        let mut outputs = Vec::with_capacity(positions.len() * channels);
        gather_outputs(y, channels, &positions, &mut outputs)?;
        Ok(outputs)
    }
}

/// Collects statistics of samples, one of every so many held out.
pub struct SplitStatisticsBuilder {
    seed: u64,
    held_out_every: u64,
    fit: StatisticsBuilder,
    held_out: StatisticsBuilder,
}

impl SplitStatisticsBuilder {
    /// Holds out one sample in every run of `held_out_every` (8 is usual; 0 holds out none);
    /// which one, the seed decides.
    ///
    /// # Errors
    /// [`FactorError::Shape`], [`FactorError::Memory`].
    pub fn new(shape: &KernelShape, seed: u64, held_out_every: u64) -> Result<Self, FactorError> {
        Ok(Self {
            seed,
            held_out_every,
            fit: StatisticsBuilder::new(shape)?,
            held_out: StatisticsBuilder::new(shape)?,
        })
    }

    /// As [`SplitStatisticsBuilder::new`], keeping the patches themselves, see
    /// [`StatisticsBuilder::of_patches`].
    ///
    /// # Errors
    /// [`FactorError::Shape`], [`FactorError::Memory`].
    pub fn of_patches(
        shape: &KernelShape,
        seed: u64,
        held_out_every: u64,
    ) -> Result<Self, FactorError> {
        Ok(Self {
            seed,
            held_out_every,
            fit: StatisticsBuilder::of_patches(shape)?,
            held_out: StatisticsBuilder::of_patches(shape)?,
        })
    }

    /// As [`SplitStatisticsBuilder::new`], keeping the patches themselves of the samples held out, see
    /// [`StatisticsBuilder::of_patches`]: these are scored alone, which takes less where they are fewer than
    /// a patch has values.
    ///
    /// # Errors
    /// [`FactorError::Shape`], [`FactorError::Memory`].
    pub fn holding_out_patches(
        shape: &KernelShape,
        seed: u64,
        held_out_every: u64,
    ) -> Result<Self, FactorError> {
        Ok(Self {
            seed,
            held_out_every,
            fit: StatisticsBuilder::new(shape)?,
            held_out: StatisticsBuilder::of_patches(shape)?,
        })
    }

    /// For `positions` positions in all. Covariances of at least twice as many positions as a patch has
    /// values are summed from products in single precision alone.
    #[must_use]
    pub fn expecting(mut self, positions: u64) -> Self {
        let held_out = held_out_of(positions, self.held_out_every);
        self.fit = self.fit.expecting(positions - held_out);
        self.held_out = self.held_out.expecting(held_out);
        self
    }

    /// Adds positions of one sample: its number in the data set, the patches of each group in
    /// the network compressed so far and the outputs `[positions, Co]` of the original, as a
    /// [`PositionSampler`] gives them.
    ///
    /// # Errors
    /// [`FactorError::Statistics`] where they do not fit; nothing is added then.
    pub fn push<P: AsRef<[f32]>>(
        &mut self,
        sample: u64,
        patches: &[P],
        outputs: &[f32],
    ) -> Result<(), FactorError> {
        let part = if is_held_out(self.seed, sample, self.held_out_every) {
            &mut self.held_out
        } else {
            &mut self.fit
        };
        part.push(patches, outputs)
    }

    /// Adds the positions that `sampler` takes of one sample: the input map of the network compressed so far and
    /// the output map `y` `[Co, output...]` of the original.
    ///
    /// # Errors
    /// [`FactorError`] where the maps do not fit; nothing is added then.
    pub fn push_maps(
        &mut self,
        sampler: &PositionSampler,
        sample: u64,
        map: InputMap<'_>,
        y: &[f32],
    ) -> Result<(), FactorError> {
        let (patches, outputs) = (sampler.patches(sample, map)?, sampler.outputs(sample, y)?);
        self.push(sample, &patches, &outputs)
    }

    /// Both parts.
    ///
    /// # Errors
    /// [`FactorError::Statistics`] where a value was not finite.
    pub fn finish(self) -> Result<SplitStatistics, FactorError> {
        Ok(SplitStatistics {
            fit: self.fit.finish()?,
            held_out: self.held_out.finish()?,
        })
    }
}

/// The number of `positions` that are held out, about: those of one sample of `every` ([`is_held_out`]).
pub fn held_out_of(positions: u64, every: u64) -> u64 {
    match every {
        0 | 1 => 0,
        every => positions / every,
    }
}

/// True where `sample` is the one held out of its run of `every`; which one, the seed decides.
pub fn is_held_out(seed: u64, sample: u64, every: u64) -> bool {
    let run = sample.checked_div(every);
    run.is_some_and(|run| every > 1 && mix(seed ^ mix(run)) % every == sample % every)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sample_of_every_run_is_held_out() {
        let held = |seed, every| -> Vec<u64> {
            (0..80).filter(|&s| is_held_out(seed, s, every)).collect()
        };
        let chosen = held(3, 8);
        assert!(
            chosen
                .iter()
                .enumerate()
                .all(|(run, s)| s / 8 == run as u64)
        );
        assert_eq!(chosen.len(), 10);
        assert!(chosen.iter().any(|s| s % 8 != chosen[0] % 8));
        assert_ne!(chosen, held(4, 8));
        assert!(held(3, 0).is_empty() && held(3, 1).is_empty());
    }
}
