//! The original's outputs on some inputs, run once for all that is compared with it.

use sepconv_data::{Dataset, Labels, SyntheticKind};
use sepconv_ir::Tensor;

use crate::calibrate::Source;
use crate::compare::{ComparedOn, Comparison};
use crate::error::Error;
use crate::flow::Samples;
use crate::inputs::{DataSource, synthetic_inputs};
use crate::loaded::Loaded;
use crate::progress::Progress;
use crate::runner::run;
use crate::settings::Settings;

/// MACs that a comparison may take of one model.
const MOST_MACS: u64 = 400_000_000_000;
/// Bytes of inputs and outputs that are kept for a comparison, of one model.
const MOST_BYTES: usize = 256 << 20;
/// Batches that are compared where there are as many, whatever they cost.
const LEAST: usize = 8;
/// Batches that are compared at most.
const MOST: usize = 256;

/// Inputs, and what the original makes of them.
pub(crate) struct Reference {
    inputs: Inputs,
    outputs: Vec<Vec<Tensor>>,
}

/// Batches of inputs.
struct Inputs {
    kind: ComparedOn,
    batches: Vec<Vec<Tensor>>,
    /// Rows of a batch, and those of each that are no padding.
    rows: usize,
    valid: Vec<usize>,
}

impl Reference {
    /// Runs the original on `runs` seeded random inputs of one kind.
    ///
    /// # Errors
    /// [`Error::Interface`] where an input's shape is unknown, [`Error::Target`] where the runtime
    /// can't run the model.
    pub fn random(
        original: &Loaded,
        settings: &Settings,
        runs: usize,
        kind: SyntheticKind,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let inputs = Inputs::random(original, settings, runs, kind)?;
        Self::of(original, settings, inputs, progress)
    }

    /// Runs the original on what closing figures come from: the test part of the calibration
    /// data, else data that nothing was fitted to, else the evaluation data, else seeded random
    /// inputs.
    ///
    /// # Errors
    /// As [`Reference::random`]; [`Error::Data`] where the data can't be read or do not fit.
    pub fn closing(
        original: &Loaded,
        settings: &Settings,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let calibration = settings.calibration.as_ref();
        let open = |data: &DataSource| data.open(original, Labels::Ignore);
        let inputs = match calibration.map(|c| &c.source) {
            Some(Source::Data(data)) => {
                let test = open(&data.of_part(data.part.test()))?;
                // Of a few samples all are in both parts.
                let kind = match test.is_split() {
                    true => ComparedOn::Test,
                    false => ComparedOn::Calibration,
                };
                Inputs::of_data(original, test, kind)?
            }
            _ => match (&settings.closing, &settings.eval) {
                (Some(data), _) => Inputs::of_data(original, open(data)?, ComparedOn::Test)?,
                (None, Some(data)) => {
                    Inputs::of_data(original, open(data)?, ComparedOn::Evaluation)?
                }
                (None, None) => {
                    let runs = synthetic_runs(original.cost.macs, 1);
                    Inputs::random(original, settings, runs, SyntheticKind::Normal)?
                }
            },
        };
        Self::of(original, settings, inputs, progress)
    }

    fn of(
        original: &Loaded,
        settings: &Settings,
        inputs: Inputs,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let outputs = run(original, settings.target, &inputs.batches, progress)?;
        Ok(Self {
            outputs: inputs.without_padding(outputs),
            inputs,
        })
    }

    /// What a rewritten model makes of the inputs, compared.
    ///
    /// # Errors
    /// [`Error::Target`] where the runtime can't run the model.
    pub fn compare(
        &self,
        model: &Loaded,
        settings: &Settings,
        progress: &dyn Progress,
    ) -> Result<Comparison, Error> {
        let outputs = run(model, settings.target, &self.inputs.batches, progress)?;
        let outputs = self.inputs.without_padding(outputs);
        let names = model.output_names();
        let target = settings.target.name();
        Ok(Comparison {
            inputs: self.inputs.kind,
            runs: self.inputs.count(),
            ..Comparison::of(target, &names, &self.outputs, &outputs)
        })
    }
}

impl Inputs {
    fn random(
        original: &Loaded,
        settings: &Settings,
        runs: usize,
        kind: SyntheticKind,
    ) -> Result<Self, Error> {
        let batches = synthetic_inputs(original, runs, settings.seed, kind)?;
        Ok(Self {
            kind: ComparedOn::Random,
            rows: 1,
            valid: vec![1; batches.len()],
            batches,
        })
    }

    /// Batches spread over a data set: as many as time and memory allow.
    fn of_data(original: &Loaded, data: Dataset, kind: ComparedOn) -> Result<Self, Error> {
        let samples = Samples::of(original, data)?;
        let n = samples.batches();
        let rows = samples.rows();
        let by_macs = MOST_MACS / original.cost.macs.max(1);
        let by_bytes = MOST_BYTES / bytes_of_a_run(original, &samples).max(1);
        let most = (by_macs as usize).clamp(LEAST, MOST).min(by_bytes.max(2));
        let count = n.min(most);
        let chosen: Vec<usize> = (0..count).map(|i| i * n / count).collect();
        let batches = chosen.iter().map(|b| samples.inputs(*b));
        Ok(Self {
            kind,
            batches: batches.collect::<Result<_, Error>>()?,
            rows,
            valid: chosen.iter().map(|b| samples.valid(*b)).collect(),
        })
    }

    /// Number of samples.
    fn count(&self) -> usize {
        self.valid.iter().sum()
    }

    /// Outputs of the batches without the rows of padding.
    fn without_padding(&self, outputs: Vec<Vec<Tensor>>) -> Vec<Vec<Tensor>> {
        let batches = outputs.into_iter().zip(&self.valid);
        let trimmed = |tensor: Tensor, valid: usize| match tensor.dims() {
            [rows, ..] if *rows == self.rows && valid < self.rows => {
                tensor.first_rows(valid).unwrap_or(tensor)
            }
            _ => tensor,
        };
        let batches =
            batches.map(|(run, valid)| run.into_iter().map(|t| trimmed(t, *valid)).collect());
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
pub(crate) fn synthetic_runs(macs: u64, at_least: u64) -> usize {
    (2_000_000_000 / macs.max(1)).clamp(at_least, 8) as usize
}
