//! Sensitivity of the outputs, by replacing one layer at a time.

use std::borrow::Cow;

use crate::loss::{OutputMeasure, loss};
use rayon::prelude::*;
use sepconv_calibrate::checkpoints::{Checkpoint, Cuts, Network, Segment};
use sepconv_calibrate::{MemoryLimit, open};
use sepconv_eval::{
    Against, BatchRows, Comparison, Decibels, Measure, Metric, OwnMetric, TaskMetric, of_batch,
};
use sepconv_factor::is_held_out;
use sepconv_ir::{NodeId, Tensor, ValueId};
use sepconv_model::classes::{argmax, is_by_sample, largest_share, logits, same_class};
use sepconv_model::{DataSource, Error, Loaded, Samples};
use sepconv_onnx::Document;
use sepconv_spec::CalibrationSettings;
use sepconv_targets::Target;

/// MACs of the batches that the probes of many layers take, and batches at least and at most.
const MOST: u64 = 40_000_000_000;
const BATCHES: (usize, usize) = (8, 64);
/// MACs of these batches from which on fewer than the least are taken, and their number then, at least.
const HEAVY: u64 = 2_000_000_000_000;
const FEWEST: usize = 4;
/// MACs that one pass over the samples may take, by which a whole model is judged: the more samples, the
/// smaller the drop that they tell from none.
const JUDGED: u64 = 1_000_000_000_000;
/// MACs of the passes over the samples of which the most active are chosen.
const SCANNED: u64 = 150_000_000_000;

/// Batches that `layers` layers of a network of so many MACs are probed on.
fn probed(macs: u64, layers: usize) -> usize {
    let each = macs.max(1).saturating_mul(layers.max(1) as u64);
    let within = |macs: u64| usize::try_from(macs / each).unwrap_or(usize::MAX);
    let least = within(HEAVY).clamp(FEWEST, BATCHES.0);
    within(MOST).clamp(least, BATCHES.1)
}

/// Outputs of a network by batch.
pub type Outputs<'p> = Cow<'p, [Vec<Tensor>]>;

/// The samples of a batch one by one, without padding; all together where an output has no axis of the batch.
fn divided(outputs: Vec<Tensor>, rows: BatchRows) -> Vec<Vec<Tensor>> {
    let by_sample = |output: &Tensor| is_by_sample(output.dims(), rows.all);
    if rows.all == 1 || !outputs.iter().all(by_sample) {
        return vec![outputs];
    }
    let sample = |i: usize| outputs.iter().map(|output| output.rows(i..i + 1)).collect();
    let samples: Option<Vec<Vec<Tensor>>> = (0..rows.valid).map(sample).collect();
    samples.unwrap_or_else(|| vec![outputs])
}

/// Batches of whose outputs there is room.
fn kept(original: &Loaded, memory: MemoryLimit) -> usize {
    memory.targets() / original.bytes_of(original.graph().outputs()).max(1)
}

/// By how much an output says in its channels of sparse scores, see [`PartScales::activity`].
fn activity(measure: &OutputMeasure, output: &Tensor) -> Option<f64> {
    let scales = measure.scales.as_ref()?;
    scales.activity(output.dims(), &output.to_f32()?)
}

/// The places of the `wanted` greatest of `activities`, rising.
fn most_active(activities: &[f64], wanted: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..activities.len()).collect();
    places.sort_by(|a, b| activities[*b].total_cmp(&activities[*a]));
    places.truncate(wanted);
    places.sort_unstable();
    places
}

/// Runs copies of a network in which one layer is replaced, on samples held out of the fits,
/// each from that layer on.
pub struct SensitivityProbe<'a> {
    original: &'a Loaded,
    target: &'a dyn Target,
    samples: Samples,
    batches: Vec<usize>,
    outputs: Vec<ValueId>,
    reference: Vec<Vec<Tensor>>,
    measures: Vec<OutputMeasure>,
    cuts: Cuts<'a>,
    checkpoint: Checkpoint,
    memory: MemoryLimit,
}

impl<'a> SensitivityProbe<'a> {
    /// Runs `original` on the samples that are held out of fits, to judge whole models by.
    ///
    /// # Errors
    /// [`Error::Data`] where the data can't be read or do not fit, [`Error::Target`] where the
    /// runtime can't run the network.
    pub fn new(
        original: &'a Loaded,
        target: &'a dyn Target,
        settings: &CalibrationSettings,
        memory: MemoryLimit,
    ) -> Result<Self, Error> {
        let most = (JUDGED / original.cost.macs.max(1)) as usize;
        let most = most.min(kept(original, memory)).max(BATCHES.0);
        Self::on(original, target, settings, most, memory)
    }

