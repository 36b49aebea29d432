//! What holds for the whole run.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ShapeSpec;

/// What the result is evaluated on, whether files are replaced, seed and shapes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct RunSpec {
    /// Data on which the original and the result are evaluated: by labels or a target where it
    /// has them, and the result against the original
    #[cfg_attr(feature = "clap", arg(long, value_name = "DATA"))]
    pub eval: Option<PathBuf>,
    /// Replace existing files
    #[cfg_attr(feature = "clap", arg(long))]
    pub force: bool,
    /// Seed of synthetic inputs, and of what is drawn from data
    #[cfg_attr(feature = "clap", arg(long, value_name = "SEED", default_value_t = Self::default().seed))]
    pub seed: u64,
    /// Shapes of inputs.
    #[serde(flatten)]
    #[cfg_attr(feature = "clap", command(flatten))]
    pub shapes: ShapeSpec,
}
