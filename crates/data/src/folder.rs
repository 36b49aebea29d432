//! A directory of pictures: all below it, or one sub-folder a class.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sepconv_ir::{DType, Tensor};

use crate::dense::dense;
use crate::error::DataError;
use crate::geometry::Geometry;
use crate::labels;
use crate::layout::Layout;
use crate::listing::{Entries, Pictures, Skipped, name};
use crate::names::below;
use crate::picture;
use crate::planes;
use crate::preprocess::Preprocess;
use crate::request::{InputSpec, Labels, Request};

/// A directory of pictures.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    files: Vec<PathBuf>,
    /// Entries beside them that are no pictures.
    pub skipped: Skipped,
    /// One label per file where there are sub-folders.
    pub labels: Option<Vec<i64>>,
    spec: InputSpec,
    recipe: Preprocess,
    layout: Layout,
    channels: usize,
}

impl Folder {
    /// Lists the pictures; none is opened yet.
    pub(crate) fn list(path: &Path, request: &Request) -> Result<Self, DataError> {
        let [spec] = &request.inputs[..] else {
            return Err(DataError::mismatch(
                path,
                "a directory of pictures",
                "a model of one input",
                format!("{} inputs", request.inputs.len()),
            ));
        };
        let layout = spec.layout_or(request.preprocess.layout);
        let channels = match spec.dims.get(layout.channel_axis()) {
            Some(channels) if spec.is_picture() => channels.unwrap_or(3),
            _ => 0,
        };
        if !matches!(channels, 1 | 3) || spec.dtype == DType::Bool {
            return Err(DataError::input(
                &spec.name,
                "numbers of shape [n,3,h,w], [n,1,h,w], [n,h,w,3] or [n,h,w,1] to take pictures",
                format!("{} {}", spec.dtype, spec.shape_text()),
            ));
        }
        request.preprocess.check_channels(&spec.name, channels)?;
        let mut found = Self {
            path: path.to_path_buf(),
            files: Vec::new(),
            skipped: Skipped::default(),
            labels: None,
            spec: spec.clone(),
            recipe: request.preprocess.clone(),
            layout,
            channels,
        };
        let entries = Entries::of(path)?;
        let unclassed = request.labels == Labels::Ignore || request.annotations.is_some();
        let pictures = match entries.folders.is_empty() || unclassed {
            true => Pictures::below(path)?,
            false => found.list_classes(path, &entries, request)?,
        };
        if pictures.files.is_empty() {
            let others = match pictures.skipped.count {
                0 => String::new(),
                n => format!(", {n} of other kinds: {}", pictures.skipped.names()),
            };
            return Err(DataError::empty(
                path,
                format!("a directory without pictures{others}"),
            ));
        }
        found.files = pictures.files;
        found.skipped = pictures.skipped;
        Ok(found)
    }

    /// The pictures of all classes, one a sub-folder; pictures below that are of its class. A folder
    /// of other files alone is no class.
    fn list_classes(
        &mut self,
        path: &Path,
        entries: &Entries,
        request: &Request,
    ) -> Result<Pictures, DataError> {
        let mut all = Pictures::among(entries);
        if let (Some(file), Some(folder)) = (all.files.first(), entries.folders.first()) {
            return Err(DataError::malformed(
                path,
                "either pictures or one sub-folder a class",
                format!("both file '{}' and folder '{}'", name(file), name(folder)),
            ));
        }
        let index: Option<HashMap<String, usize>> = match &request.classes {
            Some(classes) => {
                let names = labels::read_classes(classes)?;
                Some(names.into_iter().enumerate().map(|(i, n)| (n, i)).collect())
            }
            None => None,
        };
        let mut classes = Vec::new();
        for folder in &entries.folders {
            let found = Pictures::below(folder)?;
            if found.files.is_empty() && found.skipped.count > 0 {
                all.append(found);
            } else {
                classes.push((folder, found));
            }
        }
        if let (None, Some(count)) = (&index, request.class_count)
            && ![0, count].contains(&classes.len())
        {
            return Err(DataError::mismatch(
                path,
                "class folders without a classes file",
                format!("{count}, the model's number of classes"),
                classes.len(),
            ));
        }
        let mut labels = Vec::new();
        for (position, (folder, found)) in classes.into_iter().enumerate() {
            let label = match &index {
                None => position,
                Some(index) => *index.get(&name(folder)).ok_or_else(|| {
                    DataError::mismatch(
                        folder,
                        "class folder",
                        "a name listed in the classes file",
                        format!("'{}'", name(folder)),
                    )
                })?,
            };
            labels.extend(std::iter::repeat_n(label as i64, found.files.len()));
            all.append(found);
        }
        self.labels = Some(labels);
        Ok(all)
    }

