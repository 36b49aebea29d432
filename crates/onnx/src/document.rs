//! An ONNX file: the model and the envelope around it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sepconv_ir::Model;

use crate::body::{Body, bodies};
use crate::envelope::Envelope;
use crate::error::{Malformed, OnnxError};
use crate::export::export;
use crate::external::DataFiles;
use crate::import::import;
use crate::mapping::{Mapping, map};
use crate::references::{Reference, references};
use crate::rope::Rope;

/// An ONNX file in memory: a model that passes edit, and every encoded record around it.
#[derive(Debug, Clone)]
pub struct Document {
    /// The model. Passes edit its graph through patches.
    pub model: Model,
    pub(crate) envelope: Envelope,
    pub(crate) bodies: Vec<Body>,
    origin: Origin,
}

#[derive(Debug, Clone)]
struct Origin {
    path: Option<PathBuf>,
    size: usize,
    /// The file, mapped.
    map: Option<Mapping>,
    /// External data files that tensors were read from: location and contents.
    data: Vec<(String, Mapping)>,
    /// The ranges of them that the file refers to.
    references: Arc<BTreeSet<Reference>>,
}

impl Document {
    /// Reads a model file by mapping it. External data is mapped from the same folder, out of
    /// which neither a path nor a symbolic link may lead.
    ///
    /// # Errors
    /// [`OnnxError`] naming the file, and the node or initializer where there is one.
    pub fn open(path: &Path) -> Result<Self, OnnxError> {
        Self::open_with(path, Vec::new())
    }

    /// As [`Document::open`], with some external data files that are not where the model says.
    pub(crate) fn open_with(path: &Path, data: Vec<(String, Mapping)>) -> Result<Self, OnnxError> {
        let map = map(path)?;
        let files = DataFiles::beside(path, data);
        let mut document = Self::read(map.bytes(), files, Some(path))?;
        document.origin.map = Some(map);
        Ok(document)
    }

    /// Reads a model from memory. Tensors with external data stay opaque.
    ///
    /// # Errors
    /// As [`Document::open`].
    pub fn from_bytes(data: Bytes) -> Result<Self, OnnxError> {
        Self::read(data, DataFiles::none(), None)
    }

    fn read(data: Bytes, files: DataFiles, path: Option<&Path>) -> Result<Self, OnnxError> {
        let size = data.len();
        let (model, envelope) = import(&data, &files).map_err(|reason| malformed(path, reason))?;
        let bodies = bodies(&model, &envelope.model, &files);
        let mut referred = BTreeSet::new();
        if files.any() {
            referred = references(&data);
            // Tensors of types that are not read have their data there too.
            referred.iter().for_each(|r| files.take(&r.file));
        }
        let origin = Origin {
            path: path.map(Path::to_owned),
            size,
            map: None,
            data: files.used(),
            references: Arc::new(referred),
        };
        Ok(Self {
            model,
            envelope,
            bodies,
            origin,
        })
    }

    /// The document that `data`, made from this one, holds; it counts as read from the same file.
    pub(crate) fn reread(&self, data: Bytes) -> Result<Self, OnnxError> {
        let known = || self.origin.data.iter().cloned();
        let files = self.path().map(|path| DataFiles::beside(path, known()));
        let mut document = Self::read(data, files.unwrap_or_default(), self.path())?;
        document.origin.size = self.origin.size;
        document.origin.references = self.origin.references.clone();
        document.origin.map.clone_from(&self.origin.map);
        Ok(document)
    }

    /// External data files that tensors were read from: location and contents.
    pub(crate) fn data(&self) -> &[(String, Mapping)] {
        &self.origin.data
    }

    /// The ranges of external data files that the source refers to.
    pub(crate) fn references(&self) -> &BTreeSet<Reference> {
        &self.origin.references
    }

    pub(crate) fn malformed(&self, reason: Malformed) -> OnnxError {
        malformed(self.path(), reason)
    }

    /// The file that the document was read from.
    pub fn path(&self) -> Option<&Path> {
        self.origin.path.as_deref()
    }

    /// Size of the file that the document was read from, in bytes, external data included.
    pub fn source_size(&self) -> usize {
        self.origin.size + self.external_size()
    }

    /// Contents of the external data files, in the order of their names.
    pub fn external(&self) -> impl Iterator<Item = &[u8]> {
        self.origin.data.iter().map(|(_, d)| d.as_ref())
    }

    /// Hands out [`Document::external`] in parts, of which only one is in memory at a time.
    pub fn visit_external(&self, f: &mut dyn FnMut(&[u8])) {
        for (_, map) in &self.origin.data {
            let Ok(()) = map.visit::<std::convert::Infallible>(&mut |part| {
                f(part);
                Ok(())
            });
        }
    }

    fn external_size(&self) -> usize {
        let files = self.origin.data.iter();
        files.map(|(_, d)| d.as_ref().len()).sum()
    }

    pub(crate) fn maps(&self) -> impl Iterator<Item = &Mapping> {
        let external = self.origin.data.iter().map(|(_, map)| map);
        self.origin.map.iter().chain(external)
    }

    /// The encoded model. Segments share the buffers of the source file.
    pub fn encode(&self) -> Rope {
        export(&self.model, &self.envelope)
    }
}

fn malformed(path: Option<&Path>, reason: Malformed) -> OnnxError {
    OnnxError::Malformed {
        file: named(path),
        reason,
    }
}

/// The file as errors name it.
pub(crate) fn named(path: Option<&Path>) -> String {
    path.map_or("<bytes>".into(), |p| p.display().to_string())
}
