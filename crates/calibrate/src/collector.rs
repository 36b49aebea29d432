//! Collects statistics of convolutions by running both networks.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use sepconv_factor::{Activation, Positions, SplitStatistics, SplitStatisticsBuilder, is_held_out};
use sepconv_ir::{Tensor, ValueId};
use sepconv_onnx::Document;
use sepconv_passes::{Kept, Site};

use crate::layer_sampler::{BatchSamples, LayerSampler, Sampled, Unfit};

use crate::checkpoints::{Checkpoint, Cuts, Network, Segment};
use crate::memory_limit::Need;
use crate::source::open;
use crate::surveyed_model::{Fitting, Sensitivities};
use crate::targets::Targets;
use sepconv_model::{Error, Loaded, Samples, Stage, Untold};

/// Batches run between two accumulations, at most.
const WINDOW: usize = 16;

/// Collects statistics of convolutions in the order of the network.
pub(crate) struct Collector<'a> {
    original: &'a Loaded,
    fitting: Fitting<'a>,
    samples: Samples,
    samplers: Vec<LayerSampler<'a>>,
    cuts: Cuts<'a>,
    targets: Targets,
    checkpoint: Checkpoint,
}

/// Statistics of one convolution, and the positions behind it.
pub(crate) struct LayerStatistics {
    pub statistics: SplitStatistics,
    /// Factors `[Co]` that the outputs were multiplied by.
    pub factors: Option<Arc<[f64]>>,
    /// The activation behind it, and the positions themselves, where they were asked for.
    pub behind: Option<(Activation, Positions)>,
}

/// The work of a pass beside statistics.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pass {
    /// The positions of layers with an activation behind them are kept.
    pub keep: bool,
    /// The layers before the range since the last pass without this may be rewritten before the next one: the
    /// values of that pass stay those that later passes run from.
    pub again: bool,
}

/// Positions of the layers that are collected together, kept as they are.
struct Keeper {
    layers: Vec<Option<(Activation, Positions)>>,
    every: usize,
}

/// Yield of a batch: its number, the values at the cut, and the samples of every layer.
type Yield = (usize, Vec<Tensor>, Vec<Result<Vec<Sampled>, Unfit>>);

/// The statistics of a layer so far, or the reason for which it can't be fitted.
type Builder = Result<SplitStatisticsBuilder, Unfit>;

