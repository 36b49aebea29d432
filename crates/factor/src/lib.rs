//! Decompositions of convolution kernels into chains of cheaper convolutions.
//!
//! After Network Decoupling (Guo et al., BMVC 2018, arXiv 1808.05517), for kernels of any number
//! of spatial axes and any number of groups. This crate knows kernels and numbers only: no graph,
//! no file format, no runtime.
//!
//! | Module | Job |
//! |---|---|
//! | `shape`, `kernel` | a convolution weight in ONNX's layout |
//! | `chain`, `compose` | a sequence of grouped convolutions, its cost, and its product |
//! | `spectrum` | the approximation error at every rank |
//! | `family`, [`families`](mod@families) | the contract of a decomposition, and each of them |
//! | `skip` | the reasons why a family leaves a kernel alone |
//! | `factored` | kernels factored once, to be cut at any rank |
//! | `patches`, `statistics` | the patches and outputs of a convolution, in second order |
//! | `patch_matrix` | a covariance known by the patches themselves |
//! | `activation` | piecewise linear activations and their majorisers |
//! | `fit` | least squares of one group, for every family |
//! | `alternation` | fits over all groups, and their guarantees |
//! | `post_activation` | fits to the values that an activation lets through |
//! | `rounding` | weights rounded to integers in the metric of a covariance |
//! | `metric` | data-free decompositions under an assumed correlation of the inputs |
//! | [`random`] | seeded pseudo-random numbers |
//! | `slice_svd` | the SVD of every input or output channel's slice |
//! | [`linalg`] | dense f64 helpers |
//!
//! ```
//! use sepconv_factor::{Kernel, KernelShape, chain_macs, family, kernel_macs};
//!
//! // A 3x3 convolution from 8 to 16 channels, stride 2: 32x32 -> 16x16.
//! let shape = KernelShape::new(16, 8, 1, [3, 3])?;
//! let weights: Vec<f32> = (0..shape.len()).map(|i| (i as f32 * 0.7).sin()).collect();
//! let kernel = Kernel::new(shape, weights)?;
//!
//! let factored = family("dw-pw").ok_or("no such family")?.factor(&kernel)?;
//! let chain = factored.chain(2)?;
//! let error = kernel.relative_error(&chain.compose()?)?;
//! assert!((error - factored.spectrum().error(2)).abs() < 1e-5);
//!
//! let before = kernel_macs(kernel.shape(), &[16, 16]);
//! let after = chain_macs(&chain.shapes(), &[32, 32], &[16, 16]);
//! assert_eq!((before, after), (294_912, 102_400));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activation;
mod alternation;
mod chain;
mod compose;
mod error;
mod factored;
pub mod families;
mod family;
mod fit;
mod kernel;
pub mod linalg;
mod metric;
mod once;
mod patch_matrix;
mod patches;
mod post_activation;
pub mod random;
mod rounding;
mod shape;
mod skip;
mod slice_svd;
mod spectrum;
mod statistics;

pub use activation::Activation;
pub use chain::{
    Chain, Role, Stage, StageShape, chain_macs, chain_parameters, kernel_macs,
    transposed_chain_macs, validate_stages,
};
pub use error::FactorError;
pub use factored::Factored;
pub use families::{families, family};
pub use family::{Decomposition, RankRange, RankUnit, Resolution};
pub use fit::{Calibration, Estimate, Fit, FitOptions, Fitter};
pub use kernel::Kernel;
pub use metric::Metric;
pub use patches::{ConvGeometry, InputMap, gather_outputs, sample_positions};
pub use post_activation::{Observed, Positions, PostActivation};
pub use rounding::{WeightBits, channel_scale, round_compensated, rounded_error, rounded_plainly};
pub use shape::KernelShape;
pub use skip::Skip;
pub use spectrum::Spectrum;
pub use statistics::{
    PositionSampler, SplitStatistics, SplitStatisticsBuilder, Statistics, StatisticsBuilder,
    held_out_of, is_held_out,
};
