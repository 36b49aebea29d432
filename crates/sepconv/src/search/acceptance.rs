//! Acceptance criteria of rewritten models.

use sepconv_data::SyntheticKind;
use sepconv_eval::{Evaluator, Metric, OwnMetric, Reference, ReferenceInputs, synthetic_runs};
use sepconv_model::{Advice, Error, Loaded};
use sepconv_planning::SensitivityProbe;
use sepconv_spec::{CalibrationSettings, Source};

use crate::job::Job;
use crate::settings::Budget;

/// Input ranges that models are made for; the worst of them counts.
const KINDS: [SyntheticKind; 3] = [
    SyntheticKind::Normal,
    SyntheticKind::Unit,
    SyntheticKind::Byte,
];

/// A figure of rewritten models, and the worst value of it that is good enough.
pub(super) struct Acceptance<'a> {
    figure: Figure<'a>,
    floor: Floor,
}

/// A figure, with the data that it is measured on.
enum Figure<'a> {
    /// The main metric on evaluation data.
    Evaluation(Box<Evaluator<'a>>),
    /// A figure on calibration data held out of the fits.
    HeldOut(Box<SensitivityProbe<'a>>, HeldOut<'a>),
    /// Signal to noise on seeded synthetic inputs of several ranges, the worst of which counts. The
    /// signal is what varies between samples: an output that is mostly constant would flatter any
    /// rewrite.
    Synthetic(Vec<Reference>),
}

/// A figure on data held out.
#[derive(Clone, Copy)]
enum HeldOut<'a> {
    Snr,
    Agreement,
    Own(&'a dyn OwnMetric),
}

impl HeldOut<'_> {
    fn of(self, probe: &SensitivityProbe<'_>, model: &Loaded) -> Result<f64, Error> {
        match self {
            Self::Snr => probe.snr(&model.document),
            Self::Agreement => Ok(probe.agreement(&model.document)?.unwrap_or(0.0)),
            Self::Own(metric) => probe.own(metric, &model.document),
        }
    }
}

/// The worst value that is good enough.
struct Floor {
    label: &'static str,
    unit: &'static str,
    value: f64,
    higher_is_better: bool,
}

impl Floor {
    /// A value that is `drop` worse than `value`.
    fn below(metric: Metric, value: f64, drop: f64) -> Self {
        let higher_is_better = metric.higher_is_better();
        let sign = if higher_is_better { -1.0 } else { 1.0 };
        Self {
            label: metric.label(),
            unit: metric.unit(),
            value: value + sign * drop,
            higher_is_better,
        }
    }
}

impl<'a> Acceptance<'a> {
    /// The criterion of the job's budget, measured on its evaluation data, else on the samples of
    /// `calibration` that are held out, else on synthetic inputs.
    ///
    /// # Errors
    /// [`Error::Setting`] where there are no data to measure a drop on, [`Error::Interface`] where a
    /// drop is not defined for the outputs, [`Error::Data`] and [`Error::Target`] for the data and
    /// the runs.
    pub fn new(job: &'a Job<'a>, calibration: Option<&CalibrationSettings>) -> Result<Self, Error> {
        match (job.settings.budget, &job.settings.eval, calibration) {
            (Budget::MaxDrop(drop), Some(_), _) => Self::on_evaluation_data(job, drop),
            (Budget::MaxDrop(_), None, None) => {
                let error = Error::Setting("a greatest drop needs data to measure on".into());
                Err(error.advising(Advice::GiveJudgingData))
            }
            (budget, _, Some(calibration)) => Self::on_held_out(job, budget, calibration),
            (Budget::MinSnr(floor), _, None) => Self::on_synthetic_inputs(job, floor),
            _ => Err(Error::Setting("this budget is not judged".into())),
        }
    }

    fn on_evaluation_data(job: &'a Job<'a>, drop: f64) -> Result<Self, Error> {
        let evaluator = job.settings.evaluator(&job.model)?;
        let evaluator = evaluator.ok_or_else(|| undefined(&job.model))?;
        let primary = evaluator.evaluate(&job.model, job.progress)?.primary;
        if matches!(primary.metric, Metric::Snr | Metric::ChannelSnr) {
            return Err(undefined(&job.model));
        }
        Ok(Self {
            floor: Floor::below(primary.metric, primary.value, drop),
            figure: Figure::Evaluation(Box::new(evaluator)),
        })
    }

