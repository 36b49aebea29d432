//! Models as differentiable graphs, and their recovery by label-free distillation.
//!
//! A [`Network`] is the part of an ONNX graph that computes wanted values, compiled to
//! operations with gradients (candle). [`train`] moves its parameters until those values are
//! close to targets: the outputs of another network, the teacher, on the same data (Hinton et
//! al. 2015, arXiv 1503.02531; matched activations: Romero et al. 2015, arXiv 1412.6550).
//!
//! Samples are independent of one another: a batch is computed in shards, whose gradients are
//! added in their order, so that results do not depend on the number of threads.

#[cfg(test)]
mod checks;
mod compute;
mod conv;
mod epoch;
mod error;
mod extents;
mod loss;
mod network;
mod ops;
mod parameter;
mod pool;
mod sensitivity;
mod soap;
mod state;
#[cfg(test)]
mod testing;
mod train;
mod typed;
mod values;

pub use compute::Compute;
pub use epoch::Epoch;
pub use error::TuneError;
pub use loss::{Goal, Loss, Nature};
pub use network::Network;
pub use parameter::Parameter;
pub use sensitivity::OutputKind;
/// The generator that decides how an example is augmented.
pub use sepconv_factor::random::SplitMix64 as Draw;
pub use train::{Example, Examples, TrainSettings, Trained, held_out, train};
pub use typed::TypedGraph;
pub use values::Values;
