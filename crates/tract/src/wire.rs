//! Writing a chain into a model.

use sepconv_factor::{Chain, Stage, StageShape};
use tract_core::internal::{
    DatumType, OutletId, SpecialOps, TVec, Tensor, TractResult, TypedModel, TypedModelPatch,
    TypedNode, bail, tensor0,
};
use tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec, PoolSpec};

use crate::branches::branches;

/// The patch that puts `chain` in the place of the convolution on `node`. The bias, a scalar or
/// one value per output, goes to the last convolution of the first branch.
pub(crate) fn patch(
    model: &TypedModel,
    node: &TypedNode,
    conv: &Conv,
    chain: &Chain,
) -> TractResult<TypedModelPatch> {
    let mut patch = TypedModelPatch::new(format!("sepconv {} {}", chain.family, chain.rank));
    let taps = patch.taps(model, &node.inputs)?;
    let [input, _, bias] = *taps else {
        bail!("a convolution of {} inputs", taps.len());
    };
    let dtype = model.outlet_fact(node.inputs[0])?.datum_type;
    let nothing = patch.add_const(
        format!("{}/no-bias", node.name),
        tensor0(0f32).cast_to_dt(dtype)?.into_owned(),
    )?;
    let all = branches(chain);
    let last_branch = all.len() - 1;
    let mut sum: Option<OutletId> = None;
    for (branch, stages) in all.iter().enumerate() {
        let mut x = input;
        for (i, stage) in stages.iter().enumerate() {
            let last = i + 1 == stages.len();
            // The last node of all keeps the name of the convolution.
            let name = match last && last_branch == 0 {
                true => node.name.clone(),
                false => format!("{}/{branch}.{i}", node.name),
            };
            let b = if last && branch == 0 { bias } else { nothing };
            let weight = weight(stage, dtype)?;
            let weight = patch.add_const(format!("{name}.weight"), weight)?;
            let op = stage_conv(conv, stage);
            x = patch.wire_node(name, op, &[x, weight, b])?[0];
        }
        sum = Some(match sum {
            None => x,
            Some(sum) => {
                let name = match branch == last_branch {
                    true => node.name.clone(),
                    false => format!("{}/sum.{branch}", node.name),
                };
                patch.wire_node(name, tract_core::ops::math::add(), &[sum, x])?[0]
            }
        });
    }
    let Some(sum) = sum else {
        bail!("a chain without stages");
    };
    patch.shunt_outside(model, node.id.into(), sum)?;
    Ok(patch)
}

/// The weight of a stage in the model's type.
fn weight(stage: &Stage, dtype: DatumType) -> TractResult<Tensor> {
    let kernel = &stage.shape.kernel;
    let dims = [&[kernel.out_channels, kernel.group_in()], &*kernel.spatial].concat();
    let weight = Tensor::from_shape(&dims, &stage.weight)?;
    Ok(weight.cast_to_dt(dtype)?.into_owned())
}

/// The convolution of a stage, in the place of `original`.
fn stage_conv(original: &Conv, stage: &Stage) -> Conv {
    Conv {
        pool_spec: pool_spec(&original.pool_spec, &stage.shape),
        kernel_fmt: KernelFormat::OIHW,
        group: stage.shape.kernel.groups,
        q_params: None,
    }
}

/// The stride, dilation and padding of the axes that the stage carries; neutral elsewhere.
fn pool_spec(original: &PoolSpec, stage: &StageShape) -> PoolSpec {
    let pick = |values: &[usize], neutral: usize| -> TVec<usize> {
        let pairs = values.iter().zip(&stage.axes);
        pairs
            .map(|(v, carried)| if *carried { *v } else { neutral })
            .collect()
    };
    let padding = match &original.padding {
        PaddingSpec::Explicit(before, after) => {
            PaddingSpec::Explicit(pick(before, 0), pick(after, 0))
        }
        PaddingSpec::ExplicitOnnxPool(before, after, ceil) => {
            PaddingSpec::ExplicitOnnxPool(pick(before, 0), pick(after, 0), *ceil)
        }
        // Of one tap and stride 1 these add nothing.
        by_itself => by_itself.clone(),
    };
    PoolSpec {
        data_format: original.data_format,
        kernel_shape: stage.kernel.spatial.iter().copied().collect(),
        padding,
        dilations: Some(pick(&original.dilations(), 1)),
        strides: Some(pick(&original.strides(), 1)),
        input_channels: stage.kernel.in_channels,
        output_channels: stage.kernel.out_channels,
    }
}
