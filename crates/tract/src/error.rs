//! Errors of the transform.

use sepconv_passes::PassError;

/// The reason why a model was not transformed. It is then as it was.
#[derive(Debug, thiserror::Error)]
pub enum TransformError {
    /// A setting is out of range, the plan is for another model, or a kernel can't be factored.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// tract refused an edit: a fault of this crate, or a model that was inconsistent before.
    #[error("node '{node}': {reason}")]
    Tract {
        /// Name of the node; empty for the model as a whole.
        node: String,
        /// The message of tract, on one line.
        reason: String,
    },
}

impl TransformError {
    /// Makes errors of tract those of a node.
    pub(crate) fn at(node: &str) -> impl Fn(tract_core::prelude::TractError) -> Self + use<> {
        let node = node.to_owned();
        move |e| Self::Tract {
            node: node.clone(),
            reason: format!("{e:#}").replace('\n', " "),
        }
    }
}
