//! The whole curve from one set of statistics, with the baselines it is held against.

use std::path::PathBuf;

use sepconv_latency::Bench;
use sepconv_passes::{Families, Order, PassError};

use crate::bench::{BenchSettings, bench};
use crate::budget::{realised, without_data};
use crate::compare::compare;
use crate::compress::{
    Budget, Compressed, DataFree, Prepared, Settings, compress, synthetic_runs, widened,
};
use crate::curve::{CurvePoint, Series};
use crate::error::Error;
use crate::evaluate::Evaluator;
use crate::inputs::synthetic_inputs;
use crate::loaded::Loaded;
use crate::planning::{Planning, Unit};
use crate::progress::Progress;

/// What [`sweep`] measures.
#[derive(Debug, Clone, Default)]
pub struct Sweep {
    /// Fractions of the original's cost to plan for, each in `(0, 1)`. Those that can't be
    /// reached are left out.
    pub fractions: Vec<f64>,
    /// Whether uniform ranks and the paper's method are measured too.
    pub baselines: bool,
    /// Folder that the planned models are written to, as `0.45.onnx`.
    pub models: Option<PathBuf>,
}

/// Shares of energy of the paper's method.
const ENERGIES: [f64; 6] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95];

/// Measures the model at every fraction of its cost (MACs, or time on [`Settings::latency`]):
/// statistics and sensitivities are collected once, every plan is fitted and measured. By
/// rising MACs, the original last.
///
/// # Errors
/// As [`compress`], [`Error::Onnx`] where a model can't be written.
pub fn sweep(
    model: &Loaded,
    settings: &Settings,
    plan: &Sweep,
    progress: &dyn Progress,
) -> Result<Vec<CurvePoint>, Error> {
    let meter = Meter::new(model, settings, progress)?;
    let mut points = vec![meter.point(Series::Original, "original".into(), model)?];
    let settings = &Settings {
        // Any that is allocated.
        budget: Budget::TargetMacs(0.5),
        ..settings.clone()
    };
    let unit = match settings.latency {
        Some(_) => Unit::Latency,
        None => Unit::Macs,
    };
    let wide = widened(settings);
    let mut prepared = Prepared::new(model, &wide, progress)?;
    let calibration = match &wide.calibration {
        Some(calibration) => Some(calibration.clone()),
        None => without_data(&prepared, &wide),
    };
    let calibration = calibration.as_ref();
    let planning = Planning::new(model, &mut prepared, &wide, calibration, unit, progress)?;
    for fraction in &plan.fractions {
        let solution = match planning.solve(*fraction) {
            Err(PassError::Unreachable { .. }) => continue,
            other => other.map_err(|source| Error::Pass {
                file: model.file(),
                source,
            })?,
        };
        let made = realised(&prepared, solution, &wide, calibration, progress)?;
        points.push(meter.point(Series::Allocated, format!("budget {fraction}"), &made.model)?);
        if let Some(folder) = &plan.models {
            write(&made, folder, *fraction, settings.force)?;
        }
    }
    if plan.baselines {
        baselines(model, settings, &meter, &mut points, progress)?;
    }
    points.sort_by(|a, b| a.macs.total_cmp(&b.macs));
    Ok(points)
}

fn write(
    made: &Compressed,
    folder: &std::path::Path,
    fraction: f64,
    force: bool,
) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| sepconv_onnx::OnnxError::Io {
        path: folder.to_owned(),
        source,
    })?;
    let path = folder.join(format!("{fraction}.onnx"));
    made.model.document.stage(&path, force)?.commit()?;
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
        for rank in 1.. {
            let one = Settings {
                budget: Budget::Rank(rank),
                ..settings.clone()
            };
            match made(model, &one, progress)? {
                Some(made) => {
                    points.push(meter.point(*series, format!("{name} {rank}"), &made.model)?);
                }
                None => break,
            }
        }
    }
    for energy in ENERGIES {
        let one = Settings {
            budget: Budget::Energy(energy),
            ..paper(Order::DwPw)
        };
        if let Some(made) = made(model, &one, progress)? {
            let label = format!("paper DW->PW energy {energy}");
            points.push(meter.point(Series::PaperEnergy, label, &made.model)?);
        }
    }
    Ok(())
}

/// The compressed model, unless it saves nothing.
fn made(
    model: &Loaded,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Option<Compressed>, Error> {
    match compress(model, settings, progress) {
        Err(
            Error::Nothing { .. }
            | Error::Pass {
                source: PassError::Rank { .. },
                ..
            },
        ) => Ok(None),
        Err(other) => Err(other),
        Ok(made) => Ok((made.model.cost.macs < model.cost.macs).then_some(made)),
    }
}

/// Measures models against the original.
struct Meter<'a> {
    original: &'a Loaded,
    settings: &'a Settings,
    evaluator: Option<Evaluator<'a>>,
    progress: &'a dyn Progress,
}

impl<'a> Meter<'a> {
    fn new(
        original: &'a Loaded,
        settings: &'a Settings,
        progress: &'a dyn Progress,
    ) -> Result<Self, Error> {
        let evaluator = match &settings.eval {
            Some(data) => Some(Evaluator::against(original, data, settings.target)?),
            None => None,
        };
        Ok(Self {
            original,
            settings,
            evaluator,
            progress,
        })
    }

    fn point(&self, series: Series, label: String, model: &Loaded) -> Result<CurvePoint, Error> {
        let evaluation = match &self.evaluator {
            Some(evaluator) => Some(evaluator.evaluate(model, self.progress)?),
            None => None,
        };
        let ratio = |a: u64, b: u64| a as f64 / b.max(1) as f64;
        let cost = (&model.cost, &self.original.cost);
        Ok(CurvePoint {
            series,
            label,
            macs: ratio(cost.0.macs, cost.1.macs),
            params: ratio(cost.0.params, cost.1.params),
            time: self.time(series, model)?,
            snr_db: self.snr(series, model),
            evaluation,
        })
    }

    fn snr(&self, series: Series, model: &Loaded) -> Option<f64> {
        if series == Series::Original {
            return None;
        }
        let runs = synthetic_runs(self.original.cost.macs, 1);
        let kind = sepconv_data::SyntheticKind::Normal;
        let inputs = synthetic_inputs(self.original, runs, self.settings.seed, kind).ok()?;
        let target = self.settings.target;
        let compared = compare(self.original, model, target, &inputs, self.progress).ok()?;
        compared.worst_snr().filter(|s| s.is_finite())
    }

    fn time(&self, series: Series, model: &Loaded) -> Result<Option<f64>, Error> {
        let Some(latency) = self.settings.latency else {
            return Ok(None);
        };
        if series == Series::Original {
            return Ok(Some(1.0));
        }
        let settings = BenchSettings {
            targets: vec![latency.target],
            threads: vec![latency.threads],
            bench: Bench::default(),
            seed: self.settings.seed,
        };
        let models = [self.original.clone(), model.clone()];
        let runs = bench(&models, &settings, &())?;
        let last = runs.first().and_then(|r| r.models.last());
        Ok(last.map(|m| 1.0 / m.speed_up.median))
    }
}
