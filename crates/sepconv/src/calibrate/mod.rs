//! Calibrated fits, layer after layer in the order of the network.
//!
//! Asymmetric reconstruction (Zhang et al. 2015, arXiv 1505.06798, section 3.3): the inputs of
//! a convolution come from the network compressed so far, its targets from the original
//! network, so that a layer makes up for the errors of those before it. Where the output of
//! a convolution is only added to another value (the end of a residual branch), the target is
//! the original sum less the other value as it is now, so that the branch also makes up for
//! the errors on the shortcut (He et al. 2017, arXiv 1707.06168, section 3.3).

mod cache;
mod collector;
mod ends;
mod fits;
mod geometry;
mod layer;
mod pictures;
mod room;
mod runnable;
mod score;
mod sensitivity;
mod targets;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use sepconv_data::{Dataset, Labels};
use sepconv_factor::{Fit, FitOptions};
use sepconv_onnx::Document;
use sepconv_passes::{AppliedLayer, Candidate, Choice, Kept, PassError, Plan, Site, Surveyed};
use sepconv_targets::Target;
use serde::{Deserialize, Serialize};

pub use pictures::Pictures;
pub(crate) use room::Room;
pub(crate) use score::{Probe, Score, score, spread};
pub(crate) use sensitivity::Sensitivities;

use collector::Collector;
use layer::Unfit;
use room::Need;
use runnable::{Written, best_runnable};
use sensitivity::sensitivities;

use crate::error::Error;
use crate::inputs::DataSource;
use crate::loaded::Loaded;
use crate::planning::Settled;
use crate::prepared::Prepared;
use crate::progress::{Progress, Stage};
use crate::settings::Settings;

/// What layers are fitted to.
#[derive(Debug, Clone)]
pub enum Source {
    /// Unlabelled data.
    Data(DataSource),
    /// Synthetic pictures, where there is no data.
    Pictures(Pictures),
}

impl Source {
    /// Seed of what is drawn: samples, positions.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Data(source) => source.seed,
            Self::Pictures(pictures) => pictures.seed,
        }
    }

    /// The data, where it is no stand-in.
    pub(crate) fn data(&self) -> Option<&DataSource> {
        match self {
            Self::Data(source) => Some(source),
            Self::Pictures(_) => None,
        }
    }

    /// The samples as a data set of the model.
    pub(crate) fn open(&self, model: &Loaded, target: &dyn Target) -> Result<Dataset, Error> {
        match self {
            Self::Data(source) => source.open(model, Labels::Ignore),
            Self::Pictures(pictures) => pictures.dataset(model, target),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(source) => write!(f, "{}", source.path.display()),
            Self::Pictures(pictures) => write!(f, "{} synthetic pictures", pictures.samples),
        }
    }
}

/// How layers are fitted to data.
#[derive(Debug, Clone)]
pub struct CalibrationSettings {
    /// What they are fitted to.
    pub source: Source,
    /// Output positions per layer, over all samples.
    pub positions: usize,
    /// Of so many samples one is held out, to end the alternation; 0 holds out none.
    pub held_out_every: u64,
    /// The least-squares fits.
    pub fit: FitOptions,
    /// How many layers share a pass over the data.
    pub schedule: Schedule,
    /// Whether the chosen chain is fitted again to all positions, held-out ones included.
    pub refit: bool,
    /// Whether output channels count by how much the network's outputs depend on them, where the
    /// source is data, the outputs are no classes and operators have gradients; else all alike.
    pub weighted: bool,
    /// Folder in which the statistics of planning are kept, so that another budget for the
    /// same model and data needs no pass over them; `None` keeps none.
    pub cache: Option<PathBuf>,
}

impl CalibrationSettings {
    /// Defaults for a data set.
    pub fn new(source: DataSource) -> Self {
        Self::of(Source::Data(source))
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            positions: 60_000,
            held_out_every: 8,
            fit: Self::fit_options(),
            schedule: Schedule::Sequential,
            refit: true,
            weighted: true,
            cache: None,
        }
    }

    /// One rank is fitted per layer: lower ones would only cost time.
    fn fit_options() -> FitOptions {
        FitOptions {
            rounds: 8,
            monotone: false,
            ..FitOptions::default()
        }
    }
}

/// How many layers share a pass over the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// One pass per layer, each of which sees the errors of all layers before it. A pass runs
    /// what lies between two layers, so that all passes together run the network once.
    Sequential,
    /// One pass for so many layers, which don't see each other's errors.
    Blocks(usize),
    /// One pass for all layers: every layer sees the original network's inputs.
    Parallel,
}

impl Schedule {
    fn layers(self) -> usize {
        match self {
            Self::Sequential => 1,
            Self::Blocks(n) => n.max(1),
            Self::Parallel => usize::MAX,
        }
    }
}

/// How well a layer was fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LayerFit {
    /// Relative error of the layer's output on the positions fitted to,
    /// `|y - y^| / |y - mean y|`.
    pub output_error: f64,
    /// The same on the positions held out.
    pub held_out_error: Option<f64>,
    /// Relative error behind the activation that follows, `|f(y) - f(y^)| / |f(y)|`, on the
    /// positions held out; `None` where the fit does not look at one.
    pub activated_error: Option<f64>,
    /// Rounds of alternating least squares.
    pub rounds: usize,
}

