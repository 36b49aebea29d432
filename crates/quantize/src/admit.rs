//! Models that can be quantised, and the form that they are brought into first.

use sepconv_model::Loaded;
use sepconv_onnx::{RAISED, ValueKind};
use sepconv_passes::{Selection, fold};

use crate::build::verified;
use crate::error::QuantizeError;
use crate::gemm;

/// The model as one of opset 13, where its own is earlier.
fn raised(original: &Loaded) -> Result<Option<Loaded>, QuantizeError> {
    if original.document.model.opset() >= RAISED {
        return Ok(None);
    }
    let kind = |name: &str| {
        let value = original.graph().find(name);
        let shape = value.and_then(|value| original.shapes.get(value));
        ValueKind {
            rank: shape.map(|shape| shape.dims.len()),
            dtype: shape.and_then(|shape| shape.dtype),
        }
    };
    let document = original.document.raised(&kind)?;
    Ok(Some(original.with(document)?))
}

/// Refuses models that can't be quantised, and those that are, before any work; those of an opset
/// below 13 unless they are raised to it, where they can be.
///
/// # Errors
/// [`QuantizeError::Quantized`]; [`QuantizeError::Opset`] or [`QuantizeError::Raise`] below opset 13.
pub fn refuse(original: &Loaded, raise: bool) -> Result<(), QuantizeError> {
    admitted(original, raise).map(drop)
}

/// What [`refuse`] lets pass: the model raised to opset 13, `None` where it stays as it is.
pub(crate) fn admitted(original: &Loaded, raise: bool) -> Result<Option<Loaded>, QuantizeError> {
    let graph = original.graph();
    let integers = |op: &&str| {
        [
            "QuantizeLinear",
            "DequantizeLinear",
            "ConvInteger",
            "MatMulInteger",
        ]
        .contains(op)
    };
    let quantized = graph
        .operators()
        .find(|(_, op)| op.op_type.starts_with("QLinear") || integers(&op.op_type.as_str()));
    if let Some((node, op)) = quantized {
        return Err(QuantizeError::Quantized {
            file: original.file(),
            node: graph.label(node).to_owned(),
            op_type: op.op_type.clone(),
        });
    }
    let opset = original.document.model.opset();
    if opset < RAISED && !raise {
        return Err(QuantizeError::Opset {
            file: original.file(),
            opset,
        });
    }
    raised(original)
}

/// The model with batch norms, padding, sums and factors in its layers.
pub(crate) fn prepared(original: &Loaded) -> Result<Loaded, QuantizeError> {
    let mut document = original.document.clone();
    let graph = &mut document.model.graph;
    fold(graph, &Selection::default()).map_err(|source| QuantizeError::Pass {
        file: original.file(),
        source,
    })?;
    let shapes = &original.shapes;
    let joined = gemm::join_sums(graph, shapes).and_then(|()| gemm::join_factors(graph, shapes));
    joined.map_err(|source| QuantizeError::graph(original, source))?;
    verified(original, document)
}
