//! The decision of [`PrecisionChoice::Auto`]: eight bits or floats.

use sepconv_latency::Bench;
use sepconv_model::Error;
use sepconv_spec::{PrecisionChoice, Verdict};

use crate::job::Job;
use crate::quantizing::check;
use crate::search::judge_alone;
use crate::settings::Budget;

/// Eight bits that are not so many times faster are not worth their error.
const PAYS: f64 = 1.05;

/// The job with its precision decided, and the reason for floats where eight bits were in question.
///
/// # Errors
/// [`Error::Cancelled`], [`Error::Data`] and [`Error::Target`] of the runs that decide.
pub(crate) fn decided(mut job: Job<'_>) -> Result<(Job<'_>, Option<String>), Error> {
    let mut reason = None;
    if job.settings.precision == PrecisionChoice::Auto {
        // Models in question are measured as those in eight bits are.
        job.settings.precision = PrecisionChoice::Int8;
        reason = floats(&job)?;
        if reason.is_some() {
            job.settings.precision = PrecisionChoice::F32;
            let gains = job.settings.budget.gains_by_time() || job.settings.plan.is_some();
            job.expanded &= gains;
        }
    }
    let settings = &mut job.settings;
    let allocated = !matches!(settings.budget, Budget::Rank(_) | Budget::Energy(_));
    if settings.is_in_eight_bits() && allocated && settings.plan.is_none() {
        // Forms that are fast in floats may be slow in eight bits.
        settings.latency = settings.latency.or(settings.timed);
    }
    Ok((job, reason))
}

/// The reason for which the result stays in floats.
fn floats(job: &Job<'_>) -> Result<Option<String>, Error> {
    let made = check(job).and_then(|()| job.in_eight_bits());
    let alone = match made.map_err(Error::unadvised) {
        Err(Error::Setting(reason)) => return Ok(Some(reason)),
        other => other?,
    };
    let (on, seed) = (job.settings.deployed_on(), job.settings.seed);
    let floats = job.written(&job.model)?;
    let both = [&*floats, &alone.model];
    let run = on.time(&both, Bench::default(), seed, job.progress)?;
    let speed = run.models.last().map_or(0.0, |m| m.speed_up.median);
    if speed < PAYS {
        let (target, version) = (&run.target, &run.version);
        return Ok(Some(format!(
            "eight bits are {speed:.2} times as fast as floats on {target} {version}"
        )));
    }
    let loses = judge_alone(job)?.is_some_and(Verdict::is_missed);
    Ok(loses.then(|| "eight bits alone do not keep the budget".to_owned()))
}
