//! Outputs of the original network at the sampled positions.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;

use sepconv_model::{Error, Progress, Samples, Stage};

use crate::checkpoints::{Checkpoint, Network, Segment};
use crate::layer_sampler::{BatchSamples, LayerSampler, Unfit};

/// Batches whose maps are held at a time.
const WINDOW: usize = 16;

/// Outputs of one layer: per batch, per row `[positions, Co]`.
type Outputs = Vec<Vec<Vec<f32>>>;

/// The targets of some layers in a row.
#[derive(Default)]
pub(crate) struct Targets {
    found: BTreeMap<usize, Result<Outputs, Unfit>>,
}

impl Targets {
    /// Up to which layer targets are to be found, where those of the layers of `range` are not all known:
    /// of as many layers behind as go into `most` bytes. Those of the layers before are dropped.
    pub fn lacking(
        &mut self,
        range: Range<usize>,
        layers: &[LayerSampler<'_>],
        samples: &Samples,
        most: usize,
    ) -> Option<usize> {
        let (from, to) = (range.start, range.end);
        self.found.retain(|layer, _| *layer >= from);
        if (from..to).all(|layer| self.found.contains_key(&layer)) {
            return None;
        }
        let mut bytes = 0;
        let mut end = from;
        while end < layers.len() && (end < to || bytes < most) {
            bytes += layers[end].output_bytes(samples.len());
            end += 1;
        }
        Some(end)
    }

    /// Finds the targets of `samplers`, the layers from `from` on, by running the original.
    pub fn find(
        &mut self,
        from: usize,
        samplers: &[LayerSampler<'_>],
        network: Network<'_>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let (original, samples) = (network.original, network.samples);
        let stage = Stage::begin(progress, "running the original", samples.batches());
        let wanted: Vec<_> = samplers
            .iter()
            .map(|sampler| sampler.endpoints.target)
            .collect();
        let start = Checkpoint::default();
        let document = &original.document;
        let segment = Segment::new(network, document, &start, &wanted)?;
        let layers = from..from + samplers.len();
        self.found = layers.map(|layer| (layer, Ok(Vec::new()))).collect();
        let batches: Vec<usize> = (0..samples.batches()).collect();
        let mut done = 0;
        for window in batches.chunks(WINDOW) {
            let sampled = window.par_iter().map(|batch| {
                let maps = segment.run(&samples.inputs(*batch)?)?;
                let own = BatchSamples::of(samples, *batch);
                let outputs = samplers.iter().zip(&maps);
                let outputs = outputs.map(|(sampler, map)| sampler.outputs(own, map));
                Ok(outputs.collect::<Vec<_>>())
            });
            for rows in sampled.collect::<Result<Vec<_>, Error>>()? {
                for (layer, rows) in (from..).zip(rows) {
                    match (self.found.get_mut(&layer), rows) {
                        (Some(Ok(found)), Ok(rows)) => found.push(rows),
                        (Some(found @ Ok(_)), Err(reason)) => *found = Err(reason),
                        _ => {}
                    }
                }
            }
            done += window.len();
            stage.step(done)?;
        }
        Ok(())
    }

    /// The targets of the rows of a batch.
    ///
    /// # Errors
    /// The reason for which that layer has none.
    pub fn batch(&self, layer: usize, batch: usize) -> Result<&[Vec<f32>], Unfit> {
        match self.found.get(&layer) {
            Some(Ok(outputs)) => Ok(outputs.get(batch).map_or(&[], Vec::as_slice)),
            Some(Err(reason)) => Err(reason.clone()),
            None => Ok(&[]),
        }
    }
}
