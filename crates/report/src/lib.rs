//! Reports of what was done and measured: `report.json` for machines, `report.csv` for
//! spreadsheets, `report.md` and `report.html` for people, and `curve.svg`.
//!
//! A [`Report`] or a [`CommandReport`] is turned into a page of sections, which every format
//! renders in its own way.

mod axes;
mod command;
mod contents;
mod csv;
mod curve_chart;
mod curve_data;
mod data;
mod escape;
#[cfg(test)]
mod fixtures;
mod format;
mod html;
mod layer_chart;
mod layer_table;
mod markdown;
mod marks;
mod measures;
mod page;
mod place;
mod rich;
mod scale;
mod settings;
mod spark;
mod summary;
mod table;
mod tables;

pub use command::CommandReport;
pub use data::{CalibrationReport, DataReport, Kind, LatencyReport, ReportSettings, Versions};

use std::path::Path;

use serde::Serialize;

use sepconv::Settings;
use sepconv::Tuning;
use sepconv::{CurvePoint, Series};
use sepconv::{Outcome, Size};
use sepconv_eval::BenchRun;
use sepconv_eval::ComparedOn;
use sepconv_eval::OutputComparison;
use sepconv_model::Error;
use sepconv_model::Loaded;
use sepconv_planning::Solution;
use sepconv_spec::LayerRecord;

/// Version of the layout of `report.json`, which `docs/report.md` describes.
pub const SCHEMA: &str = "sepconv-report/3";

/// Names of the files that [`Report::write`] writes; a [`CommandReport`] has no curve.
pub const FILES: [&str; 5] = [
    "report.json",
    "report.csv",
    "report.md",
    "report.html",
    "curve.svg",
];

/// A report: the contents of `report.json`, from which the other files are made.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Layout, [`SCHEMA`].
    pub schema: &'static str,
    /// What it is about.
    pub kind: Kind,
    /// The input file.
    pub model: String,
    /// The file written, where one was.
    pub output: Option<String>,
    /// Size and accuracy before.
    pub original: Size,
    /// Size and accuracy after, where a file was written.
    pub compressed: Option<Size>,
    /// The inputs that the written file and the original were run on.
    pub inputs: ComparedOn,
    /// How many samples of them.
    pub samples: usize,
    /// The written file against the original on these inputs.
    pub outputs: Vec<OutputComparison>,
    /// Why the models were not run, where they were not.
    pub not_run: Option<String>,
    /// The convolutions in graph order.
    pub layers: Vec<LayerRecord>,
    /// Measured points of accuracy against compression, by rising MACs.
    pub curve: Vec<CurvePoint>,
    /// What was asked for.
    pub settings: ReportSettings,
    /// How the budget was solved, where one was allocated.
    pub solution: Option<Solution>,
    /// What tuning did, where it was asked for.
    pub tuning: Option<Tuning>,
    /// The written file timed beside the original, where time was asked for.
    pub timing: Option<BenchRun>,
    /// Seed of synthetic inputs and of what is drawn.
    pub seed: u64,
    /// Versions of what computed and measured.
    pub versions: Versions,
    /// Processor and cores.
    pub machine: String,
}

impl Report {
    /// A report of an outcome. `curve` may be empty.
    pub fn new(
        outcome: &Outcome,
        settings: &Settings,
        curve: Vec<CurvePoint>,
        command: Option<String>,
    ) -> Self {
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
            inputs: outcome.comparison.inputs,
            samples: outcome.comparison.runs,
            outputs: outcome.comparison.outputs.clone(),
            not_run: outcome.comparison.not_run.clone(),
            layers: outcome.layers.clone(),
            curve: with_ends(outcome, curve),
            settings: ReportSettings {
                budget: settings.plan.is_none().then_some(settings.budget),
                assumed: outcome.assumed.clone(),
                shaped: outcome.shaped.clone(),
                ..ReportSettings::new(model, settings, calibration, evaluated, command)
            },
            solution: outcome.solution.clone(),
            tuning: outcome.tuning.clone(),
            timing: outcome.timing.clone(),
            seed: settings.seed,
            versions: Versions::new(settings),
            machine: sepconv_latency::machine(),
        }
    }

    /// A report of many models made from `model`, which is a point of the curve, in the series
    /// [`Series::Original`], where it was evaluated.
    pub fn sweep(
        model: &Loaded,
        settings: &Settings,
        mut curve: Vec<CurvePoint>,
        command: Option<String>,
    ) -> Self {
        if !curve.iter().any(|p| p.series == Series::Original) {
            curve.push(original(None, None));
        }
        curve.sort_by(|a, b| a.macs.total_cmp(&b.macs));
        let itself = curve.iter().find(|p| p.series == Series::Original);
        let calibration = settings.calibration.as_ref();
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
            inputs: ComparedOn::default(),
            samples: 0,
            outputs: Vec::new(),
            not_run: None,
            layers: Vec::new(),
            settings: ReportSettings::new(model, settings, calibration, evaluated, command),
            curve,
            solution: None,
            tuning: None,
            timing: None,
            seed: settings.seed,
            versions: Versions::new(settings),
            machine: sepconv_latency::machine(),
        }
    }

    /// The report as JSON.
    pub fn json(&self) -> String {
        json(self)
    }

    /// The curve as CSV (RFC 4180), one row per point.
    pub fn csv(&self) -> String {
        csv::curve(&self.curve)
    }

    /// The report as Markdown.
    pub fn markdown(&self) -> String {
        markdown::render(&contents::page(self))
    }

    /// The report as one self-contained page.
    pub fn html(&self) -> String {
        html::render(&contents::page(self))
    }

    /// Accuracy against MACs as an SVG drawing that stands alone, light or dark as its viewer
    /// prefers; `None` where fewer than two points have a figure.
    pub fn curve_svg(&self) -> Option<String> {
        contents::curve_svg(self)
    }

    /// Writes [`FILES`] into `folder`, which is made if it is missing; `curve.svg` only where
    /// the curve has points.
    ///
    /// # Errors
    /// [`Error::Onnx`] where a file exists and `force` is not set, or can't be written.
    pub fn write(&self, folder: &Path, force: bool) -> Result<(), Error> {
        let texts = [
            Some(self.json()),
            Some(self.csv()),
            Some(self.markdown()),
            Some(self.html()),
            self.curve_svg(),
        ];
        write(folder, force, texts)
    }
}

/// As JSON for people too.
fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// Writes the texts of [`FILES`], each of them at once or not at all.
fn write(folder: &Path, force: bool, texts: [Option<String>; 5]) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| sepconv_onnx::OnnxError::Io {
        path: folder.to_owned(),
        source,
    })?;
    for (name, text) in FILES.iter().zip(texts) {
        if let Some(text) = text {
            sepconv_onnx::write_atomic(&folder.join(name), force, text.as_bytes())?;
        }
    }
    Ok(())
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
            .filter(|s| s.is_finite()),
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
