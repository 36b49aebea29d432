//! A data set at hand to evaluate many models on.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use rayon::prelude::*;
use sepconv_data::{Annotations, DataError, Dataset, Labels};
use sepconv_ir::{DType, Tensor};
use sepconv_targets::{Session, Target};

use super::kept::Kept;
use super::own::{OwnMetric, of_rows};
use super::rows::{BatchRows, Rows};
use super::scores::{Scores, primary};
use super::{Evaluation, Measure};
use crate::interface::same_interface;
use crate::tasks::{LabelledBatch, Labelling, RECOGNISED, TaskMetric};
use sepconv_model::Loaded;
use sepconv_model::classes::class_outputs;
use sepconv_model::load;
use sepconv_model::{Advice, Error};
use sepconv_model::{DataSource, session_specs};
use sepconv_model::{Progress, Stage};

/// Decoded inputs kept in memory, in bytes; more are read again for every model.
const KEPT_INPUTS: usize = 512 << 20;
/// Outputs of the original kept in memory, in bytes; more are computed again.
const KEPT_OUTPUTS: usize = 512 << 20;

/// Evaluates models on one data set. The samples and the original's outputs are kept for the
/// models after the first, up to 512 MiB each.
///
/// Figures do not depend on the number of threads: every batch is scored by itself, and the
/// scores are added up in the order of the batches.
pub struct Evaluator<'a> {
    dataset: Dataset,
    /// Samples of the data that are not evaluated.
    left_out: usize,
    target: &'a dyn Target,
    /// Largest value of a picture.
    peak: f64,
    /// Samples per run.
    batch: usize,
    inputs: Kept<Samples>,
    original: Option<Original<'a>>,
    own: Option<Arc<dyn OwnMetric>>,
    source: DataSource,
    /// The metric of the task, known once the original has run, or the first model where boxes or masks
    /// want one; `None` where there is none.
    task: OnceLock<Option<TaskMetric>>,
    /// How outputs are held against boxes or masks, known with the task.
    labelling: OnceLock<Labelling>,
}

/// A batch as the runtime takes it.
#[derive(Debug)]
struct Samples {
    inputs: Vec<Tensor>,
    labels: Option<Vec<i64>>,
    annotations: Option<Annotations>,
    targets: Vec<Tensor>,
    /// Rows that are samples; those after them are padding.
    valid: usize,
}

impl Samples {
    fn bytes(&self) -> usize {
        bytes(&self.inputs) + bytes(&self.targets)
    }
}

fn bytes(tensors: &[Tensor]) -> usize {
    let sizes = tensors.iter().map(|t| t.data().map_or(0, |d| d.len()));
    sizes.sum()
}

/// The outputs of one original on one data set and one runtime, which evaluators of it may share: clones are one.
#[derive(Debug, Clone, Default)]
pub struct OriginalOutputs(Arc<OnceLock<Kept<Vec<Tensor>>>>);

/// The model that others are held against.
struct Original<'a> {
    model: &'a Loaded,
    /// Loaded when it is first needed.
    session: OnceLock<Box<dyn Session>>,
    outputs: OriginalOutputs,
}

impl<'a> Evaluator<'a> {
    /// Opens labelled data, or data with a target, for models with the inputs of `model`.
    ///
    /// # Errors
    /// [`Error::Data`] where the data can't be read or does not fit, [`Error::Interface`] where
    /// it has neither labels nor a target, [`Error::Setting`] for a peak that is not positive.
    pub fn new(model: &Loaded, source: &DataSource, target: &'a dyn Target) -> Result<Self, Error> {
        let dataset = source.open(model, Labels::Required).map_err(|e| match e {
            Error::Data(DataError::Unlabelled { .. }) => {
                let error = Error::Interface {
                    file: source.path.display().to_string(),
                    reason: "it has neither labels nor a target, and no original model was given \
                             whose outputs could stand in for them"
                        .into(),
                };
                error.advising(Advice::GiveOriginal)
            }
            other => other,
        })?;
        Self::of(dataset, source, target)
    }

