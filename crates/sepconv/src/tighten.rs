//! Plans tightened by what they measure.

use sepconv_latency::Bench;

use crate::budget::{TRIES, plan, realised};
use crate::calibrate::CalibrationSettings;
use crate::compress::Compressed;
use crate::error::Error;
use crate::loaded::Loaded;
use crate::planning::{Planning, SHARE, Solution, Timer, Unit};
use crate::progress::Stage;

/// A model that costs at most `fraction` of the original. What is only estimated while
/// planning, time and bytes, is measured on the planned model with unfitted weights, and the
/// plan is tightened until it holds.
pub(crate) fn to_fraction(
    (mut planning, timer): (Planning, Timer<'_>),
    calibration: Option<&CalibrationSettings>,
    fraction: f64,
) -> Result<Compressed, Error> {
    let (prepared, settings) = (timer.prepared, timer.settings);
    let (mut aim, mut wanted) = (fraction, Share::default());
    let mut tried: Vec<(Solution, Trial)> = Vec::new();
    let stage = Stage::begin(timer.progress, "planning", TRIES);
    for done in 0..TRIES {
        stage.step(done)?;
        let solution = planning.solve_near(&timer, aim, wanted.asked)?;
        let again = |(other, _): &(Solution, Trial)| other.chosen == solution.chosen;
        let known = tried.iter().find(|t| again(t)).map(|(_, trial)| *trial);
        let trial = match known {
            Some(trial) => trial,
            None => trial(&timer, &solution)?,
        };
        let predicted = solution.time.map_or(0.0, |t| share(t, solution.fraction));
        tried.push((solution, trial));
        if trial.cost > fraction {
            aim *= (fraction / trial.cost).min(0.99);
        } else if !wanted.follow(trial.share, predicted, known.is_some()) {
            break;
        }
    }
    drop(stage);
    let solution = best_of_tried(tried, fraction).ok_or_else(|| Error::Nothing {
        file: timer.model.file(),
        reason: "no plan was tried".into(),
    })?;
    if solution.chosen.iter().all(Option::is_none) {
        return Err(Error::Nothing {
            file: timer.model.file(),
            reason: "no rewrite pays within this budget".into(),
        });
    }
    let made = realised(
        prepared,
        (Some(&planning), solution),
        settings,
        calibration,
        timer.progress,
    )?;
    Ok(Compressed {
        times: planning.times(prepared, &made.plan),
        ..made
    })
}

/// The share of a saved cost that is saved time; both are left as fractions of the original's.
fn share(time: f64, cost: f64) -> f64 {
    (1.0 - time) / (1.0 - cost).max(1e-9)
}

/// The share of its saving that a plan is asked to make time of, by what plans measured: predictions
/// are off by a factor.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    /// Of the next plan. The first one ignores time.
    asked: f64,
    /// The most that was asked of a plan which measured too little.
    short: f64,
    /// The least that was asked of one which measured enough.
    enough: Option<f64>,
}

impl Share {
    /// Asks the next plan for more or less, unless what was measured is near enough, or nothing
    /// changes any more. `predicted` is what the plan was thought to save, which may be more than was
    /// asked; `known`: it was measured before.
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
            // What was asked for first was not much.
            self.asked = 0.5 * (self.short.max(0.5 * asked) + asked);
        }
        let short = self.short;
        self.enough.is_none_or(|enough| enough > short * STEP)
    }
}

/// Measured shares of so much more than what is wanted are no reason to look for less.
const OVER: f64 = 1.05;
/// Least step between shares that are asked for, as a factor.
const STEP: f64 = 1.02;

/// Of the plans that keep the budget (else of all) and save enough time (else nearly the most that
/// any did), the one with the least damage: what time can't be had for is not paid for.
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
    // Where all are slower than the original, the least slow one.
    let enough = SHARE.min(most.min(NEARLY * most));
    tried.retain(|(_, t)| t.share >= enough);
    let least = tried
        .into_iter()
        .min_by(|(a, _), (b, _)| a.damage.total_cmp(&b.damage));
    least.map(|(solution, _)| solution)
}

/// Measured shares that differ by less are taken for alike.
const NEARLY: f64 = 0.9;

/// What a planned model measures with unfitted weights.
#[derive(Debug, Clone, Copy)]
struct Trial {
    /// Fraction of the original's cost.
    cost: f64,
    /// Share of the saved cost that is saved time; enough where time is no matter.
    share: f64,
}

