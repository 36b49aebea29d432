//! The families, one file each. Every file's header says what the kernel is before and after,
//! which kernels are skipped, the full rank and the source.

mod channel;
mod cp;
mod depthwise_first;
mod grouped;
mod low_rank;
mod pointwise_first;
mod spatial;
mod tucker;

pub use channel::Channel;
pub use cp::Cp;
pub use depthwise_first::DepthwiseFirst;
pub use low_rank::LowRank;
pub use pointwise_first::PointwiseFirst;
pub use spatial::Spatial;
pub use tucker::Tucker;
