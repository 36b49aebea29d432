//! Errors of runtimes.

/// Why a runtime could not load or run a model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The runtime does not support the model.
    #[error("{target} can't load it: {reason}")]
    Load {
        /// Name of the target.
        target: &'static str,
        /// What the runtime said, on one line.
        reason: String,
    },
    /// The runtime failed on given inputs.
    #[error("{target} can't run it: {reason}")]
    Run {
        /// Name of the target.
        target: &'static str,
        /// What the runtime said, on one line.
        reason: String,
    },
}
