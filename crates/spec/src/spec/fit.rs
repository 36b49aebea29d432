//! The data that layers are fitted to, and the fits.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use sepconv_model::DataSource;
use serde::{Deserialize, Serialize};

use super::choices::{DataFreeChoice, EffortChoice};
#[cfg(feature = "clap")]
use super::heading::COMMON;
use super::values;
use crate::calibration::{CalibrationSettings, Effort, Pictures, Schedule, Source};

/// The calibration data and the fits to them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Fits")
)]
pub struct FitSpec {
    /// Unlabelled data that the layers are fitted to: .npz, .npy, a folder of pictures, or ONNX
    /// test sets. Far more accurate than the weights alone
    #[cfg_attr(feature = "clap", arg(long, value_name = "DATA", help_heading = COMMON, display_order = 11))]
    pub calib: Option<PathBuf>,
    /// Fit without data, even with --calib: to synthetic pictures, or to the weights alone
    /// (the method of the paper). Without --calib this is pictures where that is quick
    #[cfg_attr(feature = "clap", arg(
        long,
        value_name = "KIND",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = DataFreeChoice::Pictures.name()
    ))]
    pub data_free: Option<DataFreeChoice>,
    /// Work that is spent on fits: quick, normal or thorough
    #[cfg_attr(feature = "clap", arg(long, value_enum, value_name = "EFFORT", default_value_t = Self::default().effort))]
    pub effort: EffortChoice,
    /// Output positions per layer that are fitted to at most [default: by --effort 16384, 60000 or
    /// 200000]
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub positions: Option<NonZeroUsize>,
    /// Memory that calibration may take: bytes, with K, M, G or T (powers of 1024), or a share of
    /// the machine's [default: 50%, 4G at most]. With less, fewer layers are looked at together, and fewer
    /// positions of wide ones
    #[serde(deserialize_with = "values::memory")]
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "SIZE", value_parser = sepconv_model::parse_memory)
    )]
    pub max_memory: Option<u64>,
    /// Rounds of alternating least squares at most [default: by --effort 2, 8 or 16]
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub rounds: Option<usize>,
    /// Steps towards what a layer's activation lets through at most; 0 fits to the outputs
    /// before it [default: by --effort 3, 12 or 24]
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub steps: Option<usize>,
    /// Fit all output channels of a layer alike, not by how much the outputs depend on them (which
    /// is done where those are no classes)
    #[cfg_attr(feature = "clap", arg(long))]
    pub unweighted: bool,
    /// Layers that share a pass over the data: 1 is most accurate, 0 means all. Each of a block makes up
    /// for the errors before it, so that 2 and more may be less accurate than all
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", default_value_t = Self::default().block))]
    pub block: usize,
    /// Then train the result towards the original on --calib, without labels, for so many epochs
    /// (`sepconv tune` has all options)
    #[serde(deserialize_with = "values::epochs")]
    #[cfg_attr(feature = "clap", arg(
        long,
        value_name = "EPOCHS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = values::EPOCHS.to_string()
    ))]
    pub tune: Option<usize>,
    /// Keep the statistics of planning in the user's cache folder, for other budgets. The command
    /// line always does
    #[cfg_attr(feature = "clap", arg(skip = true))]
    pub cache: bool,
}

impl FitSpec {
    /// How layers are fitted to `source`, without a cache.
    pub fn calibration(&self, source: DataSource) -> CalibrationSettings {
        let mut settings = CalibrationSettings::new(source);
        let effort = Effort::from(self.effort);
        settings.effort = effort;
        settings.positions = self.positions.map_or(effort.positions(), NonZeroUsize::get);
        settings.fit.rounds = self.rounds.unwrap_or(effort.rounds());
        settings.fit.steps = self.steps.unwrap_or(effort.steps());
        settings.weighted = !self.unweighted;
        settings.schedule = match self.block {
            0 => Schedule::Parallel,
            1 => Schedule::Sequential,
            n => Schedule::Blocks(n),
        };
        settings
    }
}

impl Default for FitSpec {
    fn default() -> Self {
        let usual = CalibrationSettings::of(Source::Pictures(Pictures::default()));
        Self {
            calib: None,
            data_free: None,
            effort: EffortChoice::Normal,
            positions: None,
            max_memory: None,
            rounds: None,
            steps: None,
            unweighted: !usual.weighted,
            block: usual.schedule.layers(),
            tune: None,
            cache: false,
        }
    }
}
