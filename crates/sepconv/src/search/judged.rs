//! An acceptance criterion: the cheapest model that meets it. Each plan is fitted and measured. Where the figure
//! tells how much noise a plan makes, the next plan is the cheapest whose expected loss makes as much as the bound
//! allows, by the noise over the expected loss of the plan before. Elsewhere its fraction of the cost is that at which a
//! line through the plans nearest to the bound on either side crosses it (regula falsi). Both are kept off
//! the plans that are known.

use std::ops::ControlFlow;

use sepconv_model::{Error, Loaded};
use sepconv_planning::{Planning, SHARE, Solution};
use sepconv_spec::{CalibrationSettings, Try};

use super::acceptance::{Acceptance, Judgement};
use super::engine::{Aim, Goal, LONGER, Search, TRIED, TRIES, UNMET, is_empty};
use crate::compressed::Compressed;
use crate::job::Job;
use crate::quantizing::quantized_as_planned;

/// Bisections of a criterion on synthetic inputs, which costs little: the result is within 1/2^7 of
/// the range of the best.
const MANY: usize = 7;

/// Tries of a criterion on data, each of which is fitted, once one of them holds.
const FEW: usize = 4;

/// The search ends where a plan that holds uses so much of the allowed drop, of decibels of the allowed noise, or where the
/// fractions that are left are so near.
const NEAR: f64 = 0.9;
const FINE: f64 = 0.02;

/// Share of the range between two plans that the next one is kept off either.
const OFF: f64 = 0.15;

/// A plan that was measured.
#[derive(Debug, Clone, Copy)]
struct Tried {
    /// Fraction of the cost that it keeps.
    fraction: f64,
    /// Distance from the bound ([`Acceptance::share`]): -1 is the original, above 0 it fails.
    excess: f64,
    /// Its expected loss, where it is a plan.
    loss: Option<f64>,
}

/// The expected loss of the next plan between one that fails and one that holds: `wanted`, which
/// follows from the last of them; half-way between theirs, in logarithms, where it contradicts the other.
fn within(wanted: f64, low: Tried, high: Tried) -> f64 {
    match (high.loss, low.loss) {
        (Some(holds), Some(fails)) if wanted <= holds || wanted >= fails => (holds * fails).sqrt(),
        _ => wanted,
    }
}

/// The fraction to try between a plan that fails, or one that nothing is known of, and one that holds.
fn between(low: Tried, high: Tried) -> f64 {
    if !low.excess.is_finite() {
        return (low.fraction.max(0.02) * high.fraction).sqrt();
    }
    let share = high.excess / (high.excess - low.excess);
    // The original is not on the line: near it, errors fall faster.
    let most = if high.excess > -1.0 { 1.0 - OFF } else { 0.5 };
    let share = share.clamp(OFF, most);
    high.fraction - share * (high.fraction - low.fraction)
}

/// `fraction` kept off two plans, of which `low` may be one that nothing is known of.
fn kept_off(fraction: f64, low: Tried, high: Tried) -> f64 {
    let off = OFF * (high.fraction - low.fraction);
    let least = match low.excess.is_finite() {
        true => low.fraction + off,
        false => low.fraction,
    };
    fraction.clamp(least, high.fraction - off)
}

/// Most that an expected loss is raised or lowered by from one plan to the next.
const STEP: f64 = 8.0;

/// The least that a plan's expected loss is taken to add to that of rounding, as a share of the latter.
const LEAST: f64 = 0.1;

/// The factor of the expected loss after a plan that made so much noise of so much that is allowed.
fn growth(made: f64, allowed: f64) -> f64 {
    match made > 0.0 {
        true => (allowed.max(0.0) / made).clamp(1.0 / STEP, STEP),
        false => STEP,
    }
}

/// An expected loss of which all but that of rounding grows by `factor`.
fn grown(loss: f64, rounding: f64, factor: f64) -> f64 {
    rounding + (loss - rounding).max(LEAST * rounding) * factor
}

/// A model that meets a criterion.
pub(super) struct Judged<'a> {
    job: &'a Job<'a>,
    calibration: Option<&'a CalibrationSettings>,
    criterion: Acceptance<'a>,
    /// The plan of the greatest fraction that is known to fail, or the least that any plan reaches.
    low: Tried,
    /// The plan of the least fraction that is known to hold.
    high: Tried,
    asked: Option<f64>,
    /// The expected loss of the next plan.
    wanted: Option<f64>,
    /// Noise of the model that the search starts from, by every figure, and its expected loss.
    start: Vec<f64>,
    rounding: f64,
    tries: usize,
    best: Option<Compressed>,
    closest: Option<Judgement>,
}

