//! A model file in, a model file out, and what became of it.

use std::path::{Path, PathBuf};

use sepconv_analysis::NodeRow;
use sepconv_ir::{Graph, Operator};
use sepconv_latency::Bench;
use sepconv_onnx::{Document, Staged};
use sepconv_passes::{AppliedLayer, Candidate, Choice, Site, lowering};
use serde::Serialize;

use crate::bench::BenchRun;
use crate::calibrate::{CalibrationSettings, LayerFit};
use crate::compare::Comparison;
use crate::compress::{Compressed, compress, shaped};
use crate::error::Error;
use crate::evaluate::{Evaluation, Evaluator};
use crate::functions::reaching;
use crate::loaded::Loaded;
use crate::planning::Solution;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::saved_plan::SavedPlan;
use crate::settings::Settings;
use crate::tuning::Tuning;

/// Size of a model.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Size {
    /// MACs (batch 1 where the batch is free).
    pub macs: u64,
    /// Parameters.
    pub params: u64,
    /// Bytes on disk: the file, and the files of external data that it refers to.
    pub bytes: usize,
    /// What was measured on the evaluation data, where given.
    pub evaluation: Option<Evaluation>,
}

/// A convolution before and after.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Layer {
    /// Name of the convolution.
    pub name: String,
    /// Whether it is in a subgraph or a local function. Its MACs are then those of one run of the
    /// body, and no part of the model's.
    pub in_subgraph: bool,
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
    /// `Pad`s folded.
    pub pads: usize,
    /// What the layers were fitted to; `None`: their weights alone.
    pub calibration: Option<CalibrationSettings>,
    /// How the budget was solved, where one was allocated.
    pub solution: Option<Solution>,
    /// What tuning did, where it was asked for.
    pub tuning: Option<Tuning>,
    /// A line for each family of candidates that was dropped for a layer, as
    /// [`Compressed::dropped`].
    pub dropped: Vec<String>,
    /// The written file against the original on [`Settings::latency`].
    pub timing: Option<BenchRun>,
    /// The written file against the original: on calibration samples that were held out, else on
    /// evaluation data, else on random inputs.
    pub comparison: Comparison,
    /// Extents assumed for free input dimensions.
    pub assumed: Vec<String>,
    /// Extents of free input dimensions that the data says.
    pub shaped: Vec<String>,
    /// The plan, to be saved and applied again.
    pub plan: SavedPlan,
    /// The written model, read back.
    pub model: Loaded,
}

/// Compresses a model file. The result is written beside `output`, read back, run against
/// the original, and only then renamed into place, with its external data ([`Document::stage`]);
/// that it can be written there is checked before the work. What the runtime can't run is reported in
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
    let settings = &settings.planned()?;
    Staged::check(output, settings.force)?;
    let original = Loaded::open(input, &settings.pins)?;
    let (outcome, staged) = finished(&original, settings, progress, |compressed| {
        let staged = compressed.document.stage(output, settings.force)?;
        Ok((staged.open()?, staged))
    })?;
    staged.commit()?;
    Ok(Outcome {
        input: input.to_owned(),
        output: output.to_owned(),
        ..outcome
    })
}

/// Compresses `original`, has it written and read back by `write`, and measures what was
/// written.
pub(crate) fn finished<T>(
    original: &Loaded,
    settings: &Settings,
    progress: &dyn Progress,
    write: impl FnOnce(&Loaded) -> Result<(Document, T), Error>,
) -> Result<(Outcome, T), Error> {
    let settings = &settings.holding_out();
    let original = &*shaped(original, settings)?;
    let original = &*reaching(original, settings)?;
    let evaluator = settings.evaluator(original)?;
    let compressed = compress(original, settings, progress)?;
    let layers = layers(original, &compressed);
    let plan = SavedPlan::of(original, &compressed, settings);
    let folded = compressed.folded;
    let [before, after] = [original, &compressed.model].map(pads);
    let pads = before.saturating_sub(after);
    let (calibration, solution) = (compressed.calibration.clone(), compressed.solution.clone());
    let tuning = compressed.tuning.clone();
    let dropped = compressed.dropped.clone();
    let (written, staged) = write(&compressed.model)?;
    // What nobody changed computes the same, and is not run.
    let untouched = compressed.applied.is_empty() && !compressed.model.graph().is_modified();
    drop(compressed);
    let written = original.with(written)?;
    let comparison = match untouched {
        true => Comparison::not_run(settings.target.name(), "nothing was changed".into()),
        false => measure(original, &written, settings, progress)?,
    };
    let sizes = [original, &written].map(|model| size(model, evaluator.as_ref(), progress));
    let [before, after] = sizes;
    let (before, after) = (before?, after?);
    let timing = time(original, &written, settings, progress)?;
    let outcome = Outcome {
        input: original.file().into(),
        output: written.file().into(),
        original: before,
        compressed: after,
        layers,
        folded,
        pads,
        calibration,
        solution,
        tuning,
        dropped,
        timing,
        comparison,
        assumed: original.assumed(),
        shaped: original.shaped(),
        plan,
        model: written,
    };
    Ok((outcome, staged))
}

