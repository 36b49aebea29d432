//! The time that a compression takes behind its search, where its time is limited.

use std::time::{Duration, Instant};

use sepconv_data::Labels;
use sepconv_ir::Tensor;
use sepconv_model::{Error, Samples, run};

use crate::job::Job;
use crate::settings::Budget;

/// Runs that the time of one is taken of, beyond the first.
const MORE: usize = 2;

/// Runs of the closing timing: of the original and the result, with those that warm up.
const TIMED: usize = 20;

/// Time of the closing timing of a model that takes no time.
const LEAST: Duration = Duration::from_secs(4);

/// Passes over the calibration data by which a model goes into eight bits, and samples that it is judged on.
const PASSES: usize = 3;
const JUDGED: usize = 64;

/// The job, whose deadline leaves time for what follows the search: closing figures, times, and the result in eight bits.
///
/// # Errors
/// [`Error::Data`] and [`Error::Target`] of the runs of the original that are timed.
pub(crate) fn left_for(mut job: Job<'_>) -> Result<Job<'_>, Error> {
    let Some(deadline) = job.settings.deadline else {
        return Ok(job);
    };
    let data = job.settings.fitted_data();
    let Some(data) = data.filter(|_| job.settings.plan.is_none()) else {
        return Ok(job);
    };
    let count = |part| Ok::<_, Error>(data.of_part(part).open(&job.model, Labels::Ignore)?.len());
    // Plans that are judged are in eight bits then.
    let judged = matches!(job.settings.budget, Budget::MaxDrop(_) | Budget::MinSnr(_));
    let eight = match job.settings.is_in_eight_bits() && !judged {
        true => PASSES * count(data.part)? + JUDGED,
        false => 0,
    };
    let runs = 2 * count(data.part.test())? + TIMED + eight;
    let samples = Samples::of(&job.model, data.open(&job.model, Labels::Ignore)?)?;
    let one = time_of_run(&job, &samples.inputs(0)?)?;
    let wanted = LEAST + one.saturating_mul(u32::try_from(runs).unwrap_or(u32::MAX));
    job.settings.deadline = Some(deadline.keeping(wanted));
    Ok(job)
}

/// The time of one run of the original.
fn time_of_run(job: &Job<'_>, inputs: &[Tensor]) -> Result<Duration, Error> {
    let target = job.settings.measured_on();
    let time = |runs: usize| {
        let begun = Instant::now();
        run(&job.model, target, &vec![inputs.to_vec(); runs], &())?;
        Ok::<_, Error>(begun.elapsed())
    };
    let first = time(1)?;
    let all = time(1 + MORE)?;
    Ok(all.saturating_sub(first) / MORE as u32)
}
