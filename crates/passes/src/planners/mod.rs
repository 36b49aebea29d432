//! Planners: one file each.

mod energy;
mod mac_budget;
mod uniform;

pub use energy::EnergyThreshold;
pub use mac_budget::MacBudget;
pub use uniform::UniformRank;

use crate::candidate::Candidate;
use crate::kept::Kept;
use crate::plan::Choice;

/// The candidate, unless it saves nothing and `costlier` is not allowed.
fn if_it_saves(candidate: Option<&Candidate>, costlier: bool) -> Choice {
    match candidate {
        Some(c) if costlier || c.saves() => Choice::Separate(c.clone()),
        Some(_) => Choice::Keep(Kept::NoSaving),
        None => Choice::Keep(Kept::Planned),
    }
}

/// The better of the candidates that save MACs (or of all, where `costlier` is allowed):
/// least weight error, then fewest MACs.
fn best<'a>(
    candidates: impl Iterator<Item = &'a Candidate> + Clone,
    costlier: bool,
) -> Option<&'a Candidate> {
    let by_error = |a: &&Candidate, b: &&Candidate| {
        let errors = a.weight_error.total_cmp(&b.weight_error);
        errors.then(a.macs.cmp(&b.macs))
    };
    let saving = candidates.clone().filter(|c| costlier || c.saves());
    saving
        .min_by(by_error)
        .or_else(|| candidates.min_by(by_error))
}
