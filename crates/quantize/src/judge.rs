//! Quantised models held against the original on held-out samples.

use sepconv_eval::{BatchRows, Comparison, Measure, TaskComparison, TaskMetric};
use sepconv_ir::Tensor;
use sepconv_model::{DataSource, Error, Loaded, Progress, run};

use crate::missed::{Missed, noise_at};
use crate::windows::Run;

/// MACs that are spent on one judgement of a set of layers.
const JUDGED_MACS: u64 = 100_000_000_000;
/// Batches that a set of layers is judged by, least and most.
const JUDGED: (u64, u64) = (8, 64);
/// Samples with detections by which models are judged, at least.
const LEAST: usize = 5;
/// Weight of the ratio of rows, which tells models apart that keep as many detections.
const OF_ROWS: f64 = 1e-6;

/// The original's outputs on some samples.
pub(crate) struct Judge<'a> {
    original: Run<'a>,
    /// Batches spread over the samples.
    batches: Vec<usize>,
    inputs: Vec<Vec<Tensor>>,
    outputs: Vec<Vec<Tensor>>,
    /// The metric of detections that the graph selects and orders: their rows can't be compared one by one.
    detections: Option<TaskMetric>,
}

impl<'a> Judge<'a> {
    /// Runs the original on batches of its samples, which are of `source`.
    pub fn new(original: Run<'a>, source: &DataSource) -> Result<Self, Error> {
        let (model, samples) = (original.model, original.samples);
        let n = samples.batches();
        let most = JUDGED_MACS / model.cost.macs.max(1);
        let count = n.min(most.clamp(JUDGED.0, JUDGED.1) as usize);
        let batches: Vec<usize> = (0..count).map(|i| i * n / count).collect();
        let inputs = batches.iter().map(|batch| samples.inputs(*batch));
        let mut judge = Self {
            original,
            inputs: inputs.collect::<Result<_, Error>>()?,
            batches,
            outputs: Vec::new(),
            detections: None,
        };
        judge.outputs = judge.run(model)?;
        judge.detections = judge.ordered(source);
        Ok(judge)
    }

    /// The metric of detections that the graph orders, where enough samples have some.
    fn ordered(&self, source: &DataSource) -> Option<TaskMetric> {
        let rows = self.rows_of(*self.batches.first()?);
        // The last batch may have fewer rows.
        let runs = self.batches.iter().zip(&self.outputs);
        let runs = runs.filter(|(batch, _)| self.rows_of(**batch) == rows);
        let runs = runs.map(|(_, run)| run.as_slice());
        let runs: Vec<&[Tensor]> = runs.collect();
        // Outputs of another task than the one that is named are told of where that is judged.
        let found = TaskMetric::of(self.original.model, source, &runs, rows);
        let metric = found.ok()??;
        let own = metric.is_of_ordered_rows();
        let with = own.then(|| self.measures(&metric, &self.outputs))?;
        (with.first()?.n >= LEAST).then_some(metric)
    }

