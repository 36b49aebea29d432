//! Meets a budget.

use std::cell::RefCell;

use sepconv_passes::planners::{EnergyThreshold, UniformRank};
use sepconv_passes::{Candidate, Choice, Kept, PassError, Plan, Planner};

use crate::calibrate::{AS_PLANNED, CalibrationSettings, Revision, calibrate, score};
use crate::compress::Compressed;
use crate::error::Error;
use crate::judge::Judge;
use crate::loaded::Loaded;
use crate::planning::{Costs, Planning, SHARE, Settled, Solution, Timer, Unit, Written};
use crate::prepared::Prepared;
use crate::progress::{Progress, Stage};
use crate::search::search;
use crate::settings::{Budget, DataFree, Settings};
use crate::tighten::to_fraction;
use crate::unshaped::Unshaped;

/// Tries that a bisection takes.
pub(crate) const TRIES: usize = 6;

/// Rewrites `model` so that it meets the settings' budget.
pub(crate) fn meet(
    model: &Loaded,
    prepared: &mut Prepared,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    let per_layer = matches!(settings.budget, Budget::Rank(_) | Budget::Energy(_));
    if per_layer && prepared.only_in_bodies() {
        return meet_with(model, prepared, settings, None, progress);
    }
    // Parameters and bytes are counted without shapes.
    let counts_macs = !matches!(
        settings.budget,
        Budget::Rank(_) | Budget::Energy(_) | Budget::TargetParams(_) | Budget::TargetSize(_)
    );
    if counts_macs && let Some(unshaped) = Unshaped::all(&prepared.folded, &prepared.survey) {
        return Err(Error::UnknownShapes {
            file: model.file(),
            unshaped,
        });
    }
    let in_bodies = prepared.bodies.names().next().is_some();
    if !per_layer && prepared.survey.sites().next().is_none() {
        let what = if in_bodies {
            "can be rewritten"
        } else {
            "qualifies"
        };
        return Err(Error::Nothing {
            file: model.file(),
            reason: format!("no convolution {what}: {}", prepared.reasons()),
        });
    }
    if let Some(calibration) = &settings.calibration {
        return meet_with(model, prepared, settings, Some(calibration), progress);
    }
    let pictures = without_data(prepared, settings);
    match meet_with(model, prepared, settings, pictures.as_ref(), progress) {
        // Nobody asked for a run: what a runtime can't run is decomposed by its weights.
        Err(Error::Target { .. })
            if pictures.is_some() && matches!(settings.data_free, DataFree::Auto(_)) =>
        {
            meet_with(model, prepared, settings, None, progress)
        }
        other => other,
    }
}

fn meet_with(
    model: &Loaded,
    prepared: &mut Prepared,
    settings: &Settings,
    calibration: Option<&CalibrationSettings>,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    if let Some(planner) = &settings.planner {
        return by_planner(model, prepared, settings, calibration, &**planner, progress);
    }
    let mut planned = |unit, fraction| {
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(prepared.failed(PassError::Budget(fraction)));
        }
        // What is only counted is known before the work that measures the rest.
        if matches!(unit, Unit::Macs | Unit::Params | Unit::Size) {
            let least = Costs::counted(model, prepared, unit).least();
            if fraction < least {
                let target = fraction;
                return Err(prepared.failed(PassError::Unreachable { target, least }));
            }
        }
        let planning = Planning::new(model, prepared, settings, calibration, unit, progress)?;
        to_fraction(planning, calibration, fraction)
    };
    match (settings.budget, calibration) {
        (Budget::TargetMacs(f), _) => planned(Unit::Macs, f),
        (Budget::TargetParams(f), _) => planned(Unit::Params, f),
        (Budget::TargetSize(f), _) => planned(Unit::Size, f),
        (Budget::TargetLatency(f), _) => planned(Unit::Latency, f),
        (Budget::TargetCost(f), _) => planned(Unit::Cost, f),
        (Budget::MaxDrop(_), None) if settings.eval.is_none() => Err(Error::Setting(
            "--max-drop needs data to measure on: --calib or --eval".into(),
        )),
        (Budget::MaxDrop(_), _) | (Budget::MinSnr(_), Some(_)) => {
            within(model, prepared, settings, calibration, progress)
        }
        (Budget::MinSnr(floor), None) => search(model, prepared, settings, floor, progress),
        (Budget::Rank(rank), _) => {
            let planner = UniformRank {
                rank: offered(prepared, rank).map_err(|e| prepared.failed(e))?,
                costlier: settings.costlier,
            };
            if calibration.is_none() && settings.latency.is_none() {
                return prepared.by(&planner, settings, model.cost.macs);
            }
            let admissible = planner.admissible(&prepared.survey);
            let admissible = admissible.map_err(|e| prepared.failed(e))?;
            best_of(model, prepared, settings, calibration, admissible, progress)
        }
        (Budget::Energy(energy), _) => {
            let planner = EnergyThreshold {
                energy,
                costlier: settings.costlier,
            };
            if let Some(calibration) = calibration {
                energies_on_data(prepared, settings, calibration, progress)?;
            }
            by_planner(model, prepared, settings, calibration, &planner, progress)
        }
    }
}

