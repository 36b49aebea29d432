//! The settings of a fit.

use serde::{Deserialize, Serialize};

/// The settings of a fit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FitOptions {
    /// Rounds of alternating least squares at most; 0 takes the closed-form start.
    pub rounds: usize,
    /// Pull towards the original weight, as a share of the mean variance of an input value.
    pub ridge: f64,
    /// The alternation ends where a round lowers the held-out error by less than this share.
    pub tolerance: f64,
    /// Also fits the lower ranks, so that the error never rises with the rank. Costs about as
    /// much again at K = 2, up to the number of lower ranks elsewhere.
    pub monotone: bool,
    /// Also tries the data-free chain, so that the error on the positions fitted to is never
    /// above its. Costs its decomposition and a score or two.
    pub floor: bool,
    /// Most majorise-minimise steps behind an activation, see [`crate::PostActivation`]; 0 fits to
    /// the outputs themselves.
    pub steps: usize,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self {
            rounds: 16,
            ridge: 1e-5,
            tolerance: 1e-3,
            monotone: true,
            floor: true,
            steps: 12,
        }
    }
}
