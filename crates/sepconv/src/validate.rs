//! Predictions of expected losses, held against measurements.

use sepconv_model::{Advice, Error, Loaded, Progress};
use sepconv_planning::{SensitivityProbe, Unit};
use serde::Serialize;

use crate::job::Job;
use crate::materialise::materialise;
use crate::prepared::{fold_model, survey_model};
use crate::search::Search;
use crate::settings::Settings;

/// A plan's loss at the outputs: the mean divergence of classes in nats, or the relative
/// squared error of other outputs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prediction {
    /// The sum of the layers' losses.
    pub predicted: f64,
    /// Measured on samples held out of the fits.
    pub measured: f64,
}

/// Predicts and measures the loss of arbitrary plans.
///
/// # Errors
/// As [`crate::compress()`]; [`Error::Setting`] where there is nothing to fit to.
pub fn validate(
    model: &Loaded,
    settings: &Settings,
    plans: usize,
    progress: &dyn Progress,
) -> Result<Vec<Prediction>, Error> {
    let job = &Job::new(model, settings, progress)?;
    let mut prepared = survey_model(job, fold_model(job)?)?;
    let nothing = || {
        let error = Error::Setting("a prediction needs data to fit to".into());
        error.advising(Advice::GiveCalibration)
    };
    let mut calibration = job.fitted_to(&prepared.surveyed).ok_or_else(nothing)?;
    calibration.refit = false;
    let search = Search::new(job, &mut prepared, Some(&calibration), Unit::Macs)?;
    let target = job.settings.target;
    let probe = SensitivityProbe::new(&job.model, target, &calibration, job.memory())?;
    (0..plans as u64)
        .map(|seed| {
            let solution = search.planning.arbitrary(seed);
            let predicted = solution.loss;
            let fits = Some(&calibration);
            let made = materialise(search.prepared, None, solution, fits, job)?;
            Ok(Prediction {
                predicted,
                measured: probe.of(&made.model.document)?,
            })
        })
        .collect()
}
