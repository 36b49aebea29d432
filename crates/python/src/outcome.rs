//! The outcome of a run, for Python.

use std::path::PathBuf;

use pyo3::prelude::*;
use sepconv::{SavedPlan, Settings};
use sepconv_report::Report;

use crate::error::refused;

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
        let mut report = Report::new(outcome, settings, Vec::new(), None);
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
