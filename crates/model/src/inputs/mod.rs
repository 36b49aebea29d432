//! Inputs to run models on: seeded synthetic ones, or a data set's.

mod batchless;
mod head;
mod indices;
mod layout;
pub mod magnitudes;
mod warnings;

pub use warnings::DataWarning;

use std::path::{Path, PathBuf};

use sepconv_data::{
    Dataset, InputSpec, Labels, Part, Preprocess, Request, SyntheticKind, synthetic,
};
use sepconv_ir::{Dim, Tensor, ValueId};

use crate::advice::Advice;
use crate::classes::class_rows_of;
use crate::error::Error;
use crate::loaded::Loaded;
use crate::task::Task;

use batchless::without_batch;
use indices::indices;
use layout::layout;

/// A data set and how it is to be read.
#[derive(Debug, Clone, Default)]
pub struct DataSource {
    /// `.npz`, `.npy`, a folder of pictures, or an ONNX test set: [`Dataset::open`].
    pub path: PathBuf,
    /// Arrays at hand in place of a file: one per graph input, in the order of the graph, samples
    /// first.
    pub arrays: Vec<Tensor>,
    /// Preprocessing of pictures.
    pub preprocess: Preprocess,
    /// Labels that lie apart from the samples: [`Request::annotations`].
    pub annotations: Option<PathBuf>,
    /// File with the order of class folders, or of categories.
    pub classes: Option<PathBuf>,
    /// At most this many samples, drawn with the seed.
    pub max_samples: Option<usize>,
    /// Seed of the draw, and of the split into parts.
    pub seed: u64,
    /// Which of the samples drawn are meant.
    pub part: Part,
    /// The part of the samples drawn that [`DataSource::part`] is of.
    pub within: Part,
    /// Largest value that a wanted picture can have, for PSNR and SSIM. `None`: 255 where the
    /// target is stored as u8, else 1.
    pub peak: Option<f64>,
    /// The task by which models are measured on the samples.
    pub task: Task,
}

impl DataSource {
    /// A data set as it is.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            ..Self::default()
        }
    }

    /// Arrays at hand, one per graph input in the order of the graph, samples first; they are
    /// read where they lie. Without labels, so to fit to or to compare with the original on.
    pub fn memory(arrays: Vec<Tensor>) -> Self {
        Self {
            path: "(memory)".into(),
            arrays,
            ..Self::default()
        }
    }

    /// Another part of the same data set.
    pub fn of_part(&self, part: Part) -> Self {
        Self {
            part,
            ..self.clone()
        }
    }

    /// A part of the samples that are meant now.
    pub fn divided(&self, part: Part) -> Self {
        match self.part {
            Part::Whole => self.of_part(part),
            within => Self {
                part,
                within,
                ..self.clone()
            },
        }
    }

    /// Opens the data set for a model.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file, the expected value and the one that was found.
    pub fn open(&self, model: &Loaded, labels: Labels) -> Result<Dataset, Error> {
        let request = Request {
            preprocess: self.preprocess.clone(),
            annotations: self.annotations.clone(),
            classes: self.classes.clone(),
            class_count: class_count(model),
            max_samples: self.max_samples,
            seed: self.seed,
            part: self.part,
            within: self.within,
            labels,
            ..Request::new(data_specs(model)?)
        };
        Ok(match self.arrays.as_slice() {
            [] => Dataset::open(&self.path, &request)?,
            arrays => Dataset::in_memory(&request, arrays)?,
        })
    }
}

impl DataSource {
    /// True where samples are values of a whole input, without an axis of the batch. That of pictures is their first: such
    /// data are not opened.
    ///
    /// # Errors
    /// As [`DataSource::open`].
    pub fn is_whole(&self, model: &Loaded) -> Result<bool, Error> {
        if !may_be_whole(model)? {
            return Ok(false);
        }
        let data = self.open(model, Labels::Ignore)?;
        Ok(data.whole().contains(&true))
    }

