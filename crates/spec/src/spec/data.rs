//! How data with labels or targets are read.

use std::path::{Path, PathBuf};

use sepconv_model::DataSource;
use serde::{Deserialize, Serialize};

use super::{SampleSpec, SpecError, TaskChoice};

/// Data with labels or targets, and how it is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Data")
)]
pub struct DataSpec {
    /// The samples.
    #[serde(flatten)]
    #[cfg_attr(feature = "clap", command(flatten))]
    pub samples: SampleSpec,
    /// Labels that lie apart from the evaluation data: a COCO file of boxes (JSON), or a folder of masks (PNG)
    /// named like the pictures
    #[cfg_attr(feature = "clap", arg(long, value_name = "PATH"))]
    pub labels: Option<PathBuf>,
    /// File with one name per line, of a class folder or of a category of boxes: line i is output i
    #[cfg_attr(feature = "clap", arg(long, value_name = "FILE"))]
    pub classes: Option<PathBuf>,
    /// Largest value of a picture, for PSNR and SSIM [default: 255 where the target is stored as
    /// u8, else 1]
    #[cfg_attr(feature = "clap", arg(long, value_name = "X"))]
    pub peak: Option<f64>,
    /// Purpose of the model: its outputs are measured by it against the original's, those of a detector
    /// by the detections that both have
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Self::default().task))]
    pub task: TaskChoice,
}

impl Default for DataSpec {
    fn default() -> Self {
        Self {
            samples: SampleSpec::default(),
            labels: None,
            classes: None,
            peak: None,
            task: TaskChoice::Auto,
        }
    }
}

impl DataSpec {
    /// The data set at `path`, so read.
    ///
    /// # Errors
    /// As [`SampleSpec::recipe`].
    pub fn source(&self, path: &Path, seed: u64) -> Result<DataSource, SpecError> {
        self.reading(DataSource::new(path), seed)
    }

    /// `source`, so read.
    ///
    /// # Errors
    /// As [`SampleSpec::recipe`].
    pub fn reading(&self, source: DataSource, seed: u64) -> Result<DataSource, SpecError> {
        Ok(DataSource {
            annotations: self.labels.clone(),
            classes: self.classes.clone(),
            peak: self.peak,
            task: self.task.into(),
            ..self.samples.reading(source, seed)?
        })
    }

    /// The same to evaluate on: all samples.
    ///
    /// # Errors
    /// As [`SampleSpec::recipe`].
    pub fn evaluation(&self, path: &Path, seed: u64) -> Result<DataSource, SpecError> {
        Ok(DataSource {
            max_samples: None,
            ..self.source(path, seed)?
        })
    }
}
