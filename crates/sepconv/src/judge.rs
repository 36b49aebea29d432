//! Whether a rewritten model is good enough.

use std::fmt;

use crate::calibrate::{CalibrationSettings, Source};
use crate::error::Error;
use crate::evaluate::{Evaluator, Metric, OwnMetric};
use crate::loaded::Loaded;
use crate::planning::Prober;
use crate::progress::Progress;
use crate::settings::{Budget, Settings};

/// Measures models against the budget's floor.
pub(crate) struct Judge<'a> {
    by: By<'a>,
    floor: Floor,
}

enum By<'a> {
    /// The main metric on evaluation data.
    Evaluation(Box<Evaluator<'a>>),
    /// Calibration data held out of the fits.
    HeldOut(Box<Prober<'a>>, Held<'a>),
}

/// What is measured on data held out.
#[derive(Clone, Copy)]
enum Held<'a> {
    Snr,
    Agreement,
    Own(&'a dyn OwnMetric),
}

impl Held<'_> {
    fn of(self, prober: &Prober<'_>, model: &Loaded) -> Result<f64, Error> {
        match self {
            Self::Snr => prober.snr(&model.document),
            Self::Agreement => Ok(prober.agreement(&model.document)?.unwrap_or(0.0)),
            Self::Own(metric) => prober.own(metric, &model.document),
        }
    }
}

/// The worst that is good enough.
struct Floor {
    what: &'static str,
    unit: &'static str,
    value: f64,
    higher_is_better: bool,
}

impl Floor {
    /// What is `drop` worse than `value`.
    fn below(metric: Metric, value: f64, drop: f64) -> Self {
        let higher_is_better = metric.higher_is_better();
        let sign = if higher_is_better { -1.0 } else { 1.0 };
        Self {
            what: metric.label(),
            unit: metric.unit(),
            value: value + sign * drop,
            higher_is_better,
        }
    }
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
                let evaluator = settings.against(model, data)?;
                let primary = evaluator.evaluate(model, progress)?.primary;
                if matches!(primary.metric, Metric::Snr | Metric::ChannelSnr) {
                    return Err(undefined(model));
                }
                Ok(Self {
                    floor: Floor::below(primary.metric, primary.value, drop),
                    by: By::Evaluation(Box::new(evaluator)),
                })
            }
            (budget, _, Some(calibration)) => {
                let test = test_part(calibration);
                let prober = Prober::new(model, settings.target, &test, 1, settings.room())?;
                let (held, floor) = match (budget, settings.metric.as_deref()) {
                    (Budget::MinSnr(floor), _) => {
                        (Held::Snr, Floor::below(Metric::ChannelSnr, floor, 0.0))
                    }
                    (Budget::MaxDrop(drop), Some(metric)) => {
                        let own = Held::Own(metric).of(&prober, model)?;
                        (Held::Own(metric), Floor::below(metric.into(), own, drop))
                    }
                    (Budget::MaxDrop(drop), None) => {
                        if prober.agreement(&model.document)?.is_none() {
                            return Err(undefined(model));
                        }
                        (
                            Held::Agreement,
                            Floor::below(Metric::Agreement, 100.0, drop),
                        )
                    }
                    _ => return Err(Error::Setting("this budget is not judged".into())),
                };
                Ok(Self {
                    by: By::HeldOut(Box::new(prober), held),
                    floor,
                })
            }
            _ => Err(Error::Setting(
                "this budget needs data to measure on: --calib or --eval".into(),
            )),
        }
    }

    /// By how much a model misses the floor, in the metric's unit; not above 0 where it is
    /// good enough.
    pub fn excess(&self, model: &Loaded, progress: &dyn Progress) -> Result<f64, Error> {
        let value = match &self.by {
            By::Evaluation(evaluator) => evaluator.evaluate(model, progress)?.primary.value,
            By::HeldOut(prober, held) => held.of(prober, model)?,
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

/// The samples that are held out of fits to `calibration`, all of them.
fn test_part(calibration: &CalibrationSettings) -> CalibrationSettings {
    let source = match &calibration.source {
        Source::Data(data) => Source::Data(data.of_part(data.part.test())),
        Source::Pictures(_) => calibration.source.clone(),
    };
    CalibrationSettings {
        source,
        held_out_every: 0,
        ..calibration.clone()
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
