//! Sparse constants, made dense: tract knows none.

use tract_onnx::data_resolver::ModelDataResolver;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{AttributeProto, GraphProto, SparseTensorProto, TensorProto};
use tract_onnx::tensor::load_tensor;
use tract_onnx::tract_core::internal::{TractResult, bail, ensure};

/// Turns the sparse initializers of a graph, and those within it, into dense ones, and the
/// `sparse_value` of `Constant` (ONNX 11 and later) into `value`.
///
/// # Errors
/// Indices that do not fit the extents, and values that can't be read.
pub(super) fn densify(graph: &mut GraphProto, files: &dyn ModelDataResolver) -> TractResult<()> {
    for sparse in std::mem::take(&mut graph.sparse_initializer) {
        graph.initializer.push(dense(&sparse, files)?);
    }
    for attribute in graph.node.iter_mut().flat_map(|n| &mut n.attribute) {
        constant(attribute, files)?;
        for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            densify(inner, files)?;
        }
    }
    Ok(())
}

fn constant(attribute: &mut AttributeProto, files: &dyn ModelDataResolver) -> TractResult<()> {
    if let Some(sparse) = attribute
        .sparse_tensor
        .take_if(|_| attribute.name == "sparse_value")
    {
        attribute.t = Some(dense(&sparse, files)?);
        attribute.name = "value".into();
        attribute.r#type = AttributeType::Tensor as i32;
    }
    Ok(())
}

/// ONNX `SparseTensorProto`: values at row-major positions, `indices` `[n]`, or at coordinates,
/// `[n, rank]`; zeros elsewhere.
fn dense(sparse: &SparseTensorProto, files: &dyn ModelDataResolver) -> TractResult<TensorProto> {
    let (Some(values), Some(indices)) = (&sparse.values, &sparse.indices) else {
        bail!("a sparse tensor without values or indices");
    };
    let name = &values.name;
    let extents: Option<Vec<usize>> = sparse.dims.iter().map(|d| (*d).try_into().ok()).collect();
    let Some(extents) = extents else {
        bail!("sparse tensor '{name}' has a negative extent");
    };
    let (loaded, at) = (
        load_tensor(files, values, Some("."))?,
        load_tensor(files, indices, Some("."))?,
    );
    let size = loaded.datum_type().size_of();
    let bytes = extents.iter().try_fold(size, |n, d| n.checked_mul(*d));
    let mut raw_data = Vec::new();
    let room = bytes.filter(|n| raw_data.try_reserve_exact(*n).is_ok());
    let Some(room) = room else {
        bail!("sparse tensor '{name}' of extents {extents:?} is too large");
    };
    raw_data.resize(room, 0_u8);
    let at = at.view();
    let at: &[i64] = at.as_slice()?;
    let width = match indices.dims.len() {
        2 => extents.len(),
        _ => 1,
    };
    ensure!(
        at.len() == loaded.len() * width,
        "sparse tensor '{name}' has {} indices for {} values",
        at.len(),
        loaded.len()
    );
    for (value, at) in loaded
        .as_bytes()
        .chunks_exact(size)
        .zip(at.chunks_exact(width.max(1)))
    {
        let within = if width == 1 && indices.dims.len() != 2 {
            &[raw_data.len() / size][..]
        } else {
            &extents
        };
        let position = at.iter().zip(within).try_fold(0, |position, (i, extent)| {
            let i = usize::try_from(*i).ok().filter(|i| i < extent)?;
            Some(position * extent + i)
        });
        let Some(position) = position else {
            bail!("sparse tensor '{name}' has a value at {at:?}, outside {extents:?}");
        };
        raw_data[position * size..][..size].copy_from_slice(value);
    }
    Ok(TensorProto {
        name: name.clone(),
        dims: sparse.dims.clone(),
        data_type: values.data_type,
        raw_data,
        ..TensorProto::default()
    })
}