fn trial(timer: &Timer<'_>, solution: &Solution) -> Result<Trial, Error> {
    let (model, prepared, settings) = (timer.model, timer.prepared, timer.settings);
    let made = || prepared.with(plan(prepared, |i| solution.chosen[i].clone()), settings);
    let bytes = |m: &Loaded| m.document.encoded_size() as f64;
    let cost = match timer.unit {
        Unit::Size => bytes(&made()?.model) / bytes(model),
        // Counted exactly: what was planned holds.
        _ => solution.fraction,
    };
    let enough = Trial { cost, share: SHARE };
    let Some(latency) = settings.latency else {
        return Ok(enough);
    };
    let both = [model, &made()?.model];
    let run = latency.time(both, Bench::long(), settings.seed, timer.progress)?;
    Ok(match timer.unit {
        Unit::Latency => Trial {
            cost: run.models.last().map_or(1.0, |m| 1.0 / m.speed_up.median),
            ..enough
        },
        _ => {
            // As layers are timed: of a busy machine too much damage would be bought.
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

    fn tried(cost: f64, share: f64, damage: f64) -> (Solution, Trial) {
        let solution = Solution {
            fraction: cost,
            damage,
            bound: damage,
            time: None,
            chosen: Vec::new(),
            rivals: Vec::new(),
            terms: (0.5, 0.0),
        };
        (solution, Trial { cost, share })
    }

    #[test]
    fn what_measures_too_little_is_asked_for_more_and_what_measures_too_much_for_less() {
        let least_enough = |plan: fn(f64) -> f64| {
            let mut share = Share::default();
            let mut found = vec![plan(0.0)];
            while share.follow(plan(share.asked), share.asked, false) {
                found.push(plan(share.asked));
                assert!(found.len() < 12, "{found:?}");
            }
            let enough = found.into_iter().filter(|f| *f >= SHARE);
            enough.fold(f64::INFINITY, f64::min)
        };
        // Plans measure four fifths of what is asked of them, and 0.3 unasked.
        assert!(least_enough(|asked| (0.8 * asked).max(0.3)) < OVER * SHARE);
        // The first that is enough is too much: 0.78 of what can be had for 0.75.
        assert!(least_enough(|asked| if asked < 0.75 { 0.6 } else { 0.9 * asked }) < 0.72);
        // What is thought to save more than was asked is asked for more than that.
        let mut share = Share::default();
        assert!(share.follow(0.3, 0.9, false) && share.asked == SHARE);
        assert!(share.follow(0.55, 0.95, false) && share.asked > 1.0);
        // Enough unasked, and no more to be had.
        assert!(!Share::default().follow(0.7, 0.0, false));
        let mut share = Share::default();
        assert!(share.follow(0.4, 0.3, false) && !share.follow(0.4, 0.7, true));
    }

    fn damage(all: Vec<(Solution, Trial)>) -> Option<f64> {
        best_of_tried(all, 0.5).map(|s| s.damage)
    }

    #[test]
    fn the_plan_taken_keeps_the_budget_and_pays_only_for_time_that_it_gets() {
        let enough = vec![
            tried(0.5, 0.4, 1.0),
            tried(0.5, 0.7, 1.4),
            tried(0.5, 0.9, 1.9),
        ];
        assert_eq!(damage(enough), Some(1.4));
        // No form is fast: twice the damage for no time is not taken.
        let nothing = vec![tried(0.5, 0.49, 1.0), tried(0.5, 0.5, 2.0)];
        assert_eq!(damage(nothing), Some(1.0));
        let some = vec![tried(0.5, 0.2, 1.0), tried(0.5, 0.5, 2.0)];
        assert_eq!(damage(some), Some(2.0));
        // What is slower than the original is measured and refused later, and not lost here.
        let slower = vec![tried(0.5, -0.4, 1.0), tried(0.5, -0.1, 2.0)];
        assert_eq!(damage(slower), Some(2.0));
        // What keeps the budget goes before what does not, else what is nearest.
        let late = vec![tried(0.55, 0.9, 0.5), tried(0.5, 0.1, 3.0)];
        assert_eq!(damage(late), Some(3.0));
        let never = vec![tried(0.6, 0.9, 0.5), tried(0.55, 0.9, 3.0)];
        assert_eq!(damage(never), Some(3.0));
        assert_eq!(damage(Vec::new()), None);
    }
}
