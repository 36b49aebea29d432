//! Layers that stay in floats.
//!
//! Everything is quantised, and the outputs on held-out samples are held against the original's, every
//! channel on its own scale. Where one loses too much, layers are quantised one at a time, and those that
//! make most noise alone are left in floats: as few of them as are enough, which is found by bisection.

use std::collections::BTreeSet;

use sepconv_eval::Comparison;
use sepconv_ir::{NodeId, Tensor};
use sepconv_model::{Error, Loaded, Progress, Stage, run};
use sepconv_targets::Target;

use crate::error::QuantizeError;

/// The original's outputs on some samples.
pub(crate) struct Judge<'a> {
    pub original: &'a Loaded,
    pub target: &'a dyn Target,
    pub inputs: Vec<Vec<Tensor>>,
    pub outputs: Vec<Vec<Tensor>>,
    pub progress: &'a dyn Progress,
}

impl<'a> Judge<'a> {
    /// Runs the original on `inputs`.
    pub fn new(
        original: &'a Loaded,
        target: &'a dyn Target,
        inputs: Vec<Vec<Tensor>>,
        progress: &'a dyn Progress,
    ) -> Result<Self, Error> {
        let outputs = run(original, target, &inputs, &())?;
        Ok(Self {
            original,
            target,
            inputs,
            outputs,
            progress,
        })
    }

    /// The outputs of a rewritten model held against the original's.
    pub fn compare(&self, model: &Loaded) -> Result<Comparison, Error> {
        let outputs = run(model, self.target, &self.inputs, &())?;
        let names = self.original.output_names();
        Ok(Comparison::of(
            self.target.name(),
            &names,
            &self.outputs,
            &outputs,
        ))
    }

    /// Noise over signal of the worst channel.
    fn noise(&self, model: &Loaded) -> Result<f64, Error> {
        let snr = self.compare(model)?.worst_channel_snr();
        Ok(snr.map_or(f64::INFINITY, |db| 10_f64.powf(-db / 10.0)))
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
    let whole = judge.noise(&build(&none)?)?;
    if whole <= allowed || layers.len() < 2 {
        return Ok(none);
    }
    let stage = Stage::begin(judge.progress, "layers alone", layers.len());
    let all: BTreeSet<NodeId> = layers.iter().copied().collect();
    let mut alone = Vec::new();
    for (i, layer) in layers.iter().enumerate() {
        stage.step(i)?;
        let mut left = all.clone();
        left.remove(layer);
        alone.push((judge.noise(&build(&left)?)?, *layer));
    }
    drop(stage);
    alone.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let noisiest = |count: usize| -> BTreeSet<NodeId> {
        alone[..count].iter().map(|(_, layer)| *layer).collect()
    };
    // The least number of them that is enough, by bisection: below `few` it is not, at `many` it is.
    let mut best = (whole, none);
    let (mut few, mut many) = (0, layers.len());
    while few + 1 < many {
        let count = few + (many - few).div_ceil(4);
        let left = noisiest(count);
        let noise = judge.noise(&build(&left)?)?;
        let enough = noise <= allowed;
        if enough || (best.0 > allowed && noise < best.0) {
            best = (noise, left);
        }
        if enough {
            many = count;
        } else {
            few = count;
        }
    }
    Ok(best.1)
}