    fn on_held_out(
        job: &'a Job<'a>,
        budget: Budget,
        calibration: &CalibrationSettings,
    ) -> Result<Self, Error> {
        let (model, settings) = (&*job.model, &job.settings);
        let test = test_part(calibration);
        let probe = SensitivityProbe::new(model, settings.target, &test, 1, job.memory())?;
        let (held, floor) = match (budget, settings.metric.as_deref()) {
            (Budget::MinSnr(floor), _) => {
                (HeldOut::Snr, Floor::below(Metric::ChannelSnr, floor, 0.0))
            }
            (Budget::MaxDrop(drop), Some(metric)) => {
                let own = HeldOut::Own(metric).of(&probe, model)?;
                (HeldOut::Own(metric), Floor::below(metric.into(), own, drop))
            }
            (Budget::MaxDrop(drop), None) => {
                if probe.agreement(&model.document)?.is_none() {
                    return Err(undefined(model));
                }
                (
                    HeldOut::Agreement,
                    Floor::below(Metric::Agreement, 100.0, drop),
                )
            }
            _ => return Err(Error::Setting("this budget is not judged".into())),
        };
        Ok(Self {
            figure: Figure::HeldOut(Box::new(probe), held),
            floor,
        })
    }

    fn on_synthetic_inputs(job: &'a Job<'a>, floor: f64) -> Result<Self, Error> {
        let (model, settings) = (&*job.model, &job.settings);
        let runs = synthetic_runs(model.cost.macs, 2);
        let references = KINDS.iter().map(|kind| {
            let inputs = ReferenceInputs::random(model, settings.seed, runs, *kind)?;
            Reference::of(model, settings.target, inputs, job.progress)
        });
        let references: Result<Vec<Reference>, Error> = references.collect();
        let references = references.map_err(|e| match e {
            Error::Target { source, .. } => job
                .nothing(format!("its outputs can't be checked ({source})"))
                .advising(Advice::GiveUnjudgedBudget),
            other => other,
        })?;
        Ok(Self {
            figure: Figure::Synthetic(references),
            floor: Floor::below(Metric::ChannelSnr, floor, 0.0),
        })
    }

    /// True where the figure is measured on synthetic inputs.
    pub fn is_synthetic(&self) -> bool {
        matches!(self.figure, Figure::Synthetic(_))
    }

    /// The figure of a model, in the metric's unit.
    pub fn value(&self, model: &Loaded, job: &Job<'_>) -> Result<f64, Error> {
        match &self.figure {
            Figure::Evaluation(evaluator) => {
                Ok(evaluator.evaluate(model, job.progress)?.primary.value)
            }
            Figure::HeldOut(probe, held) => held.of(probe, model),
            Figure::Synthetic(references) => {
                let mut worst = f64::INFINITY;
                for r in references {
                    let compared = r.compare(model, job.settings.target, job.progress)?;
                    worst = worst.min(compared.strictest_snr().unwrap_or(f64::NEG_INFINITY));
                }
                Ok(worst)
            }
        }
    }

    /// The distance by which a value misses the floor, in the metric's unit; not above 0 where it is
    /// good enough.
    pub fn excess(&self, value: f64) -> f64 {
        let excess = match self.floor.higher_is_better {
            true => self.floor.value - value,
            false => value - self.floor.value,
        };
        match excess.is_nan() {
            true => f64::INFINITY,
            false => excess,
        }
    }

    /// The error where the best try misses the floor by `excess`.
    pub fn missed_by(&self, excess: f64, job: &Job<'_>) -> Error {
        let Floor {
            label, unit, value, ..
        } = &self.floor;
        match self.is_synthetic() {
            true => job
                .nothing(format!(
                    "no saving keeps the outputs within {value} dB of the original without data \
                     (the closest try reached {:.1} dB); calibration data would allow far more",
                    value - excess
                ))
                .advising(Advice::GiveCalibrationOrBudget),
            false => job.nothing(format!(
                "no plan that was tried keeps {label} at {value:.2} {unit}; the closest misses it \
                 by {excess:.2}"
            )),
        }
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

fn undefined(model: &Loaded) -> Error {
    let error = Error::Interface {
        file: model.file(),
        reason: "a drop is not defined for outputs that are no classes without a target".into(),
    };
    error.advising(Advice::GiveTargetOrSnr)
}
