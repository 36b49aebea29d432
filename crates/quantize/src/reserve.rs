//! Layers that stay in floats.
//!
//! Everything is quantised, and the outputs on held-out samples are held against the original's, every
//! channel on its own scale. Where one loses too much, layers are quantised one at a time, and those that
//! make most noise alone are left in floats: as few of them as are enough, which is found by bisection.

use std::collections::BTreeSet;

use sepconv_eval::Comparison;
use sepconv_ir::{NodeId, Tensor};
use sepconv_model::{Error, Loaded, Progress, Samples, Stage, run};
use sepconv_targets::Target;

use crate::error::QuantizeError;

/// MACs that are spent on one judgement of a set of layers.
const JUDGED_MACS: u64 = 100_000_000_000;
/// Batches that a set of layers is judged by, least and most.
const JUDGED: (u64, u64) = (8, 64);

/// The original's outputs on some samples.
pub(crate) struct Judge<'a> {
    original: &'a Loaded,
    target: &'a dyn Target,
    samples: &'a Samples,
    /// Batches spread over the samples.
    batches: Vec<usize>,
    inputs: Vec<Vec<Tensor>>,
    outputs: Vec<Vec<Tensor>>,
    progress: &'a dyn Progress,
}

impl<'a> Judge<'a> {
    /// Runs the original on batches of `samples`.
    pub fn new(
        original: &'a Loaded,
        target: &'a dyn Target,
        samples: &'a Samples,
        progress: &'a dyn Progress,
    ) -> Result<Self, Error> {
        let n = samples.batches();
        let most = JUDGED_MACS / original.cost.macs.max(1);
        let count = n.min(most.clamp(JUDGED.0, JUDGED.1) as usize);
        let batches: Vec<usize> = (0..count).map(|i| i * n / count).collect();
        let inputs = batches.iter().map(|batch| samples.inputs(*batch));
        let mut judge = Self {
            original,
            target,
            samples,
            inputs: inputs.collect::<Result<_, Error>>()?,
            batches,
            outputs: Vec::new(),
            progress,
        };
        judge.outputs = judge.run(original)?;
        Ok(judge)
    }

    fn run(&self, model: &Loaded) -> Result<Vec<Vec<Tensor>>, Error> {
        let outputs = run(model, self.target, &self.inputs, &())?;
        let runs = self.batches.iter().zip(outputs);
        let runs = runs.map(|(batch, run)| self.samples.without_padding(*batch, run));
        Ok(runs.collect())
    }

    /// The outputs of a rewritten model held against the original's.
    pub fn compare(&self, model: &Loaded) -> Result<Comparison, Error> {
        let (name, outputs) = (self.target.name(), self.run(model)?);
        let names = self.original.output_names();
        let batches = self.batches.iter();
        Ok(Comparison {
            runs: batches.map(|batch| self.samples.valid(*batch)).sum(),
            ..Comparison::of(name, &names, &self.outputs, &outputs)
        })
    }

    /// Noise over signal of the worst channel of the outputs that can be compared; `None` where none can.
    pub fn noise(&self, model: &Loaded) -> Result<Option<f64>, Error> {
        let Some(compared) = self.comparable(&self.compare(model)?) else {
            return Ok(None);
        };
        let snr = compared.worst_channel_snr();
        Ok(Some(
            snr.map_or(f64::INFINITY, |db| 10_f64.powf(-db / 10.0)),
        ))
    }

    /// A comparison with the outputs alone that can be compared; `None` where none can.
    pub fn comparable(&self, comparison: &Comparison) -> Option<Comparison> {
        let outputs = comparison.outputs.iter().enumerate();
        let outputs = outputs.filter(|(i, output)| {
            let compared = output.not_compared.is_none() && output.worst_channel.is_some();
            compared && self.has_signal(*i)
        });
        let outputs: Vec<_> = outputs.map(|(_, output)| output.clone()).collect();
        (!outputs.is_empty()).then(|| Comparison {
            outputs,
            ..comparison.clone()
        })
    }

