//! Settings of a quantisation.

use sepconv_model::DataSource;
use sepconv_targets::Target;

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
    /// A model of opset 11 or 12 is raised to opset 13, the first of scales per channel, in place of
    /// refused.
    pub raise: bool,
    /// Positions that the statistics of a layer's inputs are taken at, over all samples.
    pub positions: usize,
    /// The signal-to-noise ratio in dB that the worst channel of the outputs keeps on held-out samples:
    /// layers stay in floats until it holds. `None`: all layers are quantised.
    pub least_snr: Option<f64>,
    /// Layers of these names, and those whose names go on with `/` behind one of them, stay in floats
    /// from the start.
    pub floats: Vec<String>,
    /// Channels between the stages of chains are scaled towards one range.
    pub balance: bool,
    /// Rounding errors of weights are made up for by other weights.
    pub compensate: bool,
    /// Biases take up the mean error of a layer.
    pub correct_bias: bool,
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
            floats: Vec::new(),
            balance: true,
            compensate: true,
            correct_bias: true,
        }
    }
}
