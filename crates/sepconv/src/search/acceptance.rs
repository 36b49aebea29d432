//! Acceptance criteria of rewritten models.

use sepconv_data::SyntheticKind;
use sepconv_eval::{Evaluator, Metric, Reference, ReferenceInputs, synthetic_runs};
use sepconv_model::{Advice, Error, Loaded, Task};
use sepconv_planning::SensitivityProbe;
use sepconv_spec::{CalibrationSettings, Source, Verdict};

use super::criterion::{Criterion, Figure, beside, by_points, undefined};
use super::floor::Floor;
use crate::job::Job;
use crate::settings::Budget;

/// Input ranges that models are made for; the worst of them counts.
const KINDS: [SyntheticKind; 3] = [
    SyntheticKind::Normal,
    SyntheticKind::Unit,
    SyntheticKind::Byte,
];

/// Figures of rewritten models, and the worst value of each that is good enough. There is one at least; the
/// outputs beside those of a classifier have their own.
pub(super) struct Acceptance<'a> {
    data: Data<'a>,
    criteria: Vec<Criterion<'a>>,
}

/// The data that figures are measured on.
enum Data<'a> {
    /// Evaluation data.
    Evaluation(Box<Evaluator<'a>>),
    /// Calibration data held out of the fits.
    HeldOut(Box<SensitivityProbe<'a>>),
    /// Seeded synthetic inputs of several ranges, the worst of which counts. The
    /// signal is the part that varies between samples: an output that is mostly constant would flatter any
    /// rewrite.
    Synthetic(Vec<Reference>),
}

/// A model held against all floors.
#[derive(Debug, Clone)]
pub(super) struct Judgement {
    all: Vec<Verdict>,
    /// The place of the one that is nearest to its floor, or furthest below it.
    worst: usize,
}

impl Judgement {
    /// The verdict that decides.
    pub fn verdict(&self) -> &Verdict {
        &self.all[self.worst]
    }

    /// The place of the floor that decides.
    pub fn place(&self) -> usize {
        self.worst
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
        let primary = &evaluation.primary;
        let no_drop = matches!(primary.metric, Metric::Snr | Metric::ChannelSnr);
        if no_drop || !primary.value.is_finite() {
            return Err(undefined(&job.model));
        }
        let data = job.settings.eval.as_ref();
        if let (Some(share), Some(data)) = (one_class, data) {
            let all = CalibrationSettings {
                held_out_every: 0,
                ..CalibrationSettings::new(data.clone())
            };
            let on = job.measured_on();
            let probe = SensitivityProbe::new(&job.model, on, &all, job.memory())?;
            return Ok(Self {
                data: Data::HeldOut(Box::new(probe)),
                criteria: vec![Criterion {
                    figure: Figure::Snr(None),
                    floor: Floor::of_one_class(100.0 * share),
                }],
            });
        }
        let own = job.settings.metric.is_some();
        let named = own || data.is_some_and(|data| data.task != Task::Auto);
        let mut criteria = match named {
            true => Vec::new(),
            false => {
                let others = beside(&job.model, &evaluation, drop);
                let others = others.filter(|(output, _)| !evaluator.covers(*output));
                others.map(|(_, criterion)| criterion).collect()
            }
        };
        let outputs = (!criteria.is_empty()).then(|| primary.output.clone());
        let floor = Floor::below(evaluation.primary, drop).of_outputs(outputs);
        let figure = Figure::Primary;
        criteria.insert(0, Criterion { figure, floor });
        Ok(Self {
            data: Data::Evaluation(Box::new(evaluator)),
            criteria,
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
        let one = |figure, floor| vec![Criterion { figure, floor }];
        let criteria = match (budget, settings.metric.as_deref()) {
            (Budget::MinSnr(floor), _) => {
                // A spread takes two samples.
                one(Figure::Snr(None), Floor::snr(floor, Some(2)))
            }
            (Budget::MaxDrop(drop), Some(metric)) => {
                let own = probe.own(metric, &probe.outputs_of(&model.document)?);
                if !own.value.is_finite() {
                    return Err(Error::Setting(format!(
                        "the metric {} is {} for the original's own outputs",
                        own.metric.label(),
                        own.value
                    )));
                }
                one(Figure::Own(metric), Floor::below(own, drop))
            }
            (Budget::MaxDrop(drop), None) => {
                let data = calibration.source.data().cloned().unwrap_or_default();
                let task = probe.task(&data)?.filter(|task| !task.is_of_classes());
                by_points(&probe, task, &data, drop)?
            }
            _ => return Err(Error::Setting("this budget is not judged".into())),
        };
        Ok(Self {
            data: Data::HeldOut(Box::new(probe)),
            criteria,
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
            data: Data::Synthetic(references),
            criteria: vec![Criterion {
                figure: Figure::Snr(None),
                floor: Floor::snr(floor, None),
            }],
        })
    }

    /// Allows for a model whose precision is asked for: where it misses a floor by itself, others may
    /// be as far below it as the floor was below the original. Of samples too few to tell so little
    /// apart, none may be lost.
    pub fn allow(&mut self, asked: &mut Judgement) {
        for (criterion, asked) in self.criteria.iter_mut().zip(&asked.all) {
            criterion.floor.allow(asked);
        }
        asked.worst = self.worst_of(&asked.all);
    }

    /// The place of the verdict that is nearest to its floor, or furthest below it: the first of several.
    fn worst_of(&self, all: &[Verdict]) -> usize {
        let shares = all.iter().zip(&self.criteria);
        let shares = shares.map(|(verdict, own)| own.floor.share(own.floor.excess(verdict)));
        let shares = shares.enumerate();
        let worst = shares.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        worst.map_or(0, |(place, _)| place)
    }

    /// Number of figures.
    pub fn figures(&self) -> usize {
        self.criteria.len()
    }

    /// True where the figure is measured on synthetic inputs.
    pub fn is_synthetic(&self) -> bool {
        matches!(self.data, Data::Synthetic(_))
    }

    /// A model held against the floors.
    ///
    /// # Errors
    /// [`Error::Interface`] where a figure is not defined for its outputs, [`Error::Target`] where the runtime can't
    /// run it.
    pub fn judged(&self, model: &Loaded, job: &Job<'_>) -> Result<Judgement, Error> {
        let all: Vec<Verdict> = match &self.data {
            Data::Evaluation(evaluator) => {
                let evaluation = evaluator.evaluate(model, job.progress)?;
                let criteria = self.criteria.iter();
                criteria.map(|own| own.evaluated(&evaluation)).collect()
            }
            Data::HeldOut(probe) => {
                let outputs = probe.outputs_of(&model.document)?;
                let criteria = self.criteria.iter();
                let verdicts = criteria.map(|own| own.held_out(probe, &outputs));
                verdicts
                    .collect::<Option<_>>()
                    .ok_or_else(|| undefined(model))?
            }
            Data::Synthetic(references) => {
                let mut worst = f64::INFINITY;
                for r in references {
                    let compared = r.compare(model, job.settings.target, job.progress)?;
                    let snr = compared.strictest_snr();
                    worst = worst.min(snr.map_or(f64::NEG_INFINITY, |s| s.value));
                }
                let criteria = self.criteria.iter();
                criteria
                    .map(|own| own.floor.verdict(worst, None, 0))
                    .collect()
            }
        };
        Ok(Judgement {
            worst: self.worst_of(&all),
            all,
        })
    }

    fn floor(&self, judgement: &Judgement) -> &Floor {
        &self.criteria[judgement.worst].floor
    }

    /// The distance by which a model misses its floor, in the metric's unit; not above 0 where it is
    /// good enough. The limit counts where there are samples enough to show that it is, else what
    /// was measured.
    pub fn excess(&self, judgement: &Judgement) -> f64 {
        self.floor(judgement).excess(judgement.verdict())
    }

    /// The distance of a model from its bound, as a share of that of the original from it: -1 is
    /// the original, above 0 it fails. Of decibels by the power of the noise.
    pub fn share(&self, judgement: &Judgement) -> f64 {
        self.floor(judgement).share(self.excess(judgement))
    }

    /// Noise of a model by every figure, in a unit in which it adds up and is in proportion
    /// to expected losses: of decibels the noise over the signal, of percentages the square of the drop. `None`
    /// of other figures.
    pub fn noises(&self, judgement: &Judgement) -> Vec<Option<f64>> {
        let all = self.criteria.iter().zip(&judgement.all);
        let noises = all.map(|(own, verdict)| own.floor.noise(own.floor.excess(verdict)));
        noises.collect()
    }

    /// Noise of a model by the figure that decides, and that of one at the bound: of figures that count
    /// samples that of half a sample at least. Where that is more than the bound allows, one sample says little of the
    /// distance from it.
    pub fn noise_beside_bound(&self, judgement: &Judgement) -> Option<(f64, f64)> {
        self.floor(judgement)
            .noise_beside_bound(self.excess(judgement))
    }

    /// The expected loss of a plan that makes the noise that bounds allow beside that of a start, before any was
    /// measured: the least by all figures. `None` where a figure does not tell.
    pub fn first_loss(&self, start: &[f64]) -> Option<f64> {
        let losses = self.criteria.iter().zip(start).map(|(own, start)| {
            let allowed = own.floor.noise(0.0)?;
            Some(own.floor.loss_of((allowed - start).max(0.0)))
        });
        let losses: Option<Vec<f64>> = losses.collect();
        losses?.into_iter().min_by(f64::total_cmp)
    }

    /// The error where the best try is judged so.
    pub fn missed_by(&self, closest: &Judgement, job: &Job<'_>) -> Error {
        let excess = self.excess(closest);
        let floor = self.floor(closest);
        let Floor { metric, value, .. } = floor;
        let (figure, unit) = (closest.verdict().figure(), metric.unit());
        let one_class = floor.one_class.map_or(String::new(), |share| {
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
                    "no plan that was tried keeps {figure} at {value:.2} {unit}; the closest misses it \
                     by {excess:.2}{one_class}"
                ))
                .advising(match (floor.is_beside(), floor.one_class) {
                    (true, _) => Advice::NameTask,
                    (false, Some(_)) => Advice::GiveLowerRatio,
                    (false, None) => Advice::GiveLowerBound,
                }),
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
