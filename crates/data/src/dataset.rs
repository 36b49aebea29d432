//! The one loader for calibration and evaluation.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use sepconv_ir::{DType, Tensor};

use crate::annotated::Annotated;
use crate::annotations::Category;
use crate::archive::{self, Found};
use crate::batch::Batch;
use crate::coco::Coco;
use crate::dense::pad_rows;
use crate::draw::draw;
use crate::error::DataError;
use crate::feed::{Feed, samples_of};
use crate::folder::Folder;
use crate::labels;
use crate::listing::Skipped;
use crate::mask_files::MaskFiles;
use crate::npy;
use crate::request::{InputSpec, Labels, Request};
use crate::table::Table;
use crate::testsets::{self, TestSets};

/// Source of the samples.
#[derive(Debug)]
enum Source {
    Arrays(Vec<Feed>),
    Pictures(Box<Folder>),
    Sets(TestSets),
}

/// Source of the wanted outputs.
#[derive(Debug)]
enum Target {
    Table(Table),
    Sets,
}

/// An open data set: samples that fit the model's inputs, read on demand.
///
/// Reading takes `&self` and may go on in several threads at once. Pictures
/// are decoded per batch, stored arrays are read from the file per batch,
/// compressed ones are unpacked once (in memory up to 1 GiB for the whole
/// archive, past it to an unlinked temporary file).
#[derive(Debug)]
pub struct Dataset {
    path: PathBuf,
    source: Source,
    samples: Vec<Vec<usize>>,
    rows: Vec<usize>,
    /// Samples that were drawn, before one part of them was taken.
    drawn: usize,
    labels: Option<Vec<i64>>,
    annotated: Option<Annotated>,
    target: Option<Target>,
    fixed_batch: Option<usize>,
    /// By input: true without a batch axis.
    whole: Vec<bool>,
    /// Names of the inputs.
    names: Vec<String>,
}

impl Dataset {
    /// Opens a data set and checks it against the request.
    ///
    /// The formats, told by content:
    /// - `.npz`: arrays named like the inputs; for a model of one input also
    ///   `images`, or the only array that is neither `labels` nor `target`.
    ///   `labels` is `[n]` of any integer type, or `[n, h, w]`, a class for every pixel; `target` is `[n, ...]` of floats or u8 and
    ///   stands for the first output; it is never preprocessed.
    ///   The first axis counts the samples.
    /// - `.npy`: the array of the one input.
    /// - a directory of pictures, with all folders below it: JPEG, PNG, BMP, GIF
    ///   and WebP (the first frame), TIFF (the first page), PBM, PGM, PPM and PAM.
    ///   They are turned upright as EXIF says; transparency is laid over white;
    ///   more than 8 bits are kept, as fractions of 0 to 255. A model of one
    ///   channel gets luma (ITU-R 601). Pictures come in name order, those of a
    ///   folder before those of its sub-folders. With labels, each sub-folder is
    ///   a class, whose label is its position in the classes file, or without
    ///   one its sorted position. Files of other kinds and hidden files are
    ///   passed over ([`Dataset::skipped`]); a damaged picture is an error.
    /// - an ONNX `test_data_set_*` directory, or a directory that holds
    ///   several: `input_N.pb` in the order of the inputs, `output_N.pb` as
    ///   the targets in the order of the outputs. These tensors are never preprocessed.
    ///
    /// Labels may lie apart from arrays and pictures: [`Request::annotations`].
    ///
    /// Every array header and every selected picture's header is read here,
    /// so that a wrong shape, dtype, count or label is found before the work
    /// starts. Damage inside the data of a picture shows when it is read.
    ///
    /// # Errors
    /// Every variant of [`DataError`] but [`DataError::Rows`]; each names the
    /// file, the expected value and the one that was found.
    pub fn open(path: &Path, request: &Request) -> Result<Self, DataError> {
        let fixed_batch = request.validate()?;
        let is_dir = std::fs::metadata(path)
            .map_err(DataError::io(path, "open"))?
            .is_dir();
        let Opened {
            source,
            labels: found,
            masks,
            target,
        } = match is_dir {
            true => directory(path, request)?,
            false => file(path, request)?.into(),
        };
        let class_count = match (request.class_count, &request.classes) {
            (None, Some(classes)) if found.is_some() => Some(labels::read_classes(classes)?.len()),
            (count, _) => count,
        };
        if let Some(labels) = &found {
            labels::check_range(path, labels, class_count)?;
        }
        let (rows, drawn) = selected(source.rows(), request);
        let annotated = match apart(&source, request, &rows)? {
            None => masks,
            apart => apart,
        };
        let whole = source.whole(&request.inputs);
        let names = names_of(&request.inputs);
        let fixed_batch = source.fixed_batch(path, fixed_batch, &whole)?;
        let is_labelled = found.is_some() || annotated.is_some() || target.is_some();
        if request.labels == Labels::Required && !is_labelled {
            return Err(DataError::Unlabelled {
                path: path.to_path_buf(),
            });
        }
        Ok(Self {
            path: path.to_path_buf(),
            samples: source.samples(&rows)?,
            source,
            annotated,
            labels: found.map(|all| rows.iter().map(|&r| all[r]).collect()),
            rows,
            drawn,
            target,
            fixed_batch,
            whole,
            names,
        })
    }

