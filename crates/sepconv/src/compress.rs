//! The pipeline: fold, survey, plan, apply, verify, write, measure.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use sepconv_analysis::Pins;
use sepconv_data::{Preprocess, SyntheticKind};
use sepconv_passes::{
    AppliedLayer, Candidate, Choice, Families, Lowering, PassError, Plan, Planner, Selection, Site,
    Survey, apply, fold_batchnorm,
};
use sepconv_targets::Target;
use serde::Serialize;

use crate::bench::{BenchRun, BenchSettings};
use crate::budget::meet;
use crate::calibrate::{CalibrationSettings, LayerFit};
use crate::compare::{Comparison, compare};
use crate::error::Error;
use crate::evaluate::{Evaluation, Evaluator};
use crate::inputs::{DataSource, synthetic_inputs};
use crate::loaded::Loaded;
use crate::planning::Solution;
use crate::progress::{Event, Progress};

/// How much to compress.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Budget {
    /// The same rank in every layer.
    Rank(usize),
    /// The share of energy that every layer keeps, in `(0, 1]`.
    Energy(f64),
    /// The fraction of the model's MACs to keep, in `(0, 1)`.
    TargetMacs(f64),
    /// The fraction of the model's parameters to keep, in `(0, 1)`.
    TargetParams(f64),
    /// The fraction of the file's bytes to keep, in `(0, 1)`.
    TargetSize(f64),
    /// The fraction of the time that the original takes on [`Settings::latency`], in `(0, 1)`.
    TargetLatency(f64),
    /// The cheapest model whose main metric is at most this much worse than the original's:
    /// percentage points or dB on [`Settings::eval`], else points of agreement with the
    /// original on calibration data that was held out of the fits.
    MaxDrop(f64),
    /// The cheapest model whose outputs stay within this signal-to-noise ratio (dB) of the
    /// original's: on calibration data held out of the fits, else on synthetic inputs.
    MinSnr(f64),
}

/// What layers are fitted to where there is no data.
#[derive(Debug, Clone, PartialEq)]
pub enum DataFree {
    /// [`DataFree::Pictures`] for a rank or a MAC budget, where the fit takes no more than
    /// about a minute on two cores; else the weights alone.
    Auto(Option<Preprocess>),
    /// Synthetic pictures with the statistics of natural ones, preprocessed as the network
    /// expects, or of a range that is guessed from the network. Where it takes no pictures,
    /// the weights alone.
    Pictures(Option<Preprocess>),
    /// The weights alone: the method of the paper.
    Weights,
}

impl Default for DataFree {
    fn default() -> Self {
        Self::Auto(None)
    }
}

/// What [`compress`] is to do.
#[derive(Clone)]
pub struct Settings {
    /// How much to compress.
    pub budget: Budget,
    /// Families of decompositions that are tried.
    pub families: Families,
    /// How chains are written; `None` chooses by itself.
    pub lowering: Option<&'static dyn Lowering>,
    /// Which convolutions are meant.
    pub selection: Selection,
    /// Input shapes fixed by the user.
    pub pins: Pins,
    /// Seed of synthetic inputs.
    pub seed: u64,
    /// Whether an existing output is replaced.
    pub force: bool,
    /// Whether layers are rewritten that then cost more MACs, to verify exactness.
    pub costlier: bool,
    /// Unlabelled data that the layers are fitted to.
    pub calibration: Option<CalibrationSettings>,
    /// What is done without such data.
    pub data_free: DataFree,
    /// Data that the original and the result are evaluated on: by labels or a target where it
    /// has them, and the result against the original.
    pub eval: Option<DataSource>,
    /// The runtime that outputs are measured on.
    pub target: &'static dyn Target,
    /// The runtime that the model is to be fast on: lowerings and ranks are chosen by what
    /// they measure there, and nothing is rewritten that is not faster. `None` counts MACs.
    pub latency: Option<LatencyTarget>,
}

/// Where time is measured.
#[derive(Clone, Copy)]
pub struct LatencyTarget {
    /// The runtime.
    pub target: &'static dyn Target,
    /// Threads of one run.
    pub threads: NonZeroUsize,
}

impl Settings {
    /// Opens the evaluation data, where given, to measure models against `original`.
    pub(crate) fn evaluator<'a>(
        &self,
        original: &'a Loaded,
    ) -> Result<Option<Evaluator<'a>>, Error> {
        let data = self.eval.as_ref();
        data.map(|data| Evaluator::against(original, data, self.target))
            .transpose()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            budget: Budget::MinSnr(30.0),
            families: Families::default(),
            lowering: None,
            selection: Selection::default(),
            pins: Pins::default(),
            seed: 0,
            force: false,
            costlier: false,
            calibration: None,
            data_free: DataFree::default(),
            eval: None,
            target: sepconv_targets::reference(),
            latency: None,
        }
    }
}

