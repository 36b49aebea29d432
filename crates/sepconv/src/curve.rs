//! Accuracy against compression: one measured point per rank.

use sepconv_passes::PassError;
use serde::Serialize;

use crate::compare::compare;
use crate::compress::{Budget, Settings, compress, synthetic_runs};
use crate::error::Error;
use crate::evaluate::Evaluation;
use crate::inputs::synthetic_inputs;
use crate::loaded::Loaded;
use crate::progress::Progress;

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
    /// Signal-to-noise ratio of the worst output in dB; `None` for no difference or where
    /// it was not run.
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
    let inputs = synthetic_inputs(
        model,
        synthetic_runs(model.cost.macs, 1),
        settings.seed,
        sepconv_data::SyntheticKind::Normal,
    );
    let evaluator = settings.evaluator(model)?;
    let mut points = Vec::new();
    for rank in 1.. {
        let uniform = Settings {
            budget: Budget::Rank(rank),
            costlier: false,
            ..settings.clone()
        };
        let trial = match compress(model, &uniform, progress) {
            Err(
                Error::Nothing { .. }
                | Error::Pass {
                    source: PassError::Rank { .. },
                    ..
                },
            ) => break,
            other => other?,
        };
        if trial.model.cost.macs >= model.cost.macs {
            break;
        }
        let snr = match &inputs {
            Ok(inputs) => compare(model, &trial.model, settings.target, inputs, progress)
                .ok()
                .and_then(|c| c.worst_snr())
                .filter(|snr| snr.is_finite()),
            Err(_) => None,
        };
        let evaluation = evaluator
            .as_ref()
            .map(|e| e.evaluate(&trial.model, progress))
            .transpose()?;
        points.push(CurvePoint {
            series: Series::Uniform,
            time: None,
            label: format!("rank {rank}"),
            macs: trial.model.cost.macs as f64 / model.cost.macs.max(1) as f64,
            params: trial.model.cost.params as f64 / model.cost.params.max(1) as f64,
            snr_db: snr,
            evaluation,
        });
    }
    points.reverse();
    Ok(points)
}
