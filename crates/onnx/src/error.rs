//! Errors of reading and writing ONNX files.

use std::path::{Path, PathBuf};

use sepconv_ir::IrError;

/// Failure to read or write an ONNX file.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// The file could not be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// The path names something that is not a regular file.
    #[error("{}: is {what}, expected an ONNX model", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// Kind of the thing, such as "a directory" or "an empty file".
        what: &'static str,
    },
    /// The output exists already.
    #[error("{}: exists already", path.display())]
    Exists {
        /// The output.
        path: PathBuf,
    },
    /// The bytes are no ONNX model, or a broken one.
    #[error("{file}: {reason}")]
    Malformed {
        /// The file, or `<bytes>`.
        file: String,
        /// The fault, and its place.
        reason: Malformed,
    },
    /// The model is not raised to a later opset.
    #[error("{file}: {reason}")]
    Opset {
        /// The file, or `<bytes>`.
        file: String,
        /// The reason.
        reason: String,
    },
}

impl OnnxError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// Fault in the bytes of a model.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// The encoding itself is broken.
    #[error("not an ONNX model: {0}")]
    NotOnnx(String),
    /// A part of the model can't be decoded.
    #[error("{part}: {reason}")]
    Part {
        /// The part, such as "node 'conv1'" or "initializer 'w'".
        part: String,
        /// Its fault.
        reason: String,
    },
    /// The graph contradicts itself.
    #[error(transparent)]
    Graph(#[from] IrError),
}

impl Malformed {
    pub(crate) fn part(part: impl Into<String>, reason: impl ToString) -> Self {
        Self::Part {
            part: part.into(),
            reason: reason.to_string(),
        }
    }
}

/// The reason why a `TensorProto` could not be read, on one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TensorError(pub(crate) String);
