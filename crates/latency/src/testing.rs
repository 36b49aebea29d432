//! The common part of this crate's tests.
#![allow(clippy::unwrap_used)]

use sepconv_factor::KernelShape;
use sepconv_ir::DType;

use crate::block::Geometry;

/// A 3x3 convolution between as many channels, unpadded, on a 8x8 map.
pub(crate) fn conv(channels: usize) -> Geometry {
    Geometry {
        dtype: DType::F32,
        batch: 1,
        input: vec![8, 8],
        kernel: KernelShape::new(channels, channels, 1, [3, 3]).unwrap(),
        strides: vec![1, 1],
        dilations: vec![1, 1],
        pads: vec![0; 4],
        bias: true,
        activation: None,
        product: None,
        transposed: None,
    }
}
