//! Whether a rewritten model is good enough.

use std::fmt;

use crate::calibrate::CalibrationSettings;
use crate::error::Error;
use crate::evaluate::{Evaluator, Metric};
use crate::loaded::Loaded;
use crate::planning::Prober;
use crate::progress::Progress;
use crate::settings::{Budget, Settings};

/// Of so many calibration samples one is held out for the judge.
const HELD_OUT_EVERY: u64 = 4;

/// Measures models against the budget's floor.
pub(crate) struct Judge<'a> {
    by: By<'a>,
    floor: Floor,
}

enum By<'a> {
    /// The main metric on evaluation data.
    Evaluation(Box<Evaluator<'a>>),
    /// Calibration data held out of the fits.
    HeldOut(Box<Prober<'a>>),
}

/// The worst that is good enough.
struct Floor {
    what: &'static str,
    unit: &'static str,
    value: f64,
    higher_is_better: bool,
}

impl<'a> Judge<'a> {
    pub fn new(
        model: &'a Loaded,
        settings: &'a Settings,
        calibration: Option<&CalibrationSettings>,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        match (settings.budget, &settings.eval, calibration) {
            (Budget::MaxDrop(drop), Some(data), _) => {
                let evaluator = Evaluator::against(model, data, settings.target)?;
                let primary = evaluator.evaluate(model, progress)?.primary;
                let higher_is_better = primary.metric.higher_is_better();
                if primary.metric == Metric::Snr {
                    return Err(undefined(model));
                }
                let sign = if higher_is_better { -1.0 } else { 1.0 };
                Ok(Self {
                    floor: Floor {
                        what: primary.metric.label(),
                        unit: primary.metric.unit(),
                        value: primary.value + sign * drop,
                        higher_is_better,
                    },
                    by: By::Evaluation(Box::new(evaluator)),
                })
            }
            (budget, _, Some(calibration)) => {
                let spared = CalibrationSettings {
                    held_out_every: HELD_OUT_EVERY,
                    ..calibration.clone()
                };
                let prober = Prober::new(model, settings.target, &spared, 1)?;
                let (what, unit, value) = match budget {
                    Budget::MinSnr(floor) => ("SNR", "dB", floor),
                    Budget::MaxDrop(drop) => ("agreement", "%", 100.0 - drop),
                    _ => return Err(Error::Setting("this budget is not judged".into())),
                };
                if what == "agreement" && prober.agreement(&model.document)?.is_none() {
                    return Err(undefined(model));
                }
                Ok(Self {
                    by: By::HeldOut(Box::new(prober)),
                    floor: Floor {
                        what,
                        unit,
                        value,
                        higher_is_better: true,
                    },
                })
            }
            _ => Err(Error::Setting(
                "this budget needs data to measure on: --calib or --eval".into(),
            )),
        }
    }

    /// The settings of fits that the judge may look at: with its samples held out.
    pub fn spares(&self, calibration: &CalibrationSettings) -> CalibrationSettings {
        match self.by {
            By::Evaluation(_) => calibration.clone(),
            By::HeldOut(_) => CalibrationSettings {
                held_out_every: HELD_OUT_EVERY,
                refit: false,
                ..calibration.clone()
            },
        }
    }

    /// By how much a model misses the floor, in the metric's unit; not above 0 where it is
    /// good enough.
    pub fn excess(&self, model: &Loaded, progress: &dyn Progress) -> Result<f64, Error> {
        let value = match &self.by {
            By::Evaluation(evaluator) => evaluator.evaluate(model, progress)?.primary.value,
            By::HeldOut(prober) if self.floor.what == "SNR" => prober.snr(&model.document)?,
            By::HeldOut(prober) => prober.agreement(&model.document)?.unwrap_or(0.0),
        };
        let excess = if self.floor.higher_is_better {
            self.floor.value - value
        } else {
            value - self.floor.value
        };
        Ok(if excess.is_nan() {
            f64::INFINITY
        } else {
            excess
        })
    }
}

impl fmt::Display for Judge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Floor {
            what, unit, value, ..
        } = &self.floor;
        write!(f, "{what} at {value:.2} {unit}")
    }
}

fn undefined(model: &Loaded) -> Error {
    Error::Interface {
        file: model.file(),
        reason: "a drop is not defined for outputs that are no classes without a target: give \
                 --eval with a target, or --min-snr"
            .into(),
    }
}