    /// Opens any data to evaluate models against `original`, and by labels or a target where the
    /// data has them.
    ///
    /// # Errors
    /// [`Error::Data`] where the data can't be read or does not fit, [`Error::Setting`] for a
    /// peak that is not positive.
    pub fn against(
        original: &'a Loaded,
        source: &DataSource,
        target: &'a dyn Target,
    ) -> Result<Self, Error> {
        let dataset = source.open(original, Labels::IfPresent)?;
        let mut evaluator = Self::of(dataset, source, target)?;
        evaluator.original = Some(Original {
            model: original,
            session: OnceLock::new(),
            outputs: OriginalOutputs::default(),
        });
        Ok(evaluator)
    }

    /// Takes and keeps the outputs of the original where other evaluators of the same original, data and runtime do.
    #[must_use]
    pub fn sharing(mut self, outputs: OriginalOutputs) -> Self {
        if let Some(original) = &mut self.original {
            original.outputs = outputs;
        }
        self
    }

    /// Measures by the caller's metric as well, where there is an original: that is then the one
    /// that models are judged by.
    #[must_use]
    pub fn with_metric(mut self, metric: Arc<dyn OwnMetric>) -> Self {
        self.own = Some(metric);
        self
    }

    fn of(dataset: Dataset, source: &DataSource, target: &'a dyn Target) -> Result<Self, Error> {
        let whole = match dataset.target_dtype() {
            Some(DType::U8) => 255.0,
            _ => 1.0,
        };
        let peak = source.peak.unwrap_or(whole);
        if !(peak > 0.0 && peak.is_finite()) {
            return Err(Error::Setting(format!(
                "peak {peak}: the largest value of a picture has to be above 0"
            )));
        }
        let batch = dataset.fixed_batch().unwrap_or(1);
        Ok(Self {
            inputs: Kept::new(dataset.len().div_ceil(batch), KEPT_INPUTS),
            dataset,
            left_out: 0,
            target,
            peak,
            batch,
            original: None,
            own: None,
            source: source.clone(),
            task: OnceLock::new(),
            labelling: OnceLock::new(),
        })
    }

    /// Evaluates on so many of the samples at most, spread over the data; at least one.
    #[must_use]
    pub fn of_samples(mut self, most: usize) -> Self {
        let all = self.dataset.len();
        self.dataset = self.dataset.spread(most);
        self.left_out += all - self.dataset.len();
        self.inputs = Kept::new(self.batches(), KEPT_INPUTS);
        // Known for other samples.
        if let Some(original) = &mut self.original {
            original.outputs = OriginalOutputs::default();
        }
        (self.task, self.labelling) = (OnceLock::new(), OnceLock::new());
        self
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.dataset.len()
    }

    /// Number of samples of the data that [`Evaluator::of_samples`] left out.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Seconds that a run of the original takes for a sample, on one thread; `None` where there is no original. The first
    /// run is not timed.
    ///
    /// # Errors
    /// As [`Evaluator::evaluate`].
    pub fn seconds_per_sample(&self) -> Result<Option<f64>, Error> {
        let Some(original) = &self.original else {
            return Ok(None);
        };
        let samples = self.samples_of(0)?;
        let session = self.session_of(original)?;
        run(original.model, session, &samples)?;
        let begun = Instant::now();
        run(original.model, session, &samples)?;
        Ok(Some(begun.elapsed().as_secs_f64() / samples.valid as f64))
    }

    fn batches(&self) -> usize {
        self.dataset.len().div_ceil(self.batch)
    }

