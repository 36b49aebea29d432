//! Ranks that are timed once a plan comes near them.
//!
//! Runtimes jump: on tract a pointwise convolution to 20 channels can take half as long as one to
//! 18. To time every rank of every family would take minutes, so a few of each are timed, and then
//! the neighbours of those that a plan takes, until it takes no other.

use sepconv_calibrate::no_time_to_time;
use sepconv_model::Error;

use crate::cost::Unit;
use crate::costing::Costing;
use crate::plan::Planning;
use crate::solution::Solution;

/// Candidates on either side of one taken that are timed as well.
const NEIGHBOURS: usize = 2;
/// Most times that neighbours are timed for one solution.
const ROUNDS: usize = 3;

impl Planning {
    /// As [`Planning::solve`], of candidates some of which are timed only now.
    ///
    /// # Errors
    /// As [`Planning::solve`] and [`Planning::new`].
    pub fn solve_near(
        &mut self,
        costing: &Costing<'_>,
        fraction: f64,
        share: f64,
    ) -> Result<Solution, Error> {
        let failed = |source| costing.surveyed.failed(source);
        for _ in 0..ROUNDS {
            let solution = self.solve(fraction, share).map_err(failed)?;
            if !self.time_near(&solution, costing)? {
                return Ok(solution);
            }
        }
        self.solve(fraction, share).map_err(failed)
    }

    /// Times the neighbours of a solution's candidates; true where there were any.
    fn time_near(&mut self, solution: &Solution, by: &Costing<'_>) -> Result<bool, Error> {
        // A caller's cost model is asked once.
        if self.timed.is_none() || by.unit == Unit::Cost || no_time_to_time(by.deadline) {
            return Ok(false);
        }
        let mut new = Vec::new();
        for (layer, chosen) in solution.chosen.iter().enumerate() {
            let Some(at) = chosen.as_ref().and_then(|c| self.place(layer, c)) else {
                continue;
            };
            let all = &self.candidates[layer];
            let near = at.saturating_sub(NEIGHBOURS)..all.len().min(at + NEIGHBOURS + 1);
            let same = near.filter(|i| all[*i].family == all[at].family);
            new.extend(same.map(|i| (layer, i)));
        }
        new.retain(|(layer, i)| self.losses.candidates[*layer][*i].is_finite());
        new.retain(|(layer, i)| !std::mem::replace(&mut self.looked[*layer][*i], true));
        let (Some(timed), false) = (&mut self.timed, new.is_empty()) else {
            return Ok(false);
        };
        let wanted = |layer, candidate| new.contains(&(layer, candidate));
        by.more(timed, &wanted)?;
        self.costs = by.budgeted(Some(timed))?;
        self.costs.drop_infinite(&self.losses.candidates);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use sepconv_passes::Candidate;

    use crate::candidates::AT_FIRST;
    use crate::solve::tests::candidate;
    use sepconv_calibrate::spread;

    #[test]
    fn of_many_ranks_some_are_timed_at_first_the_least_and_the_greatest_among_them() {
        let candidate = |family: &str, rank| Candidate {
            rank,
            ..candidate(family)
        };
        let few = (1..=9).map(|rank| candidate("dw-pw", rank));
        let many = (1..=40).map(|rank| candidate("cp", rank));
        let all: Vec<Candidate> = few.chain(many).collect();
        let timed = spread(&all, AT_FIRST).into_iter();
        let ranks: Vec<usize> = timed.map(|i| all[i].rank).collect();
        let cp = [1, 4, 8, 11, 15, 18, 22, 25, 29, 32, 36, 40];
        assert_eq!(ranks, [&[1, 2, 3, 4, 5, 6, 7, 8, 9][..], &cp].concat());
        assert!(spread(&[], AT_FIRST).is_empty());
    }
}
