//! The outcomes of runs, for Python.

use std::path::PathBuf;

use pyo3::prelude::*;
use sepconv::{Curve, QuantizeOutcome, SavedPlan, Settings};
use sepconv_report::Report;

use crate::error::refused;
use crate::work::Failure;

/// A report and a plan. The package's `Report` wraps it.
#[pyclass(frozen, module = "sepconv")]
pub struct Outcome {
    report: Report,
    plan: SavedPlan,
    snr_db: Option<f64>,
}

impl Outcome {
    /// Of an outcome, without the models and the data. `written`: true where a file stays.
    pub fn new(outcome: &sepconv::Outcome, settings: &Settings, written: bool) -> Self {
        let mut report = Report::new(outcome, settings, Curve::default(), None);
        if !written {
            report.output = None;
        }
        Self {
            report,
            plan: outcome.plan.clone(),
            snr_db: outcome.comparison.worst_channel_snr(),
        }
    }
}

#[pymethods]
impl Outcome {
    /// The signal-to-noise ratio of the worst channel of any output, in dB.
    #[getter]
    fn snr_db(&self) -> Option<f64> {
        self.snr_db
    }

    /// `report.json`.
    fn json(&self) -> String {
        self.report.json()
    }

    /// `report.md`.
    fn markdown(&self) -> String {
        self.report.markdown()
    }

    /// `report.html`.
    fn html(&self) -> String {
        self.report.html()
    }

    /// The plan file.
    fn plan(&self) -> String {
        self.plan.json()
    }

    /// Writes all files of the report into a folder.
    fn save(&self, py: Python<'_>, folder: PathBuf, force: bool) -> PyResult<()> {
        py.detach(|| self.report.write(&folder, force))
            .map_err(refused)
    }

    /// Writes the plan file.
    fn save_plan(&self, py: Python<'_>, path: PathBuf, force: bool) -> PyResult<()> {
        py.detach(|| self.plan.write(&path, force)).map_err(refused)
    }
}

/// The record of a quantisation. The package's `QuantizeReport` wraps it.
#[pyclass(frozen, module = "sepconv")]
pub struct Quantized {
    json: String,
    snr_db: Option<f64>,
}

impl Quantized {
    /// Of an outcome.
    ///
    /// # Errors
    /// [`Failure::Argument`] where it can't be written as JSON.
    pub fn new(outcome: &QuantizeOutcome) -> Result<Self, Failure> {
        let json = serde_json::to_string_pretty(outcome);
        Ok(Self {
            json: json.map_err(|error| Failure::Argument(error.to_string()))?,
            snr_db: outcome.comparison.worst_channel_snr(),
        })
    }
}

#[pymethods]
impl Quantized {
    /// As of [`Outcome`].
    #[getter]
    fn snr_db(&self) -> Option<f64> {
        self.snr_db
    }

    /// As `sepconv quantize --json` prints it.
    fn json(&self) -> &str {
        &self.json
    }
}