    /// Runs a model on the data, batches in parallel on all cores, and measures its outputs.
    /// The original itself, where there is one, agrees with itself in full.
    ///
    /// # Errors
    /// [`Error::Target`] where the runtime can't run a model, [`Error::Data`] where a sample
    /// can't be read, [`Error::Interface`] where the model's inputs or outputs are not those of
    /// the original, or the labels or targets fit no output.
    pub fn evaluate(&self, model: &Loaded, progress: &dyn Progress) -> Result<Evaluation, Error> {
        let stage = Stage::begin(progress, "evaluating", self.batches());
        if let Some(original) = &self.original {
            same_interface(original.model, model)?;
            let kept = original.outputs.0.get();
            let all = kept.is_some_and(Kept::is_complete);
            if !all {
                self.session_of(original)?;
            }
        }
        let is_original = self
            .original
            .as_ref()
            .is_some_and(|o| std::ptr::eq(o.model, model));
        let session = match is_original {
            true => None,
            false => Some(self.load(model)?),
        };
        if self.task.get().is_none() {
            let task = self.recognised(model, session.as_deref())?;
            if self.dataset.has_annotations() {
                let _ = self.labelling.set(self.labelled_by(task.as_ref(), model)?);
            }
            let _ = self.task.set(task);
        }
        let done = AtomicUsize::new(0);
        let classes = class_outputs(model.graph());
        let scores = (0..self.batches()).into_par_iter().map(|i| {
            let scores = self.scores(i, model, session.as_deref(), &classes)?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            stage.step(done)?;
            Ok(scores)
        });
        let scores = scores.collect::<Result<Vec<Scores>, Error>>()?;
        let all = scores.into_iter().reduce(|mut all, next| {
            all.append(next);
            all
        });
        let all = all.unwrap_or_default();
        let task = self.task();
        let of_task = task.map_or(Vec::new(), |task| all.of_task(task));
        let labelled = task.zip(self.labelling.get());
        let mut others = labelled.map_or(Vec::new(), |(task, how)| all.of_labels(task, how));
        let of_labels = others.len();
        let names = model.output_names();
        others.extend(all.measures(&names));
        let primary = primary(&of_task, &others).cloned().ok_or_else(|| {
            odd(
                model,
                "no output is of numbers that could be measured".into(),
            )
        })?;
        // Those of boxes and masks first, then those of the task.
        let mut measures: Vec<Measure> = others.drain(..of_labels).chain(of_task).collect();
        measures.extend(others);
        Ok(Evaluation {
            primary,
            measures,
            task: task.map(|task| task.taken().clone()),
            largest_classes: all.largest_classes(&names),
        })
    }

    /// True for an output that the task of the evaluations so far covers.
    pub fn covers(&self, output: usize) -> bool {
        self.task().is_some_and(|task| task.covers(output))
    }

    /// The metric of the task, once it is known.
    fn task(&self) -> Option<&TaskMetric> {
        self.task.get()?.as_ref()
    }

    /// How outputs of a task are held against the boxes or masks of the data.
    fn labelled_by(&self, task: Option<&TaskMetric>, model: &Loaded) -> Result<Labelling, Error> {
        let task = task.ok_or_else(|| {
            let reason = "its outputs were not recognised as detections or masks, which the labels are \
                          for: the task can be named";
            odd(model, reason.into())
        })?;
        let labelling = task.labelling(&self.dataset);
        labelling.map_err(|reason| self.misfit(&reason))
    }

    /// The metric of the task by the outputs for the first samples: those of the original; those of
    /// `model` where there is none and boxes or masks want one.
    fn recognised(
        &self,
        model: &Loaded,
        session: Option<&dyn Session>,
    ) -> Result<Option<TaskMetric>, Error> {
        if self.original.is_none() && !self.dataset.has_annotations() {
            return Ok(None);
        }
        let batches = 0..self.batches().min(RECOGNISED);
        let outputs = batches.map(|i| {
            let samples = self.samples_of(i)?;
            match (&self.original, session) {
                (Some(original), _) => self.outputs_of(original, i, &samples),
                (None, Some(session)) => run(model, session, &samples).map(Arc::new),
                (None, None) => Ok(Arc::default()),
            }
        });
        let outputs = outputs.collect::<Result<Vec<_>, Error>>()?;
        let model = self
            .original
            .as_ref()
            .map_or(model, |original| original.model);
        let runs: Vec<&[Tensor]> = outputs.iter().map(|run| run.as_slice()).collect();
        // The last batch alone may be padded.
        let rows = BatchRows {
            all: self.batch,
            valid: self.batch.min(self.dataset.len()),
        };
        TaskMetric::of(model, &self.source, &runs, rows)
    }

    /// The session of the original, loaded where it is not yet.
    fn session_of<'b>(&self, original: &'b Original<'_>) -> Result<&'b dyn Session, Error> {
        if let Some(session) = original.session.get() {
            return Ok(&**session);
        }
        let session = self.load(original.model)?;
        Ok(&**original.session.get_or_init(|| session))
    }

    fn load(&self, model: &Loaded) -> Result<Box<dyn Session>, Error> {
        let specs = session_specs(model, &self.dataset, self.batch)?;
        load(model, self.target, &specs)
    }

