//! The chains that could take a layer's place.

use serde::{Deserialize, Serialize};

use crate::lowering::{Lowering, lowering};

/// A chain that could replace a convolution, before its weights are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Name of the family, such as `dw-pw`.
    pub family: String,
    /// Rank `K`.
    pub rank: usize,
    /// MACs of the convolution that it replaces (for one output position where the shape is
    /// unknown).
    pub macs_before: u64,
    /// MACs, on the same scale.
    pub macs: u64,
    /// Weights of all stages.
    pub params: u64,
    /// Share of the kernel's squared norm that is kept, in `[0, 1]`.
    pub energy: f64,
    /// Relative Frobenius error of the kernel.
    pub weight_error: f64,
    /// The lowering that it is planned to be written by, where the plan knows better than
    /// [`crate::lowering::choose`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowering: Option<String>,
}

impl Candidate {
    /// True where it costs fewer MACs than the convolution.
    pub fn saves(&self) -> bool {
        self.macs < self.macs_before
    }

    /// True where both are of one family and rank.
    pub fn is_of_form(&self, other: &Self) -> bool {
        self.family == other.family && self.rank == other.rank
    }

    /// The lowering that it is planned to be written by.
    pub fn planned(&self) -> Option<&'static dyn Lowering> {
        self.lowering.as_deref().and_then(lowering)
    }
}
