//! Layers that stay in floats.
//!
//! Everything is quantised, and the outputs on held-out samples are held against the original's, every
//! channel on its own scale. Where one loses too much, layers are quantised one at a time: the noise
//! that each makes alone adds up, to a first approximation, and the layers that make most of it are
//! left in floats until the rest is allowed. That is checked, and more are left as long as it does not
//! hold.

use std::collections::BTreeSet;

use sepconv_eval::Comparison;
use sepconv_ir::{NodeId, Tensor};
use sepconv_model::{Error, Loaded, Progress, Stage, run};
use sepconv_targets::Target;

/// Sets of layers that are tried at most.
const TRIES: usize = 8;
/// Factor on the noise that is allowed, from one try to the next.
const TIGHTER: f64 = 0.6;

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
    build: &dyn Fn(&BTreeSet<NodeId>) -> Result<Loaded, Error>,
) -> Result<BTreeSet<NodeId>, Error> {
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
    let mut best = (whole, none);
    let mut aim = allowed;
    for _ in 0..TRIES {
        let left = noisiest(&alone, aim);
        if left.len() == layers.len() {
            break;
        }
        aim *= TIGHTER;
        if left.len() == best.1.len() {
            continue;
        }
        let noise = judge.noise(&build(&left)?)?;
        if noise < best.0 {
            best = (noise, left);
        }
        if best.0 <= allowed {
            break;
        }
    }
    Ok(best.1)
}

/// The least number of layers without which the noise of the others, `alone` by falling noise, adds up
/// to no more than `aim`.
fn noisiest(alone: &[(f64, NodeId)], aim: f64) -> BTreeSet<NodeId> {
    let mut rest = 0.0;
    let mut kept = 0;
    for (noise, _) in alone.iter().rev() {
        rest += noise;
        if !(rest <= aim) {
            break;
        }
        kept += 1;
    }
    alone[..alone.len() - kept]
        .iter()
        .map(|(_, layer)| *layer)
        .collect()
}
