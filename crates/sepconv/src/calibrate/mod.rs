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
mod layer;
mod pictures;
mod targets;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use sepconv_data::{Dataset, Labels};
use sepconv_factor::{
    Behind, Calibration, Chain, FactorError, Fit, FitOptions, Kernel, SplitStatistics, family,
};
use sepconv_onnx::Document;
use sepconv_passes::{
    AppliedLayer, Candidate, Choice, Kept, PassError, Plan, Site, Surveyed, replace,
};
use sepconv_targets::Target;
use serde::Serialize;

pub use pictures::Pictures;

use cache::StatisticsCache;
use collector::{Collector, Seen};

use crate::compress::{Prepared, Settings};
use crate::error::Error;
use crate::inputs::DataSource;
use crate::loaded::Loaded;
use crate::progress::{Event, Progress};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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

/// Fits each layer with the best of its admissible candidates. `admissible` is parallel to
/// the survey's layers; a layer without any stays.
pub(crate) fn calibrate(
    prepared: &Prepared,
    admissible: &[Vec<Candidate>],
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
    let mut collector = Collector::new(model, settings.target, calibration, &sites)?;
    progress.on(Event::Begin {
        stage: "calibrating",
        total: layers.len(),
    });
    let mut done = 0;
    for block in layers.chunks(calibration.schedule.layers().min(layers.len().max(1))) {
        let range = (done, done + block.len());
        let seen = collector.collect(&result.document, range, calibration.fit.steps > 0)?;
        for ((i, layer, site), seen) in block.iter().zip(&seen) {
            let best = best_fit(model, site, &admissible[*i], seen, calibration);
            done += 1;
            let Some((candidate, fit)) = best.map_err(|e| unfit(model, &layer.name, e))? else {
                continue;
            };
            result.fits.insert(layer.name.clone(), LayerFit::of(&fit));
            let lowering = settings.lowering.or_else(|| candidate.planned());
            let graph = &mut result.document.model.graph;
            let written = replace(graph, site, &fit.chain, lowering).map_err(failed)?;
            result.applied.push(AppliedLayer {
                layer: layer.name.clone(),
                lowering: written,
            });
            result.plan.layers[*i].choice = Choice::Separate(candidate);
            progress.on(Event::Step { done });
        }
    }
    result
        .document
        .model
        .graph
        .verify()
        .map_err(|e| failed(e.into()))?;
    progress.on(Event::End);
    Ok(result)
}

/// A fit that failed.
fn unfit(model: &Loaded, node: &str, source: FactorError) -> Error {
    Error::Pass {
        file: model.file(),
        source: PassError::Factor {
            node: node.to_owned(),
            source,
        },
    }
}

/// What statistics say of one layer.
#[derive(Debug, Default)]
pub(crate) struct Score {
    /// Relative squared output error of every candidate when the layer alone is replaced.
    pub errors: Vec<f64>,
    /// Chains to probe the outputs with: of small and of large errors.
    pub probes: Vec<Probe>,
}

/// A chain for one layer.
#[derive(Debug)]
pub(crate) struct Probe {
    pub error: f64,
    pub chain: Chain,
}

/// Errors that probes should have, about.
const PROBED: [f64; 3] = [0.02, 0.15, 0.6];

/// Scores every candidate of every layer: what a planner allocates by. One pass over the data
/// for all layers, closed-form fits with one round of refinement.
pub(crate) fn score(
    prepared: &Prepared,
    settings: &Settings,
    calibration: &CalibrationSettings,
    progress: &dyn Progress,
) -> Result<Vec<Score>, Error> {
    let model = &prepared.folded;
    let sites: Vec<&Site> = prepared.survey.sites().map(|(site, _)| site).collect();
    progress.on(Event::Begin {
        stage: "scoring",
        total: sites.len(),
    });
    let quick = CalibrationSettings {
        fit: FitOptions {
            rounds: 1,
            monotone: false,
            ..calibration.fit
        },
        ..calibration.clone()
    };
    let cache = StatisticsCache::open(model, &sites, calibration, settings.target);
    let stored = cache.as_ref().and_then(|c| c.read(sites.len()));
    let statistics = match stored {
        Some(statistics) => statistics,
        None => {
            let all = (0, sites.len());
            let mut collector = Collector::new(model, settings.target, calibration, &sites)?;
            let seen = collector.collect(&model.document, all, false)?;
            let statistics: Vec<_> = seen.into_iter().map(|s| s.statistics).collect();
            if let Some(cache) = &cache {
                cache.write(&statistics);
            }
            statistics
        }
    };
    let done = AtomicUsize::new(0);
    let mut sites = statistics.into_iter();
    let layers: Vec<_> = prepared.survey.layers.iter().collect();
    let work: Vec<_> = layers
        .iter()
        .map(|layer| match &layer.site {
            Ok((site, candidates)) => Some((site, candidates, sites.next()?)),
            Err(_) => None,
        })
        .collect();
    let scores = work.into_par_iter().zip(&layers).map(|(work, layer)| {
        let Some((site, candidates, statistics)) = work else {
            return Ok(Score::default());
        };
        let fits = fits(model, site, candidates, &statistics, &quick);
        let fits = fits.map_err(|e| unfit(model, &layer.name, e))?;
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        progress.on(Event::Step { done });
        Ok(Score::of(candidates, fits))
    });
    let scores = scores.collect();
    progress.on(Event::End);
    scores
}