impl<'a> Judged<'a> {
    /// A search from the original, or from the model in eight bits alone where the result is to be in
    /// these: its own distance is allowed then.
    ///
    /// # Errors
    /// As [`Acceptance::judged`], and where the model can't be quantised.
    pub fn new(
        job: &'a Job<'a>,
        calibration: Option<&'a CalibrationSettings>,
        mut criterion: Acceptance<'a>,
        planning: &Planning,
    ) -> Result<Self, Error> {
        let mut high = Tried {
            // Folding alone may save time: a plan that costs as much rewrites nothing.
            fraction: planning.unrewritten().min(1.0),
            excess: -1.0,
            loss: None,
        };
        let mut start = vec![0.0; criterion.figures()];
        if job.settings.is_in_eight_bits() {
            let mut alone = criterion.judged(&job.in_eight_bits()?.model, job)?;
            job.judged_alone.get_or_init(|| alone.verdict().clone());
            criterion.allow(&mut alone);
            let noises = criterion.noises(&alone).into_iter();
            start = noises.map(|noise| noise.unwrap_or(0.0)).collect();
            high.excess = criterion.share(&alone);
        }
        let rounding = planning.unrewritten_loss();
        let first = (!criterion.is_synthetic()).then(|| criterion.first_loss(&start));
        let wanted = first.flatten().map(|loss| rounding + loss);
        Ok(Self {
            job,
            calibration,
            criterion,
            low: Tried {
                fraction: planning.least(),
                excess: f64::INFINITY,
                loss: None,
            },
            high,
            asked: None,
            wanted,
            start,
            rounding,
            tries: 0,
            best: None,
            closest: None,
        })
    }
}