    /// A data set of arrays at hand, one per input with the samples first; no preprocessing.
    ///
    /// # Errors
    /// Those of [`Dataset::open`]; messages call the file `(memory)`.
    pub fn from_arrays(inputs: &[InputSpec], arrays: Vec<Tensor>) -> Result<Self, DataError> {
        Self::in_memory(&Request::new(inputs.to_vec()), &arrays)
    }

    /// A data set of arrays at hand, one per input with the samples first, read where they lie.
    /// There are no labels.
    ///
    /// # Errors
    /// Those of [`Dataset::open`]; messages call the file `(memory)`.
    pub fn in_memory(request: &Request, arrays: &[Tensor]) -> Result<Self, DataError> {
        let fixed_batch = request.validate()?;
        let path = PathBuf::from("(memory)");
        let inputs = &request.inputs;
        if inputs.len() != arrays.len() {
            return Err(DataError::mismatch(
                &path,
                "arrays",
                format!("{}, one per input", inputs.len()),
                arrays.len(),
            ));
        }
        let mut feeds: Vec<Feed> = Vec::new();
        for (spec, array) in inputs.iter().zip(arrays) {
            let table = Table::from_array(&path, "array".into(), array.clone())?;
            feeds.push(Feed::of_array(&path, spec, &request.preprocess, table)?);
        }
        let rows = samples_of(&feeds).map_err(|(odd, [rows, own])| {
            let what = format!("array for input '{}'", inputs[odd].name);
            let expected = format!("{rows} samples, as for the first input");
            DataError::mismatch(&path, what, expected, own)
        })?;
        let source = Source::Arrays(feeds);
        let whole = source.whole(inputs);
        let names = names_of(inputs);
        let fixed_batch = source.fixed_batch(&path, fixed_batch, &whole)?;
        if request.labels == Labels::Required {
            return Err(DataError::Unlabelled { path });
        }
        let (rows, drawn) = selected(rows, request);
        Ok(Self {
            path,
            samples: source.samples(&rows)?,
            source,
            rows,
            drawn,
            labels: None,
            annotated: None,
            target: None,
            fixed_batch,
            whole,
            names,
        })
    }

    /// Of so many of its samples at most, evenly spread; at least one.
    #[must_use]
    pub fn spread(mut self, most: usize) -> Self {
        let (n, most) = (self.len(), most.max(1));
        if n > most {
            let places: Vec<usize> = (0..most).map(|i| i * n / most).collect();
            self.rows = places.iter().map(|p| self.rows[*p]).collect();
            self.labels = self
                .labels
                .map(|labels| places.iter().map(|p| labels[*p]).collect());
        }
        self
    }

    /// The number of samples selected; at least 1.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Never true: an empty data set is refused when it is opened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The file or directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The selected samples as positions in the whole data set, ascending.
    #[must_use]
    pub fn selected(&self) -> &[usize] {
        &self.rows
    }