/// `rank`, or the largest that the main graph offers where a body offers as much.
///
/// # Errors
/// [`PassError::Rank`] where only bodies offer ranks, and none of them that one.
fn offered(prepared: &Prepared, rank: usize) -> Result<usize, PassError> {
    let largest = UniformRank::largest(&prepared.survey);
    match (largest, prepared.bodies.largest_rank()) {
        (Some(here), Some(inner)) if rank <= inner => Ok(rank.min(here)),
        (None, Some(max)) if rank > max => Err(PassError::Rank { rank, max }),
        _ => Ok(rank),
    }
}

/// What a planner chooses, fitted where there is something to fit to.
fn by_planner(
    model: &Loaded,
    prepared: &Prepared,
    settings: &Settings,
    calibration: Option<&CalibrationSettings>,
    planner: &dyn Planner,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    if calibration.is_none() && settings.latency.is_none() {
        return prepared.by(planner, settings, model.cost.macs);
    }
    let plan = planner.plan(&prepared.survey, model.cost.macs);
    let plan = plan.map_err(|e| prepared.failed(e))?;
    let of = |choice: Choice| match choice {
        Choice::Separate(candidate) => vec![candidate],
        Choice::Keep(_) => Vec::new(),
    };
    let admissible = plan.layers.into_iter().map(|l| of(l.choice)).collect();
    best_of(model, prepared, settings, calibration, admissible, progress)
}

/// Every layer by the best of its admissible candidates: of those that pay, where time is
/// measured.
fn best_of(
    model: &Loaded,
    prepared: &Prepared,
    settings: &Settings,
    calibration: Option<&CalibrationSettings>,
    mut admissible: Vec<Vec<Candidate>>,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    let timed = match settings.latency {
        Some(_) => Some(keep_paying(
            model,
            prepared,
            settings,
            &mut admissible,
            progress,
        )?),
        None => None,
    };
    let made = match calibration {
        Some(calibration) => fitted(
            prepared,
            (&admissible, &AS_PLANNED),
            settings,
            calibration,
            progress,
        )?,
        None => prepared.with(plan(prepared, |i| closest(&admissible[i])), settings)?,
    };
    let times = timed.map(|costs| costs.of_plan(prepared, &made.plan));
    Ok(Compressed {
        times: times.unwrap_or_default(),
        ..made
    })
}

/// The energies of candidates are the shares of the outputs that they keep on data, not of
/// the kernels.
fn energies_on_data(
    prepared: &mut Prepared,
    settings: &Settings,
    calibration: &CalibrationSettings,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let scores = score(prepared, settings, calibration, progress)?;
    prepared.keep_unfitted(&scores)?;
    for (layer, score) in prepared.survey.layers.iter_mut().zip(&scores) {
        if let Ok((_, candidates)) = &mut layer.site {
            for (candidate, error) in candidates.iter_mut().zip(&score.errors) {
                candidate.energy = kept(candidate.energy, *error);
            }
        }
    }
    Ok(())
}

/// The share of the outputs that a candidate keeps, from its squared error on data. One that keeps
/// all of the kernel keeps all of them, whatever rounding makes of that.
fn kept(of_kernel: f64, error: f64) -> f64 {
    if of_kernel >= 1.0 {
        1.0
    } else {
        (1.0 - error).clamp(0.0, 1.0)
    }
}

