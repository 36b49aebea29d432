//! ONNX `test_data_set_*` directories.

use std::path::{Path, PathBuf};

use sepconv_ir::Tensor;

use crate::convert;
use crate::dense::{bytes_of, dense, from_f32};
use crate::error::DataError;
use crate::feed::{Feed, samples_of};
use crate::listing::Entries;
use crate::preprocess::Preprocess;
use crate::request::{InputSpec, Labels, Request};
use crate::table::Table;
use crate::tensor;

/// One or several test sets; their rows, one set after the other, are the samples.
#[derive(Debug)]
pub(crate) struct TestSets {
    sets: Vec<PathBuf>,
    /// The first row of each set, and the number of rows at the end.
    starts: Vec<usize>,
    inputs: Vec<InputSpec>,
    /// The shape of a sample per input.
    pub samples: Vec<Vec<usize>>,
    /// Number of `output_N.pb`, from 0 on, that serve as targets: every set has them, of one shape.
    pub targets: usize,
}

/// The test sets at `path`: itself, or its `test_data_set_*` folders by number; empty if it has none.
pub(crate) fn find(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if path.join("input_0.pb").is_file() {
        return Ok(vec![path.to_path_buf()]);
    }
    let folders = Entries::of(path)?.folders;
    let mut sets: Vec<(u64, PathBuf)> = folders
        .into_iter()
        .filter_map(|folder| {
            let name = folder.file_name()?.to_str()?;
            let number = name.strip_prefix("test_data_set_")?;
            Some((number.parse().unwrap_or(u64::MAX), folder))
        })
        .collect();
    sets.sort();
    Ok(sets.into_iter().map(|(_, folder)| folder).collect())
}

impl TestSets {
    /// Reads every tensor once, to check it.
    pub(crate) fn open(sets: Vec<PathBuf>, request: &Request) -> Result<Self, DataError> {
        let mut found = Self {
            sets,
            starts: vec![0],
            inputs: request.inputs.clone(),
            samples: Vec::new(),
            targets: 0,
        };
        // Shapes of the targets without the batch axis, as far as the sets agree.
        let mut shapes: Option<Vec<Vec<usize>>> = (request.labels == Labels::Ignore).then(Vec::new);
        for set in &found.sets {
            let feeds = feeds(set, &found.inputs)?;
            let rows = samples_of(&feeds).unwrap_or(0);
            let samples: Vec<Vec<usize>> = feeds.into_iter().map(|f| f.sample).collect();
            if found.samples.is_empty() {
                found.samples = samples;
            } else if found.samples != samples {
                return Err(DataError::mismatch(
                    set,
                    "samples",
                    format!("shapes {:?}, as in the first set", found.samples),
                    format!("{samples:?}"),
                ));
            }
            found.starts.push(found.starts.last().unwrap_or(&0) + rows);
            if shapes.as_ref().is_none_or(|s| !s.is_empty()) {
                let these = match target_shapes(set, rows) {
                    Err(error) if request.labels == Labels::Required => return Err(error),
                    other => other.unwrap_or_default(),
                };
                let all = shapes.get_or_insert_with(|| these.clone());
                let agree = all.iter().zip(&these).take_while(|(a, b)| a == b);
                let agree = agree.count();
                all.truncate(agree);
            }
        }
        found.targets = shapes.map_or(0, |s| s.len());
        Ok(found)
    }

