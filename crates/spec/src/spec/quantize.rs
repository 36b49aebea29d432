//! The options of `quantize`.

use sepconv_factor::WeightBits;
use serde::{Deserialize, Serialize};

use super::space::{raises, weight_bits};
use super::{SampleSpec, ShapeSpec, SpecError, json};

/// The options of a quantisation, but for its data. Serialised, it is one flat object with a value for every
/// option.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct QuantizeSpec {
    /// Signal-to-noise ratio in dB that the worst channel of the outputs is to keep on held-out samples: of the
    /// layers that make most noise, as few as are enough stay in floats. Where no choice that is tried is enough, the
    /// best one is written and a note tells its ratio [default: 10]
    #[cfg_attr(feature = "clap", arg(long, value_name = "DB"))]
    pub min_snr: Option<f64>,
    /// Quantise every layer, whatever the outputs lose
    #[cfg_attr(feature = "clap", arg(long, conflicts_with = "min_snr"))]
    pub all_layers: bool,
    /// Of so many samples one is held out of the calibration, at least 2 [default: 4]
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub held_out_every: Option<usize>,
    /// Raise a model of opset 7 to 12 to this one, which eight bits need: 13
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(13..=13))
    )]
    pub opset: Option<i64>,
    /// Bits that weights are rounded to: 7 where the model is deployed on x86 processors without VNNI, whose sums end
    /// at 16 bits [default: 8, or by measuring where this processor is one]
    #[cfg_attr(
        feature = "clap",
        arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(7..=8))
    )]
    pub weight_bits: Option<u8>,
    /// Replace existing files
    #[cfg_attr(feature = "clap", arg(long))]
    pub force: bool,
    /// Seed of draws from data
    #[cfg_attr(feature = "clap", arg(long, value_name = "SEED", default_value_t = Self::default().seed))]
    pub seed: u64,
    /// Runtime that both models run on and are timed with: tract, onnxruntime or openvino
    /// [default: onnxruntime where it is found, else tract]
    #[cfg_attr(feature = "clap", arg(long, value_name = "NAME"))]
    pub target: Option<String>,
    /// Shapes of inputs.
    #[serde(flatten)]
    #[cfg_attr(feature = "clap", command(flatten))]
    pub shapes: ShapeSpec,
    // Last: it begins a section of the help.
    /// How the data are read.
    #[serde(flatten)]
    #[cfg_attr(feature = "clap", command(flatten))]
    pub samples: SampleSpec,
}

impl QuantizeSpec {
    /// Names of all options, sorted.
    pub fn options() -> Vec<String> {
        json::options(&Self::default())
    }

    /// Reads options from a JSON object. One that is left out or null has its default.
    ///
    /// # Errors
    /// As [`super::Spec::from_json`].
    pub fn from_json(text: &str) -> Result<Self, SpecError> {
        json::read(text)
    }

    /// True where a model of an opset below 13 is raised to it.
    ///
    /// # Errors
    /// [`SpecError::Refused`] for any other opset.
    pub fn raises(&self) -> Result<bool, SpecError> {
        raises(self.opset)
    }

    /// The integers that weights are rounded to; `None` where measurements choose.
    ///
    /// # Errors
    /// [`SpecError::Value`] for any but 7 and 8.
    pub fn weight_bits(&self) -> Result<Option<WeightBits>, SpecError> {
        weight_bits(self.weight_bits)
    }
}
