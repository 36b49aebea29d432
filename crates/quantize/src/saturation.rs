//! Runtimes whose sums of products of eight bits end at 16 bits.
//!
//! Without instructions for products of eight bits (VNNI), x86 kernels add two products of a `uint8` by an `int8`
//! into 16 bits with saturation (`vpmaddubsw`): `255 * 127 * 2` does not fit. Weights of seven bits do.

use sepconv_factor::{KernelShape, WeightBits};
use sepconv_ir::{DType, Graph, IrError, Patch, Tensor};
use sepconv_latency::{Block, Geometry, build};
use sepconv_onnx::Document;
use sepconv_targets::{InputSpec, Target};

use crate::outline::outline;

/// Channels of the convolution that is run: few, so that nothing stands around it.
const CHANNELS: usize = 8;
/// Extent of its input along both axes.
const EXTENT: usize = 8;
/// The top of the grids of [`outline`]: the largest integer stands for it.
const TOP: f32 = 4.0;
/// The outputs of the convolution in floats.
const OUTPUT: f32 = 0.9 * TOP;

/// True where `target` computes a convolution of the largest inputs and weights of these integers smaller than it is;
/// false where the runtime refuses to.
pub(crate) fn saturates(target: &dyn Target, bits: WeightBits) -> bool {
    outputs(target, bits).is_some_and(|outputs| outputs.iter().any(|y| *y < 0.9 * OUTPUT))
}

fn outputs(target: &dyn Target, bits: WeightBits) -> Option<Vec<f32>> {
    let model = outline(&model()?, &[], bits).ok()?;
    let dims = vec![1, CHANNELS, EXTENT, EXTENT];
    let x = Tensor::from_f32(dims.clone(), vec![TOP; CHANNELS * EXTENT * EXTENT]);
    let specs = [InputSpec {
        name: "x".into(),
        dtype: DType::F32,
        dims,
    }];
    let session = target.load(&model.detach(), &specs).ok()?;
    let outputs = session.run(&[x]).ok()?;
    Some(outputs.first()?.to_f32()?.into_owned())
}

/// A convolution whose weights are all alike.
fn model() -> Option<Document> {
    let geometry = Geometry {
        dtype: DType::F32,
        batch: 1,
        input: vec![EXTENT; 2],
        kernel: KernelShape::new(CHANNELS, CHANNELS, 1, [3, 3]).ok()?,
        strides: vec![1; 2],
        dilations: vec![1; 2],
        pads: vec![0; 4],
        product: None,
        transposed: None,
        bias: false,
        activation: None,
    };
    let mut document = build(&Block::original(geometry)).ok()?;
    alike(&mut document.model.graph).ok()?;
    Some(document)
}

/// Gives the convolution weights that are all alike.
fn alike(graph: &mut Graph) -> Result<(), IrError> {
    let mut operators = graph.operators();
    let Some((node, op)) = operators.find(|(_, op)| op.is("Conv")) else {
        return Ok(());
    };
    let (Some(x), Some(y)) = (op.input(0), op.output(0)) else {
        return Ok(());
    };
    let op = op.clone();
    drop(operators);
    let weight = OUTPUT / TOP / (CHANNELS * 9) as f32;
    let weights = vec![weight; CHANNELS * CHANNELS * 9];
    let weights = Tensor::from_f32(vec![CHANNELS, CHANNELS, 3, 3], weights);
    let mut patch = Patch::replace("weights alike", node);
    let weights = patch.initializer("alike", weights);
    patch.operator_into(op, vec![Some(x.into()), Some(weights)], y);
    graph.apply(patch)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_sums_are_whole_in_both_integers() {
        let tract = sepconv_targets::reference();
        for bits in [WeightBits::Seven, WeightBits::Eight] {
            let outputs = outputs(tract, bits).unwrap_or_default();
            assert_eq!(outputs.len(), CHANNELS * (EXTENT - 2).pow(2));
            assert!(
                outputs.iter().all(|y| (y - OUTPUT).abs() < 0.05),
                "{outputs:?}"
            );
            assert!(!saturates(tract, bits));
        }
    }
}
