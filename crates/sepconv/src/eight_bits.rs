//! The record of a result in eight bits.

use sepconv_eval::BenchRun;
use sepconv_quantize::{Missed, QuantizedLayer};
use serde::Serialize;

/// Record of a result in eight bits.
#[derive(Debug, Clone, Serialize)]
pub struct EightBits {
    /// The layers of the result, those in floats with their reasons.
    pub layers: Vec<QuantizedLayer>,
    /// The original, the original in eight bits and, where a layer was rewritten, the compressed model in
    /// eight bits, timed in turns.
    pub timing: BenchRun,
    /// Parameters of the result before its weights were rounded: constants of eight bits are not counted
    /// as parameters.
    pub params: u64,
    /// True where the result is the compressed model in eight bits; false where it is the original in
    /// eight bits, which is as fast.
    pub separable: bool,
    /// Times that the original in floats is faster with its activations in simpler operators; `None` where they stay.
    pub simpler: Option<f64>,
    /// The ratio in dB that eight bits are to keep, where no choice of layers in floats reaches it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<Missed>,
}
