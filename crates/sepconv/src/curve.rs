//! Accuracy against compression: one measured point per rank.

use sepconv_calibrate::calibrate_apart;
use sepconv_model::{Error, Loaded, Progress, Stage};
use sepconv_passes::PassError;
use sepconv_passes::planners::UniformRank;
use sepconv_spec::CalibrationSettings;

use crate::compressed::Compressed;
use crate::curve_meter::CurveMeter;
use crate::curve_point::{Curve, CurvePoint, Series};
use crate::job::Job;
use crate::pipeline::run;
use crate::prepared::{fold_model, survey_model};
use crate::settings::{Budget, Settings};

/// Rounds of the fits of the curve.
const ROUNDS: usize = 2;

/// Measures every uniform rank that saves MACs, by falling MACs. A model that a runtime can't run has
/// no figures. All ranks are fitted to one set of statistics, so that the curve takes less than the
/// compression; no layer makes up for the errors of those before it.
///
/// # Errors
/// [`Error::Pass`], [`Error::Data`].
pub fn curve(model: &Loaded, settings: &Settings, progress: &dyn Progress) -> Result<Curve, Error> {
    let job = Job::new(model, settings, progress)?;
    let uniform = Settings {
        // The curve is of uniform ranks, with the data and the shapes of the plan.
        plan: None,
        tune: None,
        planner: None,
        costlier: false,
        ..settings.planned()?.holding_out()
    };
    let measured = job.with(uniform.clone())?;
    let meter = CurveMeter::new(&measured, None)?;
    let mut points = match &uniform.calibration {
        Some(calibration) => fitted_apart(&measured, calibration, &meter)?,
        None => by_ranks(&job, &uniform, &meter, Series::Uniform)?,
    };
    points.reverse();
    Ok(Curve {
        points,
        compared: meter.compared(),
        latency: None,
    })
}

/// Every uniform rank that saves MACs, rising, fitted to one set of statistics: those of the inputs
/// that the original network delivers.
fn fitted_apart(
    job: &Job<'_>,
    calibration: &CalibrationSettings,
    meter: &CurveMeter<'_>,
) -> Result<Vec<CurvePoint>, Error> {
    let calibration = &calibration.shortened(ROUNDS);
    let prepared = survey_model(job, fold_model(job)?)?;
    let surveyed = &prepared.surveyed;
    let ranks = UniformRank::largest(&surveyed.survey).unwrap_or(0);
    let plans = (1..=ranks).map(|rank| {
        let planner = UniformRank {
            rank,
            costlier: false,
        };
        planner.admissible(&surveyed.survey)
    });
    let plans: Result<Vec<_>, PassError> = plans.collect();
    let mut plans = plans.map_err(|e| prepared.failed(e))?;
    plans.retain(|plan| plan.iter().any(|candidates| !candidates.is_empty()));
    let all = calibrate_apart(surveyed, &plans, job.fitting(calibration))?;
    let mut points = Vec::new();
    let stage = Stage::begin(job.progress, "measuring ranks", all.len());
    for (done, made) in all.into_iter().enumerate() {
        stage.step(done)?;
        let model = surveyed.folded.with(made.document)?;
        if model.cost.macs < job.model.cost.macs {
            points.push(meter.point(Series::Uniform, format!("rank {}", done + 1), &model)?);
        }
    }
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
