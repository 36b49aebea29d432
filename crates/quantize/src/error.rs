//! The errors of this crate.

use sepconv_factor::FactorError;
use sepconv_ir::IrError;
use sepconv_model::{Error, Loaded};
use sepconv_onnx::OnnxError;
use sepconv_passes::PassError;

/// Failure to quantise a model.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The model, its data or its runtime failed.
    #[error(transparent)]
    Model(#[from] Error),
    /// The model's opset has no quantisation per channel.
    #[error(
        "{file}: QuantizeLinear and DequantizeLinear per channel need opset 13, the model has opset {opset}"
    )]
    Opset {
        /// The model.
        file: String,
        /// Its opset.
        opset: i64,
    },
    /// The model is not raised to a later opset.
    #[error(transparent)]
    Raise(#[from] OnnxError),
    /// The model computes in integers already.
    #[error("{file}: the model is quantised already: node '{node}' ({op_type})")]
    Quantized {
        /// The model.
        file: String,
        /// The first such node.
        node: String,
        /// Its operator type.
        op_type: String,
    },
    /// No layer can be quantised.
    #[error("{file}: nothing was quantised: {reason}")]
    Nothing {
        /// The model.
        file: String,
        /// The reason.
        reason: String,
    },
    /// A layer's weights can't be rounded.
    #[error("{file}: layer '{layer}': {source}")]
    Layer {
        /// The model.
        file: String,
        /// The layer.
        layer: String,
        /// The reason.
        source: FactorError,
    },
    /// A pass failed.
    #[error("{file}: {source}")]
    Pass {
        /// The model.
        file: String,
        /// The reason.
        source: PassError,
    },
    /// An edit did not fit the graph. Not seen on valid models; please report it.
    #[error("{file}: {source}")]
    Graph {
        /// The model.
        file: String,
        /// The reason.
        source: IrError,
    },
}

impl QuantizeError {
    pub(crate) fn graph(model: &Loaded, source: IrError) -> Self {
        Self::Graph {
            file: model.file(),
            source,
        }
    }
}
