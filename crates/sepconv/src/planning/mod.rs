//! One budget for the whole model, allocated over its layers by what they do to the outputs.
//!
//! Every candidate of every layer has a relative output error, from one pass over the data. A
//! few layers at a time are then replaced for a trial, which tells what an error at that layer
//! does to the outputs; damages of layers are taken to add up. What a candidate costs is
//! counted or measured. The rest is a multiple-choice knapsack ([`sepconv_passes::knapsack`]).

mod cost;
mod damage;
mod near;
mod probe;
mod solve;
mod timer;
mod validate;

pub(crate) use cost::{Costs, Written};
use std::collections::{BTreeMap, BTreeSet};

pub use cost::Unit;
pub(crate) use probe::Prober;
pub(crate) use solve::{SHARE, Settled};
pub(crate) use timer::Timer;
pub use validate::{Prediction, validate};

use sepconv_factor::random::Mmix;
use sepconv_factor::{Chain, RankUnit};
use sepconv_onnx::Document;
use sepconv_passes::{Candidate, Plan, Site, Survey, Surveyed, replace};
use serde::Serialize;

use crate::calibrate::{CalibrationSettings, Probe, Score, score, spread};
use crate::error::Error;
use crate::loaded::Loaded;
use crate::prepared::Prepared;
use crate::progress::{Progress, Stage};
use crate::settings::Settings;
use damage::{DamageCurve, between};
use near::AT_FIRST;

/// Candidates per family that are looked at, at most: ranks that count channels are many.
const PER_FAMILY: usize = 40;

/// A solved budget.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Solution {
    /// Cost of the planned model as a fraction of the original's.
    pub fraction: f64,
    /// Predicted damage at the outputs: the mean divergence of classes in nats, or the
    /// relative squared error of other outputs.
    pub damage: f64,
    /// No plan within the budget has less predicted damage.
    pub bound: f64,
    /// Predicted time as a fraction of the original's, where layers were timed.
    pub time: Option<f64>,
    /// The candidate of every layer of the survey, none where it stays.
    #[serde(skip)]
    pub chosen: Vec<Option<Candidate>>,
    /// Per layer of the survey, other candidates that cost no more than the one chosen and do about
    /// as much damage: fits of them may turn out better.
    #[serde(skip)]
    pub rivals: Vec<Vec<Candidate>>,
    /// The fraction of the cost that was asked for, and the price that time had.
    #[serde(skip)]
    pub(crate) terms: (f64, f64),
}

/// What planning knows of a model: budgets are solved without running it again.
pub(crate) struct Planning {
    costs: Costs,
    /// Seconds on the settings' target, where there is one.
    timed: Option<Costs>,
    /// Per layer and candidate.
    damages: Vec<Vec<f64>>,
    candidates: Vec<Vec<Candidate>>,
    /// Whether costs are counted, and so known without a measurement.
    counted: bool,
    /// Per layer and candidate: whether it is timed, where layers are.
    looked: Vec<Vec<bool>>,
}

impl Planning {
    /// Collects statistics, scores and probes, and costs all candidates; with what times more of
    /// them. Thins out the candidates of `prepared`.
    pub fn new<'a>(
        model: &'a Loaded,
        prepared: &'a mut Prepared,
        settings: &'a Settings,
        calibration: Option<&CalibrationSettings>,
        unit: Unit,
        progress: &'a dyn Progress,
    ) -> Result<(Self, Timer<'a>), Error> {
        thin(prepared, settings);
        let scores = match calibration {
            Some(calibration) => {
                let scores = score(prepared, settings, calibration, progress)?;
                prepared.keep_unfitted(&scores)?;
                Some(scores)
            }
            None => None,
        };
        let prepared = &*prepared;
        let timer = Timer {
            model,
            prepared,
            settings,
            unit,
            progress,
        };
        let damages = match calibration.zip(scores) {
            Some((calibration, scores)) => {
                damages(prepared, settings, calibration, scores, progress)?
            }
            None => weight_damages(prepared),
        };
        let mut looked = promising(prepared, &damages);
        // What was dropped is not timed either.
        let all = looked.iter_mut().flatten().zip(damages.iter().flatten());
        all.for_each(|(looked, damage)| *looked &= damage.is_finite());
        let timed = match settings.latency {
            None if unit != Unit::Latency => None,
            _ => {
                let wanted = |layer: usize, candidate: usize| looked[layer][candidate];
                Some(timer.costs(&wanted)?)
            }
        };
        let mut costs = timer.budgeted(timed.as_ref())?;
        costs.drop_infinite(&damages);
        let layers = prepared.survey.layers.iter();
        let candidates = layers.map(|layer| match &layer.site {
            Ok((_, candidates)) => candidates.clone(),
            Err(_) => Vec::new(),
        });
        let planning = Self {
            costs,
            timed,
            damages,
            candidates: candidates.collect(),
            counted: matches!(unit, Unit::Macs | Unit::Params),
            looked,
        };
        Ok((planning, timer))
    }

    /// Seconds of a plan's rewritten layers before and after, where they were timed.
    pub fn times(&self, prepared: &Prepared, plan: &Plan) -> BTreeMap<String, (f64, f64)> {
        let timed = self.timed.as_ref();
        timed.map_or_else(BTreeMap::new, |costs| costs.of_plan(prepared, plan))
    }

    /// The least fraction of the original's cost that can be reached.
    pub fn least(&self) -> f64 {
        self.costs.least()
    }

    /// A plan that takes an arbitrary candidate of about half of the layers, with its
    /// predicted damage: to compare with what it does.
    fn arbitrary(&self, seed: u64) -> Solution {
        let mut generator = Mmix::new(seed);
        let mut draw = |n: usize| generator.below(n);
        let mut damage = 0.0;
        let mut chosen = Vec::new();
        for (candidates, damages) in self.candidates.iter().zip(&self.damages) {
            let one = (!candidates.is_empty() && draw(2) == 0).then(|| draw(candidates.len()));
            damage += one.map_or(0.0, |i| damages[i]);
            chosen.push(one.map(|i| candidates[i].clone()));
        }
        Solution {
            fraction: 1.0,
            damage,
            bound: damage,
            time: None,
            rivals: Vec::new(),
            terms: (1.0, 0.0),
            chosen,
        }
    }
}