    /// The number of samples.
    pub(crate) fn rows(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Calls `read` for each run of rows of one set, with their positions in it.
    fn by_set(
        &self,
        rows: &[usize],
        mut read: impl FnMut(&Path, usize, &[usize]) -> Result<(), DataError>,
    ) -> Result<(), DataError> {
        let set_of = |row: usize| self.starts.partition_point(|&s| s <= row) - 1;
        for run in rows.chunk_by(|&a, &b| set_of(a) == set_of(b)) {
            let set = set_of(run[0]);
            let start = self.starts[set];
            let local: Vec<usize> = run.iter().map(|r| r - start).collect();
            read(&self.sets[set], self.starts[set + 1] - start, &local)?;
        }
        Ok(())
    }

    /// The given samples, one array per input.
    pub(crate) fn read(&self, rows: &[usize]) -> Result<Vec<Tensor>, DataError> {
        let mut bytes = vec![Vec::new(); self.inputs.len()];
        self.by_set(rows, |set, _, local| {
            let inputs = feeds(set, &self.inputs)?.into_iter().zip(&self.inputs);
            for ((feed, spec), bytes) in inputs.zip(&mut bytes) {
                // One value serves for a batch.
                if !spec.whole || bytes.is_empty() {
                    bytes.extend_from_slice(bytes_of(&feed.read(local)?));
                }
            }
            Ok(())
        })?;
        let specs = self.inputs.iter().zip(&self.samples);
        specs
            .zip(bytes)
            .map(|((spec, sample), bytes)| {
                let mut shape = vec![rows.len(); usize::from(!spec.whole)];
                shape.extend_from_slice(sample);
                dense(spec.dtype, shape, bytes)
            })
            .collect()
    }

    /// The rows of every target for the given samples, f32.
    pub(crate) fn read_targets(&self, rows: &[usize]) -> Result<Vec<Tensor>, DataError> {
        let all = (0..self.targets).map(|output| self.read_target(output, rows));
        all.collect()
    }

    fn read_target(&self, output: usize, rows: &[usize]) -> Result<Tensor, DataError> {
        let (mut values, mut shape) = (Vec::new(), vec![rows.len()]);
        self.by_set(rows, |set, count, local| {
            let array = target(set, output, count)?;
            shape.truncate(1);
            shape.extend_from_slice(&array.dims()[1..]);
            let floats = convert::to_f32(&array).unwrap_or_default();
            let row_length = floats.len() / count.max(1);
            for row in local {
                values.extend_from_slice(&floats[row * row_length..][..row_length]);
            }
            Ok(())
        })?;
        from_f32(&shape, &values)
    }
}

/// The inputs of one set, in the model's order; never preprocessed.
fn feeds(set: &Path, inputs: &[InputSpec]) -> Result<Vec<Feed>, DataError> {
    let file = |i: usize| set.join(format!("input_{i}.pb"));
    let have = (0..).take_while(|&i| file(i).is_file()).count();
    if have != inputs.len() {
        return Err(DataError::mismatch(
            set,
            "input_N.pb files",
            format!("{}, one per model input", inputs.len()),
            have,
        ));
    }
    let mut feeds: Vec<Feed> = Vec::new();
    for (i, spec) in inputs.iter().enumerate() {
        let path = file(i);
        let table = Table::from_array(&path, "tensor".into(), tensor::read(&path)?)?;
        feeds.push(Feed::new(&path, spec, &Preprocess::default(), table)?);
    }
    match samples_of(&feeds) {
        Ok(_) => Ok(feeds),
        Err((odd, [rows, own])) => {
            let expected = format!("{rows} rows, as the inputs before it");
            Err(DataError::mismatch(&file(odd), "first axis", expected, own))
        }
    }
}

/// The shapes, without the batch axis, of `output_0.pb`, which has to be a target, and of the
/// outputs after it up to the first that is none (integers, or no row per sample).
fn target_shapes(set: &Path, rows: usize) -> Result<Vec<Vec<usize>>, DataError> {
    let mut shapes = vec![target(set, 0, rows)?.dims()[1..].to_vec()];
    while let Ok(array) = target(set, shapes.len(), rows) {
        shapes.push(array.dims()[1..].to_vec());
    }
    Ok(shapes)
}

/// `output_N.pb` of one set: floats with one row per sample.
fn target(set: &Path, output: usize, rows: usize) -> Result<Tensor, DataError> {
    let path = set.join(format!("output_{output}.pb"));
    let array = tensor::read(&path)?;
    if !array.dtype().is_float() || array.dims().first() != Some(&rows) {
        return Err(DataError::mismatch(
            &path,
            "target",
            format!("floats with a first axis of {rows}"),
            format!("{} {:?}", array.dtype(), array.dims()),
        ));
    }
    Ok(array)
}
