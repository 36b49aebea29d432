//! Statistics, sensitivities and fits of layers, on data.
//!
//! [`score`] fits every candidate of every layer of the original network and tells the error of its
//! output; [`calibrate`] fits the candidates that a plan admits, layer after layer, in the network
//! rewritten so far. Both collect the statistics of layers by running the network, within a
//! [`MemoryLimit`].

mod apart;
mod cache;
pub mod checkpoints;
mod collector;
mod endpoints;
mod fits;
mod geometry;
pub mod gradients;
mod hurry;
mod layer_sampler;
mod memory_limit;
mod pictures;
mod reconstruct;
mod runnable;
mod sampling;
mod score;
mod sensitivity;
mod source;
mod surveyed_model;
mod targets;

pub use apart::calibrate_apart;
pub use geometry::geometry;
pub use hurry::{
    Hurried, little_time_to_time, no_time_to_probe, no_time_to_time, samples_in_time, timed_until,
};
pub use memory_limit::MemoryLimit;
pub use pictures::{cheap_pictures, pictures};
pub use reconstruct::{AS_PLANNED, Calibrated, Committed, Revision, calibrate};
pub use sampling::Sampling;
pub use score::{Probe, Score, score, spread};
pub use source::open;
pub use surveyed_model::{Fitting, Sensitivities, SurveyedModel};