    /// The samples as inputs of a model, one set per batch that it takes.
    ///
    /// # Errors
    /// As [`DataSource::open`].
    pub fn inputs(&self, model: &Loaded) -> Result<Vec<Vec<Tensor>>, Error> {
        let dataset = self.open(model, Labels::Ignore)?;
        let batches = dataset.batches(dataset.fixed_batch().unwrap_or(1));
        batches.map(|batch| Ok(batch?.inputs)).collect()
    }
}

/// The model with the free height, width and length of inputs as the samples of the first of
/// `sources` have them, in place of extents that are assumed. The batch stays free. `None` where
/// nothing is free, where there is no source, or where the source does not say it.
///
/// # Errors
/// [`Error::Data`] where the data can't be read or do not fit; as [`Loaded::new`].
pub fn shaped_by<'a>(
    model: &Loaded,
    sources: impl IntoIterator<Item = &'a DataSource>,
) -> Result<Option<Loaded>, Error> {
    let mut assumed = model.shapes.assumed().iter().filter(|a| !a.known);
    let within = assumed.clone().any(|a| a.axis > 0);
    let (Some(_), Some(source)) = (assumed.next(), sources.into_iter().next()) else {
        return Ok(None);
    };
    if !within && !may_be_whole(model)? {
        return Ok(None);
    }
    let data = source.open(model, Labels::Ignore)?;
    if !within && !data.whole().contains(&true) {
        return Ok(None);
    }
    let samples = data.sample_shapes().iter().zip(data.whole());
    let inputs = model.shapes.inputs().iter().zip(samples);
    let known = inputs.map(|(input, (sample, whole))| {
        let extents = sample.iter().map(|n| Some(*n as u64));
        let batch = (!whole).then_some(None);
        (
            input.name.clone(),
            batch.into_iter().chain(extents).collect(),
        )
    });
    model.with_extents(known.collect()).map(Some)
}

/// True where data may hold values of a whole input: not of pictures alone, whose first axis is that of the batch.
fn may_be_whole(model: &Loaded) -> Result<bool, Error> {
    Ok(!data_specs(model)?.iter().all(InputSpec::is_picture))
}

/// Number of classes of a model whose first output is shaped `[n, classes]`.
fn class_count(model: &Loaded) -> Option<usize> {
    let output = model.graph().outputs().next()?;
    class_rows_of(model, output).map(|(_, classes)| classes)
}

/// The model's inputs as a data set must fit them: free dimensions stay free unless pinned. Where
/// the graph tells the layout of pictures, or looks elements of constants up, that is there too.
///
/// # Errors
/// [`Error::Interface`] where an input is no tensor of numbers.
pub fn data_specs(model: &Loaded) -> Result<Vec<InputSpec>, Error> {
    let graph = model.graph();
    let whole = without_batch(model);
    let specs = model.shapes.inputs().iter().map(|input| {
        let odd = || Error::Interface {
            file: model.file(),
            reason: format!(
                "input '{}' is not a tensor of known rank and type",
                input.name
            ),
        };
        let shape = input.shape.as_ref().ok_or_else(odd)?;
        let plain = shape.dtype.filter(|t| t.size().is_some());
        let dtype = plain.ok_or_else(odd)?;
        let declared = graph.value(input.value).and_then(|v| v.ty.as_ref());
        let declared = declared.and_then(|t| t.dims.clone());
        let assumed = |axis: usize| {
            let all = model.shapes.assumed();
            all.iter().any(|a| a.input == input.name && a.axis == axis)
        };
        let free = |axis: usize| {
            let dim = declared.as_ref().and_then(|d| d.get(axis));
            assumed(axis) && dim.is_none_or(|d| d.known().is_none_or(|n| n == 0))
        };
        let dims = shape.dims.iter().enumerate().map(|(axis, dim)| match dim {
            Dim::Known(n) if !free(axis) => Some(*n as usize),
            _ => None,
        });
        let dims: Vec<Option<usize>> = dims.collect();
        let name = input.name.clone();
        let spec = match whole.contains(&input.value) {
            true => InputSpec::of_whole(name, dtype, dims),
            false => InputSpec::new(name, dtype, dims),
        };
        Ok(read_by(model, input.value, spec, true))
    });
    specs.collect()
}

