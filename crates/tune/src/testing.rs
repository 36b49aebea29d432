//! Tensors for tests.

#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};
use sepconv_factor::random::SplitMix64;

use crate::compute::Compute;

/// Device of the checks of gradients: a GPU in builds for one.
pub(crate) const COMPUTE: Compute = match (cfg!(feature = "cuda"), cfg!(feature = "metal")) {
    (true, _) => Compute::Cuda(0),
    (_, true) => Compute::Metal(0),
    _ => Compute::Cpu,
};

/// `n` numbers between -1 and 1.
pub(crate) fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut draw = SplitMix64::new(seed, 1);
    let mut one = || (draw.below(20_001) as f32 - 10_000.0) / 10_000.0;
    (0..n).map(|_| one()).collect()
}

/// A tensor of such numbers.
pub(crate) fn tensor(dims: &[usize], seed: u64, device: &Device) -> Tensor {
    Tensor::from_vec(numbers(dims.iter().product(), seed), dims, device).unwrap()
}