/// A rewritten model in memory.
#[derive(Debug, Clone)]
pub struct Compressed {
    /// The rewritten model.
    pub model: Loaded,
    /// What was decided for every convolution.
    pub plan: Plan,
    /// How each rewritten layer was written.
    pub applied: Vec<AppliedLayer>,
    /// Batch normalisations folded.
    pub folded: usize,
    /// How well each rewritten layer was fitted, where there was data to fit to.
    pub fits: BTreeMap<String, LayerFit>,
    /// What the layers were fitted to; `None`: their weights alone.
    pub calibration: Option<CalibrationSettings>,
    /// How the budget was solved, where one was allocated.
    pub solution: Option<Solution>,
    /// Share of each kernel's energy kept by rank 1, 2, … of its first family that was surveyed,
    /// before any data.
    pub spectra: BTreeMap<String, Vec<f64>>,
}

/// Size of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Size {
    /// MACs (batch 1 where the batch is free).
    pub macs: u64,
    /// Parameters.
    pub params: u64,
    /// File size in bytes, external data included.
    pub bytes: usize,
    /// What was measured on the evaluation data, where given.
    pub evaluation: Option<Evaluation>,
}

/// A convolution before and after.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layer {
    /// Name of the convolution.
    pub name: String,
    /// Family that took its place (`dw-pw`, `pw-dw`), or `kept`.
    pub form: String,
    /// Rank, where it was rewritten.
    pub rank: Option<usize>,
    /// Lowering, where it was rewritten.
    pub lowering: Option<String>,
    /// Why it was kept.
    pub reason: Option<String>,
    /// MACs before; `None` where the shape is unknown.
    pub macs_before: Option<u64>,
    /// MACs after.
    pub macs_after: Option<u64>,
    /// Relative Frobenius error of the best data-free kernel of that form and rank.
    pub weight_error: f64,
    /// How well the layer was fitted, where there was data to fit to.
    pub fit: Option<LayerFit>,
    /// Seconds that the convolution takes on [`Settings::latency`], where that was measured.
    pub time_before: Option<f64>,
    /// Seconds that what took its place takes.
    pub time_after: Option<f64>,
    /// Share of the kernel's squared norm that rank 1, 2, … of the data-free decomposition keeps;
    /// empty where the layer can't be rewritten.
    pub spectrum: Vec<f64>,
}

/// What [`compress_file`] did.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The input file.
    pub input: PathBuf,
    /// The file written.
    pub output: PathBuf,
    /// Size before.
    pub original: Size,
    /// Size after.
    pub compressed: Size,
    /// The convolutions in graph order.
    pub layers: Vec<Layer>,
    /// Batch normalisations folded.
    pub folded: usize,
    /// What the layers were fitted to; `None`: their weights alone.
    pub calibration: Option<CalibrationSettings>,
    /// How the budget was solved, where one was allocated.
    pub solution: Option<Solution>,
    /// The written file against the original on [`Settings::latency`].
    pub timing: Option<BenchRun>,
    /// The written file against the original, on synthetic inputs.
    pub comparison: Comparison,
    /// Extents assumed for free input dimensions.
    pub assumed: Vec<String>,
    /// The written model, read back.
    pub model: Loaded,
}

/// A model with its batch norms folded and its convolutions surveyed: what every budget
/// starts from.
pub(crate) struct Prepared {
    pub folded: Loaded,
    pub survey: Survey,
    pub norms: usize,
}

impl Prepared {
    pub fn new(
        model: &Loaded,
        settings: &Settings,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Pass {
            file: model.file(),
            source,
        };
        let graph = model.graph();
        let names: Vec<&str> = graph
            .operators()
            .filter(|(_, op)| op.is("Conv") || op.is("ConvTranspose"))
            .map(|(id, _)| graph.label(id))
            .collect();
        settings.selection.check(&names).map_err(failed)?;
        let mut document = model.document.clone();
        let norms =
            fold_batchnorm(&mut document.model.graph, &settings.selection).map_err(failed)?;
        let folded = if norms > 0 {
            model.with(document)?
        } else {
            model.clone()
        };
        let survey = Survey::of(
            folded.graph(),
            &folded.shapes,
            &settings.selection,
            &settings.families,
            &mut |done, total| {
                progress.on(if done == 0 {
                    Event::Begin {
                        stage: "decomposing",
                        total,
                    }
                } else {
                    Event::Step { done }
                });
            },
        )
        .map_err(failed)?;
        progress.on(Event::End);
        Ok(Self {
            folded,
            survey,
            norms,
        })
    }

