//! Errors of runtimes.

use std::path::PathBuf;

/// Failure of a runtime to load or run a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// There is no target of that name.
    #[error("no target '{name}' (there are {known})")]
    Unknown {
        /// The name asked for.
        name: String,
        /// Names of all targets, separated by commas.
        known: String,
    },
    /// The runtime's shared library is not there or does not fit.
    #[error("{target} is not available: {reason}")]
    Unavailable {
        /// Name of the target.
        target: &'static str,
        /// The missing part and where to put it, on one line.
        reason: String,
    },
    /// The library was named after another one had been loaded.
    #[error("{target} has already been loaded; {} comes too late", path.display())]
    TooLate {
        /// Name of the target.
        target: &'static str,
        /// The library named.
        path: PathBuf,
    },
    /// The runtime does not support the model.
    #[error("{target} can't load it: {reason}")]
    Load {
        /// Name of the target.
        target: &'static str,
        /// Message of the runtime, on one line.
        reason: String,
    },
    /// The runtime failed on given inputs.
    #[error("{target} can't run it: {reason}")]
    Run {
        /// Name of the target.
        target: &'static str,
        /// Message of the runtime, on one line.
        reason: String,
    },
}
