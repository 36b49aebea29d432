//! Accuracy against compression: one measured point per rank.

use sepconv_passes::PassError;
use serde::Serialize;

use crate::compress::{Compressed, compress, shaped};
use crate::error::Error;
use crate::evaluate::Evaluation;
use crate::functions::reaching;
use crate::loaded::Loaded;
use crate::meter::Meter;
use crate::progress::{Progress, Stage};
use crate::settings::{Budget, Settings};

/// How the models of a curve were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Series {
    /// The model that was read.
    Original,
    /// The model that was written.
    Result,
    /// One budget allocated over all layers, by the settings.
    Allocated,
    /// The same, tuned.
    Tuned,
    /// The same rank in every layer, otherwise by the settings.
    Uniform,
    /// The paper's method: the same rank in every layer from the weights alone, DW->PW.
    PaperDwPw,
    /// The same, PW->DW.
    PaperPwDw,
    /// The paper's method with the same share of energy kept in every layer, DW->PW.
    PaperEnergy,
}

/// A point of the curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CurvePoint {
    /// How it was made.
    pub series: Series,
    /// How it was made, such as `rank 2`, `original` or `result`.
    pub label: String,
    /// MACs as a fraction of the original's.
    pub macs: f64,
    /// Parameters as a fraction of the original's.
    pub params: f64,
    /// Time per run as a fraction of the original's, where it was measured.
    pub time: Option<f64>,
    /// Signal-to-noise ratio in dB of the worst channel of any output, on its own scale; `None` for
    /// no difference or where it was not run.
    pub snr_db: Option<f64>,
    /// What was measured on the evaluation data, where given.
    pub evaluation: Option<Evaluation>,
}

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
    let uniform = Settings {
        tune: None,
        planner: None,
        costlier: false,
        ..settings.holding_out()
    };
    let model = &*shaped(model, settings)?;
    let model = &*reaching(model, settings)?;
    let meter = Meter::new(model, &uniform, None, progress)?;
    let mut points = by_ranks(model, &uniform, &meter, (Series::Uniform, "rank"), progress)?;
    points.reverse();
    Ok(points)
}

/// Every uniform rank that saves MACs, rising.
pub(crate) fn by_ranks(
    model: &Loaded,
    settings: &Settings,
    meter: &Meter<'_>,
    (series, name): (Series, &str),
    progress: &dyn Progress,
) -> Result<Vec<CurvePoint>, Error> {
    let mut points = Vec::new();
    let stage = Stage::begin(progress, "measuring ranks", 0);
    for rank in 1.. {
        stage.step(points.len())?;
        let one = Settings {
            budget: Budget::Rank(rank),
            ..settings.clone()
        };
        let Some(made) = saving(model, &one, progress)? else {
            break;
        };
        points.push(meter.point(series, format!("{name} {rank}"), &made.model)?);
    }
    Ok(points)
}

/// The compressed model, unless it saves nothing.
pub(crate) fn saving(
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
