//! Reports of what was done and measured.

mod curve_chart;
mod curve_data;
mod escape;
#[cfg(test)]
mod fixtures;
mod format;
mod html;
mod layer_chart;
mod marks;
mod measures;
mod place;
mod scale;
mod summary;
mod table;
mod tables;

pub use html::curve_svg;

use std::path::Path;

use serde::Serialize;

use crate::calibrate::Source;
use crate::compress::{Budget, Layer, Outcome, Settings, Size};
use crate::curve::{CurvePoint, Series};
use crate::error::Error;
use crate::metrics::OutputComparison;

/// Version of the layout of `report.json`.
pub const SCHEMA: &str = "sepconv-report/1";

/// Names of the files that [`Report::write`] writes.
pub const FILES: [&str; 3] = ["report.json", "report.html", "curve.svg"];

/// A report: the contents of `report.json`, from which `report.html` is drawn.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Layout, [`SCHEMA`].
    pub schema: &'static str,
    /// The input file.
    pub model: String,
    /// The file written.
    pub output: String,
    /// Size and accuracy before.
    pub original: Size,
    /// Size and accuracy after.
    pub compressed: Size,
    /// The written file against the original on seeded synthetic inputs.
    pub outputs: Vec<OutputComparison>,
    /// Why the models were not run, where they were not.
    pub not_run: Option<String>,
    /// The convolutions in graph order.
    pub layers: Vec<Layer>,
    /// Measured points of accuracy against compression, by rising MACs.
    pub curve: Vec<CurvePoint>,
    /// What was asked for.
    pub settings: ReportSettings,
    /// Seed of synthetic inputs.
    pub seed: u64,
    /// Versions of what computed and measured.
    pub versions: Versions,
}

/// What was asked for.
#[derive(Debug, Clone, Serialize)]
pub struct ReportSettings {
    /// The command line, where there was one.
    pub command: Option<String>,
    /// The budget.
    pub budget: Budget,
    /// Orders allowed.
    pub order: sepconv_passes::Order,
    /// Families allowed, where they were named.
    pub families: Vec<String>,
    /// Calibration, where there was data to fit to.
    pub calibration: Option<CalibrationReport>,
    /// Lowering asked for, `auto` where none was.
    pub lowering: String,
    /// Extents assumed for free input dimensions.
    pub assumed: Vec<String>,
    /// Evaluation data, where given.
    pub eval: Option<String>,
}

/// What the layers were fitted to, and how.
#[derive(Debug, Clone, Serialize)]
pub struct CalibrationReport {
    /// The data set.
    pub data: String,
    /// Cap on its samples, drawn with the seed.
    pub max_samples: Option<usize>,
    /// Output positions per layer.
    pub positions: usize,
    /// One of so many samples was held out.
    pub held_out_every: u64,
    /// How many layers shared a pass.
    pub schedule: crate::calibrate::Schedule,
    /// The least-squares fits.
    pub fit: sepconv_factor::FitOptions,
}

/// Versions of what computed and measured.
#[derive(Debug, Clone, Serialize)]
pub struct Versions {
    /// sepconv.
    pub sepconv: &'static str,
    /// Name of the runtime that measured.
    pub target: &'static str,
    /// Its version.
    pub target_version: String,
}

impl Report {
    /// A report of an outcome. `curve` may be empty.
    pub fn new(
        outcome: &Outcome,
        settings: &Settings,
        curve: Vec<CurvePoint>,
        command: Option<String>,
    ) -> Self {
        Self {
            schema: SCHEMA,
            model: outcome.input.display().to_string(),
            output: outcome.output.display().to_string(),
            original: outcome.original.clone(),
            compressed: outcome.compressed.clone(),
            outputs: outcome.comparison.outputs.clone(),
            not_run: outcome.comparison.not_run.clone(),
            layers: outcome.layers.clone(),
            curve: with_ends(outcome, curve),
            settings: ReportSettings {
                command,
                budget: settings.budget,
                order: settings.families.order,
                families: settings.families.names.clone(),
                calibration: outcome.calibration.as_ref().map(|c| CalibrationReport {
                    data: c.source.to_string(),
                    max_samples: match &c.source {
                        Source::Data(source) => source.max_samples,
                        Source::Pictures(_) => None,
                    },
                    positions: c.positions,
                    held_out_every: c.held_out_every,
                    schedule: c.schedule,
                    fit: c.fit,
                }),
                lowering: settings.lowering.map_or("auto", |l| l.name()).to_owned(),
                assumed: outcome.assumed.clone(),
                eval: settings.eval.as_ref().map(|e| e.path.display().to_string()),
            },
            seed: settings.seed,
            versions: Versions {
                sepconv: crate::VERSION,
                target: settings.target.name(),
                target_version: settings.target.version(),
            },
        }
    }

    /// The report as JSON.
    pub fn json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The report as one self-contained page.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// Writes `report.json`, `report.html` and, where the curve has points, `curve.svg` into
    /// `folder`, which is made if it is missing.
    ///
    /// # Errors
    /// [`Error::Onnx`] where a file exists and `force` is not set, or can't be written.
    pub fn write(&self, folder: &Path, force: bool) -> Result<(), Error> {
        std::fs::create_dir_all(folder).map_err(|source| sepconv_onnx::OnnxError::Io {
            path: folder.to_owned(),
            source,
        })?;
        let files = [
            (FILES[0], Some(self.json())),
            (FILES[1], Some(self.html())),
            (FILES[2], curve_svg(self)),
        ];
        for (name, text) in files {
            if let Some(text) = text {
                sepconv_onnx::write_atomic(&folder.join(name), force, text.as_bytes())?;
            }
        }
        Ok(())
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
        snr_db: outcome.comparison.worst_snr().filter(|s| s.is_finite()),
        evaluation: outcome.compressed.evaluation.clone(),
    });
    points.push(CurvePoint {
        series: Series::Original,
        time: timed.map(|_| 1.0),
        label: "original".into(),
        macs: 1.0,
        params: 1.0,
        snr_db: None,
        evaluation: outcome.original.evaluation.clone(),
    });
    points.sort_by(|a, b| a.macs.total_cmp(&b.macs));
    points
}
