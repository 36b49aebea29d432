//! Errors of measuring.

use std::path::PathBuf;

use sepconv_factor::FactorError;
use sepconv_onnx::OnnxError;
use sepconv_passes::PassError;
use sepconv_targets::TargetError;

/// The reason why a block has no cost.
#[derive(Debug, thiserror::Error)]
pub enum LatencyError {
    /// The runtime is not there, or can't load or run the block.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// As [`LatencyError::Target`], for a block.
    #[error("{block}: {source}")]
    Block {
        /// The block.
        block: String,
        /// The reason.
        source: TargetError,
    },
    /// There is no family or lowering of that name, or it does not apply.
    #[error("{block}: {reason}")]
    Form {
        /// The block.
        block: String,
        /// The reason.
        reason: String,
    },
    /// The family has no such rank for the kernel.
    #[error("{block}: {source}")]
    Factor {
        /// The block.
        block: String,
        /// The reason.
        source: FactorError,
    },
    /// The block could not be written: a fault of this crate.
    #[error("{block}: {source}")]
    Write {
        /// The block.
        block: String,
        /// The reason.
        source: PassError,
    },
    /// The block has no form in the precision that is timed.
    #[error("{block}: {source}")]
    Precision {
        /// The block.
        block: String,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The block could not be encoded: a fault of this crate.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The cache could not be written.
    #[error("{}: {source}", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// The message of the system.
        source: std::io::Error,
    },
}
