//! Acceptance criteria of rewritten models.

use sepconv_data::SyntheticKind;
use sepconv_eval::{
    Decibels, Drop, Evaluator, Measure, Metric, ONE_CLASS, OwnMetric, Reference, ReferenceInputs,
    TaskMetric, synthetic_runs,
};
use sepconv_model::{Advice, Error, Loaded};
use sepconv_planning::SensitivityProbe;
use sepconv_spec::{CalibrationSettings, Source, Verdict};

use crate::job::Job;
use crate::settings::{Budget, USUAL_SNR};

/// Input ranges that models are made for; the worst of them counts.
const KINDS: [SyntheticKind; 3] = [
    SyntheticKind::Normal,
    SyntheticKind::Unit,
    SyntheticKind::Byte,
];

/// Expected loss over the square of a drop in percentage points, about: of classes a divergence, of
/// detections and masks the error of the parts of outputs. Detectors spread: F1 is 95 % at a loss of 5e-4 or less of one whose
/// scores are mostly near their threshold, and at 2.5e-2 or more of one of clear objects (decision 26).
const LOSS_OF_CLASSES: f64 = 5e-3;
const LOSS_OF_DETECTIONS: f64 = 1e-5;
const LOSS_OF_MASKS: f64 = 2e-4;
/// The same of other percentages: of directions of vectors, of errors.
const LOSS_OF_OTHERS: f64 = 2e-6;

/// Decibels below a model whose precision is asked for.
const ROOM: f64 = 1.0;

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
    /// signal is the part that varies between samples: an output that is mostly constant would flatter any
    /// rewrite.
    Synthetic(Vec<Reference>),
}

/// A figure on data held out.
enum HeldOut<'a> {
    Snr,
    Agreement,
    Task(Box<TaskMetric>),
    Own(&'a dyn OwnMetric),
}

/// The worst value that is good enough.
struct Floor {
    metric: Metric,
    value: f64,
    /// The original's own measure, where a drop from it is meant.
    original: Option<Measure>,
    /// Samples that could show it; `None` where none could.
    needed: Option<usize>,
    /// Share of the samples that are of one class, in percent, where that is why a ratio decides.
    one_class: Option<f64>,
}

impl Floor {
    /// A measure that is `drop` worse than the original's.
    fn below(original: Measure, drop: f64) -> Self {
        let metric = original.metric;
        let sign = if metric.higher_is_better() { -1.0 } else { 1.0 };
        Self {
            metric,
            value: original.value + sign * drop,
            needed: Some(Drop::samples_to_show(metric, original.against, drop)),
            original: Some(original),
            one_class: None,
        }
    }

    /// A signal-to-noise ratio, which so many samples could show.
    fn snr(value: f64, needed: Option<usize>) -> Self {
        Self {
            metric: Metric::ChannelSnr,
            value,
            original: None,
            needed,
            one_class: None,
        }
    }

    /// The usual ratio, in place of agreement: so much, in percent, of the samples is of one class.
    fn of_one_class(share: f64) -> Self {
        Self {
            one_class: Some(share),
            ..Self::snr(USUAL_SNR, Some(2))
        }
    }

    /// Of a measure of a rewritten model.
    fn of_measure(&self, measure: &Measure) -> Verdict {
        let limit = match &self.original {
            Some(original) => {
                let sign = if self.metric.higher_is_better() {
                    -1.0
                } else {
                    1.0
                };
                let drop = Drop::between(original, measure).limit;
                drop.map(|most| original.value + sign * most)
            }
            None => measure.limit,
        };
        self.verdict(measure.value, limit, measure.n)
    }

    /// Of a ratio; nothing else is as bad as one that is not a number.
    fn of_snr(&self, snr: Option<Decibels>, samples: usize) -> Verdict {
        let limit = snr.and_then(Decibels::limit);
        self.verdict(snr.map_or(f64::NEG_INFINITY, |s| s.value), limit, samples)
    }

    fn verdict(&self, value: f64, limit: Option<f64>, samples: usize) -> Verdict {
        Verdict {
            metric: self.metric.label(),
            unit: self.metric.unit(),
            allowed: self.value,
            value: Some(value).filter(|v| !v.is_nan()),
            limit,
            samples,
            needed: self.needed,
            shown: limit.is_some_and(|limit| self.missed_by(limit) <= 0.0),
            one_class: self.one_class,
        }
    }

