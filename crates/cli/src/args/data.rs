//! Data, and how it is read.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use sepconv::data::{
    ChannelOrder, Crop, Layout, Preprocess, Resize, SyntheticKind, parse_number, parse_numbers,
};
use sepconv::ir::Tensor;
use sepconv::{DataSource, Loaded, synthetic_inputs};

/// The inputs that models are run on.
#[derive(Debug, Args)]
pub struct InputArgs {
    /// Inputs: .npz, .npy, a folder of pictures, or ONNX test sets [default: seeded random ones]
    #[arg(long, value_name = "DATA", alias = "input")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub samples: SampleArgs,
}

impl InputArgs {
    /// Inputs of `model`: the data given, or so many random ones.
    pub fn read(&self, model: &Loaded, samples: usize, seed: u64) -> Result<Vec<Vec<Tensor>>> {
        Ok(match &self.data {
            Some(path) => self.samples.source(path, seed)?.inputs(model)?,
            None if samples == 0 => bail!("--samples 0: at least one is needed"),
            None => synthetic_inputs(model, samples, seed, SyntheticKind::Normal)?,
        })
    }
}

/// Data with labels or targets, and how it is read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    #[command(flatten)]
    pub samples: SampleArgs,
    /// File with one class folder name per line: line i is output i
    #[arg(long, value_name = "FILE")]
    pub classes: Option<PathBuf>,
    /// Largest value of a picture, for PSNR and SSIM [default: 255 where the target is stored as
    /// u8, else 1]
    #[arg(long, value_name = "X")]
    pub peak: Option<f64>,
}

/// Preprocessing of data, and how much of it is read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub struct SampleArgs {
    /// Preprocessing from a TOML file with the keys scale, mean, std, channel-order, resize,
    /// crop, layout
    #[arg(long, value_name = "TOML")]
    pub preprocess: Option<PathBuf>,
    /// Factor on pixel values: a number or a fraction such as 1/255
    #[arg(long, value_name = "X")]
    pub scale: Option<String>,
    /// Subtracted after scaling: per channel, or one for all
    #[arg(long, value_name = "A,B,C", allow_hyphen_values = true)]
    pub mean: Option<String>,
    /// Divided by after that: per channel, or one for all
    #[arg(long, value_name = "A,B,C")]
    pub std: Option<String>,
    /// rgb or bgr
    #[arg(long, value_name = "ORDER")]
    pub channel_order: Option<ChannelOrder>,
    /// Short side in pixels, or WxH
    #[arg(long, value_name = "SIZE")]
    pub resize: Option<Resize>,
    /// Centre crop in pixels, or WxH
    #[arg(long, value_name = "SIZE")]
    pub crop: Option<Crop>,
    /// Layout of the data's arrays, nchw or nhwc: turned to the model's where that is another
    /// [default: as the model takes them]. Where the model does not tell its own, it is this
    #[arg(long, value_name = "LAYOUT")]
    pub layout: Option<Layout>,
    /// At most this many samples, drawn with the seed (of --calib, where there is one)
    #[arg(long, value_name = "N")]
    pub max_samples: Option<usize>,
}

impl DataArgs {
    /// The data set at `path` with these settings.
    pub fn source(&self, path: &std::path::Path, seed: u64) -> Result<DataSource> {
        Ok(DataSource {
            classes: self.classes.clone(),
            peak: self.peak,
            ..self.samples.source(path, seed)?
        })
    }
}

impl SampleArgs {
    /// The data set at `path` with these settings.
    pub fn source(&self, path: &std::path::Path, seed: u64) -> Result<DataSource> {
        Ok(DataSource {
            path: path.to_owned(),
            preprocess: self.recipe()?,
            max_samples: self.max_samples,
            seed,
            ..DataSource::default()
        })
    }

    /// Preprocessing of pixel values, where anything is said of it.
    pub fn pixels(&self) -> Result<Option<Preprocess>> {
        let recipe = self.recipe()?;
        Ok(recipe.changes_values().then_some(recipe))
    }

    fn recipe(&self) -> Result<Preprocess> {
        let mut recipe = match &self.preprocess {
            Some(file) => Preprocess::from_toml_file(file)?,
            None => Preprocess::default(),
        };
        if let Some(text) = &self.scale {
            recipe.scale = parse_number(text).context("--scale")?;
        }
        if let Some(text) = &self.mean {
            recipe.mean = parse_numbers(text).context("--mean")?;
        }
        if let Some(text) = &self.std {
            recipe.std = parse_numbers(text).context("--std")?;
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