impl<'a> Collector<'a> {
    /// For the convolutions `sites` of `original`, in the order of the network. Outputs are seen
    /// multiplied by `factors`.
    pub fn new(
        original: &'a Loaded,
        sites: &[&'a Site],
        factors: &Sensitivities,
        fitting: Fitting<'a>,
    ) -> Result<Self, Error> {
        let dataset = open(&fitting.calibration.source, original, fitting.runner)?;
        let dataset = dataset.spread(fitting.sampling.samples);
        let samples = Samples::keeping(original, dataset, fitting.memory.inputs())?;
        let samplers = sites.iter();
        let samplers = samplers.map(|site| {
            let factors = factors.get(&site.node).cloned();
            LayerSampler::new(original, site, &samples, factors, fitting)
        });
        let samplers: Vec<LayerSampler<'a>> = samplers.collect::<Result<_, _>>()?;
        let wanted: Vec<ValueId> = samplers.iter().flat_map(|s| s.endpoints.now()).collect();
        Ok(Self {
            original,
            fitting,
            samples,
            samplers,
            cuts: Cuts::new(original, &wanted),
            targets: Targets::default(),
            checkpoint: Checkpoint::default(),
        })
    }

    /// Form and memory of the statistics of every layer.
    pub fn needs(&self) -> Vec<Result<Need, Kept>> {
        self.samplers
            .iter()
            .map(|sampler| sampler.need.clone())
            .collect()
    }

    /// Statistics of the layers of `range`: inputs from `rewritten`, a copy of the original in
    /// which layers before them may be rewritten, targets from the original; both from one pass over
    /// the original where there is no such copy. Call in
    /// rising order: the part before the range is not run again. Endpoints soon after `progress` is cancelled.
    pub fn collect(
        &mut self,
        rewritten: Option<&Document>,
        range: Range<usize>,
        pass: Pass,
    ) -> Result<Vec<Result<LayerStatistics, Unfit>>, Error> {
        let (from, to) = (range.start, range.end);
        let (original, fitting) = (self.original, self.fitting);
        let (samples, layers, memory) = (&self.samples, &self.samplers, fitting.memory);
        let work = rewritten.unwrap_or(&original.document);
        let network = Network {
            original,
            target: fitting.runner,
            samples,
        };
        let most = memory.targets();
        if rewritten.is_some()
            && let Some(end) = self.targets.lacking(range.clone(), layers, samples, most)
        {
            let wanted = &layers[from..end];
            self.targets.find(from, wanted, network, fitting.progress)?;
        }
        // A pass for some of the layers is part of a stage that tells of them.
        let untold = Untold(fitting.progress);
        let listener = if to - from == layers.len() {
            fitting.progress
        } else {
            &untold
        };
        let stage = Stage::begin(listener, "collecting statistics", samples.batches());
        let mut done = 0;
        let samplers = &layers[from..to];
        let mut wanted: Vec<ValueId> = Vec::new();
        for sampler in samplers {
            wanted.extend(sampler.endpoints.now());
            wanted.extend(rewritten.is_none().then_some(sampler.endpoints.target));
        }
        let ends = wanted.len();
        // Nothing behind the last layer is run.
        if to < layers.len() && !pass.again {
            wanted.extend(self.cuts.before(samplers[0].site.node));
        }
        let checkpoint = &self.checkpoint;
        let (segment, checkpoint) = Segment::from_checkpoint(network, work, checkpoint, &wanted)?;
        let targets = &self.targets;
        let run = |batch: usize| -> Result<Yield, Error> {
            let mut values = segment.run(&checkpoint.batch(samples, batch)?)?;
            let cut = values.split_off(ends);
            let own_samples = BatchSamples::of(samples, batch);
            let each = values.chunks_exact((ends / samplers.len().max(1)).max(1));
            let sampled = each.zip(samplers).enumerate();
            let sampled = sampled.map(|(i, (own, sampler))| {
                let targets: Cow<'_, [Vec<f32>]> = match own.get(2) {
                    Some(target) => sampler.outputs(own_samples, target)?.into(),
                    None => targets.batch(from + i, batch)?.into(),
                };
                sampler.sample(own_samples, &own[0], &own[1], &targets)
            });
            Ok((batch, cut, sampled.collect()))
        };
        let every = fitting.calibration.held_out_every;
        let builders = samplers.iter();
        let builders = builders.map(|sampler| sampler.builder(samples.len(), every));
        let mut builders: Vec<Builder> = builders.collect();
        let mut next: Option<Vec<Vec<Tensor>>> = (wanted.len() > ends).then(Vec::new);
        let mut pending: Vec<Yield> = Vec::new();
        let mut keeper = Keeper::new(samplers, samples.len(), pass.keep, memory.kept());
        let batches: Vec<usize> = (0..samples.batches()).collect();
        let per_batch: usize = samplers.iter().map(LayerSampler::patch_bytes).sum();
        // The values that a window hands on are held beside those of the window before it.
        let held = original.bytes_of(wanted.iter().copied());
        let most = (memory.patches() / per_batch.max(1)).min(memory.checkpoint() / 2 / held.max(1));
        // One for each of two cores, unless these take the memory of fits.
        let least = if 2 * held as u64 > memory.fits() {
            1
        } else {
            2
        };
        let mut windows = batches.chunks(most.clamp(least, WINDOW));
        // While one window runs on all cores, the one before it is accumulated, in order.
        loop {
            stage.step(done)?;
            let window = windows.next();
            let (yields, ()) = rayon::join(
                || window.map(|w| w.par_iter().map(|b| run(*b)).collect::<Result<Vec<_>, _>>()),
                || push(&mut builders, samples, &pending),
            );
            keeper.push(samplers, samples, fitting.calibration, &pending);
            let Some(yields) = yields else { break };
            pending = yields?;
            done += pending.len();
            for (batch, cut, _) in &mut pending {
                let fits = *batch > 0 || Checkpoint::fits(cut, batches.len(), memory.checkpoint());
                next = next.filter(|_| fits);
                if let Some(next) = &mut next {
                    next.push(std::mem::take(cut));
                }
                cut.clear();
            }
        }
        if let Some(batches) = next {
            self.checkpoint = Checkpoint::of(&wanted[ends..], batches);
        }
        let seen = builders.into_iter().zip(samplers).zip(keeper.layers);
        let seen = seen.map(|((builder, sampler), behind)| {
            let enough = |(_, kept): &(_, Positions)| kept.len() >= 2 * sampler.patch_len();
            Ok(LayerStatistics {
                statistics: builder?.finish()?,
                factors: sampler.factors.clone(),
                behind: behind.filter(enough),
            })
        });
        Ok(seen.collect())
    }
}

