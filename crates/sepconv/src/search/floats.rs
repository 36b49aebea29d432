//! The time that layers in floats save in a model of another precision.

use sepconv_latency::Bench;
use sepconv_model::Error;
use sepconv_planning::{Costing, Solution};

use crate::job::Job;
use crate::materialise::{in_floats, plan};
use crate::prepared::Prepared;

/// The time that the layers of a plan which stay in floats save so, as a share of the original's, measured on the
/// planned model with unfitted weights; 0 where no runtime is timed.
pub(super) fn saved_by_floats(
    job: &Job<'_>,
    prepared: &Prepared,
    costing: &Costing<'_>,
    solution: &Solution,
) -> Result<f64, Error> {
    let Some(latency) = job.settings.latency else {
        return Ok(0.0);
    };
    let chosen = plan(prepared, |i| solution.chosen[i].clone());
    let made = prepared.with(chosen, job)?.model;
    let without = costing.outline(&made, costing.floats)?;
    let with = costing.outline(&made, &left(prepared, costing, solution))?;
    let (Some(without), Some(with)) = (without, with) else {
        return Ok(0.0);
    };
    let models = [&*job.model, &without, &with];
    let run = latency.time(&models, Bench::default(), job.settings.seed, job.progress)?;
    Ok(match run.models.as_slice() {
        [original, without, with] if original.timing.min > 0.0 => {
            (without.timing.min - with.timing.min) / original.timing.min
        }
        _ => 0.0,
    })
}

/// Names of the layers that stay in floats in any result, and of those that a plan has so.
pub(super) fn left(prepared: &Prepared, costing: &Costing<'_>, solution: &Solution) -> Vec<String> {
    [&in_floats(prepared, solution), costing.floats].concat()
}