    /// The distance by which a value misses it.
    fn missed_by(&self, value: f64) -> f64 {
        let excess = match self.metric.higher_is_better() {
            true => self.value - value,
            false => value - self.value,
        };
        match excess.is_nan() {
            true => f64::INFINITY,
            false => excess,
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
        let evaluator = job.evaluator(job.measured_on())?;
        let evaluator = evaluator.ok_or_else(|| undefined(&job.model))?;
        let evaluation = evaluator.evaluate(&job.model, job.progress)?;
        let one_class = evaluation.one_class();
        let primary = evaluation.primary;
        let no_drop = matches!(primary.metric, Metric::Snr | Metric::ChannelSnr);
        if no_drop || !primary.value.is_finite() {
            return Err(undefined(&job.model));
        }
        if let (Some(share), Some(data)) = (one_class, &job.settings.eval) {
            let all = CalibrationSettings {
                held_out_every: 0,
                ..CalibrationSettings::new(data.clone())
            };
            let on = job.measured_on();
            let probe = SensitivityProbe::new(&job.model, on, &all, job.memory())?;
            return Ok(Self {
                figure: Figure::HeldOut(Box::new(probe), HeldOut::Snr),
                floor: Floor::of_one_class(100.0 * share),
            });
        }
        Ok(Self {
            floor: Floor::below(primary, drop),
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
        let probe = SensitivityProbe::new(model, job.measured_on(), &test, job.memory())?;
        let (held, floor) = match (budget, settings.metric.as_deref()) {
            (Budget::MinSnr(floor), _) => {
                // A spread takes two samples.
                (HeldOut::Snr, Floor::snr(floor, Some(2)))
            }
            (Budget::MaxDrop(drop), Some(metric)) => {
                let own = probe.own(metric, &model.document)?;
                (HeldOut::Own(metric), Floor::below(own, drop))
            }
            (Budget::MaxDrop(drop), None) => {
                let data = calibration.source.data().cloned().unwrap_or_default();
                let task = probe.task(&data)?.filter(|task| !task.is_of_classes());
                match (task, one_class(&probe)) {
                    (None, Some(share)) => (HeldOut::Snr, Floor::of_one_class(share)),
                    (task, _) => by_points(&probe, task, drop)?,
                }
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
        let (silent, references): (Vec<_>, Vec<_>) =
            references.into_iter().partition(Reference::is_silent);
        if references.is_empty() && !silent.is_empty() {
            let reason = "on synthetic inputs one class wins always, so that they say nothing of \
                          what a rewrite does to the others";
            return Err(job
                .nothing(reason)
                .advising(Advice::GiveCalibrationOrBudget));
        }
        Ok(Self {
            figure: Figure::Synthetic(references),
            floor: Floor::snr(floor, None),
        })
    }

    /// Allows for a model whose precision is asked for: where it misses the floor by itself, others may
    /// be as far below it as the floor was below the original. Of samples too few to tell so little
    /// apart, none may be lost.
    pub fn allow(&mut self, asked: &Verdict) {
        let missed = self.excess(asked);
        if !(missed > 0.0 && missed.is_finite()) {
            return;
        }
        let room = match &self.floor.original {
            Some(original) if self.floor.metric.is_percentage() => {
                let sample = 100.0 / asked.samples.max(1) as f64;
                Some(self.allowed_drop(original))
                    .filter(|room| *room >= sample)
                    .unwrap_or(0.0)
            }
            Some(original) => self.allowed_drop(original),
            None => ROOM,
        };
        let sign = match self.floor.metric.higher_is_better() {
            true => -1.0,
            false => 1.0,
        };
        self.floor.value += sign * (missed + room);
    }

    /// True where the figure is measured on synthetic inputs.
    pub fn is_synthetic(&self) -> bool {
        matches!(self.figure, Figure::Synthetic(_))
    }

    /// A model held against the floor.
    pub fn verdict(&self, model: &Loaded, job: &Job<'_>) -> Result<Verdict, Error> {
        let floor = &self.floor;
        Ok(match &self.figure {
            Figure::Evaluation(evaluator) => {
                floor.of_measure(&evaluator.evaluate(model, job.progress)?.primary)
            }
            Figure::HeldOut(probe, HeldOut::Snr) => {
                floor.of_snr(probe.snr(&model.document)?, probe.samples())
            }
            Figure::HeldOut(probe, HeldOut::Agreement) => match probe.agreement(&model.document)? {
                Some(measure) => floor.of_measure(&measure),
                None => return Err(undefined(model)),
            },
            Figure::HeldOut(probe, HeldOut::Task(metric)) => {
                match probe.by_task(metric, &model.document)? {
                    Some(measure) => floor.of_measure(&measure),
                    None => return Err(undefined(model)),
                }
            }
            Figure::HeldOut(probe, HeldOut::Own(metric)) => {
                floor.of_measure(&probe.own(*metric, &model.document)?)
            }
            Figure::Synthetic(references) => {
                let mut worst = f64::INFINITY;
                for r in references {
                    let compared = r.compare(model, job.settings.target, job.progress)?;
                    let snr = compared.strictest_snr();
                    worst = worst.min(snr.map_or(f64::NEG_INFINITY, |s| s.value));
                }
                floor.verdict(worst, None, 0)
            }
        })
    }

    /// The distance by which a model misses the floor, in the metric's unit; not above 0 where it is
    /// good enough. The limit counts where there are samples enough to show that it is, else what
    /// was measured.
    pub fn excess(&self, verdict: &Verdict) -> f64 {
        let counts = match verdict.is_by_limit() {
            true => verdict.limit,
            false => verdict.value,
        };
        counts.map_or(f64::INFINITY, |value| self.floor.missed_by(value))
    }

    /// The allowed drop from a measure of the original, in the metric's unit.
    fn allowed_drop(&self, original: &Measure) -> f64 {
        (original.value - self.floor.value)
            .abs()
            .max(f64::MIN_POSITIVE)
    }

    /// Noise of a model that misses the floor by `excess`, in a unit in which it adds up and is in proportion
    /// to expected losses: of decibels the noise over the signal, of percentages the square of the drop. `None`
    /// of other figures.
    pub fn noise(&self, excess: f64) -> Option<f64> {
        let Floor {
            metric,
            value,
            original,
            ..
        } = &self.floor;
        match original {
            None => Some(10_f64.powf((excess - value) / 10.0)),
            Some(original) if metric.is_percentage() => {
                Some((self.allowed_drop(original) + excess).max(0.0).powi(2))
            }
            Some(_) => None,
        }
    }

    /// The distance from the bound of a model that misses the floor by `excess`, as a share of that of the original from it: -1 is
    /// the original, above 0 it fails. Of decibels by the power of the noise.
    pub fn share(&self, excess: f64) -> f64 {
        match &self.floor.original {
            None => 10_f64.powf(excess / 10.0) - 1.0,
            Some(original) => excess / self.allowed_drop(original),
        }
    }

    /// [`Acceptance::noise`] of a model that misses the floor by `excess`, and that of one at the bound: of figures that count
    /// samples that of half a sample at least. Where that is more than the bound allows, one sample says little of the
    /// distance from it.
    pub fn noise_beside_bound(&self, excess: f64) -> Option<(f64, f64)> {
        let made = self.noise(excess)?;
        let original = self.floor.original.as_ref();
        let half = original
            .filter(|original| original.metric.is_share())
            .map_or(0.0, |original| 50.0 / original.n.max(1) as f64);
        Some((made, self.noise(0.0)?.max(half.powi(2))))
    }

    /// The expected loss of a plan that makes about so much noise, before any was measured.
    pub fn loss_of(&self, noise: f64) -> f64 {
        match self.floor.original {
            // The worst channel has about twice the noise of all.
            None => 0.5 * noise,
            Some(_) => match self.floor.metric {
                Metric::Agreement
                | Metric::TopOne
                | Metric::TopFive
                | Metric::Sequences
                | Metric::LabelF1 => LOSS_OF_CLASSES * noise,
                Metric::MeanIou => LOSS_OF_MASKS * noise,
                Metric::DetectionF1
                | Metric::Recall
                | Metric::Precision
                | Metric::MeanAveragePrecision
                | Metric::AveragePrecision50 => LOSS_OF_DETECTIONS * noise,
                _ => LOSS_OF_OTHERS * noise,
            },
        }
    }

    /// The error where the best try misses the floor by `excess`.
    pub fn missed_by(&self, excess: f64, job: &Job<'_>) -> Error {
        let Floor { metric, value, .. } = &self.floor;
        let (label, unit) = (metric.label(), metric.unit());
        let one_class = self.floor.one_class.map_or(String::new(), |share| {
            format!(
                "; it decides since {share:.1} % of the samples are of one class, whose agreement \
                 says little"
            )
        });
        match self.is_synthetic() {
            true => job
                .nothing(format!(
                    "no saving keeps the outputs within {value} dB of the original without data \
                     (the closest try reached {:.1} dB); calibration data would allow far more",
                    value - excess
                ))
                .advising(Advice::GiveCalibrationOrBudget),
            false => job
                .nothing(format!(
                    "no plan that was tried keeps {label} at {value:.2} {unit}; the closest misses it \
                     by {excess:.2}{one_class}"
                ))
                .advising(Advice::GiveLowerBound),
        }
    }
}

/// Share of the samples of the most frequent class, in percent, where it is so great that agreement says
/// too little.
fn one_class(probe: &SensitivityProbe<'_>) -> Option<f64> {
    let share = probe.largest_class();
    share
        .filter(|share| *share >= ONE_CLASS)
        .map(|share| 100.0 * share)
}

/// The greatest drop in the points of a task, or in agreement where there is none.
fn by_points<'a>(
    probe: &SensitivityProbe<'_>,
    task: Option<TaskMetric>,
    drop: f64,
) -> Result<(HeldOut<'a>, Floor), Error> {
    let model = probe.original();
    let itself = match &task {
        Some(task) => probe.by_task(task, &model.document)?,
        None => probe.agreement(&model.document)?,
    };
    // Where the original says nothing, nothing can be kept of it.
    let itself = itself.filter(|itself| itself.value.is_finite());
    let itself = itself.ok_or_else(|| undefined(model))?;
    let held = task.map_or(HeldOut::Agreement, |task| HeldOut::Task(Box::new(task)));
    Ok((held, Floor::below(itself, drop)))
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
        reason: "a drop is not defined for these outputs without a target: they are of no task \
                 that is measured in points, or say nothing on these data"
            .into(),
    };
    error.advising(Advice::GiveTargetOrSnr)
}

#[cfg(test)]
mod tests {
    use sepconv_eval::Against;

    use super::*;

    /// A criterion with the floor of a drop of one point from full agreement, or of 30 dB.
    fn criterion(classes: bool) -> Acceptance<'static> {
        match classes {
            true => agreement_of(64),
            false => of_floor(Floor::snr(30.0, None)),
        }
    }

    /// A criterion with the floor of a drop of one point from full agreement on so many samples.
    fn agreement_of(n: usize) -> Acceptance<'static> {
        let full = Measure::share(Metric::Agreement, Against::Original, "y", n, n);
        of_floor(Floor::below(full, 1.0))
    }

    fn of_floor(floor: Floor) -> Acceptance<'static> {
        let figure = Figure::Synthetic(Vec::new());
        Acceptance { figure, floor }
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }

