//! The decision of a budget.
//!
//! A budget that holds per layer is decided layer by layer ([`per_layer`]). Any other is allocated
//! over all layers by one search: a goal names the cost of the next plan, the plan with the least
//! expected loss within it is found, and the goal considers that plan, until it has seen enough. There
//! are three kinds of goal: a cost that is counted ([`counted`]), a cost that is measured on the
//! planned model ([`measured`]), and an acceptance criterion that the fitted model has to meet
//! ([`judged`]).

mod acceptance;
mod counted;
mod criterion;
mod engine;
mod floats;
mod floor;
mod judged;
mod measured;
mod per_layer;

use sepconv_model::{Error, Event, Loaded, Reach, step};
use sepconv_passes::{PassError, Site};
use sepconv_planning::{Costs, Unit};
use sepconv_spec::{CalibrationSettings, Verdict};

use crate::compressed::Compressed;
use crate::job::Job;
use crate::prepared::Prepared;
use crate::settings::{Budget, DataFree};

use acceptance::Acceptance;
use counted::Counted;
use judged::Judged;
use measured::Measured;

pub(crate) use engine::{Aim, Search};

/// Rewrites the layers of the main graph so that the budget is met.
///
/// # Errors
/// [`Error::UnknownShapes`] and [`Error::AllKept`] where no layer can be rewritten, [`Error::Pass`]
/// where the budget is out of range or can't be met; as [`crate::compress()`].
pub(crate) fn decide(job: &Job<'_>, prepared: &mut Prepared) -> Result<Compressed, Error> {
    if is_per_layer(job.settings.budget) && prepared.only_in_bodies() {
        return decide_with(job, prepared, None);
    }
    check_layers(job, prepared)?;
    let calibration = job.fitted_to(&prepared.surveyed);
    let unasked = job.settings.calibration.is_none()
        && calibration.is_some()
        && matches!(job.settings.data_free, DataFree::Auto(_));
    match decide_with(job, prepared, calibration.as_ref()) {
        // Nobody asked for a run: layers that a runtime can't run are decomposed by their weights.
        Err(Error::Target { .. }) if unasked => decide_with(job, prepared, None),
        other => other,
    }
}

fn is_per_layer(budget: Budget) -> bool {
    matches!(budget, Budget::Rank(_) | Budget::Energy(_))
}

/// Refuses models of which no layer can be rewritten.
fn check_layers(job: &Job<'_>, prepared: &Prepared) -> Result<(), Error> {
    let budget = job.settings.budget;
    // Parameters and bytes are counted without shapes.
    let counts_macs =
        !is_per_layer(budget) && !matches!(budget, Budget::TargetParams(_) | Budget::TargetSize(_));
    let surveyed = &prepared.surveyed;
    let sites = || surveyed.survey.sites();
    if counts_macs && sites().count() > 0 && sites().all(|(site, _)| site.macs.is_none()) {
        return Err(Error::UnknownShapes {
            file: job.model.file(),
            unshaped: surveyed.folded.unshaped(sites().count()),
        });
    }
    if !is_per_layer(budget) && sites().next().is_none() {
        return Err(prepared.all_kept());
    }
    Ok(())
}

fn decide_with(
    job: &Job<'_>,
    prepared: &mut Prepared,
    calibration: Option<&CalibrationSettings>,
) -> Result<Compressed, Error> {
    if let Some(planner) = &job.settings.planner {
        return per_layer::by_planner(job, prepared, calibration, &**planner);
    }
    match job.settings.budget {
        Budget::Rank(rank) => per_layer::uniform(job, prepared, calibration, rank),
        Budget::Energy(energy) => per_layer::energy(job, prepared, calibration, energy),
        Budget::TargetMacs(f) => to_fraction(job, prepared, calibration, Unit::Macs, f),
        Budget::TargetParams(f) => to_fraction(job, prepared, calibration, Unit::Params, f),
        Budget::TargetSize(f) => to_fraction(job, prepared, calibration, Unit::Size, f),
        Budget::TargetLatency(f) => to_fraction(job, prepared, calibration, Unit::Latency, f),
        Budget::TargetCost(f) => to_fraction(job, prepared, calibration, Unit::Cost, f),
        Budget::MaxDrop(_) | Budget::MinSnr(_) => {
            let criterion = step("reference", || Acceptance::new(job, calibration))?;
            let search = Search::new(job, prepared, calibration, job.settings.unit())?;
            let goal = step("reference", || {
                Judged::new(job, calibration, criterion, &search.planning)
            })?;
            search.run(goal)
        }
    }
}

/// The model in eight bits alone held against the job's budget, once; `None` where that is not judged.
///
/// # Errors
/// As [`Job::in_eight_bits`], [`Acceptance::new`] and [`Acceptance::judged`].
pub(crate) fn judge_alone<'j>(job: &'j Job<'_>) -> Result<Option<&'j Verdict>, Error> {
    if !job.settings.budget.is_judged() {
        return Ok(None);
    }
    if let Some(known) = job.judged_alone.get() {
        return Ok(Some(known));
    }
    let criterion = Acceptance::new(job, job.settings.calibration.as_ref())?;
    let judged = criterion.judged(&job.in_eight_bits()?.model, job)?;
    let verdict = judged.verdict().clone();
    Ok(Some(job.judged_alone.get_or_init(|| verdict)))
}

/// The model of least loss that costs at most `fraction` of the original.
fn to_fraction(
    job: &Job<'_>,
    prepared: &mut Prepared,
    calibration: Option<&CalibrationSettings>,
    unit: Unit,
    fraction: f64,
) -> Result<Compressed, Error> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(prepared.failed(PassError::Budget(fraction)));
    }
    let counted = matches!(unit, Unit::Macs | Unit::Params | Unit::Size);
    if counted {
        // Known before the work that scores the candidates.
        let least = Costs::counted(&job.model, &prepared.surveyed, unit).least();
        if fraction < least {
            let target = fraction;
            return Err(prepared.failed(PassError::Unreachable { target, least }));
        }
    }
    if unit == Unit::Macs
        && let Some(reach) = reach(job, prepared, fraction)
    {
        job.progress.on(Event::Foreseen(reach));
    }
    let search = Search::new(job, prepared, calibration, unit)?;
    let exact = match unit {
        Unit::Macs | Unit::Cost => true,
        // Layers that share weights have factors of their own.
        Unit::Params => !shares_weights(&job.model),
        Unit::Size | Unit::Latency => false,
    };
    match exact && job.settings.latency.is_none() {
        true => search.run(Counted::new(fraction)),
        false => search.run(Measured::new(fraction)),
    }
}

/// True where several operators read the weights of a layer.
fn shares_weights(model: &Loaded) -> bool {
    let graph = model.graph();
    let mut layers = graph.operators().filter(|(_, op)| Site::is_layer(op));
    layers.any(|(_, op)| Site::weight_readers(graph, op) > 1)
}

/// The part that a fraction of all MACs leaves of the layers that can be rewritten, where that is
/// little.
fn reach(job: &Job<'_>, prepared: &Prepared, fraction: f64) -> Option<Reach> {
    let sites = prepared.surveyed.survey.sites();
    let held: u64 = sites.filter_map(|(site, _)| site.macs).sum();
    Reach::surprising(fraction, held, job.model.cost.macs)
}