    /// The number of pictures.
    pub(crate) fn rows(&self) -> usize {
        self.files.len()
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file of a picture.
    pub(crate) fn file(&self, row: usize) -> &Path {
        &self.files[row]
    }

    /// The path of a picture below the folder, with `/`.
    pub(crate) fn relative(&self, row: usize) -> String {
        below(&self.path, self.file(row))
    }

    /// The way of the pixels of a picture, whose header is read.
    pub(crate) fn geometry(&self, row: usize) -> Result<Geometry, DataError> {
        let file = self.file(row);
        let (height, width) = picture::size(file)?;
        Geometry::of(&self.recipe, &file.display().to_string(), height, width)
    }

    /// Reads the headers of the given pictures and gives the sample shape they share.
    pub(crate) fn probe(&self, rows: &[usize]) -> Result<Vec<usize>, DataError> {
        let sizes: Vec<Result<(usize, usize), DataError>> = rows
            .par_iter()
            .map(|&row| self.probe_one(&self.files[row]))
            .collect();
        let mut shared = None;
        for (size, &row) in sizes.into_iter().zip(rows) {
            let size = size?;
            let first = *shared.get_or_insert(size);
            if size != first {
                return Err(DataError::mismatch(
                    &self.files[row],
                    "picture size",
                    format!(
                        "{}x{} like the pictures before (or a resize or crop)",
                        first.1, first.0
                    ),
                    format!("{}x{}", size.1, size.0),
                ));
            }
        }
        let (height, width) = shared.unwrap_or((0, 0));
        Ok(self.layout.sample([self.channels, height, width]))
    }

    fn probe_one(&self, file: &Path) -> Result<(usize, usize), DataError> {
        let (height, width) = picture::size(file)?;
        let what = file.display().to_string();
        let (h, w) = planes::output_size(&self.recipe, &what, height, width)?;
        if self.spec.takes(&self.layout.sample([self.channels, h, w])) {
            return Ok((h, w));
        }
        let rows = match self.layout {
            Layout::Nchw => 2,
            Layout::Nhwc => 1,
        };
        let fixed = |axis: usize| {
            let dim = self.spec.dims.get(axis).copied().flatten();
            dim.map_or("?".to_string(), |d| d.to_string())
        };
        let (after, way) = if self.recipe.changes_geometry() {
            (" after resize and crop", "")
        } else {
            ("", " (or a resize or crop)")
        };
        Err(DataError::mismatch(
            file,
            format!("picture size (width x height){after}"),
            format!(
                "{}x{} for input '{}'{way}",
                fixed(rows + 1),
                fixed(rows),
                self.spec.name
            ),
            format!("{w}x{h}"),
        ))
    }

    /// Decodes the given pictures: [rows.len(), sample...], as the model takes them.
    pub(crate) fn read(&self, rows: &[usize], sample: &[usize]) -> Result<Tensor, DataError> {
        let decoded: Vec<Result<Vec<u8>, DataError>> = rows
            .par_iter()
            .map(|&row| {
                let file = &self.files[row];
                let (planes, whole) = picture::decode(file, self.channels)?;
                let done = planes::apply(&self.recipe, &file.display().to_string(), planes, whole)?;
                let shape = self.layout.sample([done.channels, done.height, done.width]);
                if shape != sample {
                    return Err(DataError::mismatch(
                        file,
                        "picture size",
                        format!("{sample:?}, as when the data set was opened"),
                        format!("{shape:?}"),
                    ));
                }
                Ok(done.bytes(self.spec.dtype, self.layout))
            })
            .collect();
        let mut bytes = Vec::new();
        for part in decoded {
            bytes.extend_from_slice(&part?);
        }
        let mut shape = vec![rows.len()];
        shape.extend_from_slice(sample);
        dense(self.spec.dtype, shape, bytes)
    }
}
