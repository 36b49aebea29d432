//! Collects statistics of convolutions by running both networks.

use std::sync::Arc;

use rayon::prelude::*;
use sepconv_factor::{Activation, Positions, SplitStatistics, SplitStatisticsBuilder, is_held_out};
use sepconv_ir::{Tensor, ValueId};
use sepconv_onnx::Document;
use sepconv_passes::{Kept, Site};
use sepconv_targets::Target;

use super::CalibrationSettings;
use super::layer::{Sampled, Tap, Unfit};
use super::room::{Need, Room};
use super::sensitivity::Sensitivities;
use super::targets::Targets;
use crate::error::Error;
use crate::flow::{Cuts, Frontier, Samples, Segment};
use crate::loaded::Loaded;
use crate::progress::{Progress, Stage, Untold};

/// Batches run between two accumulations, at most.
const WINDOW: usize = 16;

/// Collects statistics of convolutions in the order of the network.
pub(crate) struct Collector<'a> {
    original: &'a Loaded,
    target: &'a dyn Target,
    samples: Samples,
    settings: &'a CalibrationSettings,
    taps: Vec<Tap<'a>>,
    cuts: Cuts<'a>,
    targets: Targets,
    frontier: Frontier,
    room: Room,
}

/// What was seen of one convolution.
pub(crate) struct Seen {
    pub statistics: SplitStatistics,
    /// What the outputs were multiplied by.
    pub factors: Option<Arc<[f64]>>,
    /// What stands behind it, and the positions themselves, where they were asked for.
    pub behind: Option<(Activation, Positions)>,
}

/// Positions of the layers that are collected together, kept as they are.
struct Keeper {
    layers: Vec<Option<(Activation, Positions)>>,
    every: usize,
}

/// What one batch yields: the cut's values, and the samples of every layer.
type Yield = (usize, Vec<Tensor>, Vec<Result<Vec<Sampled>, Unfit>>);

/// What a layer's samples are added to; why it can't be fitted, once that is known.
type Builder = Result<SplitStatisticsBuilder, Unfit>;

