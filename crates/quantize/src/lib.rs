//! Float ONNX models as standard QDQ models of eight bits.
//!
//! [`quantize`] runs a model on calibration data, chooses a grid of eight bits for every activation
//! ([`Ranges`], [`Grid`]), rounds the weights of its layers, and writes `QuantizeLinear` and
//! `DequantizeLinear` around the operators that runtimes then compute in integers. Layers that cost the outputs more
//! than is allowed stay in floats.
//!
//! | Module | Job |
//! |---|---|
//! | `settings`, `admit`, `quantize` | the options, the steps, and the result |
//! | `layers`, `gemm` | layers whose weights are rounded |
//! | `balance` | channels between stages brought nearer to one range |
//! | `scheme` | operators and values in eight bits |
//! | `histogram`, `behind`, `grid`, `ranges` | grids of activations |
//! | `moments`, `weights` | statistics of inputs, weights rounded by them |
//! | `saturation`, `overflow` | runtimes whose sums end at 16 bits, and what that costs a layer |
//! | `rounding_error` | errors of layers by rounding |
//! | `rewrite`, `pairs`, `build`, `float_readers` | the QDQ model |
//! | `reserve`, `missed` | layers that stay in floats, and a ratio that they do not reach |
//! | `outline` | models that take the time of quantised ones, without data |

mod admit;
mod balance;
mod behind;
mod build;
mod error;
mod float_readers;
mod gemm;
mod grid;
mod histogram;
mod judge;
mod layers;
mod missed;
mod moments;
mod noisiest;
mod outline;
mod overflow;
mod pairs;
mod quantize;
mod ranges;
mod reserve;
mod rewrite;
mod rounding_error;
mod saturation;
mod scheme;
mod settings;
mod weights;
mod windows;

pub use admit::refuse;
pub use error::QuantizeError;
pub use grid::Grid;
pub use missed::Missed;
pub use outline::Int8;
pub use quantize::{Quantized, QuantizedLayer, in_floats, in_seven_bits, quantize};
pub use ranges::Ranges;
pub use rounding_error::RoundingError;
pub use settings::QuantizeSettings;
