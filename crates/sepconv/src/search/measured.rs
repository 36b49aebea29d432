//! A cost that is only estimated while planning, time, bytes and the parameters of shared weights, and measured on the planned model
//! with unfitted weights: the aim is lowered until the measurement holds. An aim of time that the
//! measurement holds by far is raised again: estimates of layers alone are off by a factor.

use std::ops::ControlFlow;

use sepconv_latency::Bench;
use sepconv_model::{Error, Loaded};
use sepconv_passes::PassError;
use sepconv_planning::{Planning, SHARE, Solution, Unit};
use sepconv_spec::Try;

use super::engine::{Aim, Goal, Search, is_empty};
use super::floats::left;
use crate::compressed::Compressed;
use crate::materialise::plan;

/// The cost of the fastest plan that is asked for, over the least of any.
const ABOVE: f64 = 1.005;

/// A cost of at most a fraction of the original's, as measured.
pub(super) struct Measured {
    fraction: f64,
    aim: f64,
    times: TimeFeedback,
    feedback: ShareFeedback,
    tried: Vec<(Solution, Trial)>,
    /// The fastest plan by the times of layers was asked for.
    fastest: bool,
}

impl Measured {
    pub fn new(fraction: f64) -> Self {
        Self {
            fraction,
            aim: fraction,
            times: TimeFeedback::default(),
            feedback: ShareFeedback::default(),
            tried: Vec::new(),
            fastest: false,
        }
    }
}

impl Measured {
    /// True where a plan was measured within the budget.
    fn holds(&self) -> bool {
        self.tried.iter().any(|(_, t)| t.cost <= self.fraction)
    }
}

impl Goal for Measured {
    fn stage(&self) -> &'static str {
        "planning"
    }

    fn waits(&self) -> bool {
        self.tried.is_empty()
    }

    fn aim(&mut self, _: &Planning) -> Option<Aim> {
        Some(Aim {
            fraction: self.aim,
            share: self.feedback.asked,
        })
    }

    fn consider(
        &mut self,
        found: Result<Solution, Error>,
        search: &Search<'_>,
    ) -> Result<(ControlFlow<()>, Try), Error> {
        let (fraction, asked) = (self.fraction, self.aim);
        let solution = match found {
            // Times of layers are off by a factor: the fastest plan is measured before it is said to be too slow.
            Err(Error::Pass {
                source: PassError::Unreachable { least, .. },
                ..
            }) if search.costing.unit == Unit::Latency && !self.fastest && !self.holds() => {
                let tried = Try {
                    asked,
                    ..Try::default()
                };
                (self.fastest, self.aim) = (true, ABOVE * least);
                return Ok((ControlFlow::Continue(()), tried));
            }
            // Plans that were measured are slower than they were expected to be, and none is faster.
            Err(Error::Pass { .. }) if !self.tried.is_empty() => {
                let tried = Try {
                    asked,
                    ..Try::default()
                };
                return Ok((ControlFlow::Break(()), tried));
            }
            Err(Error::Pass {
                source: PassError::Unreachable { target, least },
                ..
            }) if search.costing.unit == Unit::Latency => {
                let (wanted, most) = (1.0 / target, 1.0 / least);
                return Err(search.nothing(format!(
                    "it can't be {wanted:.2} times as fast: {most:.2} times is the most by the times of its layers"
                )));
            }
            found => found?,
        };
        let again = |(other, _): &&(Solution, Trial)| {
            other.chosen == solution.chosen && other.floats == solution.floats
        };
        let known = self.tried.iter().find(again).map(|(_, trial)| *trial);
        let trial = match known {
            Some(trial) => trial,
            None => trial(search, &solution)?,
        };
        let predicted = solution.time.map_or(0.0, |t| share(t, solution.fraction));
        let tried = Try {
            asked,
            fraction: Some(solution.fraction),
            expected_loss: Some(solution.loss),
            measured: Some(trial.cost),
            limit: None,
            holds: trial.cost <= fraction,
        };
        self.tried.push((solution, trial));
        let mut flow = ControlFlow::Continue(());
        if search.costing.unit == Unit::Latency {
            let share = trial.cost / fraction;
            match self.times.next(self.aim, share) {
                // A plan that was fast enough before comes out again.
                Some(aim) if known.is_none() || share > 1.0 => self.aim = aim,
                _ => flow = ControlFlow::Break(()),
            }
        } else if trial.cost > fraction {
            self.aim *= (fraction / trial.cost).min(0.99);
        } else if !self
            .feedback
            .follow(trial.share, predicted, known.is_some())
        {
            flow = ControlFlow::Break(());
        }
        Ok((flow, tried))
    }

    fn conclude(self, search: &Search<'_>) -> Result<Compressed, Error> {
        let costs = self.tried.iter().map(|(_, trial)| trial.cost);
        if let Some(least) = costs.min_by(f64::total_cmp)
            && self.fastest
            && !self.holds()
        {
            let (wanted, most) = (1.0 / self.fraction, 1.0 / least);
            return Err(search.nothing(format!(
                "it can't be {wanted:.2} times as fast: the fastest plan was measured at {most:.2} times"
            )));
        }
        let kept = self.tried.iter().any(|(_, t)| t.cost <= self.fraction);
        let best = best_of_tried(self.tried, self.fraction);
        let best = best.ok_or_else(|| search.no_plan())?;
        if !is_empty(&best) {
            return search.materialise(best);
        }
        let job = search.job;
        let kept = kept && job.may_rewrite_no_layer();
        let none = search.nothing(match kept {
            true => "the budget is kept with every layer as it is",
            false => "no rewrite pays within this budget",
        });
        match kept || job.settings.is_in_eight_bits() {
            true => search.prepared.unwritten_for(none, job),
            false => Err(none),
        }
    }
}