    pub fn progress(&self) -> &'a dyn Progress {
        self.original.progress
    }

    /// Rows of the outputs of a batch, which are without padding.
    fn rows_of(&self, batch: usize) -> BatchRows {
        let valid = self.original.samples.valid(batch);
        BatchRows { all: valid, valid }
    }

    fn run(&self, model: &Loaded) -> Result<Vec<Vec<Tensor>>, Error> {
        let outputs = run(model, self.original.target, &self.inputs, &())?;
        let runs = self.batches.iter().zip(outputs);
        let runs = runs.map(|(batch, run)| self.original.samples.without_padding(*batch, run));
        Ok(runs.collect())
    }

    fn compared(&self, outputs: &[Vec<Tensor>]) -> Comparison {
        let name = self.original.target.name();
        let names = self.original.model.output_names();
        let batches = self.batches.iter();
        Comparison {
            runs: batches.map(|b| self.original.samples.valid(*b)).sum(),
            ..Comparison::of(name, &names, &self.outputs, outputs)
        }
    }

    /// Noise over signal of the worst channel of the outputs that can be compared; of detections that the graph orders the
    /// share that is lost, `1 - F1`, where that is more. `None` where nothing can be compared.
    pub fn noise(&self, model: &Loaded) -> Result<Option<f64>, Error> {
        let outputs = self.run(model)?;
        let compared = self.compared(&outputs);
        let of_all = self.noise_of(&compared, |_| true);
        Ok(match lost(&self.of_detections(&outputs)) {
            Some((lost, _)) => {
                let others = self.noise_of(&compared, |output| !self.are_rows(output));
                let most = others.map_or(lost, |noise| noise.max(lost));
                Some(most + OF_ROWS * of_all.unwrap_or(1.0).min(1.0))
            }
            None => of_all,
        })
    }

    /// Noise over signal of the worst channel of some outputs; `None` where none of them can be compared.
    fn noise_of(&self, compared: &Comparison, some: impl Fn(usize) -> bool) -> Option<f64> {
        let snr = self.comparable(compared, some)?.worst_channel_snr();
        Some(snr.map_or(f64::INFINITY, noise_at))
    }

    /// True for outputs of detections that the graph orders.
    fn are_rows(&self, output: usize) -> bool {
        let metric = self.detections.as_ref();
        metric.is_some_and(|metric| metric.outputs().contains(&output))
    }

    /// The measures of detections, F1 first; none where rows are compared.
    fn of_detections(&self, outputs: &[Vec<Tensor>]) -> Vec<Measure> {
        let metric = self.detections.as_ref();
        metric.map_or(Vec::new(), |metric| self.measures(metric, outputs))
    }

    fn measures(&self, metric: &TaskMetric, outputs: &[Vec<Tensor>]) -> Vec<Measure> {
        let pairs = self.batches.iter().zip(self.outputs.iter().zip(outputs));
        let pairs = pairs.map(|(batch, (a, b))| ([&a[..], &b[..]], self.rows_of(*batch)));
        metric.measures(pairs)
    }

    /// The outputs of a rewritten model held against the original's, and the ratio that it was to keep and does not; of
    /// detections that the graph orders `1 - F1` in place of noise over signal.
    pub fn closing(
        &self,
        model: &Loaded,
        least_snr: Option<f64>,
    ) -> Result<(Comparison, Option<Missed>), Error> {
        let outputs = self.run(model)?;
        let compared = self.compared(&outputs);
        let measures = self.of_detections(&outputs);
        let missed = least_snr.and_then(|least| match lost(&measures) {
            Some((lost, f1)) => {
                let others = self.comparable(&compared, |output| !self.are_rows(output));
                let others = others.and_then(|others| Missed::of(&others, least));
                Missed::of_detections(lost, f1.output.clone(), least).or(others)
            }
            None => {
                let judged = self.comparable(&compared, |_| true);
                Missed::of(judged.as_ref().unwrap_or(&compared), least)
            }
        });
        let task = self.detections.as_ref().map(|metric| TaskComparison {
            taken: metric.taken().clone(),
            measures,
        });
        Ok((Comparison { task, ..compared }, missed))
    }

    /// A comparison with those of `some` outputs that can be compared; `None` where none can.
    fn comparable(
        &self,
        comparison: &Comparison,
        some: impl Fn(usize) -> bool,
    ) -> Option<Comparison> {
        let outputs = comparison.outputs.iter().enumerate();
        let outputs = outputs.filter(|(i, output)| {
            let compared = output.not_compared.is_none() && output.worst_channel.is_some();
            compared && some(*i) && self.has_signal(*i)
        });
        let outputs: Vec<_> = outputs.map(|(_, output)| output.clone()).collect();
        (!outputs.is_empty()).then(|| Comparison {
            outputs,
            ..comparison.clone()
        })
    }

    /// False for an output of the original with values that are not finite, or with zeros alone.
    fn has_signal(&self, output: usize) -> bool {
        let values = self
            .outputs
            .iter()
            .filter_map(|run| run.get(output)?.to_f32());
        let values: Vec<_> = values.collect();
        let mut all = values.iter().flat_map(|values| values.iter());
        // Integers are no floats.
        values.is_empty() || all.clone().all(|v| v.is_finite()) && all.any(|v| *v != 0.0)
    }
}

/// Share of the detections that are lost by these measures, and the F1 that says so.
fn lost(measures: &[Measure]) -> Option<(f64, &Measure)> {
    let f1 = measures.first().filter(|f1| f1.value.is_finite())?;
    Some((1.0 - f1.value / 100.0, f1))
}
