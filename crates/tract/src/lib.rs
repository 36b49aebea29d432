//! Separable convolutions as a transform of tract models, without ONNX files.
//!
//! [`SeparateConvs`] is a [`ModelTransform`]: it finds the convolutions of a [`TypedModel`] whose
//! kernels are constant, decomposes them by their weights alone, and puts depthwise and pointwise
//! convolutions in their place, or the chain of another family. A convolution is replaced
//! only where that saves MACs; [`SeparateConvs::apply`] tells why the others stay.
//!
//! ```
//! use sepconv_tract::SeparateConvs;
//! use tract_core::internal::*;
//! use tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec, PoolSpec};
//! use tract_core::ops::nn::DataFormat;
//!
//! # fn main() -> TractResult<()> {
//! // A 3x3 convolution from 16 to 32 channels, of a batch that is free.
//! let mut model = TypedModel::default();
//! let batch = model.symbols.sym("N");
//! let fact = f32::fact(dims!(batch, 16, 24, 24));
//! let x = model.add_source("x", fact)?;
//! let weights: Vec<f32> = (0..32 * 16 * 9).map(|i| (i as f32 * 0.7).sin()).collect();
//! let w = model.add_const("w", Tensor::from_shape(&[32, 16, 3, 3], &weights)?)?;
//! let b = model.add_const("b", tensor1(&[0.5f32; 32]))?;
//! let pool_spec = PoolSpec {
//!     data_format: DataFormat::NCHW,
//!     kernel_shape: tvec!(3, 3),
//!     padding: PaddingSpec::SameUpper,
//!     dilations: None,
//!     strides: None,
//!     input_channels: 16,
//!     output_channels: 32,
//! };
//! let conv = Conv { pool_spec, kernel_fmt: KernelFormat::OIHW, group: 1, q_params: None };
//! let y = model.wire_node("conv", conv, &[x, w, b])?;
//! model.select_output_outlets(&y)?;
//!
//! let plan = SeparateConvs::rank(2).apply(&mut model)?;
//! assert_eq!(plan.rewritten().map(|(layer, c)| (layer, c.rank)).collect::<Vec<_>>(), [("conv", 2)]);
//!
//! // As any other transform: before it is optimised and run.
//! let runnable = model.into_optimized()?.into_runnable()?;
//! let output = runnable.run(tvec!(Tensor::zero::<f32>(&[3, 16, 24, 24])?.into()))?;
//! assert_eq!(output[0].shape(), [3, 32, 24, 24]);
//! # Ok(())
//! # }
//! ```
//!
//! [`ModelTransform`]: tract_core::transform::ModelTransform
//! [`TypedModel`]: tract_core::model::TypedModel

mod branches;
mod error;
mod layer;
mod transform;
mod wire;

pub use error::TransformError;
pub use sepconv_passes::{Candidate, Choice, Families, Kept, LayerPlan, Order, Plan, Selection};
pub use transform::{How, SeparateConvs};
