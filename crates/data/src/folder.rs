//! A directory of pictures, flat or with one sub-folder a class.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::array::Array;
use crate::convert;
use crate::dtype::Dtype;
use crate::error::DataError;
use crate::labels;
use crate::picture;
use crate::planes;
use crate::preprocess::Preprocess;
use crate::request::{InputSpec, Labels, Request};

/// A directory of pictures.
#[derive(Debug)]
pub(crate) struct Folder {
    files: Vec<PathBuf>,
    /// One label per file where there are sub-folders.
    pub labels: Option<Vec<i64>>,
    spec: InputSpec,
    recipe: Preprocess,
    channels: usize,
}

/// The visible entries of a directory: files and folders, each sorted by name.
pub(crate) fn entries(path: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), DataError> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(path).map_err(DataError::io(path, "read"))? {
        let entry = entry.map_err(DataError::io(path, "read"))?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let child = entry.path();
        let kind = fs::metadata(&child).map_err(DataError::io(&child, "read"))?;
        if kind.is_dir() {
            folders.push(child);
        } else {
            files.push(child);
        }
    }
    files.sort();
    folders.sort();
    Ok((files, folders))
}

fn name(path: &Path) -> String {
    path.file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default()
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
        let channels = match spec.dims[..] {
            [_, channels, _, _] => channels.unwrap_or(3),
            _ => 0,
        };
        if !matches!(channels, 1 | 3) || spec.dtype == Dtype::Bool {
            return Err(DataError::input(
                &spec.name,
                "numbers of shape [n,3,h,w] or [n,1,h,w] to take pictures",
                format!("{} {}", spec.dtype, spec.shape_text()),
            ));
        }
        request.preprocess.check_channels(&spec.name, channels)?;
        let (files, folders) = entries(path)?;
        if let (Some(file), Some(folder)) = (files.first(), folders.first()) {
            return Err(DataError::malformed(
                path,
                "either pictures or one sub-folder a class",
                format!("both file '{}' and folder '{}'", name(file), name(folder)),
            ));
        }
        let mut found = Self {
            files,
            labels: None,
            spec: spec.clone(),
            recipe: request.preprocess.clone(),
            channels,
        };
        if !folders.is_empty() {
            found.list_classes(path, &folders, request)?;
        }
        if found.files.is_empty() {
            return Err(DataError::empty(path, "a directory without pictures"));
        }
        Ok(found)
    }

    fn list_classes(
        &mut self,
        path: &Path,
        folders: &[PathBuf],
        request: &Request,
    ) -> Result<(), DataError> {
        let wanted = request.labels != Labels::Ignore;
        let index: Option<HashMap<String, usize>> = match &request.classes {
            Some(classes) if wanted => {
                let names = labels::read_classes(classes)?;
                Some(names.into_iter().enumerate().map(|(i, n)| (n, i)).collect())
            }
            _ => None,
        };
        if let (true, None, Some(count)) = (wanted, &index, request.class_count)
            && count != folders.len()
        {
            return Err(DataError::mismatch(
                path,
                "class folders without a classes file",
                format!("{count}, the model's number of classes"),
                folders.len(),
            ));
        }
        let mut labels = Vec::new();
        for (position, folder) in folders.iter().enumerate() {
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
            let (files, deeper) = entries(folder)?;
            if let Some(deeper) = deeper.first() {
                return Err(DataError::malformed(
                    folder,
                    "pictures alone",
                    format!("folder '{}'", name(deeper)),
                ));
            }
            labels.extend(std::iter::repeat_n(label as i64, files.len()));
            self.files.extend(files);
        }
        self.labels = wanted.then_some(labels);
        Ok(())
    }

    /// The number of pictures.
    pub(crate) fn rows(&self) -> usize {
        self.files.len()
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
        Ok(vec![self.channels, height, width])
    }

    fn probe_one(&self, file: &Path) -> Result<(usize, usize), DataError> {
        let (height, width) = picture::size(file)?;
        let what = file.display().to_string();
        let (h, w) = planes::output_size(&self.recipe, &what, height, width)?;
        if self.spec.takes(&[self.channels, h, w]) {
            return Ok((h, w));
        }
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
                fixed(3),
                fixed(2),
                self.spec.name
            ),
            format!("{w}x{h}"),
        ))
    }

    /// Decodes the given pictures: [rows.len(), channels, height, width].
    pub(crate) fn read(&self, rows: &[usize], sample: &[usize]) -> Result<Array, DataError> {
        let decoded: Vec<Result<Vec<u8>, DataError>> = rows
            .par_iter()
            .map(|&row| {
                let file = &self.files[row];
                let planes = picture::decode(file, self.channels)?;
                let done = planes::apply(&self.recipe, &file.display().to_string(), planes, true)?;
                let shape = [done.channels, done.height, done.width];
                if shape != sample {
                    return Err(DataError::mismatch(
                        file,
                        "picture size",
                        format!("{sample:?}, as when the data set was opened"),
                        format!("{shape:?}"),
                    ));
                }
                Ok(convert::from_f32(self.spec.dtype, &done.data))
            })
            .collect();
        let mut bytes = Vec::new();
        for part in decoded {
            bytes.extend_from_slice(&part?);
        }
        let mut shape = vec![rows.len()];
        shape.extend_from_slice(sample);
        Array::new(self.spec.dtype, shape, bytes)
    }
}