    /// Makes a plan and applies it.
    pub fn compress(
        &self,
        planner: &dyn Planner,
        settings: &Settings,
        total_macs: u64,
    ) -> Result<Compressed, Error> {
        let failed = |source| Error::Pass {
            file: self.folded.file(),
            source,
        };
        let plan = planner.plan(&self.survey, total_macs).map_err(failed)?;
        let mut document = self.folded.document.clone();
        let applied = apply(
            &mut document.model.graph,
            &self.survey,
            &plan,
            settings.lowering,
            |layer, family, rank| layer.chain(family, rank),
        )
        .map_err(failed)?;
        Ok(Compressed {
            model: self.folded.with(document)?,
            plan,
            applied,
            folded: self.norms,
            fits: BTreeMap::new(),
            calibration: None,
            solution: None,
            spectra: BTreeMap::new(),
        })
    }
}

/// Rewrites a model in memory.
///
/// # Errors
/// [`Error::Pass`] where settings are out of range, a glob matches nothing or a budget can't
/// be met; [`Error::Nothing`] where no layer would be rewritten, unless none was selected.
pub fn compress(
    model: &Loaded,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    let settings = &widened(settings);
    let mut prepared = Prepared::new(model, settings, progress)?;
    let none_selected = prepared
        .survey
        .layers
        .iter()
        .all(|l| matches!(l.site, Err(sepconv_passes::Kept::NotSelected)));
    if none_selected && !prepared.survey.layers.is_empty() {
        return Ok(untouched(model, &prepared));
    }
    let spectra = spectra(&prepared.survey);
    let compressed = meet(model, &mut prepared, settings, progress);
    let compressed = match compressed {
        Err(Error::Pass {
            source: PassError::NothingToDo(why),
            file,
        }) => {
            return Err(Error::Nothing {
                file,
                reason: format!("no convolution can be rewritten: {why}"),
            });
        }
        other => other?,
    };
    if compressed.applied.is_empty() {
        return Err(Error::Nothing {
            file: model.file(),
            reason: format!("no convolution qualifies: {}", reasons(&compressed.plan)),
        });
    }
    Ok(Compressed {
        spectra,
        ..compressed
    })
}

/// Energies by rank of every site, of the first family that was surveyed.
fn spectra(survey: &Survey) -> BTreeMap<String, Vec<f64>> {
    let spectrum = |(site, candidates): (&Site, &[Candidate])| {
        let first = &candidates.first()?.family;
        let same = candidates.iter().filter(|c| c.family == *first);
        Some((site.name.clone(), same.map(|c| c.energy).collect()))
    };
    survey.sites().filter_map(spectrum).collect()
}

/// Budgets that are allocated have all families to choose from, unless some are named.
pub(crate) fn widened(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    let one_rank = matches!(settings.budget, Budget::Rank(_) | Budget::Energy(_));
    let search = matches!(settings.budget, Budget::MinSnr(_)) && settings.calibration.is_none();
    if settings.families.names.is_empty() && !one_rank && !search {
        let all = sepconv_factor::families().iter();
        settings.families.names = all.map(|f| f.name().to_owned()).collect();
    }
    settings
}

/// The model as it came.
fn untouched(model: &Loaded, prepared: &Prepared) -> Compressed {
    Compressed {
        model: model.clone(),
        plan: Plan::choosing(&prepared.survey, |_, _| {
            Choice::Keep(sepconv_passes::Kept::NotSelected)
        }),
        applied: Vec::new(),
        folded: 0,
        fits: BTreeMap::new(),
        calibration: None,
        solution: None,
        spectra: BTreeMap::new(),
    }
}

/// Counts why layers were kept: "3 pointwise kernel, 1 no candidate saves MACs".
pub(crate) fn reasons(plan: &Plan) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for entry in &plan.layers {
        let Choice::Keep(kept) = &entry.choice else {
            continue;
        };
        let text = kept.to_string();
        match counts.iter_mut().find(|(t, _)| *t == text) {
            Some((_, n)) => *n += 1,
            None => counts.push((text, 1)),
        }
    }
    if counts.is_empty() {
        return "the model has none".into();
    }
    let parts: Vec<String> = counts.iter().map(|(t, n)| format!("{n} x {t}")).collect();
    parts.join(", ")
}

