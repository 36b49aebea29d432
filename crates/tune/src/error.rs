//! The errors of this crate.

/// The reason why a model can't be tuned.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// An operator failed on the data.
    #[error("node '{node}' ({op_type}): {reason}")]
    Operator {
        /// The node.
        node: String,
        /// Its operator type.
        op_type: String,
        /// The message of the autodiff library.
        reason: String,
    },
    /// Nothing moves: all that could is upstream of an operator without a gradient.
    #[error("no weight can be moved: {0}")]
    Nothing(String),
    /// There is too little data.
    #[error("{0} samples are too few: at least 2 are needed, one of them held out")]
    Samples(usize),
    /// A value of a sample is of another shape than its target.
    #[error("output '{name}' is {found:?}, its target {expected:?}")]
    Shape {
        /// The value.
        name: String,
        /// Its extents.
        found: Vec<usize>,
        /// Those of the target.
        expected: Vec<usize>,
    },
    /// The loss is not a number.
    #[error("the loss is not finite after {0} epochs: try a smaller learning rate")]
    Diverged(usize),
    /// A saved state does not belong here, or can't be read or written.
    #[error("{path}: {reason}")]
    State {
        /// The file.
        path: String,
        /// The fault.
        reason: String,
    },
    /// The device that networks are to be computed on is not there.
    #[error("device {device}: {reason}")]
    Device {
        /// Its name.
        device: String,
        /// The reason.
        reason: String,
    },
    /// The autodiff library failed.
    #[error("{0}")]
    Library(String),
    /// The caller's examples failed, or it asked for an end.
    #[error("{0}")]
    Caller(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<candle_core::Error> for TuneError {
    fn from(error: candle_core::Error) -> Self {
        Self::Library(one_line(&error))
    }
}

/// The first line of candle's message: a backtrace may follow.
pub(crate) fn one_line(error: &candle_core::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
