//! The whole curve from one set of statistics, with the baselines it is held against.

use std::path::{Path, PathBuf};

use sepconv_model::{Error, Loaded, Progress, Stage};
use sepconv_onnx::{OnnxError, Staged};
use sepconv_passes::{Families, Order, PassError};
use sepconv_planning::SHARE;
use sepconv_spec::{CalibrationSettings, PrecisionChoice};

use crate::compressed::Compressed;
use crate::curve::{by_ranks, saving};
use crate::curve_meter::CurveMeter;
use crate::curve_point::{Curve, CurvePoint, Series};
use crate::job::Job;
use crate::pipeline::begun;
use crate::prepared::{fold_model, survey_model};
use crate::quantizing::quantized_as_planned;
use crate::search::{Aim, Search};
use crate::settings::{Budget, DataFree, Settings};
use crate::tuning::tune;

/// The points that [`sweep`] measures.
#[derive(Debug, Clone, Default)]
pub struct Sweep {
    /// Fractions of the original's cost to plan for, each in `(0, 1)` and once. Those that can't be
    /// reached are left out, see [`Curve::unreached`].
    pub fractions: Vec<f64>,
    /// Uniform ranks and the paper's method are measured too.
    pub baselines: bool,
    /// Folder that the planned models are written to, as `0.45.onnx`, and the tuned ones, as
    /// `0.45.tuned.onnx`.
    pub models: Option<PathBuf>,
}

/// Endings of the planned models, the tuned ones and those in eight bits.
const PLANNED: &str = "onnx";
const TUNED: &str = "tuned.onnx";
const EIGHT: &str = "int8.onnx";

impl Sweep {
    /// The files that a sweep with these settings writes at most.
    pub fn files(&self, settings: &Settings) -> Vec<PathBuf> {
        let Some(folder) = &self.models else {
            return Vec::new();
        };
        let endings = [
            (PLANNED, true),
            (TUNED, settings.tune.is_some()),
            (EIGHT, settings.precision != PrecisionChoice::F32),
        ];
        let endings = endings.iter().filter(|(_, written)| *written);
        let files = endings.flat_map(|(ending, _)| {
            let fractions = self.distinct().into_iter();
            fractions.map(|fraction| file(folder, fraction, ending))
        });
        files.collect()
    }

    /// Checks that its files can be written, by making files beside them that vanish again.
    ///
    /// # Errors
    /// [`Error::Onnx`] where one is there and [`Settings::force`] is not set, or can't be written.
    pub fn check(&self, settings: &Settings) -> Result<(), Error> {
        for path in self.files(settings) {
            if !settings.force && path.symlink_metadata().is_ok() {
                return Err(OnnxError::Exists { path }.into());
            }
            Staged::check_place(&path)?;
        }
        Ok(())
    }

    /// The fractions, each once.
    fn distinct(&self) -> Vec<f64> {
        let mut seen = Vec::new();
        for fraction in &self.fractions {
            if !seen.contains(fraction) {
                seen.push(*fraction);
            }
        }
        seen
    }
}

fn file(folder: &Path, fraction: f64, ending: &str) -> PathBuf {
    folder.join(format!("{fraction}.{ending}"))
}

/// Shares of energy of the paper's method.
const ENERGIES: [f64; 6] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95];

/// Measures the model at every fraction of its cost (MACs, or time on [`Settings::latency`]):
/// statistics and sensitivities are collected once, every plan is fitted and measured. By
/// rising MACs, the original last. In eight bits the same is measured in floats and in eight bits, whose fractions
/// are of the cost of eight bits alone, and all models are timed.
///
/// # Errors
/// As [`Sweep::check`], before the work; as [`crate::compress()`]; [`Error::Onnx`] where a model can't be written.
pub fn sweep(
    model: &Loaded,
    settings: &Settings,
    plan: &Sweep,
    progress: &dyn Progress,
) -> Result<Curve, Error> {
    plan.check(settings)?;
    let settings = Settings {
        // Any that is allocated.
        budget: Budget::TargetMacs(0.5),
        planner: None,
        ..settings.clone()
    };
    let settings = &settings.holding_out();
    let floats = &Settings {
        precision: PrecisionChoice::F32,
        ..settings.clone()
    };
    let (job, _) = begun(model, settings, progress)?;
    let eight = job.settings.is_in_eight_bits();
    // Eight bits are for time: all points are timed where there are any.
    let latency = settings
        .latency
        .or(eight.then(|| job.settings.deployed_on()));
    // Its plans are written with the activations of the original.
    let mut plain = job.with(floats.clone())?;
    plain.expanded = false;
    let meter = CurveMeter::new(&plain, latency)?;
    let mut points = vec![meter.point(Series::Original, "original".into(), &job.model)?];
    let fitted = allocated(&plain, plan, &meter, &mut points)?;
    let mut unreached: Vec<String> = fitted.unreached.into_iter().map(label).collect();
    if eight {
        let meter = CurveMeter::new(&job, latency)?;
        let eight = in_eight_bits(&job, plan, &meter, &mut points)?;
        unreached.extend(eight.unreached.into_iter().map(eight_label));
    }
    if plan.baselines {
        baselines(&plain, floats, &meter, &mut points)?;
    }
    points.sort_by(|a, b| a.macs.total_cmp(&b.macs));
    Ok(Curve {
        points,
        compared: meter.compared(),
        latency,
        complete: true,
        unreached,
        calibration: fitted.to,
    })
}

