//! The whole curve from one set of statistics, with the baselines it is held against.

use std::path::PathBuf;

use sepconv_passes::{Families, Order, PassError};

use crate::budget::realised;
use crate::compress::{shaped, widened};
use crate::curve::{CurvePoint, Series, by_ranks, saving};
use crate::error::Error;
use crate::functions::reaching;
use crate::loaded::Loaded;
use crate::meter::Meter;
use crate::planning::{Planning, SHARE};
use crate::prepared::Prepared;
use crate::progress::{Progress, Stage};
use crate::settings::{Budget, DataFree, Settings};
use crate::tuning::tune;

/// What [`sweep`] measures.
#[derive(Debug, Clone, Default)]
pub struct Sweep {
    /// Fractions of the original's cost to plan for, each in `(0, 1)`. Those that can't be
    /// reached are left out.
    pub fractions: Vec<f64>,
    /// Whether uniform ranks and the paper's method are measured too.
    pub baselines: bool,
    /// Folder that the planned models are written to, as `0.45.onnx`, and the tuned ones, as
    /// `0.45.tuned.onnx`.
    pub models: Option<PathBuf>,
}

/// Shares of energy of the paper's method.
const ENERGIES: [f64; 6] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95];

/// Measures the model at every fraction of its cost (MACs, or time on [`Settings::latency`]):
/// statistics and sensitivities are collected once, every plan is fitted and measured. By
/// rising MACs, the original last.
///
/// # Errors
/// As [`crate::compress()`], [`Error::Onnx`] where a model can't be written.
pub fn sweep(
    model: &Loaded,
    settings: &Settings,
    plan: &Sweep,
    progress: &dyn Progress,
) -> Result<Vec<CurvePoint>, Error> {
    let settings = &Settings {
        // Any that is allocated.
        budget: Budget::TargetMacs(0.5),
        planner: None,
        ..settings.holding_out()
    };
    let model = &*shaped(model, settings)?;
    let model = &*reaching(model, settings)?;
    let meter = Meter::new(model, settings, settings.latency, progress)?;
    let mut points = vec![meter.point(Series::Original, "original".into(), model)?];
    let unit = settings.unit();
    let wide = widened(settings);
    let mut prepared = Prepared::new(model, &wide, progress)?;
    let calibration = wide.fitted_to(&prepared);
    let calibration = calibration.as_ref();
    let (mut planning, timer) =
        Planning::new(model, &mut prepared, &wide, calibration, unit, progress)?;
    let stage = Stage::begin(progress, "sweeping", plan.fractions.len());
    for (done, fraction) in plan.fractions.iter().enumerate() {
        stage.step(done)?;
        let solution = match planning.solve_near(&timer, *fraction, SHARE) {
            Err(Error::Pass {
                source: PassError::Unreachable { .. },
                ..
            }) => continue,
            other => other?,
        };
        let made = realised(
            timer.prepared,
            (Some(&planning), solution),
            &wide,
            calibration,
            progress,
        )?;
        points.push(meter.point(Series::Allocated, format!("budget {fraction}"), &made.model)?);
        if let Some(folder) = &plan.models {
            write(&made.model, folder, &format!("{fraction}"), settings.force)?;
        }
        if let Some(how) = settings.tune.as_ref().filter(|_| !made.applied.is_empty()) {
            let (tuned, _) = tune(model, &made.model, settings.target, how, progress)?;
            points.push(meter.point(Series::Tuned, format!("budget {fraction}"), &tuned)?);
            if let Some(folder) = &plan.models {
                write(&tuned, folder, &format!("{fraction}.tuned"), settings.force)?;
            }
        }
    }
    drop(stage);
    if plan.baselines {
        baselines(model, settings, &meter, &mut points, progress)?;
    }
    points.sort_by(|a, b| a.macs.total_cmp(&b.macs));
    Ok(points)
}

fn write(model: &Loaded, folder: &std::path::Path, name: &str, force: bool) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| sepconv_onnx::OnnxError::Io {
        path: folder.to_owned(),
        source,
    })?;
    let path = folder.join(format!("{name}.onnx"));
    model.document.stage(&path, force)?.commit()?;
    Ok(())
}

/// Uniform ranks by the settings, and the paper's method from the weights alone.
fn baselines(
    model: &Loaded,
    settings: &Settings,
    meter: &Meter<'_>,
    points: &mut Vec<CurvePoint>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let uniform = Settings {
        families: Families::from(settings.families.order),
        latency: None,
        tune: None,
        ..settings.clone()
    };
    let paper = |order| Settings {
        families: Families::from(order),
        calibration: None,
        data_free: DataFree::Weights,
        ..uniform.clone()
    };
    let by_rank = [
        (Series::Uniform, "rank", uniform.clone()),
        (Series::PaperDwPw, "paper DW->PW rank", paper(Order::DwPw)),
        (Series::PaperPwDw, "paper PW->DW rank", paper(Order::PwDw)),
    ];
    for (series, name, settings) in &by_rank {
        points.extend(by_ranks(model, settings, meter, (*series, name), progress)?);
    }
    for energy in ENERGIES {
        let one = Settings {
            budget: Budget::Energy(energy),
            ..paper(Order::DwPw)
        };
        if let Some(made) = saving(model, &one, progress)? {
            let label = format!("paper DW->PW energy {energy}");
            points.push(meter.point(Series::PaperEnergy, label, &made.model)?);
        }
    }
    Ok(())
}
