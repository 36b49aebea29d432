//! Points of accuracy against compression.

use sepconv_eval::{ComparedOn, Evaluation, LatencyTarget};
use sepconv_spec::CalibrationSettings;
use serde::Serialize;

/// A measured curve.
#[derive(Clone)]
pub struct Curve {
    /// Its points.
    pub points: Vec<CurvePoint>,
    /// How the outputs of its points were held against the original's; `None` where none were.
    pub compared: Option<Compared>,
    /// The runtime that its points were timed on, where they were.
    pub latency: Option<LatencyTarget>,
    /// False where the time was over before all of its points were measured.
    pub complete: bool,
    /// Labels of the points that were asked for, and that no plan reaches.
    pub unreached: Vec<String>,
    /// The data that layers were fitted to; `None`: their weights alone.
    pub calibration: Option<CalibrationSettings>,
}

impl Default for Curve {
    /// Of no points, none of which is missing.
    fn default() -> Self {
        Self {
            points: Vec::new(),
            compared: None,
            latency: None,
            complete: true,
            unreached: Vec::new(),
            calibration: None,
        }
    }
}

/// Inputs on which the outputs of points were held against the original's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// Their origin.
    pub inputs: ComparedOn,
    /// Number of their samples.
    pub samples: usize,
    /// Name of the runtime.
    pub target: &'static str,
}

/// Origin of the models of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Series {
    /// The model that was read.
    Original,
    /// The model that was written.
    Result,
    /// One budget allocated over all layers, by the settings.
    Allocated,
    /// The same, tuned.
    Tuned,
    /// The model in eight bits with no layer rewritten.
    Int8,
    /// One budget allocated over all layers, the result in eight bits.
    Both,
    /// The same rank in every layer, otherwise by the settings.
    Uniform,
    /// The paper's method: the same rank in every layer from the weights alone, DW->PW.
    PaperDwPw,
    /// The same, PW->DW.
    PaperPwDw,
    /// The paper's method with the same share of energy kept in every layer, DW->PW.
    PaperEnergy,
}

/// A point of the curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Origin of its model.
    pub series: Series,
    /// Name within its series, such as `rank 2`, `original` or `result`.
    pub label: String,
    /// MACs as a fraction of the original's.
    pub macs: f64,
    /// Parameters as a fraction of the original's.
    pub params: f64,
    /// Time per run as a fraction of the original's, where it was measured.
    pub time: Option<f64>,
    /// Signal-to-noise ratio in dB of the worst channel of any output, on its own scale; `None` for
    /// no difference or where it was not run.
    pub snr_db: Option<f64>,
    /// Measures on the evaluation data, where given.
    pub evaluation: Option<Evaluation>,
}
