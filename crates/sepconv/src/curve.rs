//! Accuracy against compression: one measured point per rank.

use sepconv_calibrate::calibrate_apart;
use sepconv_model::{Deadline, Error, Event, Loaded, Progress, Stage, still_wanted};
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
/// compression; no layer makes up for the errors of those before it. Soon after
/// [`Settings::deadline`] the curve ends with the points that are measured by then.
///
/// # Errors
/// [`Error::Pass`], [`Error::Data`].
pub fn curve(model: &Loaded, settings: &Settings, progress: &dyn Progress) -> Result<Curve, Error> {
    let limited = Limited {
        progress,
        deadline: settings.deadline,
    };
    let mut curve = Curve::default();
    match measure(model, settings, &limited, &mut curve) {
        Err(Error::Cancelled) if !progress.cancelled() => curve.complete = false,
        other => other?,
    }
    curve.points.reverse();
    Ok(curve)
}

/// [`curve`], by rising MACs.
fn measure(
    model: &Loaded,
    settings: &Settings,
    progress: &Limited<'_>,
    curve: &mut Curve,
) -> Result<(), Error> {
    still_wanted(progress)?;
    // Where tract can't load the model, its points are measured where its result is.
    let job = Job::new(model, settings, progress)?.on_capable_target();
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
    let points = &mut curve.points;
    let made = match &uniform.calibration {
        Some(calibration) => fitted_apart(&measured, calibration, &meter, points),
        None => by_ranks(&job, &uniform, &meter, Series::Uniform, points),
    };
    curve.compared = meter.compared();
    curve.calibration = uniform.calibration;
    made
}

/// Share of the time that a curve may take beyond it.
const ALLOWANCE: f64 = 0.1;

/// A listener that asks for an end where the time is over, too.
struct Limited<'a> {
    progress: &'a dyn Progress,
    deadline: Option<Deadline>,
}

impl Progress for Limited<'_> {
    fn on(&self, event: Event<'_>) {
        self.progress.on(event);
    }

    fn cancelled(&self) -> bool {
        let over = self.deadline.is_some_and(|d| d.spent() > 1.0 + ALLOWANCE);
        over || self.progress.cancelled()
    }
}

/// Every uniform rank that saves MACs, rising, fitted to one set of statistics: those of the inputs
/// that the original network delivers.
fn fitted_apart(
    job: &Job<'_>,
    calibration: &CalibrationSettings,
    meter: &CurveMeter<'_>,
    points: &mut Vec<CurvePoint>,
) -> Result<(), Error> {
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
    let stage = Stage::begin(job.progress, "measuring ranks", all.len());
    for (done, made) in all.into_iter().enumerate() {
        stage.step(done)?;
        let model = surveyed.folded.with(made.document)?;
        if model.cost.macs < job.model.cost.macs {
            points.push(meter.point(Series::Uniform, format!("rank {}", done + 1), &model)?);
        }
    }
    Ok(())
}

/// Every uniform rank that saves MACs, rising.
pub(crate) fn by_ranks(
    job: &Job<'_>,
    settings: &Settings,
    meter: &CurveMeter<'_>,
    series: Series,
    points: &mut Vec<CurvePoint>,
) -> Result<(), Error> {
    let name = match series {
        Series::PaperDwPw => "paper DW->PW rank",
        Series::PaperPwDw => "paper PW->DW rank",
        _ => "rank",
    };
    let stage = Stage::begin(job.progress, "measuring ranks", 0);
    for rank in 1.. {
        stage.step(rank - 1)?;
        let one = Settings {
            budget: Budget::Rank(rank),
            ..settings.clone()
        };
        let Some(made) = saving(job, one)? else {
            break;
        };
        points.push(meter.point(series, format!("{name} {rank}"), &made.model)?);
    }
    Ok(())
}

/// True of an error that no plan saves anything, whatever the advice that comes with it.
fn saves_nothing(error: &Error) -> bool {
    match error {
        Error::Advised { source, .. } => saves_nothing(source),
        Error::Nothing { .. }
        | Error::AllKept { .. }
        | Error::Pass {
            source: PassError::Rank { .. },
            ..
        } => true,
        _ => false,
    }
}

/// The compressed model, unless it saves nothing.
pub(crate) fn saving(job: &Job<'_>, settings: Settings) -> Result<Option<Compressed>, Error> {
    match run(&job.with(settings)?) {
        Err(error) if saves_nothing(&error) => Ok(None),
        Err(error) => Err(error),
        Ok(made) => Ok((made.model.cost.macs < job.model.cost.macs).then_some(made)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use sepconv_analysis::Pins;
    use sepconv_passes::Selection;

    use super::*;
    use crate::settings::DataFree;

    /// Ends after so many points, by itself or where the time is over.
    struct Points {
        left: AtomicUsize,
        wait: Duration,
        ends: bool,
    }

    impl Progress for Points {
        fn on(&self, event: Event<'_>) {
            let Event::Begin { stage, .. } = event else {
                return;
            };
            if stage == "running" && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
                std::thread::sleep(self.wait);
            }
        }

        fn cancelled(&self) -> bool {
            self.ends
        }
    }

    fn one_layer() -> (Loaded, Settings) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/digits.onnx");
        let model = Loaded::open(&path, &Pins::default()).unwrap();
        let settings = Settings {
            selection: Selection::new(&["stage1/block0/conv1"], &[]).unwrap(),
            data_free: DataFree::Weights,
            ..Settings::default()
        };
        (model, settings)
    }

    #[test]
    fn a_curve_ends_with_its_time_and_keeps_its_points() {
        let (model, settings) = one_layer();
        let whole = curve(&model, &settings, &()).unwrap();
        assert!(whole.complete && whole.points.len() > 4);
        let limited = Settings {
            deadline: Some(Deadline::within(Duration::from_secs(60))),
            ..settings.clone()
        };
        assert_eq!(curve(&model, &limited, &()).unwrap().points, whole.points);
        let over = Settings {
            deadline: Some(Deadline::within(Duration::from_nanos(1))),
            ..settings
        };
        let none = curve(&model, &over, &()).unwrap();
        assert!(!none.complete && none.points.is_empty());
        // The original is run first, then the models of ranks 1, 2 and 3: all of them on a fast machine.
        let begun = Settings {
            deadline: Some(Deadline::within(Duration::from_secs(2))),
            ..over
        };
        let slow = Points {
            left: AtomicUsize::new(4),
            wait: Duration::from_millis(2300),
            ends: false,
        };
        let some = curve(&model, &begun, &slow).unwrap();
        assert!(!some.complete);
        let last = whole.points.len() - some.points.len();
        assert!(some.points.len() < 4, "{}", some.points.len());
        assert_eq!(some.points, whole.points[last..]);
    }

    #[test]
    fn an_end_that_is_asked_for_is_no_end_of_the_time() {
        let (model, settings) = one_layer();
        let ended = Points {
            left: AtomicUsize::new(0),
            wait: Duration::ZERO,
            ends: true,
        };
        let error = curve(&model, &settings, &ended).err().unwrap();
        assert!(matches!(error, Error::Cancelled), "{error}");
    }
}