fn label(fraction: f64) -> String {
    format!("budget {fraction}")
}

fn eight_label(fraction: f64) -> String {
    format!("int8, budget {fraction}")
}

/// One budget over all layers, at every fraction.
fn allocated(
    job: &Job<'_>,
    plan: &Sweep,
    meter: &CurveMeter<'_>,
    points: &mut Vec<CurvePoint>,
) -> Result<Fitted, Error> {
    let (settings, progress) = (&job.settings, job.progress);
    each_planned(job, plan, |fraction, made| {
        points.push(meter.point(Series::Allocated, label(fraction), &made.model)?);
        if let Some(folder) = &plan.models {
            write(
                &made.model,
                &file(folder, fraction, PLANNED),
                settings.force,
            )?;
        }
        if let Some(how) = settings.tune.as_ref().filter(|_| made.is_rewritten()) {
            let (tuned, _) = tune(&job.model, &made.model, settings.target, how, progress)?;
            points.push(meter.point(Series::Tuned, label(fraction), &tuned)?);
            if let Some(folder) = &plan.models {
                write(&tuned, &file(folder, fraction, TUNED), settings.force)?;
            }
        }
        Ok(())
    })
}

/// Eight bits alone, and with one budget over all layers at every fraction of their cost.
fn in_eight_bits(
    job: &Job<'_>,
    plan: &Sweep,
    meter: &CurveMeter<'_>,
    points: &mut Vec<CurvePoint>,
) -> Result<Fitted, Error> {
    let alone = &job.in_eight_bits()?.model;
    points.push(meter.point_of(Series::Int8, "int8".into(), alone, &job.model)?);
    each_planned(job, plan, |fraction, made| {
        let quantized = quantized_as_planned(job, &made)?.model;
        let label = eight_label(fraction);
        points.push(meter.point_of(Series::Both, label, &quantized, &made.model)?);
        match &plan.models {
            Some(folder) => {
                let path = file(folder, fraction, EIGHT);
                write(&quantized, &path, job.settings.force)
            }
            None => Ok(()),
        }
    })
}

/// The models of the fractions that can be reached: fractions of the original's cost, in eight bits of the cost of
/// eight bits alone.
fn each_planned(
    job: &Job<'_>,
    plan: &Sweep,
    mut take: impl FnMut(f64, Compressed) -> Result<(), Error>,
) -> Result<Fitted, Error> {
    let mut unreached = Vec::new();
    let mut prepared = survey_model(job, fold_model(job)?)?;
    let calibration = job.fitted_to(&prepared.surveyed);
    let unit = job.settings.unit();
    let mut search = Search::new(job, &mut prepared, calibration.as_ref(), unit)?;
    let whole = match job.settings.is_in_eight_bits() {
        true => search.planning.unrewritten(),
        false => 1.0,
    };
    let fractions = plan.distinct();
    let stage = Stage::begin(job.progress, "sweeping", fractions.len());
    let mut planned = Vec::new();
    for (done, fraction) in fractions.into_iter().enumerate() {
        stage.step(done)?;
        // Eight bits may be slower than floats: several fractions are then all that floats take.
        let aim = Aim {
            fraction: (fraction * whole).min(MOST),
            share: SHARE,
        };
        if planned.contains(&aim.fraction) {
            continue;
        }
        planned.push(aim.fraction);
        match search.solved(aim) {
            Err(Error::Pass {
                source: PassError::Unreachable { .. },
                ..
            }) => unreached.push(fraction),
            other => take(fraction, search.materialise(other?)?)?,
        }
    }
    drop((stage, search));
    Ok(Fitted {
        to: calibration,
        unreached,
    })
}