    /// The scores of batch `i`; `classes` are the outputs that may be of these. Without a session the model is the original.
    fn scores(
        &self,
        i: usize,
        model: &Loaded,
        session: Option<&dyn Session>,
        classes: &[bool],
    ) -> Result<Scores, Error> {
        let samples = self.samples_of(i)?;
        let reference = match &self.original {
            Some(original) => Some(self.outputs_of(original, i, &samples)?),
            None => None,
        };
        let outputs = match (session, &reference) {
            (Some(session), _) => run(model, session, &samples)?,
            (None, Some(reference)) => reference.to_vec(),
            (None, None) => Vec::new(),
        };
        let rows = BatchRows {
            all: self.batch,
            valid: samples.valid,
        };
        let divided = |outputs: &[Tensor]| Rows::of_outputs(outputs, rows, classes);
        let outputs = divided(&outputs);
        let mut scores = Scores::default();
        if let Some(labels) = &samples.labels
            && !scores.label(&outputs, labels)
        {
            let reason = "no output is shaped [n, classes]: labels have no meaning for it";
            return Err(odd(model, reason.into()));
        }
        if let (Some(annotations), Some(how)) = (&samples.annotations, self.labelling.get()) {
            let batch = LabelledBatch {
                outputs: &outputs,
                extents: extents(&samples.inputs),
            };
            let labelled = how.scores(batch, annotations);
            scores.labels(labelled.map_err(|reason| self.misfit(&reason))?);
        }
        let targets: Vec<Rows> = samples.targets.iter().map(Rows::of_target).collect();
        if targets.len() > outputs.len() {
            let (targets, outputs) = (targets.len(), outputs.len());
            return Err(self.misfit(&format!(
                "{targets} targets for {outputs} outputs of the model"
            )));
        }
        scores.aim(&outputs, &targets, self.peak).map_err(|i| {
            let output = outputs[i].as_ref().map_or(&[][..], Rows::sample);
            self.misfit(&format!(
                "the target of output '{}' has samples of shape {:?}, the model gives {output:?}",
                model.output_names()[i],
                targets[i].sample(),
            ))
        })?;
        if let Some(reference) = &reference {
            let reference = divided(reference);
            if let Some(own) = &self.own {
                let (names, valid) = (model.output_names(), samples.valid);
                let values = of_rows(&**own, &names, &reference, &outputs, valid);
                scores.own((&**own).into(), values);
            }
            scores.relate(&reference, &outputs);
            if let Some(task) = self.task().filter(|task| !task.is_of_classes()) {
                scores.task(task, task.scores([&reference, &outputs], samples.valid));
            }
        }
        Ok(scores)
    }

    fn misfit(&self, reason: &str) -> Error {
        Error::Interface {
            file: self.dataset.path().display().to_string(),
            reason: reason.to_owned(),
        }
    }

    fn samples_of(&self, i: usize) -> Result<Arc<Samples>, Error> {
        let start = i * self.batch;
        let end = (start + self.batch).min(self.dataset.len());
        let read = || {
            let batch = self.dataset.batch(start..end)?;
            Ok::<_, Error>(Samples {
                inputs: batch.inputs,
                labels: batch.labels,
                annotations: batch.annotations,
                targets: batch.targets,
                valid: batch.valid,
            })
        };
        self.inputs.get(i, read, Samples::bytes)
    }

    fn outputs_of(
        &self,
        original: &Original<'_>,
        i: usize,
        samples: &Samples,
    ) -> Result<Arc<Vec<Tensor>>, Error> {
        let kept = &original.outputs.0;
        let kept = kept.get_or_init(|| Kept::new(self.batches(), KEPT_OUTPUTS));
        let compute = || match original.session.get() {
            Some(session) => run(original.model, &**session, samples),
            None => run(original.model, &*self.load(original.model)?, samples),
        };
        kept.get(i, compute, |outputs| bytes(outputs))
    }
}

/// Rows and columns of the pictures among inputs, channels first or last.
fn extents(inputs: &[Tensor]) -> [usize; 2] {
    let mut pictures = inputs.iter().filter_map(|input| match *input.dims() {
        [_, a, b, c] if c <= 4 && a > 4 => Some([a, b]),
        [_, _, b, c] => Some([b, c]),
        _ => None,
    });
    pictures.next().unwrap_or([1, 1])
}

fn run(model: &Loaded, session: &dyn Session, samples: &Samples) -> Result<Vec<Tensor>, Error> {
    session
        .run(&samples.inputs)
        .map_err(|source| Error::Target {
            file: model.file(),
            source,
        })
}

fn odd(model: &Loaded, reason: String) -> Error {
    Error::Interface {
        file: model.file(),
        reason,
    }
}
