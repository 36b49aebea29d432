//! One rank for all layers: the baseline of the paper.

use crate::error::PassError;
use crate::plan::{Plan, Planner};
use crate::survey::Survey;

use super::{best, if_it_saves};

/// The same rank `K` in every selected layer (the full rank where a layer has less), in the
/// order with the smaller weight error.
#[derive(Debug, Clone, Copy)]
pub struct UniformRank {
    /// Rank, at least 1.
    pub rank: usize,
    /// Whether layers are rewritten that then cost more MACs than before.
    pub costlier: bool,
}

impl Planner for UniformRank {
    fn name(&self) -> &'static str {
        "uniform-rank"
    }

    fn plan(&self, survey: &Survey, _: u64) -> Result<Plan, PassError> {
        let ranks = survey.sites().flat_map(|(_, c)| c).map(|c| c.rank);
        let max = ranks.max();
        if self.rank == 0 || max.is_some_and(|max| self.rank > max) {
            return Err(PassError::Rank {
                rank: self.rank,
                max: max.unwrap_or(0),
            });
        }
        Ok(Plan::choosing(survey, |_, candidates| {
            let full = |family: &str| {
                let ranks = candidates.iter().filter(|c| c.family == family);
                ranks.map(|c| c.rank).max().unwrap_or(0)
            };
            let at_rank = candidates
                .iter()
                .filter(|c| c.rank == self.rank.min(full(&c.family)));
            if_it_saves(best(at_rank, self.costlier), self.costlier)
        }))
    }
}