    /// True where samples that were drawn are left out, because they are in the other part.
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.rows.len() < self.drawn
    }

    /// The labels of the selected samples, each an output index.
    #[must_use]
    pub fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }

    /// True where batches carry boxes or masks.
    #[must_use]
    pub fn has_annotations(&self) -> bool {
        self.annotated.is_some()
    }

    /// The categories of boxes, by rising number; empty where there are no boxes.
    #[must_use]
    pub fn categories(&self) -> &[Category] {
        self.annotated.as_ref().map_or(&[], Annotated::categories)
    }

    /// True where batches carry targets.
    #[must_use]
    pub fn has_target(&self) -> bool {
        self.target.is_some()
    }

    /// The element type of the targets, if the data set has any: of an array `target`, as it is
    /// stored; f32 for a test set, whose targets are floats.
    #[must_use]
    pub fn target_dtype(&self) -> Option<DType> {
        self.target.as_ref().map(|target| match target {
            Target::Table(table) => table.dtype,
            Target::Sets => DType::F32,
        })
    }

    /// The shape of a sample per input, without the batch axis; the free axes of the model filled in.
    #[must_use]
    pub fn sample_shapes(&self) -> &[Vec<usize>] {
        &self.samples
    }

    /// By input: true where it has no batch axis, so that a sample is a value of the whole input.
    #[must_use]
    pub fn whole(&self) -> &[bool] {
        &self.whole
    }

    /// Entries of a directory of pictures that are none; empty for other data.
    #[must_use]
    pub fn skipped(&self) -> Skipped {
        match &self.source {
            Source::Pictures(folder) => folder.skipped.clone(),
            Source::Arrays(_) | Source::Sets(_) => Skipped::default(),
        }
    }

    /// The batch size that the model's inputs fix, if any.
    #[must_use]
    pub fn fixed_batch(&self) -> Option<usize> {
        self.fixed_batch
    }

    /// The samples at the positions `range` of the selection, as one batch.
    ///
    /// # Errors
    /// [`DataError::Rows`] for a range that is empty, past the end, or longer
    /// than a fixed batch; [`DataError::Mismatch`] for a value that is NaN, of which statistics, fits and figures
    /// would be as well; the errors of reading and decoding.
    pub fn batch(&self, range: Range<usize>) -> Result<Batch, DataError> {
        let refuse = |expected: String| DataError::Rows {
            start: range.start,
            end: range.end,
            expected,
        };
        if range.start >= range.end || range.end > self.len() {
            return Err(refuse(format!("a range within 0..{}", self.len())));
        }
        if let Some(fixed) = self.fixed_batch
            && range.len() > fixed
        {
            return Err(refuse(format!("at most {fixed} rows, the model's batch")));
        }
        let rows = &self.rows[range.clone()];
        let mut inputs = self.source.read(rows, &self.samples)?;
        self.check_numbers(rows, &inputs)?;
        if let Some(fixed) = self.fixed_batch {
            let padded = inputs.into_iter().zip(&self.whole);
            let padded = padded.map(|(input, whole)| match whole {
                true => Ok(input),
                false => pad_rows(input, fixed),
            });
            inputs = padded.collect::<Result<_, _>>()?;
        }
        Ok(Batch {
            inputs,
            labels: self.labels.as_ref().map(|l| l[range.clone()].to_vec()),
            annotations: self.annotated.as_ref().map(|a| a.read(rows)).transpose()?,
            targets: self.read_targets(rows)?,
            start: range.start,
            valid: range.len(),
        })
    }

    /// Refuses a value that is NaN among the inputs of these rows.
    fn check_numbers(&self, rows: &[usize], inputs: &[Tensor]) -> Result<(), DataError> {
        let own = inputs.iter().zip(&self.whole).zip(&self.names);
        for ((input, whole), name) in own {
            let Some(place) = no_number(input) else {
                continue;
            };
            let row = match whole {
                true => 0,
                false => place * rows.len() / input.len().max(1),
            };
            let sample = rows.get(row).copied().unwrap_or_default();
            let what = format!("sample {sample} of input '{name}'");
            return Err(DataError::mismatch(&self.path, what, "numbers", "NaN"));
        }
        Ok(())
    }

    fn read_targets(&self, rows: &[usize]) -> Result<Vec<Tensor>, DataError> {
        match (&self.target, &self.source) {
            (Some(Target::Table(table)), _) => Ok(vec![table.read(rows)?]),
            (Some(Target::Sets), Source::Sets(sets)) => sets.read_targets(rows),
            (Some(Target::Sets) | None, _) => Ok(Vec::new()),
        }
    }
}

fn names_of(inputs: &[InputSpec]) -> Vec<String> {
    inputs.iter().map(|spec| spec.name.clone()).collect()
}

/// The place of the first value that is NaN.
fn no_number(tensor: &Tensor) -> Option<usize> {
    if !tensor.dtype().is_float() {
        return None;
    }
    let values = tensor.to_f32()?;
    values.iter().position(|value| value.is_nan())
}

impl Source {
    fn rows(&self) -> usize {
        match self {
            Source::Arrays(feeds) => samples_of(feeds).unwrap_or(0),
            Source::Pictures(folder) => folder.rows(),
            Source::Sets(sets) => sets.rows(),
        }
    }

    /// By input: true where it has no batch axis.
    fn whole(&self, inputs: &[InputSpec]) -> Vec<bool> {
        match self {
            Source::Arrays(feeds) => feeds.iter().map(Feed::is_whole).collect(),
            Source::Pictures(_) | Source::Sets(_) => inputs.iter().map(|spec| spec.whole).collect(),
        }
    }

    /// The batch that the inputs fix: none where all are without a batch axis.
    fn fixed_batch(
        &self,
        path: &Path,
        fixed: Option<usize>,
        whole: &[bool],
    ) -> Result<Option<usize>, DataError> {
        let fixed = fixed.filter(|_| whole.contains(&false));
        if let Source::Arrays(feeds) = self {
            one_for_a_batch(path, feeds, fixed)?;
        }
        Ok(fixed)
    }