impl Score {
    fn of(candidates: &[Candidate], fits: Vec<Fit>) -> Self {
        let errors: Vec<f64> = fits.iter().map(|f| held_out(f).max(0.0)).collect();
        let nearest = |wanted: f64| {
            let distance = |i: &usize| (errors[*i].max(1e-9) / wanted).ln().abs();
            let all = (0..errors.len()).filter(|i| candidates[*i].saves());
            all.min_by(|a, b| distance(a).total_cmp(&distance(b)))
        };
        let mut chosen: Vec<usize> = PROBED.iter().filter_map(|e| nearest(*e)).collect();
        chosen.dedup();
        let probe = |i: usize| Probe {
            error: errors[i],
            chain: fits[i].chain.clone(),
        };
        Self {
            probes: chosen.into_iter().map(probe).collect(),
            errors,
        }
    }
}

fn held_out(fit: &Fit) -> f64 {
    fit.error_held_out.unwrap_or(fit.error_fit)
}

fn fits(
    model: &Loaded,
    site: &Site,
    candidates: &[Candidate],
    statistics: &SplitStatistics,
    settings: &CalibrationSettings,
) -> Result<Vec<Fit>, FactorError> {
    let kernel = kernel(model, site)?;
    let calibration = Calibration::new(&kernel, statistics, settings.fit)?;
    let mut fitters = BTreeMap::new();
    for candidate in candidates {
        if let Some(found) = family(&candidate.family)
            && !fitters.contains_key(found.name())
        {
            fitters.insert(found.name(), found.fitter(&calibration)?);
        }
    }
    candidates
        .iter()
        .filter_map(|c| Some(fitters.get(c.family.as_str())?.fit(c.rank)))
        .collect()
}

fn kernel(model: &Loaded, site: &Site) -> Result<Kernel, FactorError> {
    let weights = site.weights(model.graph());
    weights.map_err(|_| FactorError::Shape("the weight is gone"))
}

/// The best candidate by what it leaves on the positions held out, behind the activation
/// where there is one, fitted as well as can be.
fn best_fit(
    model: &Loaded,
    site: &Site,
    candidates: &[Candidate],
    seen: &Seen,
    settings: &CalibrationSettings,
) -> Result<Option<(Candidate, Fit)>, FactorError> {
    let statistics = &seen.statistics;
    let behind = seen.behind.as_ref().map(|(activation, positions)| Behind {
        activation: *activation,
        positions,
    });
    let mut best: Option<(f64, &Candidate, Fit)> = None;
    for (candidate, fit) in candidates
        .iter()
        .zip(fits(model, site, candidates, statistics, settings)?)
    {
        let error = match &behind {
            Some(behind) => behind.error(&fit.chain)?,
            None => held_out(&fit),
        };
        if best.as_ref().is_none_or(|(least, ..)| error < *least) {
            best = Some((error, candidate, fit));
        }
    }
    let Some((_, candidate, mut fit)) = best else {
        return Ok(None);
    };
    if let (Some(behind), Some(family)) = (&behind, family(&candidate.family)) {
        let kernel = kernel(model, site)?;
        fit = behind.improve(
            &kernel,
            statistics,
            family,
            &fit,
            settings.fit,
            settings.refit,
        )?;
    } else if let Some(chain) = refit(model, site, candidate, fit.rounds, statistics, settings)? {
        fit.chain = chain;
    }
    Ok(Some((candidate.clone(), fit)))
}

/// The chosen chain fitted again to all positions, with as many rounds as were best for the
/// positions held out. `None` where nothing was held out.
fn refit(
    model: &Loaded,
    site: &Site,
    candidate: &Candidate,
    rounds: usize,
    statistics: &SplitStatistics,
    settings: &CalibrationSettings,
) -> Result<Option<Chain>, FactorError> {
    if !settings.refit || statistics.held_out.count() == 0 {
        return Ok(None);
    }
    let whole = statistics.whole()?;
    let settings = CalibrationSettings {
        fit: FitOptions {
            rounds,
            tolerance: 0.0,
            monotone: false,
            ..settings.fit
        },
        ..settings.clone()
    };
    let one = std::slice::from_ref(candidate);
    let fits = fits(model, site, one, &whole, &settings)?;
    Ok(fits.into_iter().next().map(|fit| fit.chain))
}
