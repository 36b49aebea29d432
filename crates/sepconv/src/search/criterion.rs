//! Figures of rewritten models and their floors, by the outputs of the original.

use sepconv_eval::{Against, Evaluation, Measure, Metric, ONE_CLASS, OwnMetric, TaskMetric};
use sepconv_ir::{DType, Tensor};
use sepconv_model::classes::logits;
use sepconv_model::{Advice, DataSource, Error, Loaded, Task};
use sepconv_planning::SensitivityProbe;
use sepconv_spec::Verdict;

use super::floor::Floor;
use crate::settings::USUAL_SNR;

/// A figure and its floor.
pub(super) struct Criterion<'a> {
    pub figure: Figure<'a>,
    pub floor: Floor,
}

/// A figure of a rewritten model.
pub(super) enum Figure<'a> {
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

impl Criterion<'_> {
    /// By an evaluation; a figure that is not there is as bad as none.
    pub fn evaluated(&self, evaluation: &Evaluation) -> Verdict {
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
    pub fn held_out(
        &self,
        probe: &SensitivityProbe<'_>,
        outputs: &[Vec<Tensor>],
    ) -> Option<Verdict> {
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
/// beside classes, labels and masks have the usual ratio, unless the task is named.
pub(super) fn by_points<'a>(
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
pub(super) fn beside<'e, 'a>(
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

/// The error that a drop says nothing of a model's outputs.
pub(super) fn undefined(model: &Loaded) -> Error {
    let error = Error::Interface {
        file: model.file(),
        reason: "a drop is not defined for these outputs without a target: they are of no task \
                 that is measured in points, or say nothing on these data"
            .into(),
    };
    error.advising(Advice::GiveTargetOrSnr)
}
