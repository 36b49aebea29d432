//! A share of energy that every layer keeps: the paper's criterion.

use crate::candidate::Candidate;
use crate::error::PassError;
use crate::plan::{Choice, Plan, Planner};
use crate::survey::Survey;

use super::if_it_saves;

/// In every selected layer the cheapest candidate that keeps at least `energy` of the
/// kernel's squared Frobenius norm: `1 - |W - W_K|^2 / |W|^2 >= energy`, pooled over the
/// slices of the layer (Guo et al., BMVC 2018, section 3.3).
#[derive(Debug, Clone, Copy)]
pub struct EnergyThreshold {
    /// Share of the energy, in `(0, 1]`.
    pub energy: f64,
    /// True where layers are rewritten that then cost more MACs than before.
    pub costlier: bool,
}

impl Planner for EnergyThreshold {
    fn name(&self) -> &'static str {
        "energy"
    }

    fn plan(&self, survey: &Survey, _: u64) -> Result<Plan, PassError> {
        if !(self.energy > 0.0 && self.energy <= 1.0) {
            return Err(PassError::Energy(self.energy));
        }
        Ok(Plan::choosing(survey, |_, candidates| {
            self.choice(candidates)
        }))
    }
}

impl EnergyThreshold {
    /// The choice for a layer with such candidates.
    pub fn choice(&self, candidates: &[Candidate]) -> Choice {
        let enough = candidates.iter().filter(|c| c.energy >= self.energy);
        let by_macs = |a: &&Candidate, b: &&Candidate| {
            a.macs.cmp(&b.macs).then(b.energy.total_cmp(&a.energy))
        };
        if_it_saves(enough.min_by(by_macs), self.costlier)
    }
}
