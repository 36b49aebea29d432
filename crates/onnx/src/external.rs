//! Tensor data in files beside the model (ONNX external data).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use prost::Message;

use crate::file::{Mapping, map};
use crate::proto::StringStringEntryProto;

/// `external_data` of a `TensorProto`: keys `location`, `offset`, `length`.
#[derive(Debug, Default, Clone)]
pub(crate) struct Location {
    pub file: String,
    pub offset: u64,
    pub length: Option<u64>,
}

impl Location {
    /// Reads one entry.
    pub fn read(&mut self, entry: &Bytes) -> Result<(), String> {
        let entry = StringStringEntryProto::decode(entry.clone()).map_err(|e| e.to_string())?;
        let number = || {
            let text = entry.value();
            text.trim()
                .parse::<u64>()
                .map_err(|_| format!("external data {} '{text}'", entry.key()))
        };
        match entry.key() {
            "location" => self.file = entry.value().to_owned(),
            "offset" => self.offset = number()?,
            "length" => self.length = Some(number()?),
            _ => {}
        }
        Ok(())
    }
}

/// The data files of a model, mapped on first use.
#[derive(Debug, Default)]
pub(crate) struct DataFiles {
    folder: Option<PathBuf>,
    mapped: Mutex<BTreeMap<String, Mapping>>,
}

impl DataFiles {
    /// For a model that came as bytes: external data can't be found.
    pub fn none() -> Self {
        Self::default()
    }

    /// For a model in `folder`.
    pub fn beside(folder: PathBuf) -> Self {
        Self {
            folder: Some(folder),
            mapped: Mutex::default(),
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
        let data = map(&folder.join(path)).map_err(|e| e.to_string())?;
        let bytes = data.bytes();
        mapped.insert(name.to_owned(), data);
        Ok(bytes)
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
