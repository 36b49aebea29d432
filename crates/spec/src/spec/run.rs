//! Options of the run as a whole.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(feature = "clap")]
use super::heading::COMMON;
use super::{ShapeSpec, values};

/// The data of the evaluation, files that may be replaced, time, seed and shapes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Inputs and seed")
)]
pub struct RunSpec {
    /// Data on which the original and the result are evaluated: by labels or a target where it
    /// has them, and the result against the original
    #[cfg_attr(feature = "clap", arg(long, value_name = "DATA", help_heading = COMMON, display_order = 17))]
    pub eval: Option<PathBuf>,
    /// Replace existing files
    #[cfg_attr(feature = "clap", arg(long, help_heading = COMMON, display_order = 19))]
    pub force: bool,
    /// Time that the work may take, such as 90s, 5m or 1h: with less, fewer candidates are looked at and
    /// fits are shorter. The result then depends on the machine
    #[serde(deserialize_with = "values::time")]
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME", value_parser = sepconv_model::parse_time, help_heading = COMMON, display_order = 20))]
    pub max_time: Option<Duration>,
    /// Seed of synthetic inputs, and of draws from data
    #[cfg_attr(feature = "clap", arg(long, value_name = "SEED", default_value_t = Self::default().seed))]
    pub seed: u64,
    /// Shapes of inputs.
    #[serde(flatten)]
    #[cfg_attr(feature = "clap", command(flatten))]
    pub shapes: ShapeSpec,
}
