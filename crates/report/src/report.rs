//! The contents of `report.json`.

use sepconv::{Curve, CurvePoint, EightBits, Outcome, Series, Settings, Size, Tuning};
use sepconv_eval::{BenchRun, ComparedOn, OutputComparison, ShownSample, TaskComparison};
use sepconv_model::Loaded;
use sepconv_planning::Solution;
use sepconv_spec::{LayerRecord, Try, Verdict};
use serde::Serialize;

use crate::data::{self, Kind, ReportSettings, Versions};

/// Version of the layout of `report.json`, which `docs/report.md` describes.
pub const SCHEMA: &str = "sepconv-report/3";

/// A report: the contents of `report.json`, from which the other files are made.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Layout, [`SCHEMA`].
    pub schema: &'static str,
    /// Its subject.
    pub kind: Kind,
    /// The input file.
    pub model: String,
    /// The file written, where one was.
    pub output: Option<String>,
    /// Size and accuracy before.
    pub original: Size,
    /// Size and accuracy after, where a file was written.
    pub compressed: Option<Size>,
    /// The inputs that the original and the written file, or the models of the curve, were run on.
    pub inputs: ComparedOn,
    /// Number of samples of them.
    pub samples: usize,
    /// The written file against the original on these inputs.
    pub outputs: Vec<OutputComparison>,
    /// The same by the model's task, where it is known and no matter of classes alone.
    pub task: Option<TaskComparison>,
    /// A few of the samples, where they are pictures and the outputs can be drawn. Not in JSON.
    #[serde(skip)]
    pub pictures: Vec<ShownSample>,
    /// Reason for which the models were not run, where they were not.
    pub not_run: Option<String>,
    /// The convolutions in graph order.
    pub layers: Vec<LayerRecord>,
    /// The reason for which none of them is rewritten, where the result is one all the same.
    pub unrewritten: Option<String>,
    /// `PRelu`s written in simpler operators, which the runtime computes faster.
    pub expanded: usize,
    /// Measured points of accuracy against compression, by rising MACs.
    pub curve: Vec<CurvePoint>,
    /// False where points of the curve are missing, because the time was over.
    pub curve_complete: bool,
    /// Settings of the run.
    pub settings: ReportSettings,
    /// Solution of the budget, where one was allocated.
    pub solution: Option<Solution>,
    /// The plans that a search tried, in order.
    pub tries: Vec<Try>,
    /// The result held against its budget, where that is judged.
    pub verdict: Option<Verdict>,
    /// Record of the tuning, where it was asked for.
    pub tuning: Option<Tuning>,
    /// Record of the eight bits of a result that computes in them.
    pub eight_bits: Option<EightBits>,
    /// The reason for which the result computes in floats, where eight bits were in question.
    pub floats: Option<String>,
    /// The written file timed beside the original, where time was asked for.
    pub timing: Option<BenchRun>,
    /// Seed of synthetic inputs and of draws.
    pub seed: u64,
    /// Versions of the tools that computed and measured.
    pub versions: Versions,
    /// Processor and cores.
    pub machine: String,
}

impl Report {
    /// A report of an outcome. `curve` may be empty.
    pub fn new(
        outcome: &Outcome,
        settings: &Settings,
        curve: Curve,
        command: Option<String>,
    ) -> Self {
        let comparison = &outcome.comparison;
        // Where the result was not run, figures are those of the curve.
        let compared = curve.compared.filter(|_| comparison.not_run.is_some());
        let evaluated = outcome.compressed.evaluation.as_ref();
        let calibration = outcome.calibration.as_ref();
        let model = &outcome.model;
        Self {
            schema: SCHEMA,
            kind: Kind::Compress,
            model: outcome.input.display().to_string(),
            output: Some(outcome.output.display().to_string()),
            original: outcome.original.clone(),
            compressed: Some(outcome.compressed.clone()),
            inputs: compared.map_or(comparison.inputs, |c| c.inputs),
            samples: compared.map_or(comparison.runs, |c| c.samples),
            outputs: comparison.outputs.clone(),
            task: comparison.task.clone(),
            pictures: comparison.pictures.clone(),
            not_run: comparison.not_run.clone(),
            layers: outcome.layers.clone(),
            unrewritten: outcome.unrewritten.clone(),
            expanded: outcome.expanded,
            curve_complete: curve.complete,
            curve: with_ends(outcome, curve.points),
            settings: ReportSettings {
                budget: settings.plan.is_none().then_some(settings.budget),
                assumed: outcome.assumed.clone(),
                shaped: outcome.shaped.clone(),
                ..ReportSettings::new(model, settings, calibration, evaluated, command)
            },
            solution: outcome.solution.clone(),
            tries: outcome.tries.clone(),
            verdict: outcome.verdict.clone(),
            tuning: outcome.tuning.clone(),
            eight_bits: outcome.eight_bits.clone(),
            floats: outcome.floats.clone(),
            timing: outcome.timing.clone(),
            seed: settings.seed,
            versions: Versions::of_outcome(outcome, settings),
            machine: sepconv_latency::machine(),
        }
    }

