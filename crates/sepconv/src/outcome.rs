//! A model file in, a model file out, and the record of the work.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sepconv_analysis::NodeRow;
use sepconv_calibrate::Hurried;
use sepconv_eval::{BenchRun, Comparison, Evaluation, Evaluator, LatencyTarget};
use sepconv_ir::Operator;
use sepconv_latency::Bench;
use sepconv_model::{Advice, Error, Loaded, Progress, step};
use sepconv_onnx::{Document, Staged};
use sepconv_passes::{Site, lowering};
use sepconv_planning::{Solution, long_bench};
use sepconv_spec::{CalibrationSettings, LayerRecord, SavedPlan, Try, Verdict};
use serde::Serialize;

use crate::closing::closing_reference;
use crate::compressed::Compressed;
use crate::eight_bits::EightBits;
use crate::eight_bits_choice::in_eight_bits;
use crate::job::Job;
use crate::pipeline::{begun, run};
use crate::planned::plan_of;
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
    /// Measures on the evaluation data, where given.
    pub evaluation: Option<Evaluation>,
}

/// Record of a [`compress_file`].
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
    pub layers: Vec<LayerRecord>,
    /// Batch normalisations folded.
    pub folded: usize,
    /// `Pad`s folded.
    pub pads: usize,
    /// `PRelu`s written in simpler operators, which the runtime computes faster.
    pub expanded: usize,
    /// The reason for which no layer is rewritten, see [`Compressed::unrewritten`].
    pub unrewritten: Option<String>,
    /// Rewritten layers whose weights other layers of the original read, too: each has factors of its own.
    pub sharing: usize,
    /// Data and settings of the fits; `None`: the weights alone.
    pub calibration: Option<CalibrationSettings>,
    /// The solution of the budget, where one was allocated.
    pub solution: Option<Solution>,
    /// The plans that a search tried, in order.
    pub tries: Vec<Try>,
    /// The result held against its budget, where that is judged; before it was tuned.
    pub verdict: Option<Verdict>,
    /// Record of the tuning, where it was asked for.
    pub tuning: Option<Tuning>,
    /// A line for each family of candidates that was dropped for a layer, as
    /// [`Compressed::dropped`].
    pub dropped: Vec<String>,
    /// Record of the eight bits of a result that computes in them.
    pub eight_bits: Option<EightBits>,
    /// The reason for which the result computes in floats, where eight bits were in question.
    pub floats: Option<String>,
    /// Layers for which [`Settings::deadline`] left little time.
    pub hurried: Hurried,
    /// The written file against the original on [`Settings::latency`], else on [`Settings::timed`].
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
/// that it can be written there is checked before the work. A model that the runtime can't run is reported in
/// [`Comparison`], and the file is written all the same.
///
/// # Errors
/// As [`crate::compress()`]; [`Error::Onnx`] where a file can't be read or written;
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
        timing: outcome.timing.map(|run| run.moved_to(output)),
        ..outcome
    })
}

/// Compresses `original`, has it written and read back by `write`, and measures the model that was
/// written.
pub(crate) fn finished<T>(
    original: &Loaded,
    settings: &Settings,
    progress: &dyn Progress,
    write: impl FnOnce(&Loaded) -> Result<(Document, T), Error>,
) -> Result<(Outcome, T), Error> {
    let (job, floats) = begun(original, settings, progress)?;
    let original = &*job.model;
    // Data that do not fit are told of before the work.
    let opened_on = job.measured_on();
    let opened = job.evaluator(opened_on)?;
    let mut compressed = run(&job)?;
    if job.settings.is_in_eight_bits() {
        compressed = step("quantize", || in_eight_bits(&job, compressed))?;
    }
    count_macs(original, &mut compressed);
    let sharing = sharing(original, &compressed.layers);
    let plan = plan_of(original, &compressed, &job.settings);
    let [expanded, pads] = ["PRelu", "Pad"].map(|name| compressed.fewer(name, original));
    // An unchanged model computes the same, and is not run.
    let untouched = compressed.eight_bits.is_none()
        && !compressed.is_rewritten()
        && !compressed.model.graph().is_modified();
    let (written, staged) = step("write", || write(&compressed.model))?;
    let Compressed {
        model: rewritten,
        layers,
        folded,
        calibration,
        solution,
        unrewritten,
        tries,
        verdict,
        tuning,
        dropped,
        eight_bits,
        mut hurried,
        quantized: _,
        in_floats: _,
    } = compressed;
    drop(rewritten);
    let written = original.with(written)?;
    let comparison = match untouched {
        true => Comparison::not_run(job.measured_on().name(), "nothing was changed".into()),
        false => step("compare", || measure(&job, &written))?,
    };
    let ([before, mut after], left_out) = step("evaluate", || {
        job.measured(|target| {
            // On another runtime they are opened again.
            let moved = target.name() != opened_on.name();
            let again = moved.then(|| job.evaluator(target));
            let again = again.transpose()?.flatten();
            let evaluator = again.as_ref().or(opened.as_ref());
            let sized = |model| size(model, evaluator, progress);
            let left_out = evaluator.map_or(0, Evaluator::left_out);
            Ok(([sized(original)?, sized(&written)?], left_out))
        })
    })?;
    hurried.left_out = left_out;
    if let Some(eight_bits) = &eight_bits {
        after.params = eight_bits.params;
    }
    let timing = match untouched {
        true => None,
        false => step("time", || time(&job, &written))?,
    };
    let by_time = job.settings.latency.is_some() && !job.settings.slower;
    if let Some(run) = timing.as_ref().filter(|_| by_time) {
        check_faster(&job, run)?;
    }
    let outcome = Outcome {
        input: original.file().into(),
        output: written.file().into(),
        original: before,
        compressed: after,
        layers,
        folded,
        pads,
        expanded,
        unrewritten,
        sharing,
        calibration,
        solution,
        tries,
        verdict,
        tuning,
        dropped,
        eight_bits,
        floats,
        hurried,
        timing,
        comparison,
        assumed: original.assumed(),
        shaped: original.shaped(),
        plan,
        model: written,
    };
    Ok((outcome, staged))
}

