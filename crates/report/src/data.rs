//! Parts of a report beside figures: settings, and versions of the tools that made them.

use sepconv_data::Labels;
use serde::Serialize;

use sepconv::targets;
use sepconv::{Budget, Curve, CurvePoint, Outcome, Settings};
use sepconv_eval::{Evaluation, LatencyTarget};
use sepconv_model::DataSource;
use sepconv_model::Loaded;
use sepconv_spec::CalibrationSettings;
use sepconv_spec::{Schedule, Source};

/// Subject of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One model that was written.
    Compress,
    /// Many models, none of which was written.
    Sweep,
}

/// Settings of the run.
#[derive(Debug, Clone, Serialize)]
pub struct ReportSettings {
    /// The command line, where there was one.
    pub command: Option<String>,
    /// The budget; `None` in a sweep, which has many.
    pub budget: Option<Budget>,
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
    /// Free input dimensions whose extents the data says.
    pub shaped: Vec<String>,
    /// Evaluation data, where given.
    pub eval: Option<DataReport>,
}

/// A data set.
#[derive(Debug, Clone, Serialize)]
pub struct DataReport {
    /// File or folder.
    pub path: String,
    /// Samples used; `None` where nothing was evaluated.
    pub samples: Option<usize>,
}

/// Data and settings of the fits.
#[derive(Debug, Clone, Serialize)]
pub struct CalibrationReport {
    /// The data set.
    pub data: String,
    /// Samples used; `None` where the data set is gone.
    pub samples: Option<usize>,
    /// Cap on its samples, drawn with the seed.
    pub max_samples: Option<usize>,
    /// Output positions per layer.
    pub positions: usize,
    /// One of so many samples was held out.
    pub held_out_every: u64,
    /// Fits weighed output channels by their sensitivity.
    pub weighted: bool,
    /// Number of layers that shared a pass.
    pub schedule: Schedule,
    /// The least-squares fits.
    pub fit: sepconv_factor::FitOptions,
}

/// Versions of the tools that computed and measured.
#[derive(Debug, Clone, Serialize)]
pub struct Versions {
    /// sepconv.
    pub sepconv: &'static str,
    /// Name of the runtime that measured outputs.
    pub target: &'static str,
    /// Its version.
    pub target_version: String,
    /// The runtime that measured time, where one did.
    pub latency: Option<LatencyReport>,
}

/// The runtime that measured time.
#[derive(Debug, Clone, Serialize)]
pub struct LatencyReport {
    /// Its name.
    pub target: &'static str,
    /// Its version.
    pub version: String,
    /// Threads of one run.
    pub threads: usize,
}

impl ReportSettings {
    pub(super) fn new(
        model: &Loaded,
        settings: &Settings,
        calibration: Option<&CalibrationSettings>,
        evaluated: Option<&Evaluation>,
        command: Option<String>,
    ) -> Self {
        let data = |source: &DataSource| DataReport {
            path: source.path.display().to_string(),
            samples: evaluated.map(|e| e.primary.n),
        };
        Self {
            command,
            budget: None,
            order: settings.families.order,
            families: settings.families.names.clone(),
            calibration: calibration.map(|c| CalibrationReport::new(model, c)),
            lowering: settings.lowering.map_or("auto", |l| l.name()).to_owned(),
            assumed: model.assumed(),
            shaped: model.shaped(),
            eval: settings.eval.as_ref().map(data),
        }
    }
}

impl CalibrationReport {
    fn new(model: &Loaded, c: &CalibrationSettings) -> Self {
        let (samples, max_samples) = match &c.source {
            Source::Data(source) => {
                let data = source.open(model, Labels::Ignore).ok();
                (data.map(|d| d.len()), source.max_samples)
            }
            Source::Pictures(pictures) => (Some(pictures.samples), None),
        };
        Self {
            data: c.source.to_string(),
            samples,
            max_samples,
            positions: c.positions,
            held_out_every: c.held_out_every,
            weighted: c.weighted,
            schedule: c.schedule,
            fit: c.fit,
        }
    }
}

impl Versions {
    /// Of an outcome.
    pub(super) fn of_outcome(outcome: &Outcome, settings: &Settings) -> Self {
        let eight_bits = outcome.eight_bits.as_ref().map(|record| &record.timing);
        let timed = outcome.timing.as_ref().or(eight_bits);
        let timed = timed.map(|run| LatencyReport {
            target: run.target,
            version: run.version.clone(),
            threads: run.threads,
        });
        // Layers may have been timed where the result was not.
        let latency = timed.or_else(|| settings.latency.map(LatencyReport::new));
        Self::new(outcome.comparison.target, settings, latency)
    }

    /// Of a curve.
    pub(super) fn of_curve(curve: &Curve, settings: &Settings) -> Self {
        let compared = curve.compared.map(|compared| compared.target);
        let target = compared.unwrap_or(settings.target.name());
        Self::new(target, settings, curve.latency.map(LatencyReport::new))
    }

    /// `target`: the name of the runtime that measured outputs.
    fn new(target: &'static str, settings: &Settings, latency: Option<LatencyReport>) -> Self {
        let measured = targets::find(target).unwrap_or(settings.target);
        Self {
            sepconv: sepconv::VERSION,
            target: measured.name(),
            target_version: measured.version(),
            latency,
        }
    }
}

impl LatencyReport {
    fn new(latency: LatencyTarget) -> Self {
        Self {
            target: latency.target.name(),
            version: latency.target.version(),
            threads: latency.threads.get(),
        }
    }
}

/// The evaluation of any point: all of them use the same samples.
pub(super) fn evaluated(points: &[CurvePoint]) -> Option<&Evaluation> {
    points.iter().find_map(|p| p.evaluation.as_ref())
}