/// Aims whose plans were measured to be too slow and fast enough.
#[derive(Debug, Clone, Copy, Default)]
struct TimeFeedback {
    /// The least that was too slow.
    slow: Option<f64>,
    /// The greatest that was fast enough.
    fast: Option<f64>,
}

impl TimeFeedback {
    /// The next aim after one whose plan takes `share` of the time allowed; `None` where that is near
    /// enough, or no aim between is left.
    fn next(&mut self, aim: f64, share: f64) -> Option<f64> {
        let wanted = aim / share;
        if share > 1.0 {
            self.slow = Some(self.slow.map_or(aim, |slow| slow.min(aim)));
            return match self.fast {
                Some(fast) => (aim > fast * STEP).then_some(0.5 * (fast + aim)),
                None => Some(wanted.min(0.99 * aim)),
            };
        }
        self.fast = Some(self.fast.map_or(aim, |fast| fast.max(aim)));
        let most = self.slow.map_or(MOST_AIM, |slow| 0.5 * (aim + slow));
        let next = wanted.min(most);
        (share < NEAR && next > aim * STEP).then_some(next)
    }
}

/// The share of the time allowed from which on a plan is near enough to it.
const NEAR: f64 = 0.9;
/// The greatest aim: a plan of all that the original takes rewrites nothing.
const MOST_AIM: f64 = 0.97;

/// The share of a saved cost that is saved time; both are left as fractions of the original's.
fn share(time: f64, cost: f64) -> f64 {
    (1.0 - time) / (1.0 - cost).max(1e-9)
}

/// The share of its saving that a plan is asked to make time of, by measurements of plans: predictions
/// are off by a factor.
#[derive(Debug, Clone, Copy, Default)]
struct ShareFeedback {
    /// Of the next plan. The first one ignores time.
    asked: f64,
    /// The most that was asked of a plan which measured too little.
    short: f64,
    /// The least that was asked of one which measured enough.
    enough: Option<f64>,
}

impl ShareFeedback {
    /// Asks the next plan for more or less, unless the measurement is near enough, or nothing
    /// changes any more. `predicted` is the plan's expected share, which may be more than the asked
    /// one; `known`: the plan was measured before.
    fn follow(&mut self, measured: f64, predicted: f64, known: bool) -> bool {
        let asked = self.asked;
        if measured < SHARE {
            // The first plan was asked for nothing.
            let beaten = if asked > 0.0 {
                asked.max(predicted)
            } else {
                0.0
            };
            self.short = self.short.max(beaten);
            let factor = (SHARE / measured.max(0.1)).clamp(1.02, 1.3);
            self.asked = match self.enough {
                Some(enough) => 0.5 * (self.short + enough),
                None if known && asked > 0.0 => return false,
                None => (beaten * factor).max(SHARE),
            };
        } else {
            self.enough = Some(self.enough.map_or(asked, |e| e.min(asked)));
            if asked == 0.0 || measured < OVER * SHARE || known {
                return false;
            }
            // The next share is at least three quarters of this one.
            self.asked = 0.5 * (self.short.max(0.5 * asked) + asked);
        }
        let short = self.short;
        self.enough.is_none_or(|enough| enough > short * STEP)
    }
}

/// Measured shares up to so many times the wanted one are no reason to look for less.
const OVER: f64 = 1.05;
/// Least step between shares that are asked for, as a factor.
const STEP: f64 = 1.02;