    /// The sample shape per input, given the rows that will be read.
    fn samples(&self, rows: &[usize]) -> Result<Vec<Vec<usize>>, DataError> {
        Ok(match self {
            Source::Arrays(feeds) => feeds.iter().map(|f| f.sample.clone()).collect(),
            Source::Pictures(folder) => vec![folder.probe(rows)?],
            Source::Sets(sets) => sets.samples.clone(),
        })
    }

    fn read(&self, rows: &[usize], samples: &[Vec<usize>]) -> Result<Vec<Tensor>, DataError> {
        match self {
            Source::Arrays(feeds) => feeds.iter().map(|f| f.read(rows)).collect(),
            Source::Pictures(folder) => Ok(vec![folder.read(rows, &samples[0])?]),
            Source::Sets(sets) => sets.read(rows),
        }
    }
}

/// Refuses a value per sample of an input without a batch axis, where samples come in batches.
fn one_for_a_batch(path: &Path, feeds: &[Feed], batch: Option<usize>) -> Result<(), DataError> {
    let odd = feeds
        .iter()
        .find(|feed| feed.is_whole() && feed.rows().is_some());
    match (odd, batch) {
        (Some(odd), Some(batch)) if batch > 1 => {
            let expected = format!("one value for all samples, as the model's batch is {batch}");
            Err(DataError::mismatch(
                path,
                odd.what(),
                expected,
                "one per sample",
            ))
        }
        _ => Ok(()),
    }
}

/// The rows of a source that a request asks for, rising, and the number that were drawn.
fn selected(rows: usize, request: &Request) -> (Vec<usize>, usize) {
    let drawn = draw(rows, request.max_samples, request.seed);
    let count = drawn.len();
    let within = request.within.of(drawn, request.seed);
    (request.part.of(within, request.seed), count)
}

/// What a path holds.
struct Opened {
    source: Source,
    labels: Option<Vec<i64>>,
    masks: Option<Annotated>,
    target: Option<Target>,
}

impl From<Found> for Opened {
    fn from(found: Found) -> Self {
        Self {
            source: Source::Arrays(found.feeds),
            labels: found.labels,
            masks: found.masks,
            target: found.target.map(Target::Table),
        }
    }
}

/// The labels that lie apart from the samples `rows`, where they are asked for.
fn apart(
    source: &Source,
    request: &Request,
    rows: &[usize],
) -> Result<Option<Annotated>, DataError> {
    let path = match &request.annotations {
        Some(path) if request.labels != Labels::Ignore => path,
        _ => return Ok(None),
    };
    let is_dir = std::fs::metadata(path)
        .map_err(DataError::io(path, "open"))?
        .is_dir();
    let coco = || {
        let classes = request.classes.as_deref().map(labels::read_classes);
        Coco::read(path, classes.transpose()?.as_deref())
    };
    let annotated = match (source, is_dir) {
        (Source::Arrays(feeds), false) => Annotated::of_arrays(path, coco()?, feeds)?,
        (Source::Pictures(folder), false) => Annotated::of_pictures(path, coco()?, folder, rows)?,
        (Source::Pictures(folder), true) => Annotated::Files(MaskFiles::list(path, folder, rows)?),
        (Source::Arrays(_), true) => {
            let expected = "an array 'labels' beside the pictures, or a folder of these";
            return Err(DataError::mismatch(path, "masks", expected, "arrays"));
        }
        (Source::Sets(_), _) => {
            let expected = "pictures or arrays that they are of";
            return Err(DataError::mismatch(
                path,
                "labels",
                expected,
                "an ONNX test set",
            ));
        }
    };
    Ok(Some(annotated))
}

fn directory(path: &Path, request: &Request) -> Result<Opened, DataError> {
    let sets = testsets::find(path)?;
    if sets.is_empty() {
        let mut folder = Folder::list(path, request)?;
        return Ok(Opened {
            labels: folder.labels.take(),
            source: Source::Pictures(Box::new(folder)),
            masks: None,
            target: None,
        });
    }
    let sets = TestSets::open(sets, request)?;
    let target = (sets.targets > 0).then_some(Target::Sets);
    Ok(Opened {
        source: Source::Sets(sets),
        labels: None,
        masks: None,
        target,
    })
}

fn file(path: &Path, request: &Request) -> Result<Found, DataError> {
    let mut start = Vec::new();
    File::open(path)
        .map_err(DataError::io(path, "open"))?
        .take(6)
        .read_to_end(&mut start)
        .map_err(DataError::io(path, "read"))?;
    if start.starts_with(b"PK") {
        archive::open_npz(path, request)
    } else if start.starts_with(npy::MAGIC) {
        archive::open_npy(path, request)
    } else {
        Err(DataError::malformed(
            path,
            "an npz or npy file, a directory of pictures or an ONNX test_data_set directory",
            "a file of other content",
        ))
    }
}
