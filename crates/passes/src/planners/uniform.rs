//! One rank for all layers: the baseline of the paper.

use sepconv_factor::RankUnit;

use crate::candidate::Candidate;
use crate::error::PassError;
use crate::families::Families;
use crate::plan::{Choice, Plan, Planner};
use crate::survey::Survey;

use super::{best, if_it_saves};

/// The same rank `K` in every selected layer (the full rank where a layer has less), in the
/// order with the smaller weight error.
#[derive(Debug, Clone, Copy)]
pub struct UniformRank {
    /// Rank, at least 1.
    pub rank: usize,
    /// True where layers are rewritten that then cost more MACs than before.
    pub costlier: bool,
}

impl Planner for UniformRank {
    fn name(&self) -> &'static str {
        "uniform-rank"
    }

    fn plan(&self, survey: &Survey, _: u64) -> Result<Plan, PassError> {
        self.check(survey)?;
        Ok(Plan::choosing(survey, |_, candidates| {
            self.choice(candidates, &survey.families)
        }))
    }
}

impl UniformRank {
    /// The choice for a layer with such candidates of `families`.
    pub fn choice(&self, candidates: &[Candidate], families: &Families) -> Choice {
        let best = best(self.at_rank(candidates, families), self.costlier);
        if_it_saves(best, self.costlier)
    }

    /// The candidates that have the rank, or the full rank where that is less. Only families
    /// whose ranks count depthwise-separable terms have ranks in common.
    fn at_rank<'a>(
        &'a self,
        candidates: &'a [Candidate],
        families: &'a Families,
    ) -> impl Iterator<Item = &'a Candidate> + Clone {
        let full = |family: &str| {
            let ranks = candidates.iter().filter(|c| c.family == family);
            ranks.map(|c| c.rank).max().unwrap_or(0)
        };
        candidates
            .iter()
            .filter(move |c| counts_terms(c, families) && c.rank == self.rank.min(full(&c.family)))
    }

    /// For every layer of the survey the candidates that a calibrated fit may choose from:
    /// those at the rank that save MACs.
    ///
    /// # Errors
    /// [`PassError::Rank`] where no selected layer offers the rank.
    pub fn admissible(&self, survey: &Survey) -> Result<Vec<Vec<Candidate>>, PassError> {
        self.check(survey)?;
        let layers = survey.layers.iter().map(|layer| match &layer.site {
            Ok((_, candidates)) => {
                let found = self.at_rank(candidates, &survey.families);
                let found = found.filter(|c| self.costlier || c.saves());
                found.cloned().collect()
            }
            Err(_) => Vec::new(),
        });
        Ok(layers.collect())
    }

    /// The largest rank that a layer of the survey offers; `None` where none offers any.
    pub fn largest(survey: &Survey) -> Option<usize> {
        let candidates = survey.sites().flat_map(|(_, c)| c);
        let candidates = candidates.filter(|c| counts_terms(c, &survey.families));
        candidates.map(|c| c.rank).max()
    }

    fn check(&self, survey: &Survey) -> Result<(), PassError> {
        let max = Self::largest(survey);
        if self.rank == 0 || max.is_some_and(|max| self.rank > max) {
            return Err(PassError::Rank {
                rank: self.rank,
                max: max.unwrap_or(0),
            });
        }
        Ok(())
    }
}

fn counts_terms(candidate: &Candidate, families: &Families) -> bool {
    families.rank_unit(&candidate.family) == Some(RankUnit::Terms)
}