/// Of the plans that keep the budget (else of all) and save enough time (else nearly the most that
/// any did), the one with the least expected loss: nothing is paid for time that can't be had.
fn best_of_tried(mut tried: Vec<(Solution, Trial)>, fraction: f64) -> Option<Solution> {
    if tried.iter().any(|(_, t)| t.cost <= fraction) {
        tried.retain(|(_, t)| t.cost <= fraction);
    } else {
        let cost = |t: &(Solution, Trial)| t.1.cost;
        return tried
            .into_iter()
            .min_by(|a, b| cost(a).total_cmp(&cost(b)))
            .map(|(solution, _)| solution);
    }
    let shares = tried.iter().map(|(_, t)| t.share);
    let most = shares.fold(f64::NEG_INFINITY, f64::max);
    // Of plans that are all slower than the original, the least slow one.
    let enough = SHARE.min(most.min(NEARLY * most));
    tried.retain(|(_, t)| t.share >= enough);
    let least = tried
        .into_iter()
        .min_by(|(a, _), (b, _)| a.loss.total_cmp(&b.loss));
    least.map(|(solution, _)| solution)
}

/// Measured shares that differ by less are taken for alike.
const NEARLY: f64 = 0.9;

/// Figures of a planned model with unfitted weights.
#[derive(Debug, Clone, Copy)]
struct Trial {
    /// Fraction of the original's cost.
    cost: f64,
    /// Share of the saved cost that is saved time; enough where time is no matter.
    share: f64,
}

fn trial(search: &Search<'_>, solution: &Solution) -> Result<Trial, Error> {
    let (job, unit) = (search.job, search.costing.unit);
    let (model, settings) = (&*job.model, &job.settings);
    let chosen = || plan(search.prepared, |i| solution.chosen[i].clone());
    let made = || search.prepared.with(chosen(), job);
    let bytes = |m: &Loaded| m.document.encoded_size() as f64;
    let cost = match unit {
        Unit::Size => bytes(&made()?.model) / bytes(model),
        Unit::Params => made()?.model.cost.params as f64 / model.cost.params.max(1) as f64,
        // Counted exactly: the plan holds.
        _ => solution.fraction,
    };
    let enough = Trial { cost, share: SHARE };
    let Some(latency) = settings.latency else {
        return Ok(enough);
    };
    let made = made()?.model;
    let left = left(search.prepared, &search.costing, solution);
    let outline = search.costing.outline(&made, &left)?;
    let both = [model, outline.as_ref().unwrap_or(&made)];
    let bench = match settings.deadline {
        Some(_) => Bench::default(),
        None => Bench::long(),
    };
    let run = latency.time(&both, bench, settings.seed, job.progress)?;
    Ok(match unit {
        Unit::Latency => Trial {
            cost: run.models.last().map_or(1.0, |m| 1.0 / m.speed_up.median),
            ..enough
        },
        _ => {
            // As layers are timed: of a busy machine too much loss would be taken for time.
            let time = match run.models.as_slice() {
                [original, made] if original.timing.min > 0.0 => {
                    made.timing.min / original.timing.min
                }
                _ => 1.0,
            };
            Trial {
                cost,
                share: share(time, cost),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The aims that a network asks for whose plans take `time(aim)`, and the greatest that was fast
    /// enough.
    fn aims(fraction: f64, time: impl Fn(f64) -> f64) -> (Vec<f64>, Option<f64>) {
        let mut feedback = TimeFeedback::default();
        let mut aims = vec![fraction];
        while aims.len() < super::super::engine::TRIES {
            let aim = aims[aims.len() - 1];
            match feedback.next(aim, time(aim) / fraction) {
                Some(next) => aims.push(next),
                None => break,
            }
        }
        (aims, feedback.fast)
    }

    #[test]
    fn an_aim_that_is_kept_by_far_is_raised_and_one_that_is_missed_lowered() {
        // Plans are 1.5 times faster than their layers alone say.
        let (asked, fast) = aims(0.77, |aim| aim / 1.5);
        assert!(
            asked.len() > 1 && asked.iter().all(|a| *a < 1.0),
            "{asked:?}"
        );
        assert!(fast.is_some_and(|aim| aim > 0.95), "{asked:?}");
        // A step: no plan lies between 0.4 and 0.9 of the time.
        let (asked, fast) = aims(0.6, |aim| if aim < 0.7 { 0.4 } else { 0.9 });
        assert!(
            asked.len() > 2 && fast.is_some_and(|aim| aim < 0.7),
            "{asked:?}"
        );
        let (asked, fast) = aims(0.5, |aim| 1.3 * aim);
        assert!(fast.is_some_and(|aim| 1.3 * aim <= 0.5), "{asked:?}");
        assert_eq!(aims(0.5, |aim| 0.95 * aim), (vec![0.5], Some(0.5)));
    }
}
