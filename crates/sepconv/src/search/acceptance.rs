//! Acceptance criteria of rewritten models.

use sepconv_data::SyntheticKind;
use sepconv_eval::{
    Against, Evaluation, Evaluator, Measure, Metric, ONE_CLASS, OwnMetric, Reference,
    ReferenceInputs, TaskMetric, synthetic_runs,
};
use sepconv_ir::{DType, Tensor};
use sepconv_model::classes::logits;
use sepconv_model::{Advice, DataSource, Error, Loaded, Task};
use sepconv_planning::SensitivityProbe;
use sepconv_spec::{CalibrationSettings, Source, Verdict};

use super::floor::Floor;
use crate::job::Job;
use crate::settings::{Budget, USUAL_SNR};

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

/// A figure and its floor.
struct Criterion<'a> {
    figure: Figure<'a>,
    floor: Floor,
}

/// A figure of a rewritten model.
enum Figure<'a> {
    /// The main metric of an evaluation.
    Primary,
    /// The agreement of an output's classes in an evaluation.
    OfClasses(String),
    /// The ratio of the worst channel of an output in an evaluation.
    OfNumbers(String),
    /// The ratio of the worst of some outputs, of all where none are named.
    Snr(Option<Vec<usize>>),
    /// The agreement of an output's classes.
    Agreement(usize),
    Task(Box<TaskMetric>),
    Own(&'a dyn OwnMetric),
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

impl Criterion<'_> {
    /// By an evaluation; a figure that is not there is as bad as none.
    fn evaluated(&self, evaluation: &Evaluation) -> Verdict {
        let absent = || self.floor.verdict(f64::NAN, None, 0);
        let of =
            |measure: Option<&Measure>| measure.map_or_else(absent, |m| self.floor.of_measure(m));
        match &self.figure {
            Figure::OfClasses(output) => of(agreement_of(evaluation, output)),
            Figure::OfNumbers(output) => of(ratio_of(evaluation, output)),
            _ => of(Some(&evaluation.primary)),
        }
    }

    /// By the outputs on held-out data; `None` where they can't be measured.
    fn held_out(&self, probe: &SensitivityProbe<'_>, outputs: &[Vec<Tensor>]) -> Option<Verdict> {
        let floor = &self.floor;
        let measure = match &self.figure {
            Figure::Snr(of) => {
                let snr = probe.snr(outputs, of.as_deref());
                return Some(floor.of_snr(snr, probe.samples()));
            }
            Figure::Agreement(head) => probe.agreement(outputs, *head),
            Figure::Task(metric) => probe.by_task(metric, outputs),
            Figure::Own(metric) => Some(probe.own(*metric, outputs)),
            Figure::Primary | Figure::OfClasses(_) | Figure::OfNumbers(_) => None,
        };
        measure.map(|measure| floor.of_measure(&measure))
    }
}

/// The greatest drop in the points of a task, or in the agreement of every output of classes where there is none. Outputs
/// beside classes and labels have the usual ratio, unless the task is named.
fn by_points<'a>(
    probe: &SensitivityProbe<'_>,
    task: Option<TaskMetric>,
    data: &DataSource,
    drop: f64,
) -> Result<Vec<Criterion<'a>>, Error> {
    let model = probe.original();
    let itself = probe.outputs_of(&model.document)?;
    let mut criteria = Vec::new();
    // Where the original says nothing, nothing can be kept of it.
    let below = |measure: Option<Measure>| {
        let measure = measure.filter(|measure| measure.value.is_finite());
        measure.map(|measure| Floor::below(measure, drop))
    };
    let taken = task.as_ref().map(|task| task.taken().task);
    let beside = data.task == Task::Auto && taken.is_none_or(others_are_judged);
    let judged = task.as_ref().map(TaskMetric::outputs).unwrap_or_default();
    let is_other = |output: &usize| !task.as_ref().is_some_and(|task| task.covers(*output));
    let heads = probe.heads().into_iter().filter(is_other);
    let numbers: Vec<usize> = (probe.numbers().into_iter())
        .filter(|output| beside && is_other(output))
        .filter(|output| probe.snr(&itself, Some(&[*output])).is_some())
        .collect();
    let heads: Vec<usize> = heads.filter(|_| beside || task.is_none()).collect();
    let alone = heads.len() + numbers.len() + usize::from(task.is_some()) == 1;
    let named = |places: &[usize]| (!alone).then(|| probe.names(places));
    if let Some(task) = task {
        let floor = below(probe.by_task(&task, &itself)).ok_or_else(|| undefined(model))?;
        criteria.push(Criterion {
            floor: floor.of_outputs(named(&judged)),
            figure: Figure::Task(Box::new(task)),
        });
    }
    for head in heads {
        let share = probe
            .largest_class(head)
            .filter(|share| *share >= ONE_CLASS);
        let (figure, floor) = match share {
            Some(share) => {
                let floor = Floor::of_one_class(100.0 * share);
                (Figure::Snr((!alone).then(|| vec![head])), Some(floor))
            }
            None => (
                Figure::Agreement(head),
                below(probe.agreement(&itself, head)),
            ),
        };
        let floor = floor.ok_or_else(|| undefined(model))?;
        criteria.push(Criterion {
            floor: floor.of_outputs(named(&[head])),
            figure,
        });
    }
    if criteria.is_empty() {
        return Err(undefined(model));
    }
    if !numbers.is_empty() {
        let floor = Floor::snr(USUAL_SNR, Some(2));
        criteria.push(Criterion {
            floor: floor.of_outputs(named(&numbers)),
            figure: Figure::Snr(Some(numbers)),
        });
    }
    Ok(criteria)
}

