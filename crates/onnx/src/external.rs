//! Tensor data in files beside the model (ONNX external data).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use prost::Message;

use crate::mapping::{Mapping, map};
use crate::proto::StringStringEntryProto;

/// `external_data` of a `TensorProto`: keys `location`, `offset`, `length`.
#[derive(Debug, Default, Clone)]
pub(crate) struct Location {
    pub file: String,
    pub offset: u64,
    pub length: Option<u64>,
}

impl Location {
    /// Reads one entry. True where it is one of the three.
    pub fn read(&mut self, entry: &Bytes) -> Result<bool, String> {
        let entry = StringStringEntryProto::decode(entry.clone()).map_err(|e| e.to_string())?;
        let number = || {
            let text = entry.value();
            text.trim()
                .parse::<u64>()
                .map_err(|_| format!("external data {} '{text}'", entry.key()))
        };
        match entry.key() {
            "location" => self.file = plain(entry.value()),
            "offset" => self.offset = number()?,
            "length" => self.length = Some(number()?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A location without `.` components: one name for one file.
fn plain(location: &str) -> String {
    let path = Path::new(location);
    let dots = path.components().any(|c| c == Component::CurDir);
    if !dots {
        return location.to_owned();
    }
    let parts: PathBuf = path
        .components()
        .filter(|c| *c != Component::CurDir)
        .collect();
    parts.to_string_lossy().into_owned()
}

/// The data files of a model, mapped on first use.
#[derive(Debug, Default)]
pub(crate) struct DataFiles {
    folder: Option<PathBuf>,
    /// The folder of the file that the model's path leads to, where that is a link.
    real: Option<PathBuf>,
    mapped: Mutex<BTreeMap<String, Mapping>>,
    noted: AtomicBool,
}

impl DataFiles {
    /// For a model that came as bytes: external data can't be found.
    pub fn none() -> Self {
        Self::default()
    }

    /// For the model at `path`: the files of its folder, less those that are at hand.
    pub fn beside(path: &Path, known: impl IntoIterator<Item = (String, Mapping)>) -> Self {
        let real = path.canonicalize().ok();
        Self {
            folder: Some(folder_of(path).to_owned()),
            real: real.and_then(|p| Some(p.parent()?.to_owned())),
            mapped: Mutex::new(known.into_iter().collect()),
            noted: AtomicBool::new(false),
        }
    }

    /// Notes that a tensor has external data, read or not.
    pub fn note(&self) {
        self.noted.store(true, Ordering::Relaxed);
    }

    /// True where any tensor has external data.
    pub fn any(&self) -> bool {
        self.noted.load(Ordering::Relaxed)
    }

    /// Maps a file that no tensor was read from, where it can be.
    pub fn take(&self, name: &str) {
        if let Some(folder) = &self.folder {
            let _ = self.file(folder, name);
        }
    }

    /// The data at a location; `None` where there is no folder to look in.
    pub fn slice(&self, at: &Location, expected: usize) -> Result<Option<Bytes>, String> {
        let Some(folder) = &self.folder else {
            return Ok(None);
        };
        let data = self.file(folder, &at.file)?;
        let start = usize::try_from(at.offset).unwrap_or(usize::MAX);
        let length = at
            .length
            .map_or(Some(expected), |l| usize::try_from(l).ok());
        let end = length.and_then(|l| start.checked_add(l));
        match end {
            Some(end) if end <= data.len() => Ok(Some(data.slice(start..end))),
            _ => Err(format!(
                "its data ends past the end of '{}' ({} bytes)",
                at.file,
                data.len()
            )),
        }
    }

    fn file(&self, folder: &Path, name: &str) -> Result<Bytes, String> {
        let path = Path::new(name);
        let plain = path
            .components()
            .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if name.is_empty() || !plain {
            return Err(format!("external data '{name}' leaves the model's folder"));
        }
        let mut mapped = self.mapped.lock().map_err(|e| e.to_string())?;
        if let Some(data) = mapped.get(name) {
            return Ok(data.bytes());
        }
        let path = folder.join(path);
        if !self.holds(folder, &path) {
            return Err(format!(
                "external data '{name}' leaves the model's folder by a symbolic link"
            ));
        }
        let data = map(&path).map_err(|e| e.to_string())?;
        let bytes = data.bytes();
        mapped.insert(name.to_owned(), data);
        Ok(bytes)
    }

    /// True where `path` leads into the model's folder, or into that of the file that the model
    /// itself is a link to, and for a path without a file.
    fn holds(&self, folder: &Path, path: &Path) -> bool {
        let Ok(path) = path.canonicalize() else {
            return true;
        };
        let folder = folder.canonicalize().ok();
        let folders = [folder.as_ref(), self.real.as_ref()];
        folders.into_iter().flatten().any(|f| path.starts_with(f))
    }

    /// Names of the files that tensors were read from, mapped.
    pub fn used(self) -> Vec<(String, Mapping)> {
        self.mapped
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .into_iter()
            .collect()
    }
}

/// The folder that a file is in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}
