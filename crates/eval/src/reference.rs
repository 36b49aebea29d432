//! The original's outputs on some inputs, run once for all that is compared with it.

use sepconv_data::{Labels, SyntheticKind};
use sepconv_ir::Tensor;
use sepconv_model::classes::{class_outputs, is_by_sample};
use sepconv_model::{DataSource, Error, Loaded, Progress, Samples, run, synthetic_inputs, trimmed};
use sepconv_targets::Target;

use crate::compare::{ComparedOn, Comparison, TaskComparison};
use crate::evaluate::BatchRows;
use crate::metrics::is_saturated;
use crate::pictures::{PictureInput, ShownBatch};
use crate::tasks::{TakenTask, TaskMetric};

/// MACs that a comparison may take of one model.
const MOST_MACS: u64 = 400_000_000_000;
/// Bytes of inputs and outputs that are kept for a comparison, of one model.
const MOST_BYTES: usize = 256 << 20;
/// Batches that are compared where there are as many, whatever they cost.
const LEAST: usize = 8;
/// Batches that are compared at most.
const MOST: usize = 256;

/// Inputs, and the original's outputs for them.
pub struct Reference {
    inputs: ReferenceInputs,
    outputs: Vec<Vec<Tensor>>,
    /// The metric of the original's task, where outputs of classes don't tell all.
    task: Option<TaskMetric>,
    /// The task where they do.
    classes: Option<TakenTask>,
}

/// Batches of inputs that models are compared on.
pub struct ReferenceInputs {
    kind: ComparedOn,
    batches: Vec<Vec<Tensor>>,
    /// Rows of a batch, and those of each that are no padding.
    rows: usize,
    valid: Vec<usize>,
    /// How the data are read, which says the task; `None` of random inputs, which tell none.
    source: Option<DataSource>,
    /// The input that takes pictures; `None` where none does, and of random inputs.
    picture: Option<PictureInput>,
}

impl Reference {
    /// Runs the original on `inputs`.
    ///
    /// # Errors
    /// [`Error::Target`] where the runtime can't run the model, [`Error::Interface`] where its
    /// outputs are not those of the task that is named.
    pub fn of(
        original: &Loaded,
        target: &dyn Target,
        inputs: ReferenceInputs,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let outputs = run(original, target, &inputs.batches, progress)?;
        let outputs = inputs.without_padding(outputs);
        let task = match &inputs.source {
            Some(source) => {
                // The last batch may have fewer rows.
                let own = |valid: &usize| Some(valid) == inputs.valid.first();
                let runs = outputs.iter().zip(&inputs.valid).filter(|(_, v)| own(v));
                let runs = runs.map(|(run, _)| run.as_slice());
                TaskMetric::of(original, source, &runs.collect::<Vec<_>>(), inputs.batch(0))?
            }
            None => None,
        };
        let of_classes = task.as_ref().filter(|task| task.is_of_classes());
        Ok(Self {
            classes: of_classes.map(|task| task.taken().clone()),
            task: task.filter(|task| !task.is_of_classes()),
            outputs,
            inputs,
        })
    }

    /// True where the inputs are random and an output is saturated on them, see
    /// [`Comparison::is_silent`].
    pub fn is_silent(&self) -> bool {
        let outputs = self.outputs.first().map_or(0, Vec::len);
        let saturated = |i: usize| is_saturated(self.outputs.iter().filter_map(|run| run.get(i)));
        self.inputs.kind == ComparedOn::Random && (0..outputs).any(saturated)
    }

    /// Compares the outputs of a rewritten model on the inputs with the original's.
    ///
    /// # Errors
    /// [`Error::Target`] where the runtime can't run the model.
    pub fn compare(
        &self,
        model: &Loaded,
        target: &dyn Target,
        progress: &dyn Progress,
    ) -> Result<Comparison, Error> {
        let outputs = self.outputs_of(model, target, progress)?;
        Ok(self.compared(model, target, &outputs))
    }

    /// [`Reference::compare`] with pictures of some samples ([`Comparison::pictures`]).
    ///
    /// # Errors
    /// As [`Reference::compare`].
    pub fn compare_and_show(
        &self,
        model: &Loaded,
        target: &dyn Target,
        progress: &dyn Progress,
    ) -> Result<Comparison, Error> {
        let outputs = self.outputs_of(model, target, progress)?;
        let batches = self.outputs.iter().zip(&outputs).enumerate();
        let batches = batches.map(|(i, (a, b))| ShownBatch {
            inputs: &self.inputs.batches[i],
            outputs: [a, b],
            rows: self.inputs.batch(i),
        });
        let input = self.inputs.picture.as_ref();
        let shown = input.map(|input| input.shown(self.task.as_ref(), batches));
        Ok(Comparison {
            pictures: shown.unwrap_or_default(),
            ..self.compared(model, target, &outputs)
        })
    }

    fn outputs_of(
        &self,
        model: &Loaded,
        target: &dyn Target,
        progress: &dyn Progress,
    ) -> Result<Vec<Vec<Tensor>>, Error> {
        let outputs = run(model, target, &self.inputs.batches, progress)?;
        Ok(self.inputs.without_padding(outputs))
    }