/// The criteria of the outputs beside the one that an evaluation of the original judges by, with their places: the agreement of
/// other classes, and the usual ratio of numbers and of classes of which one has nearly all samples. None where
/// [`others_are_judged`] is false.
fn beside<'e, 'a>(
    model: &'e Loaded,
    evaluation: &'e Evaluation,
    drop: f64,
) -> impl Iterator<Item = (usize, Criterion<'a>)> + use<'e, 'a> {
    let task = evaluation.task.as_ref().map(|taken| taken.task);
    let are_judged = task.is_none_or(others_are_judged);
    let graph = model.graph();
    let logits = logits(graph);
    let outputs = model.output_names().into_iter().zip(graph.outputs());
    let others = outputs.enumerate().filter(move |(place, (name, _))| {
        are_judged && *name != evaluation.primary.output && !logits[*place]
    });
    others.filter_map(move |(place, (name, value))| {
        let name = &name;
        let of_numbers = || Figure::OfNumbers(name.clone());
        let (figure, floor) = if let Some(share) = evaluation.one_class_of(name) {
            (of_numbers(), Floor::of_one_class(100.0 * share))
        } else if let Some(own) = agreement_of(evaluation, name) {
            (
                Figure::OfClasses(name.clone()),
                Floor::below(own.clone(), drop),
            )
        } else {
            let dtype = model.shapes.get(value).and_then(|shape| shape.dtype);
            let floats = dtype.is_some_and(DType::is_float);
            // Equal outputs have an infinite ratio; those that are no numbers have none.
            ratio_of(evaluation, name).filter(|ratio| floats && !ratio.value.is_nan())?;
            let floor = Floor::snr(USUAL_SNR, Some(2));
            (of_numbers(), floor)
        };
        let floor = floor.of_outputs(Some(name.clone()));
        Some((place, Criterion { figure, floor }))
    })
}

/// True of tasks beside whose outputs others are judged. Outputs beside detections are parts of these, mostly.
fn others_are_judged(task: Task) -> bool {
    matches!(task, Task::Classify | Task::Tag | Task::Segment)
}

/// The agreement of an output with the original's.
fn agreement_of<'e>(evaluation: &'e Evaluation, output: &str) -> Option<&'e Measure> {
    let mut against = against_original(evaluation);
    against.find(|m| m.metric == Metric::Agreement && m.output == output)
}

/// The ratio of the worst channel of an output, or of the whole of it where it has one alone.
fn ratio_of<'e>(evaluation: &'e Evaluation, output: &str) -> Option<&'e Measure> {
    let channel = format!("{output}, channel ");
    let mut channels = against_original(evaluation)
        .filter(|m| m.metric == Metric::ChannelSnr && m.output.starts_with(&channel));
    let mut whole =
        against_original(evaluation).filter(|m| m.metric == Metric::Snr && m.output == output);
    channels.next().or_else(|| whole.next())
}

fn against_original(evaluation: &Evaluation) -> impl Iterator<Item = &Measure> {
    let all = evaluation.measures.iter();
    all.filter(|m| m.against == Against::Original)
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
