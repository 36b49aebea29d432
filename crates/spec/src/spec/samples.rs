//! How samples are read.

use std::path::{Path, PathBuf};

use sepconv_data::{ChannelOrder, Crop, Layout, Preprocess, Resize, parse_number, parse_numbers};
use sepconv_model::DataSource;
use serde::{Deserialize, Serialize};

use super::{SpecError, values};

/// Preprocessing of data, and how much of it is read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Data")
)]
pub struct SampleSpec {
    /// Preprocessing from a TOML file with the keys scale, mean, std, channel-order, resize,
    /// crop, layout
    #[cfg_attr(feature = "clap", arg(long, value_name = "TOML"))]
    pub preprocess: Option<PathBuf>,
    /// Factor on pixel values: a number or a fraction such as 1/255
    #[serde(deserialize_with = "values::numbers")]
    #[cfg_attr(feature = "clap", arg(long, value_name = "X"))]
    pub scale: Option<String>,
    /// Subtracted after scaling: per channel, or one for all
    #[serde(deserialize_with = "values::numbers")]
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "A,B,C", allow_hyphen_values = true)
    )]
    pub mean: Option<String>,
    /// Divided by after that: per channel, or one for all
    #[serde(deserialize_with = "values::numbers")]
    #[cfg_attr(feature = "clap", arg(long, value_name = "A,B,C"))]
    pub std: Option<String>,
    /// rgb or bgr
    #[serde(deserialize_with = "values::parsed")]
    #[cfg_attr(feature = "clap", arg(long, value_name = "ORDER"))]
    pub channel_order: Option<ChannelOrder>,
    /// Short side in pixels, or WxH
    #[serde(deserialize_with = "values::parsed")]
    #[cfg_attr(feature = "clap", arg(long, value_name = "SIZE"))]
    pub resize: Option<Resize>,
    /// Centre crop in pixels, or WxH
    #[serde(deserialize_with = "values::parsed")]
    #[cfg_attr(feature = "clap", arg(long, value_name = "SIZE"))]
    pub crop: Option<Crop>,
    /// Layout of the data's arrays, nchw or nhwc: turned to the model's where that is another
    /// [default: as the model takes them]. Where the model does not tell its own, it is this
    #[serde(deserialize_with = "values::parsed")]
    #[cfg_attr(feature = "clap", arg(long, value_name = "LAYOUT"))]
    pub layout: Option<Layout>,
    /// At most this many samples, drawn with the seed (of --calib, where there is one)
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub max_samples: Option<usize>,
}

impl SampleSpec {
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
            preprocess: self.recipe()?,
            max_samples: self.max_samples,
            seed,
            ..source
        })
    }

    /// Preprocessing of pixel values, where anything is said of it.
    ///
    /// # Errors
    /// As [`SampleSpec::recipe`].
    pub fn pixels(&self) -> Result<Option<Preprocess>, SpecError> {
        let recipe = self.recipe()?;
        Ok(recipe.changes_values().then_some(recipe))
    }

    /// The preprocessing: that of the file, overridden by other options.
    ///
    /// # Errors
    /// [`SpecError::File`] where the file can't be read or values make no sense together,
    /// [`SpecError::Value`] where they are no numbers.
    pub fn recipe(&self) -> Result<Preprocess, SpecError> {
        let mut recipe = match &self.preprocess {
            Some(file) => Preprocess::from_toml_file(file)?,
            None => Preprocess::default(),
        };
        if let Some(text) = &self.scale {
            recipe.scale = parse_number(text).map_err(SpecError::value("scale"))?;
        }
        if let Some(text) = &self.mean {
            recipe.mean = parse_numbers(text).map_err(SpecError::value("mean"))?;
        }
        if let Some(text) = &self.std {
            recipe.std = parse_numbers(text).map_err(SpecError::value("std"))?;
        }
        if let Some(order) = self.channel_order {
            recipe.channel_order = order;
        }
        if let Some(layout) = self.layout {
            recipe.layout = Some(layout);
        }
        recipe.resize = self.resize.or(recipe.resize);
        recipe.crop = self.crop.or(recipe.crop);
        recipe.validate()?;
        Ok(recipe)
    }
}