    /// To probe `layers` layers one by one. Where outputs have channels of sparse scores, on the samples of all
    /// that say most in them: few samples at random have nothing to lose in some of these, or at one of a
    /// detector's scales. Else on samples that are held out of fits.
    ///
    /// # Errors
    /// As [`SensitivityProbe::new`].
    pub fn of_layers(
        original: &'a Loaded,
        target: &'a dyn Target,
        settings: &CalibrationSettings,
        layers: usize,
        memory: MemoryLimit,
    ) -> Result<Self, Error> {
        let most = probed(original.cost.macs, layers);
        let most = most.min(kept(original, memory)).max(FEWEST);
        Self::on(original, target, settings, most, memory)?.where_scores_are(most)
    }

    /// On at most so many of the batches that are held out of fits.
    fn on(
        original: &'a Loaded,
        target: &'a dyn Target,
        settings: &CalibrationSettings,
        most: usize,
        memory: MemoryLimit,
    ) -> Result<Self, Error> {
        let dataset = open(&settings.source, original, target)?;
        let samples = Samples::keeping(original, dataset, memory.inputs())?;
        let (seed, every) = (settings.source.seed(), settings.held_out_every);
        let held = |b: &usize| is_held_out(seed, samples.first(*b) as u64, every);
        let mut batches: Vec<usize> = (0..samples.batches()).filter(held).collect();
        if batches.is_empty() {
            batches = (0..samples.batches()).collect();
        }
        batches.truncate(most);
        let outputs: Vec<ValueId> = original.graph().outputs().collect();
        let mut probe = Self {
            cuts: Cuts::new(original, &outputs),
            original,
            target,
            samples,
            batches,
            outputs,
            reference: Vec::new(),
            measures: Vec::new(),
            checkpoint: Checkpoint::default(),
            memory,
        };
        probe.reference = probe.run(&original.document, &probe.outputs)?;
        let rows = probe.samples.rows();
        probe.measures = OutputMeasure::of_outputs(original.graph(), &probe.reference, rows);
        Ok(probe)
    }

    /// On the `wanted` batches of all that say most in their scores, where there are scores.
    fn where_scores_are(self, wanted: usize) -> Result<Self, Error> {
        let most = (SCANNED / self.original.cost.macs.max(1)) as usize;
        let most = most.min(kept(self.original, self.memory));
        let pool: Vec<usize> = (0..self.samples.batches()).take(most).collect();
        let scored = self.reference.first().is_some_and(|outputs| {
            let activity = |(measure, output)| activity(measure, output).is_some();
            self.measures.iter().zip(outputs).any(activity)
        });
        if !scored || pool.len() <= wanted {
            return Ok(self);
        }
        let all = Self {
            batches: pool,
            ..self
        };
        let reference = all.run(&all.original.document, &all.outputs)?;
        let rows = all.samples.rows();
        let measures = OutputMeasure::of_outputs(all.original.graph(), &reference, rows);
        let active = reference.iter().map(|outputs| {
            let pairs = measures.iter().zip(outputs);
            pairs.filter_map(|(s, o)| activity(s, o)).sum()
        });
        let chosen = most_active(&active.collect::<Vec<f64>>(), wanted);
        let batches = chosen.iter().map(|at| all.batches[*at]).collect();
        let mut reference: Vec<Option<Vec<Tensor>>> = reference.into_iter().map(Some).collect();
        let reference = chosen.iter().filter_map(|at| reference[*at].take());
        Ok(Self {
            batches,
            reference: reference.collect(),
            measures,
            ..all
        })
    }

    /// Mean loss over the samples of each of `documents`, which differ from the original in
    /// the layer at `node` alone; an error for one that the target can't run. Call in the order of
    /// the network.
    pub fn losses(&mut self, node: NodeId, documents: &[Document]) -> Vec<Result<f64, Error>> {
        let cut = self.cuts.before(node);
        // Where the network can't be cut here, it is run from where it was cut before.
        let bytes = self.original.bytes_of(cut.iter().copied());
        if bytes.saturating_mul(self.batches.len()) <= self.memory.checkpoint()
            && let Ok(values) = self.run(&self.original.document, &cut)
            && let Some(first) = values.first()
            && Checkpoint::fits(first, self.batches.len(), self.memory.checkpoint())
        {
            self.checkpoint = Checkpoint::of(&cut, values);
        }
        let losses = documents.par_iter().map(|document| self.of(document));
        losses.collect()
    }