    fn compared(&self, model: &Loaded, target: &dyn Target, outputs: &[Vec<Tensor>]) -> Comparison {
        let names = model.output_names();
        let pairs = self.outputs.iter().zip(outputs).enumerate();
        let task = self.task.as_ref().map(|metric| TaskComparison {
            taken: metric.taken().clone(),
            measures: metric.measures(
                pairs.map(|(i, (a, b))| ([a.as_slice(), b.as_slice()], self.inputs.batch(i))),
            ),
        });
        let classes = class_outputs(model.graph()).into_iter().enumerate();
        let classes = classes.map(|(output, classes)| classes && self.is_by_sample(output));
        Comparison {
            inputs: self.inputs.kind,
            runs: self.inputs.count(),
            task,
            classes: self.classes.clone(),
            ..Comparison::of(target.name(), &names, &self.outputs, outputs)
                .of_classes(&classes.collect::<Vec<_>>())
        }
    }

    /// True of an output that begins with the axis of the batch. Random inputs are of any batch.
    fn is_by_sample(&self, output: usize) -> bool {
        if self.inputs.source.is_none() {
            return true;
        }
        let batches = self.outputs.iter().zip(&self.inputs.valid);
        let mut own = batches.filter_map(|(run, valid)| Some((run.get(output)?, valid)));
        own.all(|(own, valid)| is_by_sample(own.dims(), *valid))
    }
}

impl ReferenceInputs {
    /// `runs` batches of seeded random inputs of one kind.
    ///
    /// # Errors
    /// [`Error::Interface`] where an input's shape is unknown.
    pub fn random(
        original: &Loaded,
        seed: u64,
        runs: usize,
        kind: SyntheticKind,
    ) -> Result<Self, Error> {
        let batches = synthetic_inputs(original, runs, seed, kind)?;
        Ok(Self {
            kind: ComparedOn::Random,
            rows: 1,
            valid: vec![1; batches.len()],
            batches,
            source: None,
            picture: None,
        })
    }

    /// Batches spread over a data set: as many as time and memory allow.
    ///
    /// # Errors
    /// [`Error::Data`] where the data can't be read, [`Error::Interface`] where an input is of a
    /// type that can't be run.
    pub fn of_data(
        original: &Loaded,
        source: &DataSource,
        kind: ComparedOn,
    ) -> Result<Self, Error> {
        let data = source.open(original, Labels::Ignore)?;
        let samples = Samples::of(original, data)?;
        let n = samples.batches();
        let rows = samples.rows();
        let by_macs = MOST_MACS / original.cost.macs.max(1);
        let by_bytes = MOST_BYTES / bytes_of_a_run(original, &samples).max(1);
        let most = (by_macs as usize).clamp(LEAST, MOST).min(by_bytes.max(2));
        let count = n.min(most);
        let chosen: Vec<usize> = (0..count).map(|i| i * n / count).collect();
        let batches = chosen.iter().map(|b| samples.inputs(*b));
        let layouts = samples.specs().iter().zip(samples.layouts());
        let mut pictures = layouts
            .enumerate()
            .filter(|(_, (spec, _))| spec.dims.len() == 4);
        let picture = pictures.next().map(|(input, (_, layout))| PictureInput {
            input,
            layout: *layout,
            recipe: source.preprocess.clone(),
        });
        Ok(Self {
            kind,
            picture,
            batches: batches.collect::<Result<_, Error>>()?,
            rows,
            valid: chosen.iter().map(|b| samples.valid(*b)).collect(),
            source: Some(source.clone()),
        })
    }

    /// Rows of the outputs of a batch, without padding.
    fn batch(&self, i: usize) -> BatchRows {
        let valid = self.valid.get(i).copied().unwrap_or(0);
        BatchRows { all: valid, valid }
    }

    /// Number of samples.
    fn count(&self) -> usize {
        self.valid.iter().sum()
    }

    /// Outputs of the batches without the rows of padding.
    fn without_padding(&self, outputs: Vec<Vec<Tensor>>) -> Vec<Vec<Tensor>> {
        let batches = outputs.into_iter().zip(&self.valid);
        let batches = batches.map(|(run, valid)| trimmed(run, self.rows, *valid));
        batches.collect()
    }
}

/// Bytes of the inputs and outputs of one run, outputs of unknown extents left out.
fn bytes_of_a_run(model: &Loaded, samples: &Samples) -> usize {
    let inputs: usize = samples
        .specs()
        .iter()
        .map(|s| s.dims.iter().product::<usize>())
        .sum();
    let graph = model.graph();
    let extents = graph.outputs().filter_map(|v| model.shapes.extents(v));
    let outputs: u64 = extents.map(|dims| dims.iter().product::<u64>()).sum();
    4 * (inputs + outputs as usize * samples.rows())
}

/// Runs per kind of random input: fewer for large models.
pub fn synthetic_runs(macs: u64, at_least: u64) -> usize {
    (2_000_000_000 / macs.max(1)).clamp(at_least, 8) as usize
}