/// Length of a patch from which the dearest fits are not made.
const WIDE: usize = 2304;

/// Drops candidates that save nothing, and of families with many ranks all but some: those
/// whose rank the target computes at full speed. Of wide kernels, whose fits take minutes, also
/// those that save less than a quarter, and channels between the stages of more than twice the
/// kernel's own.
fn thin(prepared: &mut Prepared, settings: &Settings) {
    let step = settings
        .latency
        .as_ref()
        .map_or(1, |l| l.target.channel_step());
    let Survey { layers, families } = &mut prepared.survey;
    for layer in layers {
        let Ok((site, candidates)) = &mut layer.site else {
            continue;
        };
        let counts_channels =
            |c: &Candidate| families.rank_unit(&c.family) != Some(RankUnit::Terms);
        let wide = site.kernel.out_channels.min(site.kernel.in_channels) > step;
        candidates.retain(|c| c.saves() && c.params < site.kernel.len() as u64 * 2);
        candidates.retain(|c| !wide || !counts_channels(c) || c.rank % step == 0);
        let kernel = &site.kernel;
        if kernel.group_in() * kernel.taps() >= WIDE {
            let most = 2 * kernel.group_in().max(kernel.group_out());
            candidates.retain(|c| c.macs * 4 <= c.macs_before * 3);
            candidates.retain(|c| !counts_channels(c) || c.rank <= most);
        }
        let kept = spread(candidates, PER_FAMILY).into_iter();
        *candidates = kept.map(|i| candidates[i].clone()).collect();
    }
}

/// Without data: the loss of energy, so that damages multiply the kept energies (Zhang et al.
/// 2015, arXiv 1505.06798, section 2.4).
fn weight_damages(prepared: &Prepared) -> Vec<Vec<f64>> {
    let layers = prepared.survey.layers.iter();
    let of = |candidates: &[Candidate]| -> Vec<f64> {
        let losses = candidates.iter().map(|c| -c.energy.max(1e-12).ln());
        losses.map(|l| l.max(0.0)).collect()
    };
    layers
        .map(|layer| layer.site.as_ref().map_or(Vec::new(), |(_, c)| of(c)))
        .collect()
}

/// Layers that are probed, all of them; of more, [`SAMPLE`], so that the work grows with the depth
/// and not with its square: what a layer behind which half of the network lies does to the outputs
/// takes half of the network to find out.
const PROBED: usize = 64;
/// Layers that are probed of many, spread over the depth.
const SAMPLE: usize = 16;

/// Of `count` layers, those that are probed.
fn sampled(count: usize) -> BTreeSet<usize> {
    match count {
        0..=PROBED => (0..count).collect(),
        _ => (0..SAMPLE)
            .map(|i| i * (count - 1) / (SAMPLE - 1))
            .collect(),
    }
}

