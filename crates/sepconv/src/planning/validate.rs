//! How well damages are predicted.

use serde::Serialize;

use super::{Planning, Prober, Unit};
use crate::budget::realised;
use crate::compress::widened;
use crate::error::Error;
use crate::loaded::Loaded;
use crate::prepared::Prepared;
use crate::progress::Progress;
use crate::settings::Settings;

/// A plan's damage at the outputs: the mean divergence of classes in nats, or the relative
/// squared error of other outputs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prediction {
    /// The sum of the layers' damages.
    pub predicted: f64,
    /// Measured on samples held out of the fits.
    pub measured: f64,
}

/// Predicts and measures the damage of arbitrary plans.
///
/// # Errors
/// As [`crate::compress()`]; [`Error::Setting`] where there is nothing to fit to.
pub fn validate(
    model: &Loaded,
    settings: &Settings,
    plans: usize,
    progress: &dyn Progress,
) -> Result<Vec<Prediction>, Error> {
    let settings = &widened(settings);
    let mut prepared = Prepared::new(model, settings, progress)?;
    let nothing = || Error::Setting("a prediction needs data to fit to (--calib)".into());
    let mut calibration = settings.fitted_to(&prepared).ok_or_else(nothing)?;
    calibration.refit = false;
    let (unit, fits) = (Unit::Macs, Some(&calibration));
    let (planning, _) = Planning::new(model, &mut prepared, settings, fits, unit, progress)?;
    let prober = Prober::new(model, settings.target, &calibration, 1, settings.room())?;
    (0..plans as u64)
        .map(|seed| {
            let solution = planning.arbitrary(seed);
            let predicted = solution.damage;
            let made = realised(&prepared, (None, solution), settings, fits, progress)?;
            Ok(Prediction {
                predicted,
                measured: prober.of(&made.model.document)?,
            })
        })
        .collect()
}