/// `Pad`s of a model.
fn pads(model: &Loaded) -> usize {
    let bodies = model.document.bodies().iter().map(|b| &b.graph);
    let operators = bodies.chain([model.graph()]).flat_map(Graph::operators);
    operators.filter(|(_, op)| op.is("Pad")).count()
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
    let run = latency.time([original, written], Bench::long(), settings.seed, progress)?;
    Ok(Some(run))
}

fn measure(
    original: &Loaded,
    written: &Loaded,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Comparison, Error> {
    let target = settings.target;
    let reference = Reference::closing(original, settings, progress);
    match reference.and_then(|reference| reference.compare(written, settings, progress)) {
        Ok(comparison) => Ok(comparison),
        Err(error @ (Error::Target { .. } | Error::Interface { .. } | Error::Data(_))) => {
            Ok(Comparison::not_run(target.name(), error.to_string()))
        }
        Err(other) => Err(other),
    }
}

/// MACs of a rewritten layer beyond those of its plan: of the rim that the lowering computes which
/// was asked for in place of the planned one.
fn rim(compressed: &Compressed, applied: Option<&AppliedLayer>, planned: &Candidate) -> u64 {
    let asked = applied.filter(|a| planned.lowering.as_deref() != Some(&a.lowering));
    let Some(applied) = asked.filter(|a| lowering(&a.lowering).is_some_and(|l| l.computes_rim()))
    else {
        return 0;
    };
    let graph = compressed.model.graph();
    let written = format!("{}/", applied.layer);
    let rows = compressed.model.cost.nodes.iter();
    let own = rows.filter(|row| graph.label(row.node).starts_with(&written));
    let macs: u64 = own.filter_map(|row| row.cost.macs).sum();
    macs.saturating_sub(planned.macs)
}

fn layers(original: &Loaded, compressed: &Compressed) -> Vec<Layer> {
    let graph = original.graph();
    let known = |name: &str| {
        let named = |r: &&NodeRow| graph.label(r.node) == name;
        let rows = || original.cost.nodes.iter().filter(named);
        let is = |row: &NodeRow, wanted: fn(&Operator) -> bool| {
            graph.operator(row.node).is_some_and(wanted)
        };
        rows()
            .find(|r| is(r, Site::is_convolution))
            .or_else(|| rows().find(|r| is(r, |op| Site::always_kept(op).is_some())))
            .or_else(|| rows().find(|r| is(r, Site::is_layer)))
            .and_then(|r| r.cost.macs)
            .or_else(|| compressed.body_macs.get(name).copied())
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
                in_subgraph: compressed.in_bodies.contains(&entry.layer),
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
                in_subgraph: compressed.in_bodies.contains(&entry.layer),
                form: c.family.clone(),
                rank: Some(c.rank),
                lowering: applied.map(|a| a.lowering.clone()),
                reason: None,
                macs_before: before,
                macs_after: before.map(|_| c.macs + rim(compressed, applied, c)),
                weight_error: c.weight_error,
                fit: compressed.fits.get(&entry.layer).copied(),
                time_before: compressed.times.get(&entry.layer).map(|t| t.0),
                time_after: compressed.times.get(&entry.layer).map(|t| t.1),
                spectrum,
            },
        });
    }
    layers
}