/// Errors at the layers turned into damage at the outputs. Of a deep network some layers are
/// probed, and those between them are taken to lie between.
fn damages(
    prepared: &Prepared,
    settings: &Settings,
    calibration: &CalibrationSettings,
    scores: Vec<Score>,
    progress: &dyn Progress,
) -> Result<Vec<Vec<f64>>, Error> {
    let model = &prepared.folded;
    let layers: Vec<(&Surveyed, Score)> = prepared.survey.layers.iter().zip(scores).collect();
    let open = layers.iter().enumerate();
    let open = open.filter(|(_, (layer, score))| layer.site.is_ok() && !score.probes.is_empty());
    let open: Vec<usize> = open.map(|(i, _)| i).collect();
    let probed: Vec<usize> = sampled(open.len()).into_iter().map(|i| open[i]).collect();
    let stage = Stage::begin(progress, "probing", probed.len());
    let mut prober = Prober::new(
        model,
        settings.target,
        calibration,
        probed.len(),
        settings.room(),
    )?;
    let mut found = BTreeMap::new();
    for (done, i) in probed.into_iter().enumerate() {
        let (layer, score) = &layers[i];
        found.insert(i, probe(prepared, &mut prober, layer, score)?);
        stage.step(done + 1)?;
    }
    drop(stage);
    let plain = DamageCurve::new(Vec::new());
    let none = BTreeSet::new();
    let of = |(i, (layer, score)): (usize, &(&Surveyed, Score))| {
        let before = found.range(..=i).next_back();
        let behind = found.range(i..).next();
        let share = match (before, behind) {
            (Some((a, _)), Some((b, _))) if a < b => (i - a) as f64 / (b - a) as f64,
            _ => 0.0,
        };
        let (before, behind) = (before.or(behind), behind.or(before));
        // A layer that has nothing to be probed by is as its error says.
        let known = open.contains(&i).then(|| before.zip(behind)).flatten();
        let curves = known.map_or((&plain, &plain), |((_, a), (_, b))| (&a.curve, &b.curve));
        let dropped = found.get(&i).map_or(&none, |p| &p.dropped);
        let candidates = layer.site.as_ref().map_or(&[][..], |(_, all)| all);
        let damage =
            |(error, candidate): (&f64, &Candidate)| match dropped.contains(&candidate.family) {
                true => f64::INFINITY,
                false if share == 0.0 => curves.0.at(*error),
                false => between(curves, share, *error),
            };
        score.errors.iter().zip(candidates).map(damage).collect()
    };
    Ok(layers.iter().enumerate().map(of).collect())
}

/// What probes of a layer found.
struct Probed {
    curve: DamageCurve,
    /// Families that can't be written or run.
    dropped: BTreeSet<String>,
}

/// Probes a layer. A family that can't be written or run is dropped.
fn probe(
    prepared: &Prepared,
    prober: &mut Prober<'_>,
    layer: &Surveyed,
    score: &Score,
) -> Result<Probed, Error> {
    let mut points = Vec::new();
    let mut dropped = BTreeSet::new();
    let mut out = |probe: &Probe, error: Error| {
        let reason = match error {
            Error::Target { source, .. } => source.to_string(),
            Error::Pass { source, .. } => source.to_string(),
            other => return Err(other),
        };
        prepared.dropped(&layer.name, probe.chain.family, &reason);
        dropped.insert(probe.chain.family.to_owned());
        Ok(())
    };
    if let Ok((site, _)) = &layer.site {
        let mut written = Vec::new();
        let mut documents = Vec::new();
        for probe in &score.probes {
            match trial(prepared, site, &probe.chain) {
                Ok(document) => {
                    written.push(probe);
                    documents.push(document);
                }
                Err(error) => out(probe, error)?,
            }
        }
        let found = prober.damages(site.node, &documents);
        for (probe, damage) in written.into_iter().zip(found) {
            match damage {
                Ok(damage) => points.push((probe.error, damage)),
                Err(error) => out(probe, error)?,
            }
        }
    }
    Ok(Probed {
        curve: DamageCurve::new(points),
        dropped,
    })
}

/// The original with one convolution replaced.
fn trial(prepared: &Prepared, site: &Site, chain: &Chain) -> Result<Document, Error> {
    let mut document = prepared.folded.document.clone();
    let written = replace(&mut document.model.graph, site, chain, None);
    written.map_err(|source| Error::Pass {
        file: prepared.folded.file(),
        source,
    })?;
    Ok(document)
}

/// Per layer and candidate: whether it is timed before there is a plan. Those that another one of
/// their layer beats in MACs and in damage by far are not.
fn promising(prepared: &Prepared, damages: &[Vec<f64>]) -> Vec<Vec<bool>> {
    let layers = prepared.survey.layers.iter().zip(damages);
    let of = |(layer, damages): (&Surveyed, &Vec<f64>)| {
        let all = layer.site.as_ref().map_or(&[][..], |(_, all)| all);
        let beaten = |i: usize| {
            let better = |(c, damage): (&Candidate, &f64)| {
                c.macs as f64 * 1.5 < all[i].macs as f64 && *damage <= damages[i]
            };
            all.iter().zip(damages).any(better)
        };
        let mut first = vec![false; all.len()];
        let some = spread(all, AT_FIRST).into_iter();
        some.for_each(|i| first[i] = !beaten(i));
        first
    };
    layers.map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_layers_some_are_probed_the_first_and_the_last_among_them() {
        assert_eq!(sampled(0), BTreeSet::new());
        assert_eq!(sampled(PROBED), (0..PROBED).collect());
        let some = sampled(300);
        assert_eq!(
            (some.len(), some.first(), some.last()),
            (SAMPLE, Some(&0), Some(&299))
        );
    }
}
