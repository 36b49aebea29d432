//! Plans tightened by what they measure.

use sepconv_latency::Bench;

use crate::budget::{TRIES, plan, realised};
use crate::calibrate::CalibrationSettings;
use crate::compress::Compressed;
use crate::error::Error;
use crate::loaded::Loaded;
use crate::planning::{Planning, SHARE, Solution, Timer, Unit};
use crate::prepared::Prepared;
use crate::progress::Progress;
use crate::settings::Settings;

/// A model that costs at most `fraction` of the original. What is only estimated while
/// planning, time and bytes, is measured on the planned model with unfitted weights, and the
/// plan is tightened until it holds.
pub(crate) fn to_fraction(
    model: &Loaded,
    prepared: &Prepared,
    settings: &Settings,
    calibration: Option<&CalibrationSettings>,
    (planning, unit): (&mut Planning, Unit),
    fraction: f64,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    let timer = Timer {
        model,
        prepared,
        settings,
        unit,
        progress,
    };
    // The first plan ignores what time its saving is worth.
    let (mut aim, mut share) = (fraction, 0.0);
    let mut tried: Vec<(Solution, Trial)> = Vec::new();
    for _ in 0..TRIES {
        let solution = planning.solve_near(&timer, aim, share)?;
        let again = |(other, _): &(Solution, Trial)| other.chosen == solution.chosen;
        let known = tried.iter().find(|t| again(t)).map(|(_, trial)| *trial);
        let trial = match known {
            Some(trial) => trial,
            None => trial(model, prepared, settings, &solution, unit)?,
        };
        if trial.cost > fraction {
            aim *= (fraction / trial.cost).min(0.99);
        } else if trial.share < SHARE && (share == 0.0 || known.is_none()) {
            share = (share * (SHARE / trial.share.max(0.1)).clamp(1.02, 1.3)).max(SHARE);
        } else {
            tried.push((solution, trial));
            break;
        }
        tried.push((solution, trial));
    }
    let solution = best_of_tried(tried, fraction).ok_or_else(|| Error::Nothing {
        file: model.file(),
        reason: "no plan was tried".into(),
    })?;
    if solution.chosen.iter().all(Option::is_none) {
        return Err(Error::Nothing {
            file: model.file(),
            reason: "no rewrite pays within this budget".into(),
        });
    }
    let made = realised(
        prepared,
        (Some(planning), solution),
        settings,
        calibration,
        progress,
    )?;
    Ok(Compressed {
        times: planning.times(prepared, &made.plan),
        ..made
    })
}

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

fn trial(
    model: &Loaded,
    prepared: &Prepared,
    settings: &Settings,
    solution: &Solution,
    unit: Unit,
) -> Result<Trial, Error> {
    let made = || prepared.with(plan(prepared, |i| solution.chosen[i].clone()), settings);
    let bytes = |m: &Loaded| m.document.encoded_size() as f64;
    let cost = match unit {
        Unit::Size => bytes(&made()?.model) / bytes(model),
        // Counted exactly: what was planned holds.
        _ => solution.fraction,
    };
    let enough = Trial { cost, share: SHARE };
    let Some(latency) = settings.latency else {
        return Ok(enough);
    };
    let both = [model, &made()?.model];
    let run = latency.time(both, Bench::long(), settings.seed, &())?;
    Ok(match unit {
        Unit::Latency => Trial {
            cost: run.models.last().map_or(1.0, |m| 1.0 / m.speed_up.median),
            ..enough
        },
        _ => {
            // As layers are timed: of a busy machine too much damage would be bought.
            let [original, made] = [run.models.first(), run.models.last()]
                .map(|model| model.map_or(f64::NAN, |m| m.timing.min));
            let saved = 1.0 - made / original;
            Trial {
                cost,
                share: if saved.is_finite() { saved } else { 0.0 } / (1.0 - cost).max(1e-9),
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