/// Rewritten layers whose weights other operators of the original read.
fn sharing(original: &Loaded, layers: &[LayerRecord]) -> usize {
    let graph = original.graph();
    let rewritten = layers.iter().filter(|layer| layer.is_rewritten());
    let names: BTreeSet<&str> = rewritten.map(|layer| layer.name.as_str()).collect();
    let own = graph.operators().filter(|(id, op)| {
        let shared = Site::is_convolution(op) && Site::weight_readers(graph, op) > 1;
        shared && names.contains(graph.label(*id))
    });
    own.count()
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

/// The written model beside the original on the target that it is to be fast on, else on the one
/// that it is only timed on.
fn time(job: &Job<'_>, written: &Loaded) -> Result<Option<BenchRun>, Error> {
    let both = [&*job.model, written];
    let run = |on: LatencyTarget, bench| on.time(&both, bench, job.settings.seed, job.progress);
    if let Some(latency) = job.settings.latency {
        return run(latency, long_bench(job.settings.deadline)).map(Some);
    }
    let timed = job.settings.timed.map(|on| run(on, Bench::default()));
    match timed.transpose() {
        Err(Error::Cancelled) => Err(Error::Cancelled),
        // A runtime that nobody named need not run the model.
        other => Ok(other.unwrap_or_default()),
    }
}

/// Refuses a result that is not faster.
fn check_faster(job: &Job<'_>, run: &BenchRun) -> Result<(), Error> {
    let Some(after) = run.models.last().filter(|m| m.speed_up.median <= 1.0) else {
        return Ok(());
    };
    let reason = format!(
        "the result is not faster than the original on {}: {:.2} times its speed",
        run.target, after.speed_up.median
    );
    Err(job.nothing(reason).advising(Advice::AllowSlower))
}

fn measure(job: &Job<'_>, written: &Loaded) -> Result<Comparison, Error> {
    let compared = job.measured(|target| {
        let reference = closing_reference(&job.model, &job.settings, target, job.progress)?;
        reference.compare_and_show(written, target, job.progress)
    });
    match compared.map_err(Error::unadvised) {
        Ok(comparison) => Ok(comparison),
        Err(error @ (Error::Target { .. } | Error::Interface { .. } | Error::Data(_))) => Ok(
            Comparison::not_run(job.measured_on().name(), error.to_string()),
        ),
        Err(other) => Err(other),
    }
}

/// MACs of a rewritten layer beyond those of its plan: of the rim that the lowering computes which
/// was asked for in place of the planned one.
fn rim(model: &Loaded, layer: &LayerRecord) -> u64 {
    let Some(planned) = layer.candidate() else {
        return 0;
    };
    let asked = layer
        .lowering
        .as_deref()
        .filter(|name| planned.lowering.as_deref() != Some(*name));
    if !asked.is_some_and(|name| lowering(name).is_some_and(|l| l.computes_rim())) {
        return 0;
    }
    let graph = model.graph();
    let written = format!("{}/", layer.name);
    let rows = model.cost.nodes.iter();
    let own = rows.filter(|row| graph.label(row.node).starts_with(&written));
    let macs: u64 = own.filter_map(|row| row.cost.macs).sum();
    macs.saturating_sub(planned.macs)
}

/// Counts the MACs of every layer before and after.
fn count_macs(original: &Loaded, compressed: &mut Compressed) {
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
    };
    let model = &compressed.model;
    for layer in &mut compressed.layers {
        // Those of a body are known.
        layer.macs_before = known(&layer.name).or(layer.macs_before);
        let after = layer.candidate().map(|c| c.macs + rim(model, layer));
        layer.macs_after = layer.macs_before.map(|before| after.unwrap_or(before));
    }
}
