//! Statistics in two parts: one to fit to, one to know when to stop.

use serde::{Deserialize, Serialize};

use super::{Statistics, StatisticsBuilder};
use crate::error::FactorError;
use crate::patches::{ConvGeometry, gather_outputs, sample_positions, splitmix};
use crate::shape::KernelShape;

/// Statistics of the samples to fit to, and of those held out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitStatistics {
    /// What the weights are fitted to.
    pub fit: Statistics,
    /// What ends the fit, so that it cannot over-fit; may have no position.
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

/// Samples positions of whole maps and collects their statistics, one of every so many samples
/// held out.
pub struct SplitStatisticsBuilder {
    shape: KernelShape,
    geometry: ConvGeometry,
    seed: u64,
    positions: usize,
    held_out_every: u64,
    fit: StatisticsBuilder,
    held_out: StatisticsBuilder,
    patches: Vec<Vec<f32>>,
    outputs: Vec<f32>,
}

impl SplitStatisticsBuilder {
    /// Takes `positions` positions of each sample, drawn by `seed`; holds out one sample in every
    /// run of `held_out_every` (8 is usual; 0 holds out none).
    ///
    /// # Errors
    /// [`FactorError::Shape`].
    pub fn new(
        shape: &KernelShape,
        geometry: ConvGeometry,
        seed: u64,
        positions: usize,
        held_out_every: u64,
    ) -> Result<Self, FactorError> {
        Ok(Self {
            shape: shape.clone(),
            geometry,
            seed,
            positions,
            held_out_every,
            fit: StatisticsBuilder::new(shape)?,
            held_out: StatisticsBuilder::new(shape)?,
            patches: vec![Vec::new(); shape.groups],
            outputs: Vec::new(),
        })
    }

    /// Adds one sample: its number in the data set, the input map `x` `[Ci, input...]` of the
    /// network compressed so far and the output map `y` `[Co, output...]` of the original.
    ///
    /// # Errors
    /// [`FactorError::Geometry`] where the maps do not fit; nothing is added then.
    pub fn push(
        &mut self,
        sample: u64,
        x: &[f32],
        input: &[usize],
        y: &[f32],
    ) -> Result<(), FactorError> {
        let output = self.geometry.output_spatial(&self.shape, input)?;
        let total: usize = output.iter().product();
        if y.len() != total * self.shape.out_channels {
            return Err(FactorError::Geometry("the output map has another size"));
        }
        let positions = sample_positions(self.seed, sample, total, self.positions);
        for (group, patches) in self.patches.iter_mut().enumerate() {
            patches.clear();
            self.geometry
                .gather(&self.shape, group, x, input, &positions, patches)?;
        }
        self.outputs.clear();
        gather_outputs(y, self.shape.out_channels, &positions, &mut self.outputs)?;
        let part = if is_held_out(self.seed, sample, self.held_out_every) {
            &mut self.held_out
        } else {
            &mut self.fit
        };
        part.push(&self.patches, &self.outputs)
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

/// Whether `sample` is the one held out of its run of `every`; which one, the seed decides.
fn is_held_out(seed: u64, sample: u64, every: u64) -> bool {
    let run = sample.checked_div(every);
    run.is_some_and(|run| every > 1 && splitmix(seed ^ splitmix(run)) % every == sample % every)
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
