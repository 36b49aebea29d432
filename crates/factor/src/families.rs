//! The families, one file each. Every file's header says what the kernel is before and after,
//! which kernels are skipped, the full rank and the source.

mod depthwise_first;
mod pointwise_first;

pub use depthwise_first::DepthwiseFirst;
pub use pointwise_first::PointwiseFirst;