impl<'a> Collector<'a> {
    /// For the convolutions `sites` of `original`, in the order of the network. Outputs are seen
    /// multiplied by `weights`.
    pub fn new(
        original: &'a Loaded,
        target: &'a dyn Target,
        settings: &'a CalibrationSettings,
        sites: &[&'a Site],
        (weights, room): (&Sensitivities, Room),
    ) -> Result<Self, Error> {
        let dataset = settings.source.open(original, target)?;
        let samples = Samples::keeping(original, dataset, room.inputs())?;
        let taps = sites.iter();
        let taps = taps.map(|site| {
            let factors = weights.get(&site.node).cloned();
            Tap::new(original, site, settings, (samples.len(), room), factors)
        });
        let taps: Vec<Tap<'a>> = taps.collect::<Result<_, _>>()?;
        let wanted: Vec<ValueId> = taps.iter().flat_map(|tap| tap.ends.now()).collect();
        Ok(Self {
            original,
            target,
            samples,
            settings,
            taps,
            cuts: Cuts::new(original, &wanted),
            targets: Targets::default(),
            frontier: Frontier::default(),
            room,
        })
    }

    /// How the statistics of every layer are kept.
    pub fn needs(&self) -> Vec<Result<Need, Kept>> {
        self.taps.iter().map(|tap| tap.need.clone()).collect()
    }

    /// Statistics of the layers `from..to`: inputs from `work`, a copy of the original in
    /// which layers before `from` may be rewritten, targets from the original. Call in
    /// rising order: what lies before `from` is not run again. `keep`: the positions of layers
    /// with an activation behind them are kept. Ends soon after `progress` is cancelled.
    pub fn collect(
        &mut self,
        work: &Document,
        (from, to): (usize, usize),
        keep: bool,
        progress: &dyn Progress,
    ) -> Result<Vec<Result<Seen, Unfit>>, Error> {
        let Self {
            original,
            target,
            samples,
            taps: layers,
            ..
        } = self;
        let (original, target) = (*original, *target);
        let (samples, room) = (&*samples, self.room);
        let most = room.targets();
        if let Some(end) = self.targets.lacking((from, to), layers, samples, most) {
            let (taps, network) = (&layers[from..end], (original, target));
            self.targets.find(from, taps, network, samples, progress)?;
        }
        // A pass for some of the layers is part of a stage that tells of them.
        let untold = Untold(progress);
        let listener = if to - from == layers.len() {
            progress
        } else {
            &untold
        };
        let stage = Stage::begin(listener, "collecting statistics", samples.batches());
        let mut done = 0;
        let taps = &layers[from..to];
        let mut wanted: Vec<ValueId> = taps.iter().flat_map(|tap| tap.ends.now()).collect();
        let ends = wanted.len();
        // Nothing behind the last layer is run.
        if to < layers.len() {
            wanted.extend(self.cuts.before(taps[0].site.node));
        }
        let frontier = &self.frontier;
        let (segment, frontier) =
            Segment::from_either(original, target, work, frontier, samples, &wanted)?;
        let targets = &self.targets;
        let run = |batch: usize| -> Result<Yield, Error> {
            let mut values = segment.run(&frontier.batch(samples, batch)?)?;
            let cut = values.split_off(ends);
            let (first, valid) = (samples.first(batch), samples.valid(batch));
            let pairs = values.chunks_exact(2).zip(taps).enumerate();
            let sampled = pairs.map(|(i, (pair, tap))| {
                let targets = targets.batch(from + i, batch)?;
                tap.sample(first, valid, &pair[0], &pair[1], targets)
            });
            Ok((batch, cut, sampled.collect()))
        };
        let every = self.settings.held_out_every;
        let builders = taps.iter().map(|tap| tap.builder(every));
        let mut builders: Vec<Builder> = builders.collect();
        let mut next: Option<Vec<Vec<Tensor>>> = (wanted.len() > ends).then(Vec::new);
        let mut pending: Vec<Yield> = Vec::new();
        let mut keeper = Keeper::new(taps, samples.len(), keep, room.kept());
        let batches: Vec<usize> = (0..samples.batches()).collect();
        let per_batch: usize = taps.iter().map(Tap::patch_bytes).sum();
        let mut windows = batches.chunks((room.patches() / per_batch.max(1)).clamp(2, WINDOW));
        // While one window runs on all cores, the one before it is accumulated, in order.
        loop {
            stage.step(done)?;
            let window = windows.next();
            let (yields, ()) = rayon::join(
                || window.map(|w| w.par_iter().map(|b| run(*b)).collect::<Result<Vec<_>, _>>()),
                || push(&mut builders, samples, &pending),
            );
            keeper.push(taps, samples, self.settings, &pending);
            let Some(yields) = yields else { break };
            pending = yields?;
            done += pending.len();
            for (batch, cut, _) in &mut pending {
                let fits = *batch > 0 || Frontier::fits(cut, batches.len(), room.frontier());
                next = next.filter(|_| fits);
                if let Some(next) = &mut next {
                    next.push(std::mem::take(cut));
                }
                cut.clear();
            }
        }
        if let Some(batches) = next {
            self.frontier = Frontier::of(&wanted[ends..], batches);
        }
        let seen = builders.into_iter().zip(taps).zip(keeper.layers);
        let seen = seen.map(|((builder, tap), behind)| {
            let enough = |(_, kept): &(_, Positions)| kept.len() >= 2 * tap.patch_len();
            Ok(Seen {
                statistics: builder?.finish()?,
                factors: tap.factors.clone(),
                behind: behind.filter(enough),
            })
        });
        Ok(seen.collect())
    }
}

impl Keeper {
    fn new(taps: &[Tap<'_>], samples: usize, keep: bool, most: usize) -> Self {
        let behind = |tap: &Tap<'_>| {
            let need = tap.need.as_ref().ok().filter(|need| need.patches.is_none());
            tap.ends.activation.filter(|_| keep && need.is_some())
        };
        let wanted = taps.iter().filter(|tap| behind(tap).is_some());
        let bytes: usize = wanted.map(|tap| tap.patch_bytes() * samples).sum();
        let layers = taps
            .iter()
            .map(|tap| Some((behind(tap)?, Positions::new(&tap.site.kernel))));
        Self {
            layers: layers.collect(),
            every: bytes.div_ceil(most.max(1)).max(1),
        }
    }

    fn push(
        &mut self,
        taps: &[Tap<'_>],
        samples: &Samples,
        settings: &CalibrationSettings,
        pending: &[Yield],
    ) {
        let (seed, every) = (settings.source.seed(), settings.held_out_every);
        for (layer, (own, tap)) in self.layers.iter_mut().zip(taps).enumerate() {
            for (batch, _, sampled) in pending {
                for (row, seen) in sampled[layer].iter().flatten().enumerate() {
                    let Some((_, kept)) = own else { continue };
                    let sample = samples.first(*batch) + row;
                    let held = is_held_out(seed, sample as u64, every);
                    let channels = tap.site.kernel.out_channels;
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
/// their order. What does not fit a layer ends that layer alone.
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

    #[test]
    fn no_room_for_positions_is_no_division_by_it() {
        for room in [Room::new(0), Room::new(1), Room::new(u64::MAX)] {
            assert_eq!(Keeper::new(&[], 3, true, room.kept()).every, 1);
        }
    }
}
