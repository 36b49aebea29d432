//! A cost that is counted: the plan that the knapsack finds holds.

use std::ops::ControlFlow;

use sepconv_model::Error;
use sepconv_planning::{Planning, Solution};
use sepconv_spec::Try;

use super::engine::{Aim, Goal, Search, is_empty};
use crate::compressed::Compressed;

/// A cost of at most a fraction of the original's.
pub(super) struct Counted {
    fraction: f64,
    found: Option<Solution>,
}

impl Counted {
    pub fn new(fraction: f64) -> Self {
        Self {
            fraction,
            found: None,
        }
    }
}

impl Goal for Counted {
    fn stage(&self) -> &'static str {
        "planning"
    }

    fn most(&self) -> usize {
        1
    }

    fn aim(&mut self, _: &Planning) -> Option<Aim> {
        Some(Aim {
            fraction: self.fraction,
            share: 0.0,
        })
    }

    fn consider(
        &mut self,
        found: Result<Solution, Error>,
        _: &Search<'_>,
    ) -> Result<(ControlFlow<()>, Try), Error> {
        let solution = found?;
        let tried = Try {
            asked: self.fraction,
            fraction: Some(solution.fraction),
            expected_loss: Some(solution.loss),
            measured: Some(solution.fraction),
            limit: None,
            holds: solution.fraction <= self.fraction,
        };
        self.found = Some(solution);
        Ok((ControlFlow::Break(()), tried))
    }

    fn conclude(self, search: &Search<'_>) -> Result<Compressed, Error> {
        let found = self.found.filter(|solution| !is_empty(solution));
        let nothing = || search.job.nothing("no rewrite pays within this budget");
        search.materialise(found.ok_or_else(nothing)?)
    }
}
