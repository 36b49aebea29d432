//! One budget for the whole model, allocated over its layers by their effect on the outputs.
//!
//! Every candidate of every layer has a relative output error ([`sepconv_calibrate::score`]). A few
//! layers at a time are then replaced for a trial, which tells the loss at the outputs of an error
//! at that layer ([`expected_losses`]); losses of layers are taken to add up. Costs of candidates
//! are counted or measured ([`Costing`]). The rest is a multiple-choice knapsack
//! ([`sepconv_passes::knapsack`]), which a [`Planning`] solves for any budget.

mod activations;
mod candidates;
mod cost;
mod costing;
mod expected_loss;
mod frontier;
mod loss;
mod losses;
mod near;
mod plan;
mod sensitivity_probe;
mod solution;
mod solve;

pub use activations::{expanded, expanded_if_faster};
pub use candidates::thin;
pub use cost::{Costs, FormCost, Unit, Written};
pub use costing::{Costing, long_bench};
pub use expected_loss::{Rounding, expected_losses, losses_by_weights};
pub use losses::{LayerRounding, Losses};
pub use plan::Planning;
pub use sensitivity_probe::{Outputs, SensitivityProbe};
pub use solution::{Solution, Terms};
pub use solve::SHARE;
