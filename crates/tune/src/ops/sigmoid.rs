//! ONNX `Sigmoid` (opset 6) with its gradient. On CPUs it is an exponential: the hyperbolic tangent, which other devices take, takes
//! more time there.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::conv::floats;

/// Values that one task computes.
const CHUNK: usize = 1 << 14;

/// `1 / (1 + e^-x)` of every value.
pub(super) fn sigmoid(x: &Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return (x * 0.5)?.tanh()?.affine(0.5, 0.5);
    }
    x.contiguous()?.apply_op1(Sigmoid)
}

struct Sigmoid;

impl CustomOp1 for Sigmoid {
    fn name(&self) -> &'static str {
        "sigmoid"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(x, layout)?;
        let mut y = vec![0.0_f32; x.len()];
        let chunks = y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
        // Where e^-x overflows, its reciprocal is zero.
        chunks.for_each(|(y, x)| {
            let pairs = y.iter_mut().zip(x);
            pairs.for_each(|(y, x)| *y = 1.0 / (1.0 + (-x).exp()));
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        (grad * (y - y.sqr()?)?).map(Some)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn values_and_gradients_are_finite_at_both_ends() {
        let x = [-200.0_f32, -3.0, 0.0, 3.0, 200.0];
        let x = Var::from_tensor(&Tensor::new(&x, &Device::Cpu).unwrap()).unwrap();
        let y = sigmoid(&x).unwrap();
        let found: Vec<f32> = y.to_vec1().unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let slopes: Vec<f32> = gradients.get(&x).unwrap().to_vec1().unwrap();
        let expected = [0.0, 0.047_425_87, 0.5, 0.952_574_13, 1.0];
        for ((y, slope), expected) in found.iter().zip(&slopes).zip(expected) {
            assert!((y - expected).abs() < 1e-6, "{y} {expected}");
            assert!((slope - expected * (1.0 - expected)).abs() < 1e-6);
        }
    }
}
