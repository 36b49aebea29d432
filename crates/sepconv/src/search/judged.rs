//! An acceptance criterion: the cheapest model that meets it, by bisection over the fraction of the
//! cost that is kept. Each plan is fitted and measured.

use std::ops::ControlFlow;

use sepconv_model::Error;
use sepconv_planning::{SHARE, Solution};
use sepconv_spec::Try;

use super::acceptance::Acceptance;
use super::engine::{Aim, Goal, Search, TRIES, is_empty};
use crate::compressed::Compressed;

/// Bisections of a criterion on synthetic inputs, which costs little: the result is within 1/2^7 of
/// the range of the best.
const MANY: usize = 7;

/// A model that meets a criterion.
pub(super) struct Judged<'a> {
    criterion: Acceptance<'a>,
    /// Greatest fraction that is known to fail, or the least that any plan reaches.
    low: f64,
    /// Least fraction that is known to hold.
    high: f64,
    asked: Option<f64>,
    best: Option<Compressed>,
    closest: f64,
}

impl<'a> Judged<'a> {
    /// `least` is the least fraction that any plan reaches.
    pub fn new(criterion: Acceptance<'a>, least: f64) -> Self {
        Self {
            criterion,
            low: least,
            high: 1.0,
            asked: None,
            best: None,
            closest: f64::INFINITY,
        }
    }
}

impl Goal for Judged<'_> {
    fn stage(&self) -> &'static str {
        "searching"
    }

    fn most(&self) -> usize {
        match self.criterion.is_synthetic() {
            true => MANY,
            false => TRIES,
        }
    }

    fn aim(&mut self) -> Option<Aim> {
        let (low, high) = (self.low, self.high);
        let middle = match (self.criterion.is_synthetic(), self.asked) {
            // The first plan saves little: without data many models offer no more.
            (true, None) => 0.75 * high + 0.25 * low,
            (true, Some(_)) => 0.5 * (low + high),
            (false, _) => {
                let middle = (low.max(0.02) * high).sqrt();
                if high - middle < 0.01 {
                    return None;
                }
                middle
            }
        };
        self.asked = Some(middle);
        Some(Aim {
            fraction: middle,
            share: SHARE,
        })
    }

    fn consider(
        &mut self,
        found: Result<Solution, Error>,
        search: &Search<'_>,
    ) -> Result<(ControlFlow<()>, Try), Error> {
        let asked = self.asked.unwrap_or(self.high);
        let mut tried = Try {
            asked,
            fraction: None,
            expected_loss: None,
            measured: None,
            limit: None,
            holds: false,
        };
        let solution = match found {
            Err(Error::Pass { .. }) => {
                self.low = asked;
                return Ok((ControlFlow::Continue(()), tried));
            }
            found => found?,
        };
        tried.fraction = Some(solution.fraction);
        tried.expected_loss = Some(solution.loss);
        if is_empty(&solution) {
            return Ok((ControlFlow::Break(()), tried));
        }
        let reached = solution.fraction;
        let mut made = search.materialise(solution)?;
        let verdict = self.criterion.verdict(&made.model, search.job)?;
        let excess = self.criterion.excess(&verdict);
        tried.measured = verdict.value;
        tried.limit = verdict.limit;
        tried.holds = excess <= 0.0;
        if tried.holds {
            made.verdict = Some(verdict);
            self.best = Some(made);
            self.high = reached.min(asked);
        } else {
            self.closest = self.closest.min(excess);
            self.low = asked;
        }
        Ok((ControlFlow::Continue(()), tried))
    }

    fn conclude(self, search: &Search<'_>) -> Result<Compressed, Error> {
        let (criterion, closest) = (&self.criterion, self.closest);
        self.best.ok_or_else(|| match closest.is_finite() {
            true => criterion.missed_by(closest, search.job),
            false => search.job.nothing("no rewrite pays"),
        })
    }
}