    #[test]
    fn a_precision_that_is_asked_for_lowers_the_floor_where_it_misses_it_by_itself() {
        let mut classes = criterion(true);
        let of = |correct| Measure::share(Metric::Agreement, Against::Original, "y", correct, 64);
        let verdict = classes.floor.of_measure(&of(64));
        classes.allow(&verdict);
        near(classes.floor.value, 99.0);
        // Two samples of 64; one is more than a point.
        let verdict = classes.floor.of_measure(&of(62));
        classes.allow(&verdict);
        near(classes.floor.value, 100.0 - 200.0 / 64.0);
        let mut many = criterion(true);
        let share = Measure::share(Metric::Agreement, Against::Original, "y", 194, 200);
        let verdict = many.floor.of_measure(&share);
        many.allow(&verdict);
        near(many.floor.value, 96.0);
        let mut decibels = criterion(false);
        let verdict = decibels.floor.verdict(24.0, None, 0);
        decibels.allow(&verdict);
        near(decibels.floor.value, 23.0);
        // A decibel is a fifth of the noise, which separable forms may have.
        let excess = decibels.excess(&verdict);
        assert!(decibels.share(excess) < -0.2, "{excess}");
    }

    #[test]
    fn distances_from_the_bound_are_shares_of_that_of_the_original() {
        let (classes, decibels) = (criterion(true), criterion(false));
        near(classes.share(-1.0), -1.0);
        near(classes.share(0.5), 0.5);
        near(decibels.share(f64::NEG_INFINITY), -1.0);
        near(decibels.share(0.0), 0.0);
        // Less than half a decibel above the bound is within a tenth of it.
        near(decibels.share(-0.457_574_905_606_751_3), -0.1);
    }

    #[test]
    fn noise_is_of_the_bound_where_a_model_meets_it_exactly() {
        let (classes, decibels) = (criterion(true), criterion(false));
        let noise =
            |criterion: &Acceptance<'_>, excess| criterion.noise(excess).unwrap_or(f64::NAN);
        near(noise(&decibels, 0.0), 1e-3);
        near(noise(&decibels, 10.0), 1e-2);
        near(noise(&classes, 0.0), 1.0);
        near(noise(&classes, 1.0), 4.0);
        near(noise(&classes, -1.0), 0.0);
    }

    #[test]
    fn a_bound_finer_than_half_a_sample_gives_way_to_it() {
        let share = |criterion: &Acceptance<'_>, excess| {
            let noise = criterion.noise_beside_bound(excess);
            noise.map_or(f64::NAN, |(made, allowed)| allowed / made)
        };
        // One sample of them changes, by which 99 % are missed.
        let one = |n: usize| share(&agreement_of(n), 100.0 / n as f64 - 1.0);
        near(one(16), 0.25);
        near(one(49), 0.25);
        near(one(64), 0.64 * 0.64);
        near(share(&agreement_of(200), 1.0), 0.25);
        near(share(&criterion(false), 10.0), 0.1);
    }
}