impl Judged<'_> {
    /// A rewritten model held against the floor, which is set anew where a runtime refuses the model and another takes
    /// its place.
    fn judged(&mut self, model: &Loaded) -> Result<Judgement, Error> {
        match self.criterion.judged(model, self.job) {
            Err(error) if self.job.moves_for(&error) => {
                self.criterion = Acceptance::new(self.job, self.calibration)?;
                self.start.resize(self.criterion.figures(), 0.0);
                self.closest = None;
                self.criterion.judged(model, self.job)
            }
            other => other,
        }
    }

    /// The expected loss of the plan after one that is judged so. The loss of rounding stays, but for
    /// layers that plans have in floats.
    fn next_loss(&self, loss: f64, judged: &Judgement) -> Option<f64> {
        let (made, allowed) = self.criterion.noise_beside_bound(judged)?;
        let start = self.start[judged.place()];
        let (made, allowed) = (made - start, allowed - start);
        Some(grown(loss, self.rounding, growth(made, allowed)))
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

    fn end(&self) -> f64 {
        match self.best {
            Some(_) => TRIED,
            None => UNMET,
        }
    }

    fn longer(&self) -> f64 {
        match self.best {
            Some(_) => LONGER,
            // Of plans that fail the next rewrites less.
            None => 1.0,
        }
    }

    fn aim(&mut self, planning: &Planning) -> Option<Aim> {
        let (low, high) = (self.low.fraction, self.high.fraction);
        let middle = match (self.criterion.is_synthetic(), self.asked) {
            // The first plan saves little: without data many models offer no more.
            (true, None) => 0.75 * high + 0.25 * low,
            (true, Some(_)) => 0.5 * (low + high),
            (false, _) if self.best.is_some() && self.tries >= FEW => return None,
            (false, _) if high - low < FINE * high || self.high.excess > NEAR - 1.0 => return None,
            (false, _) => match self.wanted {
                Some(loss) => {
                    let loss = within(loss, self.low, self.high);
                    kept_off(planning.fraction_at(loss, low, high), self.low, self.high)
                }
                None => between(self.low, self.high),
            },
        };
        self.asked = Some(middle);
        self.tries += 1;
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
        let asked = self.asked.unwrap_or(self.high.fraction);
        let mut tried = Try {
            asked,
            ..Try::default()
        };
        let solution = match found {
            Err(Error::Pass { .. }) => {
                self.low.fraction = asked;
                return Ok((ControlFlow::Continue(()), tried));
            }
            found => found?,
        };
        tried.fraction = Some(solution.fraction);
        tried.expected_loss = Some(solution.loss);
        if is_empty(&solution) {
            return Ok((ControlFlow::Break(()), tried));
        }
        let (mut reached, loss) = (solution.fraction, solution.loss);
        let chosen = solution.chosen.clone();
        let mut made = search.materialise(solution)?;
        // Layers that can't be fitted stay.
        let surveyed = &search.prepared.surveyed;
        let unsaved = (search.planning).unsaved(&chosen, surveyed, &made.plan());
        if unsaved > 0.0 {
            reached += unsaved;
            tried.fraction = Some(reached);
        } else {
            reached = reached.min(asked);
        }
        if search.job.settings.is_in_eight_bits() {
            made.quantized = Some(quantized_as_planned(search.job, &made)?);
        }
        let judged = made.quantized.as_ref().map_or(&made.model, |q| &q.model);
        let judged = self.judged(judged)?;
        self.wanted = self.wanted.and(self.next_loss(loss, &judged));
        let measured = Tried {
            fraction: reached,
            excess: self.criterion.share(&judged),
            loss: Some(loss),
        };
        let verdict = judged.verdict().clone();
        tried.measured = verdict.value;
        tried.limit = verdict.limit;
        tried.holds = self.criterion.excess(&judged) <= 0.0;
        let cheaper = self.best.is_none() || reached < self.high.fraction;
        if tried.holds && cheaper {
            made.verdict = Some(verdict);
            self.best = Some(made);
            self.high = measured;
        } else if tried.holds {
            // It saves less than was planned, and than the best: nothing is known of plans below.
            self.low = Tried {
                fraction: asked,
                excess: f64::INFINITY,
                loss: None,
            };
        } else {
            let share = |judged: &Judgement| self.criterion.share(judged);
            let closer = self
                .closest
                .as_ref()
                .is_none_or(|known| share(&judged) < share(known));
            if closer {
                self.closest = Some(judged);
            }
            self.low = Tried {
                fraction: asked,
                ..measured
            };
        }
        Ok((ControlFlow::Continue(()), tried))
    }

    fn conclude(self, search: &Search<'_>) -> Result<Compressed, Error> {
        let (criterion, job) = (&self.criterion, search.job);
        if let Some(best) = self.best {
            return Ok(best);
        }
        let none = match &self.closest {
            Some(closest) => criterion.missed_by(closest, job),
            None => search.no_plan(),
        };
        search.prepared.unwritten_for(none, job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(fraction: f64, excess: f64) -> Tried {
        Tried {
            fraction,
            excess,
            loss: None,
        }
    }

    #[test]
    fn an_expected_loss_that_contradicts_a_plan_gives_way_to_the_middle() {
        let with = |loss| Tried {
            loss: Some(loss),
            ..tried(0.5, 0.0)
        };
        let (low, high) = (with(0.04), with(0.01));
        assert_eq!(within(0.03, low, high), 0.03);
        assert!((within(0.005, low, high) - 0.02).abs() < 1e-12);
        assert!((within(0.04, low, high) - 0.02).abs() < 1e-12);
        assert_eq!(within(0.005, low, tried(1.0, -1.0)), 0.005);
    }

    #[test]
    fn the_next_plan_is_where_the_line_through_its_neighbours_meets_the_bound() {
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}");
        near(between(tried(0.25, f64::INFINITY), tried(1.0, -1.0)), 0.5);
        near(between(tried(0.5, 0.1), tried(1.0, -1.0)), 0.75);
        near(between(tried(0.5, 1.0), tried(0.9, -1.0)), 0.7);
        near(between(tried(0.5, 0.1), tried(0.9, -1.0)), 0.7);
        // Far beyond the bound, and all but at it.
        near(between(tried(0.5, 99.0), tried(0.6, -0.5)), 0.6 - OFF * 0.1);
        near(between(tried(0.5, 0.01), tried(0.6, -0.9)), 0.5 + OFF * 0.1);
    }

    #[test]
    fn expected_losses_follow_the_noise() {
        assert_eq!(growth(2.0, 1.0), 0.5);
        assert_eq!(growth(1e-9, 1.0), STEP);
        assert_eq!(growth(-1.0, 1.0), STEP);
        assert_eq!(growth(0.0, 0.0), STEP);
        assert_eq!(growth(1.0, 0.0), 1.0 / STEP);
    }

    #[test]
    fn the_loss_of_rounding_stays() {
        assert_eq!(grown(5.0, 1.0, 0.25), 2.0);
        assert_eq!(grown(1.0, 1.0, 2.0), 1.0 + 2.0 * LEAST);
    }

    #[test]
    fn a_plan_is_kept_off_those_that_are_known() {
        let high = tried(1.0, -1.0);
        // The least fraction was not tried.
        assert_eq!(kept_off(0.3, tried(0.3, f64::INFINITY), high), 0.3);
        assert_eq!(kept_off(0.3, tried(0.3, 0.5), high), 0.3 + OFF * 0.7);
        assert_eq!(kept_off(0.99, tried(0.3, 0.5), high), 1.0 - OFF * 0.7);
        assert_eq!(kept_off(0.5, tried(0.3, 0.5), high), 0.5);
    }
}