/// How the layers are fitted where there is no data; `None`: to the weights alone.
pub(crate) fn without_data(
    prepared: &Prepared,
    settings: &Settings,
) -> Option<CalibrationSettings> {
    let budget = !matches!(
        settings.budget,
        Budget::Energy(_) | Budget::MinSnr(_) | Budget::MaxDrop(_)
    );
    match &settings.data_free {
        DataFree::Weights => None,
        DataFree::Pictures(recipe) => {
            CalibrationSettings::pictures(prepared, settings.seed, recipe.clone())
        }
        // Whoever lets layers become dearer wants to see exactness.
        DataFree::Auto(recipe) if budget && !settings.costlier => {
            CalibrationSettings::pictures(prepared, settings.seed, recipe.clone())
                .filter(|c| c.is_cheap(prepared))
        }
        DataFree::Auto(_) => None,
    }
}

/// Fits every layer to data with the best of its admissible candidates.
pub(crate) fn fitted(
    prepared: &Prepared,
    admissible: (&[Vec<Candidate>], Revision<'_>),
    settings: &Settings,
    calibration: &CalibrationSettings,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    let result = calibrate(prepared, admissible, settings, calibration, progress)?;
    Ok(Compressed {
        model: prepared.folded.with(result.document)?,
        plan: result.plan,
        applied: result.applied,
        folded: prepared.norms,
        fits: result.fits,
        calibration: Some(calibration.clone()),
        solution: None,
        times: std::collections::BTreeMap::new(),
        spectra: std::collections::BTreeMap::new(),
        body_macs: std::collections::BTreeMap::new(),
        in_bodies: std::collections::BTreeSet::new(),
        tuning: None,
        dropped: Vec::new(),
    })
}

/// What fits leave of the budget is planned again for every layer of up to so many; of more, about
/// [`OF_MANY`] times, since a plan takes time as there are layers.
const REPLANNED: usize = 64;
const OF_MANY: usize = 16;

/// The model that a solution plans: fitted to data, or with weights of the data-free
/// decomposition. What fits leave of the budget, because another family was better for less, is
/// spent on the layers that follow where the planning is there.
pub(crate) fn realised(
    prepared: &Prepared,
    (planning, solution): (Option<&Planning>, Solution),
    settings: &Settings,
    calibration: Option<&CalibrationSettings>,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    let compressed = match calibration {
        Some(calibration) => {
            let all = solution.chosen.iter().zip(&solution.rivals);
            let all = all.map(|(own, rivals)| own.iter().chain(rivals).cloned().collect());
            let planned = within_reach(prepared, all.collect());
            let layers = solution.chosen.iter().flatten().count();
            let every = match layers {
                0..=REPLANNED => 1,
                _ => layers.div_ceil(OF_MANY),
            };
            let last = RefCell::new(None);
            let revise = |settled: &Settled| {
                let mut last = last.borrow_mut();
                if settled.len().is_multiple_of(every) {
                    let again = planning?.again(&solution, settled);
                    *last = again.map(|again| within_reach(prepared, again));
                }
                last.clone()
            };
            let admissible = (planned.as_slice(), &revise as Revision<'_>);
            fitted(prepared, admissible, settings, calibration, progress)?
        }
        None => prepared.with(plan(prepared, |i| solution.chosen[i].clone()), settings)?,
    };
    Ok(Compressed {
        solution: Some(solution),
        ..compressed
    })
}

/// Of the candidates of every layer, the one planned first, those that are fitted.
fn within_reach(prepared: &Prepared, mut all: Vec<Vec<Candidate>>) -> Vec<Vec<Candidate>> {
    for (layer, candidates) in all.iter_mut().enumerate() {
        candidates.truncate(rivals_of(prepared, layer).saturating_add(1));
    }
    all
}

/// How many candidates of other families are fitted beside the one that was chosen: by the length
/// of a patch, as the cube of which fits take time.
fn rivals_of(prepared: &Prepared, layer: usize) -> usize {
    let site = prepared.survey.layers[layer].site.as_ref();
    let patch = site.map_or(0, |(site, _)| site.kernel.group_in() * site.kernel.taps());
    match patch {
        0..=1152 => usize::MAX,
        1153..=2304 => 2,
        _ => 0,
    }
}

/// Leaves only candidates that are measured to be faster than the convolution, each in its
/// fastest lowering. What they cost.
fn keep_paying(
    model: &Loaded,
    prepared: &Prepared,
    settings: &Settings,
    admissible: &mut [Vec<Candidate>],
    progress: &dyn Progress,
) -> Result<Costs, Error> {
    let layers = &prepared.survey.layers;
    let known = |layer: usize| layers[layer].site.as_ref().map_or(&[][..], |(_, c)| c);
    let wanted =
        |layer: usize, candidate: usize| admissible[layer].contains(&known(layer)[candidate]);
    let timer = Timer {
        model,
        prepared,
        settings,
        unit: Unit::Latency,
        progress,
    };
    let costs = timer.costs(&wanted)?;
    for (layer, admissible) in admissible.iter_mut().enumerate() {
        let candidates = known(layer).iter().zip(&costs.candidates[layer]);
        let paying = candidates.filter_map(|(candidate, cost)| {
            let (_, written) = (*cost)?;
            Some(Written::apply(written, candidate))
        });
        *admissible = paying.collect();
    }
    Ok(costs)
}

/// The plan that takes what `chosen` names for a layer of the survey.
pub(crate) fn plan(
    prepared: &Prepared,
    mut chosen: impl FnMut(usize) -> Option<Candidate>,
) -> Plan {
    Plan::choosing(&prepared.survey, |i, _| {
        chosen(i).map_or(Choice::Keep(Kept::Planned), Choice::Separate)
    })
}

/// The admissible candidate closest to its kernel.
fn closest(admissible: &[Candidate]) -> Option<Candidate> {
    let all = admissible.iter();
    let best = all.min_by(|a, b| a.weight_error.total_cmp(&b.weight_error));
    best.cloned()
}

/// The cheapest model that is good enough, by bisection over the fraction that is kept. Each
/// try is planned, fitted and measured.
fn within(
    model: &Loaded,
    prepared: &mut Prepared,
    settings: &Settings,
    calibration: Option<&CalibrationSettings>,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    let stage = Stage::begin(progress, "searching", TRIES);
    let judge = Judge::new(model, settings, calibration, progress)?;
    let unit = settings.unit();
    let (mut planning, timer) =
        Planning::new(model, prepared, settings, calibration, unit, progress)?;
    let prepared = timer.prepared;
    let (mut low, mut high) = (planning.least(), 1.0);
    let mut best: Option<Compressed> = None;
    let mut closest = f64::INFINITY;
    for tried in 0..TRIES {
        stage.step(tried)?;
        let middle = (low.max(0.02) * high).sqrt();
        if high - middle < 0.01 {
            break;
        }
        let solution = match planning.solve_near(&timer, middle, SHARE) {
            Err(Error::Pass { .. }) => {
                low = middle;
                continue;
            }
            solution => solution?,
        };
        if solution.chosen.iter().all(Option::is_none) {
            break;
        }
        let reached = solution.fraction;
        let planned = (Some(&planning), solution);
        let trial = realised(prepared, planned, settings, calibration, progress)?;
        let excess = judge.excess(&trial.model, progress)?;
        if excess <= 0.0 {
            best = Some(Compressed {
                times: planning.times(prepared, &trial.plan),
                ..trial
            });
            high = reached.min(middle);
        } else {
            closest = closest.min(excess);
            low = middle;
        }
    }
    best.ok_or_else(|| Error::Nothing {
        file: model.file(),
        reason: if closest.is_finite() {
            format!("no plan that was tried keeps {judge}; the closest misses it by {closest:.2}")
        } else {
            "no rewrite pays".into()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_rank_keeps_all_of_the_outputs() {
        assert_eq!(kept(1.0, 1e-9), 1.0);
        assert_eq!(kept(0.9, 0.25), 0.75);
        assert_eq!((kept(0.9, 1.5), kept(0.9, -1e-12)), (0.0, 1.0));
    }
}
