//! Runs over a data set, some batches at a time.

use rayon::prelude::*;
use sepconv_calibrate::checkpoints::{Checkpoint, Network, Segment};
use sepconv_ir::{Tensor, ValueId};
use sepconv_model::{Error, Loaded, Progress, Samples, Stage};
use sepconv_targets::Target;

/// Batches that are run at once.
const WINDOW: usize = 8;

/// A network and the samples that it is run on.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub model: &'a Loaded,
    pub target: &'a dyn Target,
    pub samples: &'a Samples,
    pub progress: &'a dyn Progress,
}

impl Run<'_> {
    /// Runs the network on all batches. `see` gets the number of a batch and the values of `wanted`, on
    /// any thread and in any order; `take` gets the results of `see`, in order.
    pub fn each<T: Send>(
        self,
        stage: &str,
        wanted: &[ValueId],
        see: impl Fn(usize, Vec<Tensor>) -> T + Sync,
        mut take: impl FnMut(T),
    ) -> Result<(), Error> {
        let Self {
            model,
            target,
            samples,
            progress,
        } = self;
        let network = Network {
            original: model,
            target,
            samples,
        };
        let segment = Segment::new(network, &model.document, Checkpoint::inputs(), wanted)?;
        let stage = Stage::begin(progress, stage, samples.batches());
        let batches: Vec<usize> = (0..samples.batches()).collect();
        for window in batches.chunks(WINDOW) {
            stage.step(window[0])?;
            let seen = window.par_iter().map(|batch| {
                let values = segment.run(&samples.inputs(*batch)?)?;
                Ok::<T, Error>(see(*batch, values))
            });
            let seen: Vec<T> = seen.collect::<Result<_, Error>>()?;
            seen.into_iter().for_each(&mut take);
        }
        stage.step(samples.batches())
    }
}

/// The values of the first `valid` of `rows` rows of a batch.
pub(crate) fn valid_part(values: &[f32], valid: usize, rows: usize) -> &[f32] {
    &values[..values.len() / rows.max(1) * valid]
}