    /// A report of many models made from `model`, which is a point of the curve, in the series
    /// [`Series::Original`], where it was evaluated.
    pub fn sweep(
        model: &Loaded,
        settings: &Settings,
        measured: Curve,
        command: Option<String>,
    ) -> Self {
        let compared = measured.compared;
        let versions = Versions::of_curve(&measured, settings);
        let curve_complete = measured.complete;
        let mut curve = measured.points;
        if !curve.iter().any(|p| p.series == Series::Original) {
            curve.push(original(None, None));
        }
        curve.sort_by(|a, b| a.macs.total_cmp(&b.macs));
        let itself = curve.iter().find(|p| p.series == Series::Original);
        let calibration = measured.calibration.as_ref();
        let evaluated = data::evaluated(&curve);
        Self {
            schema: SCHEMA,
            kind: Kind::Sweep,
            model: model.file(),
            output: None,
            original: Size {
                macs: model.cost.macs,
                params: model.cost.params,
                bytes: model.document.source_size(),
                evaluation: itself.and_then(|p| p.evaluation.clone()),
            },
            compressed: None,
            inputs: compared.map_or(ComparedOn::default(), |c| c.inputs),
            samples: compared.map_or(0, |c| c.samples),
            outputs: Vec::new(),
            task: None,
            pictures: Vec::new(),
            not_run: None,
            layers: Vec::new(),
            unrewritten: None,
            expanded: 0,
            settings: ReportSettings::new(model, settings, calibration, evaluated, command),
            curve,
            curve_complete,
            solution: None,
            tries: Vec::new(),
            verdict: None,
            tuning: None,
            eight_bits: None,
            floats: None,
            timing: None,
            seed: settings.seed,
            versions,
            machine: sepconv_latency::machine(),
        }
    }
}

/// The curve with the result and the original at its ends, by rising MACs.
fn with_ends(outcome: &Outcome, mut points: Vec<CurvePoint>) -> Vec<CurvePoint> {
    let ratio = |a: u64, b: u64| a as f64 / b.max(1) as f64;
    let timed = outcome.timing.as_ref().and_then(|t| t.models.last());
    points.push(CurvePoint {
        series: Series::Result,
        time: timed.map(|t| 1.0 / t.speed_up.median),
        label: "result".into(),
        macs: ratio(outcome.compressed.macs, outcome.original.macs),
        params: ratio(outcome.compressed.params, outcome.original.params),
        snr_db: outcome
            .comparison
            .worst_channel_snr()
            .filter(|s| s.is_finite() && !outcome.comparison.is_silent()),
        evaluation: outcome.compressed.evaluation.clone(),
    });
    let evaluation = outcome.original.evaluation.clone();
    points.push(original(timed.map(|_| 1.0), evaluation));
    points.sort_by(|a, b| a.macs.total_cmp(&b.macs));
    points
}

/// The original as a point.
fn original(time: Option<f64>, evaluation: Option<sepconv_eval::Evaluation>) -> CurvePoint {
    CurvePoint {
        series: Series::Original,
        time,
        label: "original".into(),
        macs: 1.0,
        params: 1.0,
        snr_db: None,
        evaluation,
    }
}
