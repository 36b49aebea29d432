//! Errors of the pipeline. Every message is one line that names the file.

use sepconv_data::DataError;
use sepconv_onnx::OnnxError;
use sepconv_passes::{PassError, Reasons};
use sepconv_targets::TargetError;

use crate::advice::Advice;
use crate::unshaped::Unshaped;

/// Failure to compress, compare or evaluate a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A model could not be read or written.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// Data could not be read or does not fit the model.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Planning or rewriting failed.
    #[error("{file}: {source}")]
    Pass {
        /// The model.
        file: String,
        /// The reason.
        source: PassError,
    },
    /// A runtime could not run the model.
    #[error("{file}: {source}")]
    Target {
        /// The model.
        file: String,
        /// The reason.
        source: TargetError,
    },
    /// A layer could not be timed.
    #[error("{file}: {source}")]
    Latency {
        /// The model.
        file: String,
        /// The reason.
        source: Box<sepconv_latency::LatencyError>,
    },
    /// A model could not be tuned.
    #[error("{file}: {source}")]
    Tune {
        /// The rewritten model.
        file: String,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A saved plan can't be read, or is for another model.
    #[error("{file}: {reason}")]
    Plan {
        /// The plan file, or the model that it does not fit.
        file: String,
        /// The reason.
        reason: String,
    },
    /// The shapes asked for don't fit the model.
    #[error("{file}: {reason}")]
    Shapes {
        /// The model.
        file: String,
        /// The shape that does not fit.
        reason: String,
    },
    /// Nothing was written, because nothing would be better.
    #[error("{file}: nothing was written: {reason}")]
    Nothing {
        /// The model.
        file: String,
        /// The reason.
        reason: String,
    },
    /// Nothing was written, because every layer stays.
    #[error("{file}: nothing was written: no convolution qualifies: {reasons}")]
    AllKept {
        /// The model.
        file: String,
        /// The reasons why the layers stay.
        reasons: Reasons,
    },
    /// Nothing was written, because the shapes that costs are counted by are not known.
    #[error("{file}: nothing was written: {unshaped}")]
    UnknownShapes {
        /// The model.
        file: String,
        /// The convolutions without shapes.
        unshaped: Unshaped,
    },
    /// Two models can't be compared.
    #[error("{file}: {reason}")]
    Interface {
        /// The model that differs.
        file: String,
        /// The difference.
        reason: String,
    },
    /// The caller wanted an end, see [`crate::Progress::cancelled`].
    #[error("interrupted; nothing was written")]
    Cancelled,
    /// A setting is out of range.
    #[error("{0}")]
    Setting(String),
    /// An error that there is a way out of.
    #[error("{source}")]
    Advised {
        /// The error.
        source: Box<Error>,
        /// The way out.
        advice: Advice,
    },
}

impl Error {
    /// The error without the advice that comes with it.
    pub fn unadvised(self) -> Self {
        match self {
            Self::Advised { source, .. } => source.unadvised(),
            other => other,
        }
    }

    /// The error with a way out of it.
    #[must_use]
    pub fn advising(self, advice: Advice) -> Self {
        Self::Advised {
            source: Box::new(self),
            advice,
        }
    }
}