    /// False for an output of the original with values that are not finite, or with zeros alone.
    fn has_signal(&self, output: usize) -> bool {
        let values = self
            .outputs
            .iter()
            .filter_map(|run| run.get(output)?.to_f32());
        let values: Vec<_> = values.collect();
        let mut all = values.iter().flat_map(|values| values.iter());
        // Integers are no floats.
        values.is_empty() || all.clone().all(|v| v.is_finite()) && all.any(|v| *v != 0.0)
    }
}

/// The layers of `layers` to leave in floats, so that the worst channel keeps `least_snr` dB, or as
/// much of it as any set that was tried; `build` makes the model with some layers left.
pub(crate) fn reserved(
    judge: &Judge<'_>,
    layers: &[NodeId],
    least_snr: f64,
    build: &dyn Fn(&BTreeSet<NodeId>) -> Result<Loaded, QuantizeError>,
) -> Result<BTreeSet<NodeId>, QuantizeError> {
    let allowed = 10_f64.powf(-least_snr / 10.0);
    let none = BTreeSet::new();
    let noise = |left: &BTreeSet<NodeId>| -> Result<f64, QuantizeError> {
        Ok(judge.noise(&build(left)?)?.unwrap_or(f64::INFINITY))
    };
    let whole = match judge.noise(&build(&none)?)? {
        Some(whole) if whole > allowed && layers.len() > 1 => whole,
        _ => return Ok(none),
    };
    let stage = Stage::begin(judge.progress, "layers alone", layers.len());
    let all: BTreeSet<NodeId> = layers.iter().copied().collect();
    let mut alone = Vec::new();
    for (i, layer) in layers.iter().enumerate() {
        stage.step(i)?;
        let mut left = all.clone();
        left.remove(layer);
        alone.push((noise(&left)?, *layer));
    }
    drop(stage);
    alone.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let noisiest = |count: usize| -> BTreeSet<NodeId> {
        alone[..count].iter().map(|(_, layer)| *layer).collect()
    };
    let count = fewest(layers.len(), whole, allowed, |count| {
        noise(&noisiest(count))
    })?;
    Ok(noisiest(count))
}

/// The least number of the noisiest of `layers` layers that is enough, by bisection; where none is, the number of the
/// least noise. `noise` is that of the model with so many left, `whole` that with none left. The last number that is
/// tried leaves all but the quietest layer.
fn fewest(
    layers: usize,
    whole: f64,
    allowed: f64,
    mut noise: impl FnMut(usize) -> Result<f64, QuantizeError>,
) -> Result<usize, QuantizeError> {
    let mut best = (whole, 0);
    // Below `few` it is not enough; at `many` it is.
    let (mut few, mut many) = (0, layers);
    while few + 1 < many {
        let count = few + (many - few).div_ceil(4);
        let noise = noise(count)?;
        let enough = noise <= allowed;
        if enough || (best.0 > allowed && noise < best.0) {
            best = (noise, count);
        }
        if enough {
            many = count;
        } else {
            few = count;
        }
    }
    Ok(best.1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The number of layers that are left of so many, where the noise is that of the noisiest one in eight bits.
    fn left(alone: &[f64], allowed: f64) -> usize {
        fewest(alone.len(), alone[0], allowed, |count| Ok(alone[count])).unwrap()
    }

    #[test]
    fn all_but_the_silent_layers_are_left_where_nothing_else_is_enough() {
        for (noisy, silent) in [(1, 1), (9, 1), (37, 3), (1, 99)] {
            let alone = [vec![0.5; noisy], vec![0.0; silent]].concat();
            assert_eq!(left(&alone, 1e-9), noisy);
        }
    }

    #[test]
    fn where_none_is_enough_the_least_noise_of_all_that_were_tried_is_taken() {
        assert_eq!(left(&[0.5, 0.4, 0.3, 0.2], 0.1), 3);
        assert_eq!(left(&[0.5, 0.6, 0.6, 0.6], 0.1), 0);
    }
}