/// The spec with how the graph reads the input; with `fixed`, by extents of constants alone.
fn read_by(model: &Loaded, input: ValueId, spec: InputSpec, fixed: bool) -> InputSpec {
    let graph = model.graph();
    InputSpec {
        layout: layout(graph, input).filter(|_| spec.dims.len() == 4),
        indices: indices(graph, &model.shapes, input, fixed),
        ..spec
    }
}

/// Seeded random inputs, `runs` sets of one tensor per graph input, of the batch that the
/// model is costed for. Pictures are fields with the spatial correlation of natural images, indices
/// those that the graph finds something for.
///
/// # Errors
/// [`Error::Interface`] where an input's shape is unknown.
pub fn synthetic_inputs(
    model: &Loaded,
    runs: usize,
    seed: u64,
    kind: SyntheticKind,
) -> Result<Vec<Vec<Tensor>>, Error> {
    let unknown = || {
        let error = Error::Interface {
            file: model.file(),
            reason: "the shape of an input is unknown".into(),
        };
        error.advising(Advice::PinInputShape)
    };
    let concrete = model.input_specs().ok_or_else(unknown)?;
    let inputs = model.shapes.inputs().iter();
    let specs = concrete
        .iter()
        .zip(inputs)
        .map(|(spec, input)| {
            spec.dtype.size()?;
            let mut dims: Vec<Option<usize>> = spec.dims.iter().map(|d| Some(*d)).collect();
            if dims.is_empty() {
                dims.push(Some(1));
            }
            let spec = InputSpec::new(&spec.name, spec.dtype, dims);
            Some(read_by(model, input.value, spec, false))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(unknown)?;
    let batch = |i: usize| concrete[i].dims.first().copied().unwrap_or(1);
    let mut sets: Vec<Vec<Tensor>> = vec![Vec::new(); runs];
    for (i, spec) in specs.iter().enumerate() {
        let samples = runs * batch(i);
        let one = std::slice::from_ref(spec);
        let all = synthetic(one, samples, seed.wrapping_add(i as u64), kind)?;
        for (run, set) in sets.iter_mut().enumerate() {
            for tensor in &all {
                let rows = tensor.rows(run * batch(i)..(run + 1) * batch(i));
                let rows = rows.and_then(|rows| {
                    let data = rows.data()?.clone();
                    Tensor::new(rows.dtype(), concrete[i].dims.clone(), data)
                });
                set.push(rows.ok_or_else(unknown)?);
            }
        }
    }
    Ok(sets)
}

/// Inputs from a file or folder, one set per batch of the model.
///
/// # Errors
/// [`Error::Data`].
pub fn load_inputs(model: &Loaded, path: &Path) -> Result<Vec<Vec<Tensor>>, Error> {
    DataSource::new(path).inputs(model)
}

/// Graph inputs in the shapes that `batch` samples of a data set have.
///
/// # Errors
/// [`Error::Interface`] where an input is of an unknown type.
pub fn session_specs(
    model: &Loaded,
    dataset: &Dataset,
    batch: usize,
) -> Result<Vec<sepconv_targets::InputSpec>, Error> {
    let graph = model.graph();
    let shapes = dataset.sample_shapes();
    let specs = model
        .shapes
        .inputs()
        .iter()
        .zip(shapes.iter().zip(dataset.whole()))
        .map(|(input, (sample, whole))| {
            let dtype = input.shape.as_ref().and_then(|s| s.dtype);
            let mut dims = vec![batch; usize::from(!whole)];
            dims.extend(sample);
            Ok(sepconv_targets::InputSpec {
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
