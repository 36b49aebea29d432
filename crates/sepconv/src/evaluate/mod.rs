//! Accuracy on labelled data.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use sepconv_data::{Batch, Dataset, Labels};
use sepconv_ir::Tensor;
use sepconv_targets::{InputSpec, Session, Target};
use serde::Serialize;

use crate::error::Error;
use crate::inputs::DataSource;
use crate::loaded::Loaded;
use crate::metrics::{argmax, class_rows};
use crate::progress::{Event, Progress};
use crate::runner::{load, to_tensor};

/// A measured figure of a model on a data set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// What was measured: `top-1`.
    pub metric: &'static str,
    /// The figure, in percent.
    pub value: f64,
    /// Its standard error `sqrt(p (1 - p) / n)`, in percentage points.
    pub stderr: f64,
    /// Number of samples.
    pub n: usize,
}

/// Top-1 accuracy of a classifier on a labelled data set: the share of samples whose greatest
/// value in the first output of shape `[n, classes]` stands at the label.
///
/// # Errors
/// [`Error::Data`] where the data has no labels or does not fit, [`Error::Target`] where the
/// runtime can't run the model, [`Error::Interface`] where no output is shaped for classes.
pub fn evaluate(
    model: &Loaded,
    target: &dyn Target,
    source: &DataSource,
    progress: &dyn Progress,
) -> Result<Evaluation, Error> {
    let dataset = source.open(model, Labels::Required)?;
    if dataset.labels().is_none() {
        return Err(Error::Interface {
            file: source.path.display().to_string(),
            reason: "it has a target but no labels to compute top-1 from".into(),
        });
    }
    let batch = dataset.fixed_batch().unwrap_or(1);
    let starts: Vec<usize> = (0..dataset.len()).step_by(batch).collect();
    let session = load(model, target, &session_specs(model, &dataset, batch)?)?;
    progress.on(Event::Begin {
        stage: "evaluating",
        total: starts.len(),
    });
    let done = AtomicUsize::new(0);
    let hits = starts
        .par_iter()
        .map(|start| {
            let end = (start + batch).min(dataset.len());
            let hits = batch_hits(model, &*session, dataset.batch(*start..end)?)?;
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            progress.on(Event::Step { done });
            Ok(hits)
        })
        .collect::<Result<Vec<usize>, Error>>()?;
    progress.on(Event::End);
    let n = dataset.len();
    let p = hits.iter().sum::<usize>() as f64 / n as f64;
    Ok(Evaluation {
        metric: "top-1",
        value: 100.0 * p,
        stderr: 100.0 * (p * (1.0 - p) / n as f64).sqrt(),
        n,
    })
}

/// Shapes that the samples of a data set have.
pub(crate) fn session_specs(
    model: &Loaded,
    dataset: &Dataset,
    batch: usize,
) -> Result<Vec<InputSpec>, Error> {
    let graph = model.graph();
    let shapes = dataset.sample_shapes();
    let specs = model
        .shapes
        .inputs()
        .iter()
        .zip(shapes)
        .map(|(input, sample)| {
            let dtype = input.shape.as_ref().and_then(|s| s.dtype);
            let mut dims = vec![batch];
            dims.extend(sample);
            Ok(InputSpec {
                name: graph.name(input.value).to_owned(),
                dtype: dtype.ok_or_else(|| Error::Interface {
                    file: model.file(),
                    reason: format!("input '{}' is of an unknown type", input.name),
                })?,
                dims,
            })
        });
    specs.collect()
}

fn batch_hits(model: &Loaded, session: &dyn Session, batch: Batch) -> Result<usize, Error> {
    let labels = batch.labels.unwrap_or_default();
    let inputs: Option<Vec<Tensor>> = batch.inputs.into_iter().map(to_tensor).collect();
    let odd = |reason: &str| Error::Interface {
        file: model.file(),
        reason: reason.to_owned(),
    };
    let inputs = inputs.ok_or_else(|| odd("an input is of a type that can't be run"))?;
    let outputs = session.run(&inputs).map_err(|source| Error::Target {
        file: model.file(),
        source,
    })?;
    let scores = outputs
        .iter()
        .find_map(|o| Some((class_rows(o.dims())?.1, o.to_f32()?)));
    let (classes, scores) =
        scores.ok_or_else(|| odd("no output is shaped [n, classes]: top-1 is not defined"))?;
    let rows = scores.chunks_exact(classes).zip(&labels);
    Ok(rows
        .filter(|(row, label)| argmax(row) as i64 == **label)
        .count())
}
