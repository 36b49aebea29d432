//! Convolutions of a model as kernels, and the reasons why some of them stay.

use sepconv_factor::{Kernel, KernelShape, StageShape, chain_macs, kernel_macs};
use sepconv_passes::{Kept, Layer};
use tract_core::internal::{AxisOp, DatumType, Tensor, TractResult, TypedModel, TypedNode};
use tract_core::ops::cnn::Conv;

/// A convolution that can be replaced.
pub(crate) struct ConvLayer {
    /// Name of its node.
    pub name: String,
    /// Its weights, `[Co, Ci/groups, k...]` whatever the format in the model.
    pub kernel: Kernel,
    /// True where any stride is above 1.
    strided: bool,
    /// Extents of the input along the spatial axes; of one output position where they are
    /// unknown.
    input: Vec<usize>,
    output: Vec<usize>,
}

impl ConvLayer {
    /// Reads the convolution on `node`.
    ///
    /// # Errors
    /// The reason why it stays.
    pub fn read(model: &TypedModel, node: &TypedNode, conv: &Conv) -> Result<Self, Kept> {
        let malformed = |e: tract_core::prelude::TractError| Kept::Malformed(format!("{e:#}"));
        if conv.q_params.is_some() {
            return Err(Kept::Type("quantized".into()));
        }
        let weight = node.inputs.get(1).copied().ok_or(Kept::NotConstant)?;
        let fact = model.outlet_fact(weight).map_err(malformed)?;
        let tensor = fact.konst.as_ref().ok_or(Kept::NotConstant)?;
        let dtype = tensor.datum_type();
        if !tensor.is_plain() || !is_float(dtype) {
            return Err(Kept::Type(format!("{dtype:?}")));
        }
        let spec = &conv.pool_spec;
        let shape = KernelShape::new(
            spec.output_channels,
            spec.input_channels,
            conv.group,
            spec.kernel_shape.to_vec(),
        );
        let shape = shape.map_err(|e| Kept::Malformed(e.to_string()))?;
        let weights = floats(conv, tensor).map_err(malformed)?;
        let kernel = Kernel::new(shape, weights).map_err(|e| match e {
            sepconv_factor::FactorError::NonFinite { .. } => Kept::NotFinite,
            other => Kept::Malformed(other.to_string()),
        })?;
        let input = model.outlet_fact(node.inputs[0]).map_err(malformed)?;
        let extents = known_extents(conv, &input.shape.to_tvec()).map_err(malformed)?;
        let (input, output) = extents.unwrap_or_else(|| {
            let strides = spec.strides().to_vec();
            let one = vec![1; strides.len()];
            (strides, one)
        });
        Ok(Self {
            name: node.name.clone(),
            kernel,
            strided: spec.strides().iter().any(|s| *s > 1),
            input,
            output,
        })
    }
}

impl Layer for ConvLayer {
    fn name(&self) -> &str {
        &self.name
    }

    fn shape(&self) -> &KernelShape {
        self.kernel.shape()
    }

    fn weights(&self) -> Result<Kernel, Kept> {
        Ok(self.kernel.clone())
    }

    fn is_strided(&self) -> bool {
        self.strided
    }

    /// For one sample; for one output position where the extents are unknown.
    fn macs(&self, stages: &[StageShape]) -> (u64, u64) {
        (
            kernel_macs(self.kernel.shape(), &self.output),
            chain_macs(stages, &self.input, &self.output),
        )
    }
}

pub(crate) fn is_float(dtype: DatumType) -> bool {
    matches!(dtype, DatumType::F16 | DatumType::F32 | DatumType::F64)
}

/// The weights in the order of `[Co, Ci/groups, k...]`: groups are on the outputs of `OIHW`, and
/// on the inputs of `HWIO` and `OHWI`.
fn floats(conv: &Conv, tensor: &Tensor) -> TractResult<Vec<f32>> {
    let ops: Vec<AxisOp> = conv
        .kernel_fmt
        .kernel_as_group_o_i_h_w_ops(tensor.shape(), conv.group)
        .into_iter()
        .collect();
    let mut tensor = tensor.cast_to::<f32>()?.into_owned();
    for op in &ops {
        op.change_tensor(&mut tensor, false)?;
    }
    Ok(tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

type Extents = (Vec<usize>, Vec<usize>);

/// Spatial extents of input and output; `None` where one is symbolic.
fn known_extents(
    conv: &Conv,
    input: &[tract_core::internal::TDim],
) -> TractResult<Option<Extents>> {
    let numbers = |dims: &[tract_core::internal::TDim]| -> Option<Vec<usize>> {
        let extents = dims.iter().map(|d| d.as_i64());
        extents.map(|d| usize::try_from(d?).ok()).collect()
    };
    let output = conv.pool_spec.output_shape(input)?;
    let input = conv.pool_spec.data_format.shape(
        input
            .iter()
            .cloned()
            .collect::<tract_core::internal::TVec<_>>(),
    )?;
    Ok(numbers(input.hw_dims()).zip(numbers(output.hw_dims())))
}
