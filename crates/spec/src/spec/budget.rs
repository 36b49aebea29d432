//! How much to compress.

use std::path::PathBuf;

use sepconv_model::Error;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::SpecError;
#[cfg(feature = "clap")]
use super::heading::COMMON;
use crate::plan::SavedPlan;

/// At most one budget, or a plan in the place of one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Other budgets, one at most")
)]
pub struct BudgetSpec {
    /// The same rank K in every layer
    #[cfg_attr(feature = "clap", arg(long, value_name = "K", group = "budget"))]
    pub rank: Option<usize>,
    /// Share of each kernel's squared norm to keep, per layer, in (0, 1]
    #[cfg_attr(feature = "clap", arg(long, value_name = "E", group = "budget"))]
    pub energy: Option<f64>,
    /// Fraction of the model's MACs to keep, in (0, 1)
    #[cfg_attr(feature = "clap", arg(long, value_name = "R", group = "budget", help_heading = COMMON, display_order = 13))]
    pub target_macs: Option<f64>,
    /// Fraction of the model's parameters to keep, in (0, 1)
    #[cfg_attr(feature = "clap", arg(long, value_name = "R", group = "budget"))]
    pub target_params: Option<f64>,
    /// Fraction of the file's bytes to keep, in (0, 1)
    #[cfg_attr(feature = "clap", arg(long, value_name = "R", group = "budget"))]
    pub target_size: Option<f64>,
    /// Fraction of the original's time on --target to keep, in (0, 1)
    #[cfg_attr(feature = "clap", arg(long, value_name = "R", group = "budget"))]
    pub target_latency: Option<f64>,
    /// Times that the result is to be faster than the original on --target, above 1
    #[cfg_attr(feature = "clap", arg(long, value_name = "S", group = "budget", help_heading = COMMON, display_order = 12))]
    pub speedup: Option<f64>,
    /// The cheapest model that is at most this much worse: points or dB of the main metric on
    /// --eval, else points of agreement with the original, or of the measure of --task, on
    /// held-out calibration data [default with --calib: 1, where outputs are classes, masks or
    /// vectors or there is --eval; 5 of a detector]
    #[cfg_attr(feature = "clap", arg(long, value_name = "D", group = "budget", help_heading = COMMON, display_order = 14))]
    pub max_drop: Option<f64>,
    /// The cheapest model whose outputs stay within this signal-to-noise ratio (dB) of the
    /// original, on held-out calibration data or on synthetic inputs [default otherwise: 30]
    #[cfg_attr(feature = "clap", arg(long, value_name = "DB", group = "budget"))]
    pub min_snr: Option<f64>,
    /// Apply a plan that --save-plan wrote, in place of planning. It says all that --seed, --order,
    /// --lowering, --layers, --skip, --families, --input-shape and the options of fits say; give
    /// the same --calib, if it was made with one
    #[cfg_attr(feature = "clap", arg(
        long,
        value_name = "FILE",
        group = "budget",
        value_parser = plan_file(),
        conflicts_with_all = [
            "allow_costlier", "order", "lowering", "layers", "skip", "quantized", "data_free", "families",
            "effort", "positions", "rounds", "steps", "unweighted", "block", "seed", "input_shape", "max_samples",
        ]
    ))]
    pub plan: Option<GivenPlan>,
    /// Rewrite even where it costs more MACs (to verify that full rank is exact)
    #[cfg_attr(feature = "clap", arg(long))]
    pub allow_costlier: bool,
}

impl BudgetSpec {
    /// Refuses more than one budget, a plan among them, and a speed-up that is none.
    ///
    /// # Errors
    /// [`SpecError::Budgets`], [`SpecError::Value`].
    pub fn check(&self) -> Result<(), SpecError> {
        let options = self.given();
        match options.len() {
            0 | 1 => {}
            _ => return Err(SpecError::Budgets { options }),
        }
        match self.speedup {
            Some(times) if !(times > 1.0 && times.is_finite()) => Err(SpecError::Value {
                option: "speedup".into(),
                reason: format!("expected a number above 1, found {times}"),
            }),
            _ => Ok(()),
        }
    }

    /// The options of budgets that are given.
    fn given(&self) -> Vec<&'static str> {
        let all = [
            ("rank", self.rank.is_some()),
            ("energy", self.energy.is_some()),
            ("target_macs", self.target_macs.is_some()),
            ("target_params", self.target_params.is_some()),
            ("target_size", self.target_size.is_some()),
            ("target_latency", self.target_latency.is_some()),
            ("speedup", self.speedup.is_some()),
            ("max_drop", self.max_drop.is_some()),
            ("min_snr", self.min_snr.is_some()),
            ("plan", self.plan.is_some()),
        ];
        let given = all.into_iter().filter(|(_, given)| *given);
        given.map(|(name, _)| name).collect()
    }

    /// True where the budget is a criterion that models are judged by, or the usual one.
    pub fn is_judged(&self) -> bool {
        let judged = ["max_drop", "min_snr"];
        self.given().iter().all(|name| judged.contains(name))
    }

    /// True where no budget is given.
    pub fn is_usual(&self) -> bool {
        self.given().is_empty()
    }

    /// True where the budget is of time.
    pub fn is_time(&self) -> bool {
        self.speedup.is_some() || self.target_latency.is_some()
    }
}

/// A plan that is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected the path of a plan, or a plan")]
pub enum GivenPlan {
    /// The path of its file.
    File(PathBuf),
    /// The plan itself.
    Contents(Map<String, Value>),
}

impl GivenPlan {
    /// The plan.
    ///
    /// # Errors
    /// As [`SavedPlan::read`].
    pub fn read(&self) -> Result<SavedPlan, Error> {
        match self {
            Self::File(path) => SavedPlan::read(path),
            Self::Contents(plan) => {
                let text = Value::Object(plan.clone()).to_string();
                SavedPlan::parse(&text).map_err(|reason| Error::Plan {
                    file: "plan".to_owned(),
                    reason,
                })
            }
        }
    }
}

#[cfg(feature = "clap")]
fn plan_file() -> impl clap::builder::TypedValueParser<Value = GivenPlan> {
    use clap::builder::{PathBufValueParser, TypedValueParser};
    PathBufValueParser::new().map(GivenPlan::File)
}
