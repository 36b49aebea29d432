//! Measured latency of convolutions and of the chains that could take their place.
//!
//! MACs are not time: which form of a convolution is fast depends on the runtime, the number
//! of threads, the processor and the shape. This crate answers by measuring:
//!
//! - [`Bench`] times sessions interleaved, so that a disturbance of the machine hits all of
//!   them;
//! - a [`Block`] is one convolution with its bias and activation ([`Geometry`]) as it is or in
//!   the form of a chain ([`Form`]), written by the lowerings that write real models;
//! - a [`Cache`] keeps timings per runtime, version, threads and machine;
//! - a [`CostModel`] answers planners: [`Macs`], [`Params`], or [`Measured`] seconds.
//!
//! A block is timed in a frame of small 1x1 convolutions (see [`build()`]), whose time is in
//! every figure and the same for the original and for its replacement: plan with *differences*
//! of costs, and take a network's own time as the whole.

mod bench;
mod block;
mod build;
mod cache;
mod cost;
mod error;
mod machine;
mod measured;
mod precision;
#[cfg(test)]
mod testing;

pub use bench::{Bench, Ratio, Samples, Timing};
pub use block::{Activation, Block, Form, Geometry};
pub use build::build;
pub use cache::{Cache, Key, cache_folder};
pub use cost::{CostModel, Macs, Params, lowerings_for};
pub use error::LatencyError;
pub use machine::machine;
pub use measured::Measured;
pub use precision::Precision;