impl Keeper {
    fn new(samplers: &[LayerSampler<'_>], samples: usize, keep: bool, most: usize) -> Self {
        let behind = |sampler: &LayerSampler<'_>| {
            let need = sampler
                .need
                .as_ref()
                .ok()
                .filter(|need| need.patches.is_none());
            sampler
                .endpoints
                .activation
                .filter(|_| keep && need.is_some())
        };
        let wanted = samplers.iter().filter(|sampler| behind(sampler).is_some());
        let bytes: usize = wanted.map(|sampler| sampler.patch_bytes() * samples).sum();
        let layers = samplers
            .iter()
            .map(|sampler| Some((behind(sampler)?, Positions::new(&sampler.site.kernel))));
        Self {
            layers: layers.collect(),
            every: bytes.div_ceil(most.max(1)).max(1),
        }
    }

    fn push(
        &mut self,
        samplers: &[LayerSampler<'_>],
        samples: &Samples,
        settings: &sepconv_spec::CalibrationSettings,
        pending: &[Yield],
    ) {
        let (seed, every) = (settings.source.seed(), settings.held_out_every);
        for (layer, (own, sampler)) in self.layers.iter_mut().zip(samplers).enumerate() {
            for (batch, _, sampled) in pending {
                for (row, seen) in sampled[layer].iter().flatten().enumerate() {
                    let Some((_, kept)) = own else { continue };
                    let sample = samples.first(*batch) + row;
                    let held = is_held_out(seed, sample as u64, every);
                    let channels = sampler.site.kernel.out_channels;
                    let seen = seen.thinned(sample % self.every, self.every, channels);
                    let pushed = kept.push(held, &seen.patches, &seen.outputs, &seen.others);
                    if pushed.is_err() {
                        *own = None;
                    }
                }
            }
        }
    }
}

/// Accumulates batches: layers are independent of one another, the samples of a layer keep
/// their order. Data that do not fit a layer end that layer alone.
fn push(builders: &mut [Builder], samples: &Samples, pending: &[Yield]) {
    let layers = builders.par_iter_mut().enumerate();
    layers.for_each(|(layer, own)| {
        for (batch, _, sampled) in pending {
            let Ok(builder) = own else { return };
            let pushed = sampled[layer].as_ref().map_err(Clone::clone);
            let pushed = pushed.and_then(|rows| {
                rows.iter().enumerate().try_for_each(|(row, seen)| {
                    let sample = (samples.first(*batch) + row) as u64;
                    Ok(builder.push(sample, &seen.patches, &seen.outputs)?)
                })
            });
            if let Err(reason) = pushed {
                *own = Err(reason);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryLimit;

    #[test]
    fn no_room_for_positions_is_no_division_by_it() {
        for memory in [
            MemoryLimit::new(0),
            MemoryLimit::new(1),
            MemoryLimit::new(u64::MAX),
        ] {
            assert_eq!(Keeper::new(&[], 3, true, memory.kept()).every, 1);
        }
    }
}