    /// The network that others are held against.
    pub fn original(&self) -> &'a Loaded {
        self.original
    }

    /// Number of samples that are run.
    pub fn samples(&self) -> usize {
        let batches = self.batches.iter();
        batches.map(|batch| self.samples.valid(*batch)).sum()
    }

    /// Mean loss over the samples of a rewritten network.
    pub fn of(&self, document: &Document) -> Result<f64, Error> {
        // No outputs are held but those of the batches that run.
        let of = |place: usize, outputs: Vec<Tensor>| {
            let own = self.rows_of(self.batches[place]);
            let sum = loss(&self.reference[place], &outputs, &self.measures, own);
            (sum, own.valid)
        };
        let losses = self.each(document, &self.outputs, of)?;
        let (sum, rows) = losses.iter().fold((0.0, 0), |(sum, rows), (own, valid)| {
            (sum + own, rows + valid)
        });
        Ok(sum / rows.max(1) as f64)
    }

    /// Outputs of the original, which are known, or of a rewritten network, which is run.
    ///
    /// # Errors
    /// [`Error::Target`] where the runtime can't run it.
    pub fn outputs_of(&self, document: &Document) -> Result<Outputs<'_>, Error> {
        match std::ptr::eq(document, &raw const self.original.document) {
            true => Ok(Cow::Borrowed(&self.reference)),
            false => Ok(Cow::Owned(self.run(document, &self.outputs)?)),
        }
    }

    /// Places of the outputs of classes.
    pub fn heads(&self) -> Vec<usize> {
        let first = self.reference.first();
        let is_head = |place: &usize| {
            let output = first.and_then(|outputs| outputs.get(*place));
            output.is_some_and(|output| self.measures[*place].class_rows(output).is_some())
        };
        (0..self.outputs.len()).filter(is_head).collect()
    }

    /// Places of the outputs of other floats, but for the logits of an output of classes.
    pub fn numbers(&self) -> Vec<usize> {
        let (heads, logits) = (self.heads(), logits(self.original.graph()));
        let first = self.reference.first();
        let is_number = |place: &usize| {
            let output = first.and_then(|outputs| outputs.get(*place));
            let floats = output.is_some_and(|output| output.dtype().is_float());
            floats && !heads.contains(place) && !logits[*place]
        };
        (0..self.outputs.len()).filter(is_number).collect()
    }

    /// Names of some outputs, by their places.
    pub fn names(&self, places: &[usize]) -> String {
        let all = self.original.output_names();
        let names = places.iter().filter_map(|place| all.get(*place).cloned());
        names.collect::<Vec<_>>().join(", ")
    }

    /// Share of samples whose greatest class in an output is the original's; `None` where it is of no classes.
    pub fn agreement(&self, outputs: &[Vec<Tensor>], head: usize) -> Option<Measure> {
        let mut same = Vec::new();
        for ((batch, a), b) in self.batches.iter().zip(&self.reference).zip(outputs) {
            let (a, b) = (a.get(head)?, b.get(head)?);
            let (_, classes) = self.measures[head].class_rows(a)?;
            let (a, b) = (a.to_f32()?, b.to_f32()?);
            let pairs = a.chunks_exact(classes).zip(b.chunks_exact(classes));
            let pairs = pairs.take(self.samples.valid(*batch));
            same.extend(pairs.map(|(a, b)| same_class(a, b)));
        }
        let name = self.names(&[head]);
        let measure = Measure::share_of(Metric::Agreement, Against::Original, &name, &same);
        (!same.is_empty()).then_some(measure)
    }

    /// Share of the samples that the original puts in the most frequent class of an output: as many would agree with a
    /// model of that class alone. `None` where it is of no classes.
    pub fn largest_class(&self, head: usize) -> Option<f64> {
        let mut tops = Vec::new();
        for (batch, run) in self.batches.iter().zip(&self.reference) {
            let (_, classes) = self.measures[head].class_rows(&run[head])?;
            let values = run[head].to_f32()?;
            let rows = values.chunks_exact(classes);
            tops.extend(rows.take(self.samples.valid(*batch)).filter_map(argmax));
        }
        largest_share(tops.into_iter())
    }

    /// The metric of the original's task, named by `source` or recognised of its outputs.
    ///
    /// # Errors
    /// As [`TaskMetric::of`].
    pub fn task(&self, source: &DataSource) -> Result<Option<TaskMetric>, Error> {
        let runs: Vec<&[Tensor]> = self.reference.iter().map(Vec::as_slice).collect();
        let first = self.batches.first().copied().unwrap_or(0);
        TaskMetric::of(self.original, source, &runs, self.rows_of(first))
    }

    /// The measure that models are judged by in a task; `None` where nothing could be measured.
    pub fn by_task(&self, metric: &TaskMetric, outputs: &[Vec<Tensor>]) -> Option<Measure> {
        let pairs = self.batches.iter().zip(self.reference.iter().zip(outputs));
        let pairs =
            pairs.map(|(batch, (a, b))| ([a.as_slice(), b.as_slice()], self.rows_of(*batch)));
        metric.measures(pairs).into_iter().next()
    }

    fn rows_of(&self, batch: usize) -> BatchRows {
        BatchRows {
            all: self.samples.rows(),
            valid: self.samples.valid(batch),
        }
    }

    /// The caller's metric, mean over the samples.
    pub fn own(&self, metric: &dyn OwnMetric, outputs: &[Vec<Tensor>]) -> Measure {
        let names = self.original.output_names();
        let pairs = self.batches.iter().zip(self.reference.iter().zip(outputs));
        let values = pairs
            .flat_map(|(batch, (a, b))| of_batch(metric, &names, [a, b], self.rows_of(*batch)));
        let (values, names): (Vec<f64>, _) = (values.collect(), names.join(", "));
        Measure::mean(metric.into(), Against::Original, &names, &values)
    }

    /// Signal-to-noise ratio of the worst of some outputs, of all where none are named, over all samples; `None`
    /// where a value is not finite.
    pub fn snr(&self, outputs: &[Vec<Tensor>], of: Option<&[usize]>) -> Option<Decibels> {
        let places = of.map_or_else(|| (0..self.outputs.len()).collect(), <[usize]>::to_vec);
        let names: Vec<String> = places.iter().map(ToString::to_string).collect();
        let samples = |all: &[Vec<Tensor>]| -> Vec<Vec<Tensor>> {
            let batches = self.batches.iter().zip(all);
            let samples = batches.flat_map(|(batch, outputs)| {
                let own = places
                    .iter()
                    .filter_map(|place| outputs.get(*place).cloned());
                divided(own.collect(), self.rows_of(*batch))
            });
            samples.collect()
        };
        let (a, b) = (samples(&self.reference), samples(outputs));
        Comparison::of(self.target.name(), &names, &a, &b).strictest_snr()
    }

    fn run(&self, document: &Document, wanted: &[ValueId]) -> Result<Vec<Vec<Tensor>>, Error> {
        self.each(document, wanted, |_, values| values)
    }

    /// What `of` makes of the place of every batch and its `wanted` values.
    fn each<T: Send>(
        &self,
        document: &Document,
        wanted: &[ValueId],
        of: impl Fn(usize, Vec<Tensor>) -> T + Sync,
    ) -> Result<Vec<T>, Error> {
        let network = Network {
            original: self.original,
            target: self.target,
            samples: &self.samples,
        };
        let (segment, checkpoint) =
            Segment::from_checkpoint(network, document, &self.checkpoint, wanted)?;
        let batches = self.batches.par_iter().enumerate();
        batches
            .map(|(i, batch)| {
                let given = match checkpoint.values() {
                    Some(_) => checkpoint.batch(&self.samples, i)?,
                    None => self.samples.inputs(*batch)?,
                };
                Ok(of(i, segment.run(&given)?))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_much_work_are_probed_on_fewer_batches() {
        let of = |macs, layers| probed(macs, layers);
        assert_eq!(
            [of(1, 1), of(40_000_000, 20), of(1_100_000_000, 40)],
            [64, 50, 8]
        );
        assert_eq!([of(17_600_000_000, 13), of(16_500_000_000, 43)], [8, 4]);
    }

    #[test]
    fn batches_are_divided_into_samples_without_padding() {
        let tensor = Tensor::from_f32(vec![4, 2], (0..8).map(|v| v as f32).collect());
        let rows = BatchRows { all: 4, valid: 3 };
        let samples = divided(vec![tensor.clone()], rows);
        let firsts = samples.iter().filter_map(|s| s[0].to_f32().map(|v| v[0]));
        assert_eq!(firsts.collect::<Vec<f32>>(), [0.0, 2.0, 4.0]);
        // An output of the whole batch is not divided.
        let whole = Tensor::from_f32(vec![1], vec![1.0]);
        assert_eq!(divided(vec![tensor, whole], rows).len(), 1);
    }

    #[test]
    fn the_most_active_samples_are_taken_in_their_order() {
        assert_eq!(most_active(&[0.1, 3.0, 0.2, 5.0, 0.2], 3), [1, 2, 3]);
        assert_eq!(most_active(&[1.0, 1.0, 1.0], 2), [0, 1]);
        assert_eq!(most_active(&[1.0], 4), [0]);
    }
}
