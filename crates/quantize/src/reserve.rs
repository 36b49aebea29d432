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
    pub fn noise(&self, model: &Loaded) -> Result<f64, Error> {
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
    let count = fewest(layers.len(), whole, allowed, |count| {
        Ok(judge.noise(&build(&noisiest(count))?)?)
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
