//! Settings of a quantisation.

use std::collections::BTreeMap;
use std::time::Instant;

use sepconv_factor::WeightBits;
use sepconv_model::DataSource;
use sepconv_spec::{QuantizeSpec, SpecError};
use sepconv_targets::{Target, find, reference};

use crate::layers::is_of;

/// Settings of [`crate::quantize`].
#[derive(Clone)]
pub struct QuantizeSettings {
    /// Calibration data, without labels. One sample of every so many is held out of the calibration:
    /// [`QuantizeSettings::held_out_every`].
    pub source: DataSource,
    /// One sample of so many is held out, at least 2.
    pub held_out_every: usize,
    /// The runtime that both models are run on.
    pub target: &'static dyn Target,
    /// A model of opset 7 to 12 is raised to opset 13, the first of scales per channel, in place of
    /// refused.
    pub raise: bool,
    /// Positions that the statistics of a layer's inputs are taken at, over all samples.
    pub positions: usize,
    /// The signal-to-noise ratio in dB that the worst channel of the outputs is to keep on held-out samples: as few
    /// layers as are enough stay in floats. Where no choice that is tried is enough, the best one is taken, and
    /// [`crate::Quantized::missed`] tells. `None`: all layers are quantised.
    pub least_snr: Option<f64>,
    /// Layers of these names, and those whose names go on with `/` behind one of them, stay in floats
    /// from the start, for these reasons.
    pub floats: BTreeMap<String, String>,
    /// Channels between the stages of chains are scaled towards one range.
    pub balance: bool,
    /// Rounding errors of weights are made up for by other weights.
    pub compensate: bool,
    /// Biases take up the mean error of a layer.
    pub correct_bias: bool,
    /// The integers that weights are rounded to. `None`: eight bits; where sums of the runtime's products of eight
    /// bits end at 16 on this processor, also seven, and the model whose outputs keep more is taken.
    pub weight_bits: Option<WeightBits>,
    /// The moment behind which layers that cost the outputs much are no longer told apart.
    pub until: Option<Instant>,
}

impl QuantizeSettings {
    /// The usual settings for some data and a runtime.
    pub fn new(source: DataSource, target: &'static dyn Target) -> Self {
        Self {
            source,
            held_out_every: 4,
            target,
            raise: false,
            positions: 4096,
            least_snr: Some(10.0),
            floats: BTreeMap::new(),
            balance: true,
            compensate: true,
            correct_bias: true,
            weight_bits: None,
            until: None,
        }
    }

    /// The reason for which a layer is to stay in floats, where it is one of [`QuantizeSettings::floats`].
    pub(crate) fn named(&self, layer: &str) -> Option<&str> {
        let mut known = self.floats.iter();
        let found = known.find(|(own, _)| is_of(layer, own));
        found.map(|(_, reason)| reason.as_str())
    }

    /// The settings of `spec`. How `source` is read is the spec's.
    ///
    /// # Errors
    /// [`SpecError`] names the option.
    pub fn of(spec: &QuantizeSpec, source: DataSource) -> Result<Self, SpecError> {
        if spec.all_layers && spec.min_snr.is_some() {
            let both = SpecError::refused(&["all_layers", "min_snr"]);
            return Err(both("one at a time"));
        }
        let source = spec.samples.reading(source, spec.seed)?;
        let usual = Self::new(source, runtime(spec.target.as_deref())?);
        let held_out_every = spec.held_out_every.unwrap_or(usual.held_out_every);
        if held_out_every < 2 {
            return Err(SpecError::Value {
                option: "held_out_every".into(),
                reason: format!("expected at least 2, found {held_out_every}"),
            });
        }
        Ok(Self {
            held_out_every,
            raise: spec.raises()?,
            weight_bits: spec.weight_bits()?,
            least_snr: match spec.all_layers {
                true => None,
                false => spec.min_snr.or(usual.least_snr),
            },
            ..usual
        })
    }
}

/// The runtime that is named; ONNX Runtime where none is and it is found, else tract.
fn runtime(named: Option<&str>) -> Result<&'static dyn Target, SpecError> {
    let refused = SpecError::refused(&["target"]);
    let found = find(named.unwrap_or("onnxruntime")).map_err(&refused)?;
    match (found.available(), named) {
        (Ok(()), _) => Ok(found),
        (Err(_), None) => Ok(reference()),
        (Err(error), Some(_)) => Err(refused(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asked(json: &str) -> Result<QuantizeSettings, String> {
        let spec = QuantizeSpec::from_json(json).map_err(|e| e.to_string())?;
        let source = DataSource::memory(Vec::new());
        QuantizeSettings::of(&spec, source).map_err(|e| e.to_string())
    }

    #[test]
    fn options_become_settings() {
        let usual = asked("{}").unwrap();
        assert_eq!((usual.least_snr, usual.held_out_every), (Some(10.0), 4));
        assert!(!usual.raise);
        let json = r#"{"min_snr": 30, "held_out_every": 8, "opset": 13, "target": "tract", "scale": "1/2",
            "seed": 7, "max_samples": 3, "weight_bits": 7}"#;
        let settings = asked(json).unwrap();
        assert_eq!(settings.least_snr, Some(30.0));
        assert_eq!((settings.held_out_every, settings.raise), (8, true));
        assert_eq!(settings.target.name(), "tract");
        assert_eq!(settings.weight_bits, Some(WeightBits::Seven));
        let source = settings.source;
        assert_eq!((source.preprocess.scale, source.seed), (0.5, 7));
        assert_eq!(source.max_samples, Some(3));
        assert_eq!(asked(r#"{"all_layers": true}"#).unwrap().least_snr, None);
    }

    #[test]
    fn options_that_make_no_sense_are_refused_by_name() {
        for (json, expected) in [
            (
                r#"{"all_layers": true, "min_snr": 3}"#,
                "all_layers or min_snr: one at a time",
            ),
            (
                r#"{"held_out_every": 1}"#,
                "held_out_every: expected at least 2, found 1",
            ),
            (
                r#"{"weight_bits": 6}"#,
                "weight_bits: expected 7 or 8, found 6",
            ),
            (
                r#"{"opset": 15}"#,
                "opset: models are raised to opset 13, not 15",
            ),
            (
                r#"{"target": "gpu"}"#,
                "target: no target 'gpu' (there are tract, onnxruntime, openvino)",
            ),
            (r#"{"rank": 1}"#, "there is no option 'rank'"),
        ] {
            assert_eq!(asked(json).err().unwrap(), expected, "{json}");
        }
    }
}