/// The models that were planned.
struct Fitted {
    /// The data that layers were fitted to.
    to: Option<CalibrationSettings>,
    /// Fractions that no plan reaches.
    unreached: Vec<f64>,
}

/// The greatest fraction of a cost that is planned for.
const MOST: f64 = 0.999;

fn write(model: &Loaded, path: &Path, force: bool) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder).map_err(|source| OnnxError::Io {
        path: folder.to_owned(),
        source,
    })?;
    model.document.stage(path, force)?.commit()?;
    Ok(())
}

/// Uniform ranks by the settings, and the paper's method from the weights alone.
fn baselines(
    job: &Job<'_>,
    settings: &Settings,
    meter: &CurveMeter<'_>,
    points: &mut Vec<CurvePoint>,
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
        (Series::Uniform, uniform.clone()),
        (Series::PaperDwPw, paper(Order::DwPw)),
        (Series::PaperPwDw, paper(Order::PwDw)),
    ];
    for (series, settings) in &by_rank {
        by_ranks(job, settings, meter, *series, points)?;
    }
    for energy in ENERGIES {
        let one = Settings {
            budget: Budget::Energy(energy),
            ..paper(Order::DwPw)
        };
        if let Some(made) = saving(job, one)? {
            let label = format!("paper DW->PW energy {energy}");
            points.push(meter.point(Series::PaperEnergy, label, &made.model)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_analysis::Pins;
    use sepconv_data::{Part, Preprocess};
    use sepconv_ir::{DType, Tensor};
    use sepconv_model::DataSource;
    use sepconv_passes::Selection;

    use super::*;

    #[test]
    fn an_eighth_of_the_data_is_held_out_and_the_rest_is_fitted_to() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/digits.onnx");
        let model = Loaded::open(&path, &Pins::default()).unwrap();
        let bytes: Vec<u8> = (0..80 * 1024)
            .map(|i| (i % 251 * (i / 1024)) as u8)
            .collect();
        let pictures = Tensor::new(DType::U8, vec![80, 1, 32, 32], bytes.into()).unwrap();
        let data = DataSource {
            preprocess: Preprocess {
                scale: 1.0 / 255.0,
                ..Preprocess::default()
            },
            ..DataSource::memory(vec![pictures])
        };
        let settings = Settings {
            selection: Selection::new(&["stage1/block0/conv1"], &[]).unwrap(),
            calibration: Some(CalibrationSettings {
                positions: 200,
                cache: None,
                ..CalibrationSettings::new(data)
            }),
            ..Settings::default()
        };
        let plan = Sweep {
            fractions: vec![0.97, 1e-6],
            ..Sweep::default()
        };
        let made = sweep(&model, &settings, &plan, &()).unwrap();
        assert_eq!(made.unreached, ["budget 0.000001"]);
        let fitted = made.calibration.unwrap();
        let part = fitted.source.data().unwrap().part;
        assert_eq!(part, Part::Train { every: 8 });
        // 10 of 80.
        assert_eq!(made.compared.unwrap().samples, 10);
    }

    #[test]
    fn the_files_of_a_sweep_are_known_and_looked_for_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let inside = |name: &str| folder.path().join(name);
        let plan = |models: PathBuf| Sweep {
            fractions: vec![0.9, 0.5, 0.9],
            baselines: false,
            models: Some(models),
        };
        let settings = Settings::default();
        let eight = Settings {
            precision: PrecisionChoice::Auto,
            ..settings.clone()
        };
        let here = plan(folder.path().to_owned());
        assert_eq!(
            here.files(&settings),
            [inside("0.9.onnx"), inside("0.5.onnx")]
        );
        assert_eq!(here.files(&eight).len(), 4);
        here.check(&settings).unwrap();
        plan(inside("new/deep")).check(&settings).unwrap();
        assert!(!inside("new").exists());
        std::fs::write(inside("0.5.onnx"), b"precious").unwrap();
        let error = here.check(&settings).unwrap_err().to_string();
        assert!(error.contains("0.5.onnx"), "{error}");
        let forced = Settings {
            force: true,
            ..settings.clone()
        };
        here.check(&forced).unwrap();
        // A file is no folder.
        let error = plan(inside("0.5.onnx")).check(&forced);
        assert!(error.is_err());
    }
}
