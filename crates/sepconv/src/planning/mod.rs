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
use std::collections::BTreeMap;

pub use cost::Unit;
pub(crate) use probe::Prober;
pub(crate) use solve::{SHARE, Settled};
pub(crate) use timer::Timer;
pub use validate::{Prediction, validate};

use sepconv_factor::Chain;
use sepconv_onnx::Document;
use sepconv_passes::{Candidate, Plan, Site, Surveyed, replace};
use serde::Serialize;

use crate::calibrate::{CalibrationSettings, Score, score, spread};
use crate::error::Error;
use crate::loaded::Loaded;
use crate::prepared::Prepared;
use crate::progress::{Event, Progress, step};
use crate::settings::Settings;
use damage::DamageCurve;
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
        let looked = promising(prepared, &damages);
        let timed = match settings.latency {
            None if unit != Unit::Latency => None,
            _ => {
                let wanted = |layer: usize, candidate: usize| looked[layer][candidate];
                Some(timer.costs(&wanted)?)
            }
        };
        let costs = timer.budgeted(timed.as_ref())?;
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
        let mut state = seed;
        let mut draw = |n: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as usize) % n.max(1)
        };
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
    for layer in &mut prepared.survey.layers {
        let Ok((site, candidates)) = &mut layer.site else {
            continue;
        };
        let counts_channels = |c: &Candidate| !matches!(c.family.as_str(), "dw-pw" | "pw-dw");
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

/// Errors at the layers turned into damage at the outputs.
fn damages(
    prepared: &Prepared,
    settings: &Settings,
    calibration: &CalibrationSettings,
    scores: Vec<Score>,
    progress: &dyn Progress,
) -> Result<Vec<Vec<f64>>, Error> {
    let model = &prepared.folded;
    let probed = scores.iter().filter(|s| !s.probes.is_empty()).count();
    let mut prober = Prober::new(model, settings.target, calibration, probed, settings.room())?;
    progress.on(Event::Begin {
        stage: "probing",
        total: probed,
    });
    let mut damages = Vec::new();
    let mut done = 0;
    for (layer, score) in prepared.survey.layers.iter().zip(scores) {
        let mut points = Vec::new();
        if let (Ok((site, _)), false) = (&layer.site, score.probes.is_empty()) {
            let documents = score.probes.iter().map(|p| trial(prepared, site, &p.chain));
            let documents = documents.collect::<Result<Vec<_>, Error>>()?;
            let found = prober.damages(site.node, &documents)?;
            points.extend(score.probes.iter().map(|p| p.error).zip(found));
            done += 1;
            step(progress, done)?;
        }
        let curve = DamageCurve::new(points);
        damages.push(score.errors.iter().map(|e| curve.at(*e)).collect());
    }
    progress.on(Event::End);
    Ok(damages)
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
