//! Budgets that hold for every layer by itself, and planners of the caller's.

use sepconv_calibrate::{AS_PLANNED, score};
use sepconv_model::{Error, step};
use sepconv_passes::planners::{EnergyThreshold, UniformRank};
use sepconv_passes::{Candidate, Choice, PassError, Planner};
use sepconv_planning::{Costs, Unit, Written};
use sepconv_spec::CalibrationSettings;

use crate::compressed::Compressed;
use crate::job::Job;
use crate::materialise::{fitted, plan};
use crate::prepared::Prepared;

/// The same rank in every layer.
pub(super) fn uniform(
    job: &Job<'_>,
    prepared: &Prepared,
    calibration: Option<&CalibrationSettings>,
    rank: usize,
) -> Result<Compressed, Error> {
    let planner = UniformRank {
        rank: offered(prepared, rank).map_err(|e| prepared.failed(e))?,
        costlier: job.settings.costlier,
    };
    if calibration.is_none() && job.settings.latency.is_none() {
        return unfitted(job, prepared, &planner);
    }
    let admissible = planner.admissible(&prepared.surveyed.survey);
    let admissible = admissible.map_err(|e| prepared.failed(e))?;
    best_of(job, prepared, calibration, admissible)
}

/// The least rank of every layer that keeps a share of energy: of the outputs where there is data,
/// else of the kernel.
pub(super) fn energy(
    job: &Job<'_>,
    prepared: &mut Prepared,
    calibration: Option<&CalibrationSettings>,
    energy: f64,
) -> Result<Compressed, Error> {
    let planner = EnergyThreshold {
        energy,
        costlier: job.settings.costlier,
    };
    if let Some(calibration) = calibration {
        step("collect", || energies_on_data(job, prepared, calibration))?;
    }
    by_planner(job, prepared, calibration, &planner)
}

/// The choice of a planner, fitted where there is something to fit to.
pub(super) fn by_planner(
    job: &Job<'_>,
    prepared: &Prepared,
    calibration: Option<&CalibrationSettings>,
    planner: &dyn Planner,
) -> Result<Compressed, Error> {
    if calibration.is_none() && job.settings.latency.is_none() {
        return unfitted(job, prepared, planner);
    }
    let plan = planner.plan(&prepared.surveyed.survey, job.model.cost.macs);
    let plan = plan.map_err(|e| prepared.failed(e))?;
    let of = |choice: Choice| match choice {
        Choice::Separate(candidate) => vec![candidate],
        Choice::Keep(_) => Vec::new(),
    };
    let admissible = plan.layers.into_iter().map(|l| of(l.choice)).collect();
    best_of(job, prepared, calibration, admissible)
}

/// The choice of a planner, with data-free weights.
fn unfitted(
    job: &Job<'_>,
    prepared: &Prepared,
    planner: &dyn Planner,
) -> Result<Compressed, Error> {
    let plan = planner.plan(&prepared.surveyed.survey, job.model.cost.macs);
    prepared.with(plan.map_err(|e| prepared.failed(e))?, job)
}

/// Every layer by the best of its admissible candidates: of those that pay, where time is
/// measured.
fn best_of(
    job: &Job<'_>,
    prepared: &Prepared,
    calibration: Option<&CalibrationSettings>,
    mut admissible: Vec<Vec<Candidate>>,
) -> Result<Compressed, Error> {
    let timed = match job.settings.latency {
        Some(_) => Some(step("cost", || {
            keep_paying(job, prepared, &mut admissible)
        })?),
        None => None,
    };
    let mut made = match calibration {
        Some(calibration) => fitted(prepared, &admissible, &AS_PLANNED, job.fitting(calibration))?,
        None => prepared.with(plan(prepared, |i| closest(&admissible[i])), job)?,
    };
    if let Some(costs) = timed {
        let times = costs.of_plan(&prepared.surveyed, &made.plan());
        made.set_times(&times);
    }
    Ok(made)
}

/// `rank`, or the largest that the main graph offers where a body offers as much.
///
/// # Errors
/// [`PassError::Rank`] where only bodies offer ranks, and none of them that one.
fn offered(prepared: &Prepared, rank: usize) -> Result<usize, PassError> {
    let largest = UniformRank::largest(&prepared.surveyed.survey);
    match (largest, prepared.bodies.largest_rank()) {
        (Some(here), Some(inner)) if rank <= inner => Ok(rank.min(here)),
        (None, Some(max)) if rank > max => Err(PassError::Rank { rank, max }),
        _ => Ok(rank),
    }
}

/// The energies of candidates become the shares of the outputs that they keep on data.
fn energies_on_data(
    job: &Job<'_>,
    prepared: &mut Prepared,
    calibration: &CalibrationSettings,
) -> Result<(), Error> {
    let surveyed = &mut prepared.surveyed;
    let scores = score(surveyed, job.fitting(calibration))?;
    surveyed.keep_unfitted(scores.iter().map(|s| s.kept.as_ref()))?;
    for (layer, score) in surveyed.survey.layers.iter_mut().zip(&scores) {
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

/// Leaves only candidates that are measured to be faster than the convolution, each in its
/// fastest lowering. Their costs.
fn keep_paying(
    job: &Job<'_>,
    prepared: &Prepared,
    admissible: &mut [Vec<Candidate>],
) -> Result<Costs, Error> {
    let layers = &prepared.surveyed.survey.layers;
    let known = |layer: usize| layers[layer].site.as_ref().map_or(&[][..], |(_, c)| c);
    let wanted =
        |layer: usize, candidate: usize| admissible[layer].contains(&known(layer)[candidate]);
    let costing = job.costing(&prepared.surveyed, Unit::Latency)?;
    let costs = costing.costs(&wanted)?;
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

/// The admissible candidate closest to its kernel.
fn closest(admissible: &[Candidate]) -> Option<Candidate> {
    let all = admissible.iter();
    let best = all.min_by(|a, b| a.weight_error.total_cmp(&b.weight_error));
    best.cloned()
}
