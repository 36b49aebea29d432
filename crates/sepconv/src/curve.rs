//! Accuracy against compression: one measured point per rank.

use sepconv_model::{Error, Loaded, Progress, Stage};
use sepconv_passes::PassError;

use crate::compressed::Compressed;
use crate::curve_meter::CurveMeter;
use crate::curve_point::{CurvePoint, Series};
use crate::job::Job;
use crate::pipeline::run;
use crate::settings::{Budget, Settings};

/// Measures every uniform rank that saves MACs, by falling MACs. What a runtime can't run has
/// no figures.
///
/// # Errors
/// [`Error::Pass`], [`Error::Data`].
pub fn curve(
    model: &Loaded,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Vec<CurvePoint>, Error> {
    let job = Job::new(model, settings, progress)?;
    let uniform = Settings {
        // The curve is of uniform ranks, with the data and the shapes of the plan.
        plan: None,
        tune: None,
        planner: None,
        costlier: false,
        ..settings.planned()?.holding_out()
    };
    let meter = CurveMeter::new(&job.model, &uniform, None, progress)?;
    let mut points = by_ranks(&job, &uniform, &meter, Series::Uniform)?;
    points.reverse();
    Ok(points)
}

/// Every uniform rank that saves MACs, rising.
pub(crate) fn by_ranks(
    job: &Job<'_>,
    settings: &Settings,
    meter: &CurveMeter<'_>,
    series: Series,
) -> Result<Vec<CurvePoint>, Error> {
    let name = match series {
        Series::PaperDwPw => "paper DW->PW rank",
        Series::PaperPwDw => "paper PW->DW rank",
        _ => "rank",
    };
    let mut points = Vec::new();
    let stage = Stage::begin(job.progress, "measuring ranks", 0);
    for rank in 1.. {
        stage.step(points.len())?;
        let one = Settings {
            budget: Budget::Rank(rank),
            ..settings.clone()
        };
        let Some(made) = saving(job, one)? else {
            break;
        };
        points.push(meter.point(series, format!("{name} {rank}"), &made.model)?);
    }
    Ok(points)
}

/// The compressed model, unless it saves nothing.
pub(crate) fn saving(job: &Job<'_>, settings: Settings) -> Result<Option<Compressed>, Error> {
    match run(&job.with(settings)?) {
        Err(
            Error::Nothing { .. }
            | Error::AllKept { .. }
            | Error::Pass {
                source: PassError::Rank { .. },
                ..
            },
        ) => Ok(None),
        Err(other) => Err(other),
        Ok(made) => Ok((made.model.cost.macs < job.model.cost.macs).then_some(made)),
    }
}