/// Compresses a model file. The result is written beside `output`, read back, run against
/// the original, and only then renamed into place. What the runtime can't run is reported in
/// [`Comparison`], and the file is written all the same.
///
/// # Errors
/// As [`compress`]; [`Error::Onnx`] where a file can't be read or written;
/// [`Error::Data`] for the evaluation data.
pub fn compress_file(
    input: &Path,
    output: &Path,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Outcome, Error> {
    let original = Loaded::open(input, &settings.pins)?;
    let evaluator = settings.evaluator(&original)?;
    let compressed = compress(&original, settings, progress)?;
    let layers = layers(&original, &compressed);
    let (folded, assumed) = (compressed.folded, &original.shapes);
    let (calibration, solution) = (compressed.calibration.clone(), compressed.solution.clone());
    let assumed = assumed.assumed().iter().map(ToString::to_string).collect();
    let staged = compressed.model.document.stage(output, settings.force)?;
    drop(compressed);
    let written = Loaded::open(staged.path(), &settings.pins)?;
    let comparison = measure(&original, &written, settings, progress)?;
    let sizes = [&original, &written].map(|model| size(model, evaluator.as_ref(), progress));
    let [before, after] = sizes;
    let (before, after) = (before?, after?);
    let timing = time(&original, &written, settings, progress)?;
    staged.commit()?;
    Ok(Outcome {
        input: input.to_owned(),
        output: output.to_owned(),
        original: before,
        compressed: after,
        layers,
        folded,
        calibration,
        solution,
        timing,
        comparison,
        assumed,
        model: written,
    })
}

fn size(
    model: &Loaded,
    evaluator: Option<&Evaluator>,
    progress: &dyn Progress,
) -> Result<Size, Error> {
    let evaluation = evaluator.map(|e| e.evaluate(model, progress)).transpose()?;
    Ok(Size {
        macs: model.cost.macs,
        params: model.cost.params,
        bytes: model.document.source_size(),
        evaluation,
    })
}

/// The written model beside the original on the target that it is to be fast on.
fn time(
    original: &Loaded,
    written: &Loaded,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Option<BenchRun>, Error> {
    let Some(latency) = settings.latency else {
        return Ok(None);
    };
    let bench = BenchSettings {
        targets: vec![latency.target],
        threads: vec![latency.threads],
        bench: sepconv_latency::Bench::default(),
        seed: settings.seed,
    };
    let models = [original.clone(), written.clone()];
    let runs = crate::bench::bench(&models, &bench, progress)?;
    Ok(runs.into_iter().next())
}

/// Runs per kind of synthetic input: fewer for large models.
pub(crate) fn synthetic_runs(macs: u64, at_least: u64) -> usize {
    (2_000_000_000 / macs.max(1)).clamp(at_least, 8) as usize
}

fn measure(
    original: &Loaded,
    written: &Loaded,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Comparison, Error> {
    let target = settings.target;
    let runs = synthetic_runs(original.cost.macs, 1);
    let inputs = synthetic_inputs(original, runs, settings.seed, SyntheticKind::Normal);
    let compared = inputs.and_then(|inputs| compare(original, written, target, &inputs, progress));
    match compared {
        Ok(comparison) => Ok(comparison),
        Err(error @ (Error::Target { .. } | Error::Interface { .. } | Error::Data(_))) => {
            Ok(Comparison::not_run(target.name(), error.to_string()))
        }
        Err(other) => Err(other),
    }
}

fn layers(original: &Loaded, compressed: &Compressed) -> Vec<Layer> {
    let graph = original.graph();
    let known = |name: &str| {
        let rows = &original.cost.nodes;
        rows.iter()
            .find(|r| graph.label(r.node) == name && r.op_type.starts_with("Conv"))
            .and_then(|r| r.cost.macs)
    };
    let mut layers = Vec::new();
    for entry in &compressed.plan.layers {
        let before = known(&entry.layer);
        let applied = compressed.applied.iter().find(|a| a.layer == entry.layer);
        let spectrum = compressed.spectra.get(&entry.layer);
        let spectrum = spectrum.cloned().unwrap_or_default();
        layers.push(match &entry.choice {
            Choice::Keep(kept) => Layer {
                name: entry.layer.clone(),
                form: "kept".into(),
                rank: None,
                lowering: None,
                reason: Some(kept.to_string()),
                macs_before: before,
                macs_after: before,
                weight_error: 0.0,
                fit: None,
                time_before: None,
                time_after: None,
                spectrum,
            },
            Choice::Separate(c) => Layer {
                name: entry.layer.clone(),
                form: c.family.clone(),
                rank: Some(c.rank),
                lowering: applied.map(|a| a.lowering.to_owned()),
                reason: None,
                macs_before: before,
                macs_after: before.map(|_| c.macs),
                weight_error: c.weight_error,
                fit: compressed.fits.get(&entry.layer).copied(),
                time_before: None,
                time_after: None,
                spectrum,
            },
        });
    }
    layers
}
