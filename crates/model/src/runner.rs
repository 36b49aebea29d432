//! Running models over many samples on all cores.

use std::path::Path;

use rayon::prelude::*;
use sepconv_ir::Tensor;
use sepconv_targets::{InputSpec, Session, Target};

use crate::error::Error;
use crate::loaded::Loaded;
use crate::progress::{Progress, Stage};

/// Runs `model` on every set of inputs (one tensor per graph input). Outputs are in the order
/// of the inputs, whatever the number of threads.
///
/// # Errors
/// [`Error::Target`] where the runtime can't load or run the model.
pub fn run(
    model: &Loaded,
    target: &dyn Target,
    inputs: &[Vec<Tensor>],
    progress: &dyn Progress,
) -> Result<Vec<Vec<Tensor>>, Error> {
    let failed = |source| Error::Target {
        file: model.file(),
        source,
    };
    let Some(first) = inputs.first() else {
        return Ok(Vec::new());
    };
    let stage = Stage::begin(progress, "running", inputs.len());
    let session = load(model, target, &specs(model, first))?;
    let done = std::sync::atomic::AtomicUsize::new(0);
    inputs
        .par_iter()
        .map(|tensors| {
            let outputs = session.run(tensors).map_err(failed);
            let done = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            stage.step(done)?;
            outputs
        })
        .collect()
}

/// Loads a model on a target.
pub fn load(
    model: &Loaded,
    target: &dyn Target,
    specs: &[InputSpec],
) -> Result<Box<dyn Session>, Error> {
    target
        .load(&model.for_runtimes()?, specs)
        .map_err(|source| Error::Target {
            file: model.file(),
            source,
        })
}

fn specs(model: &Loaded, inputs: &[Tensor]) -> Vec<InputSpec> {
    let names = model.graph().inputs().map(|v| model.graph().name(v));
    names
        .zip(inputs)
        .map(|(name, tensor)| InputSpec {
            name: name.to_owned(),
            dtype: tensor.dtype(),
            dims: tensor.dims().to_vec(),
        })
        .collect()
}

/// Runs a model and writes its outputs as arrays named like the graph outputs, runs joined
/// along the first axis. Runs whose other extents differ, as of what a detector finds, are arrays of their own: the name
/// with a dot and the number of the run.
///
/// # Errors
/// As [`run`], or [`Error::Data`] where the file can't be written.
pub fn run_to_npz(
    model: &Loaded,
    target: &dyn Target,
    inputs: &[Vec<Tensor>],
    path: &Path,
    progress: &dyn Progress,
) -> Result<Vec<(String, Vec<usize>)>, Error> {
    let runs = run(model, target, inputs, progress)?;
    let mut arrays = Vec::new();
    for (i, name) in model.output_names().into_iter().enumerate() {
        let parts: Vec<&Tensor> = runs.iter().filter_map(|r| r.get(i)).collect();
        match are_joinable(&parts) {
            true => arrays.push((name, join(&parts)?)),
            false => {
                let own =
                    |(run, part): (usize, &&Tensor)| (format!("{name}.{run}"), (*part).clone());
                arrays.extend(parts.iter().enumerate().map(own));
            }
        }
    }
    let named: Vec<(&str, &Tensor)> = arrays.iter().map(|(n, a)| (n.as_str(), a)).collect();
    sepconv_data::write_npz(path, &named)?;
    let shapes = arrays.iter().map(|(n, a)| (n.clone(), a.dims().to_vec()));
    Ok(shapes.collect())
}

/// True for runs of one rank whose extents differ along the first axis alone.
fn are_joinable(parts: &[&Tensor]) -> bool {
    let rest = |part: &Tensor| part.dims().get(1..).map(<[usize]>::to_vec);
    parts.windows(2).all(|two| rest(two[0]) == rest(two[1]))
}

fn join(parts: &[&Tensor]) -> Result<Tensor, Error> {
    let first = parts
        .first()
        .ok_or_else(|| Error::Setting("no outputs to write".into()))?;
    let mut shape = first.dims().to_vec();
    match shape.first_mut() {
        Some(rows) => *rows = parts.iter().map(|p| p.dims()[0]).sum(),
        // Runs of one number are samples of it.
        None if parts.len() > 1 => shape.push(parts.len()),
        None => {}
    }
    let bytes = parts.iter().filter_map(|p| p.data()).flatten().copied();
    Tensor::new(first.dtype(), shape, bytes.collect())
        .ok_or_else(|| Error::Setting(format!("output of type {}", first.dtype())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn runs_are_joined_where_the_first_axis_alone_differs() {
        let of = |dims: &[usize]| {
            let values = vec![1.0; dims.iter().product()];
            Tensor::from_f32(dims.to_vec(), values)
        };
        let joined = |runs: &[&[usize]]| {
            let runs: Vec<Tensor> = runs.iter().map(|dims| of(dims)).collect();
            let parts: Vec<&Tensor> = runs.iter().collect();
            are_joinable(&parts).then(|| join(&parts).unwrap().dims().to_vec())
        };
        assert_eq!(joined(&[&[2, 3], &[1, 3]]), Some(vec![3, 3]));
        assert_eq!(joined(&[&[], &[]]), Some(vec![2]));
        assert_eq!(joined(&[&[]]), Some(vec![]));
        // What a detector finds.
        assert_eq!(joined(&[&[1, 4, 6], &[1, 2, 6]]), None);
        assert_eq!(joined(&[&[1, 4], &[]]), None);
    }
}