impl LayerFit {
    fn of(fit: &Fit) -> Self {
        let root = |e: f64| e.max(0.0).sqrt();
        Self {
            output_error: root(fit.error_fit),
            held_out_error: fit.error_held_out.map(root),
            activated_error: fit.error_activated.map(root),
            rounds: fit.rounds,
        }
    }
}

/// A calibrated model: the document, what was chosen, and how well it fits.
pub(crate) struct Calibrated {
    pub document: Document,
    pub plan: Plan,
    pub applied: Vec<AppliedLayer>,
    pub fits: BTreeMap<String, LayerFit>,
}

/// What is admissible after all, given what became of the layers so far; `None`: as it was said.
pub(crate) type Revision<'a> = &'a dyn Fn(&Settled) -> Option<Vec<Vec<Candidate>>>;

/// Nothing is revised.
pub(crate) const AS_PLANNED: fn(&Settled) -> Option<Vec<Vec<Candidate>>> = |_| None;

/// Fits each layer with the best of its admissible candidates. `admissible` is parallel to
/// the survey's layers; a layer without any stays. It is revised before every pass, but for which
/// layers are looked at. Layers that share a pass by the schedule are collected in several where
/// their statistics don't go into the memory together; they don't see each other's errors all
/// the same. A layer that can't be fitted stays, with its reason.
pub(crate) fn calibrate(
    prepared: &Prepared,
    (admissible, revise): (&[Vec<Candidate>], Revision<'_>),
    settings: &Settings,
    calibration: &CalibrationSettings,
    progress: &dyn Progress,
) -> Result<Calibrated, Error> {
    let model = &prepared.folded;
    let failed = |source| Error::Pass {
        file: model.file(),
        source,
    };
    let mut result = Calibrated {
        document: model.document.clone(),
        plan: Plan::choosing(&prepared.survey, |_, _| Choice::Keep(Kept::Planned)),
        applied: Vec::new(),
        fits: BTreeMap::new(),
    };
    let layers: Vec<(usize, &Surveyed, &Site)> = prepared
        .survey
        .layers
        .iter()
        .enumerate()
        .filter(|(i, _)| !admissible[*i].is_empty())
        .filter_map(|(i, l)| Some((i, l, &l.site.as_ref().ok()?.0)))
        .collect();
    let sites: Vec<&Site> = layers.iter().map(|(_, _, site)| *site).collect();
    let weights = sensitivities(prepared, calibration, settings.target, None, progress)?;
    let stage = Stage::begin(progress, "calibrating", layers.len());
    let shared = (weights, settings.room());
    let mut collector = Collector::new(model, settings.target, calibration, &sites, shared)?;
    let needs = collector.needs();
    let mut done = 0;
    let mut settled = Settled::new();
    let mut passed: Option<Document> = None;
    for (end, block) in passes(&layers, calibration.schedule, (&needs, settings.room())) {
        let range = (done, done + block.len());
        let keep = calibration.fit.steps > 0;
        if passed.is_none() && !end {
            passed = Some(result.document.clone());
        }
        let work = passed.as_ref().unwrap_or(&result.document);
        let seen = collector.collect(work, range, keep, progress)?;
        if end {
            passed = None;
        }
        let revised = revise(&settled);
        let admissible = revised.as_deref().unwrap_or(admissible);
        for (((i, layer, site), seen), need) in block.iter().zip(&seen).zip(&needs[range.0..]) {
            let how = (settings, calibration);
            let (work, all) = ((prepared, &result.document), admissible[*i].clone());
            let best = match seen {
                Ok(seen) => best_runnable(work, site, all, seen, how).map_err(Unfit::of),
                Err(reason) => Err(reason.clone()),
            };
            done += 1;
            stage.step(done)?;
            let best = match best {
                Ok(Ok(best)) => best.ok_or(None),
                Ok(Err(reason)) => Err(Some(Kept::Unrunnable(reason))),
                Err(Unfit(reason)) => {
                    Err(Some(need.clone().err().unwrap_or(Kept::Unfitted(reason))))
                }
            };
            let Written {
                candidate,
                fit,
                document,
                lowering,
            } = match best {
                Ok(written) => written,
                Err(kept) => {
                    settled.insert(*i, None);
                    if let Some(kept) = kept {
                        result.plan.layers[*i].choice = Choice::Keep(kept);
                    }
                    continue;
                }
            };
            settled.insert(*i, Some(candidate.clone()));
            result.document = document;
            result.fits.insert(layer.name.clone(), LayerFit::of(&fit));
            result.applied.push(AppliedLayer {
                layer: layer.name.clone(),
                lowering: lowering.to_owned(),
            });
            result.plan.layers[*i].choice = Choice::Separate(candidate);
        }
    }
    let written = result.document.model.graph.verify();
    written.map_err(|e| failed(PassError::of("separate-conv")(e)))?;
    Ok(result)
}

/// Layers in parts that are collected together, each with whether it is the last of a pass of the
/// schedule.
fn passes<'l, T>(
    layers: &'l [T],
    schedule: Schedule,
    (needs, room): (&[Result<Need, Kept>], Room),
) -> Vec<(bool, &'l [T])> {
    let mut parts = Vec::new();
    let mut first = 0;
    for block in layers.chunks(schedule.layers().min(layers.len().max(1))) {
        let mut rest = block;
        while !rest.is_empty() {
            let some = room.together(&needs[first..first + rest.len()]);
            let (part, behind) = rest.split_at(some);
            parts.push((behind.is_empty(), part));
            first += some;
            rest = behind;
        }
    }
    parts
}
