//! Batch normalisation as a scale and a shift per channel.

use sepconv_analysis::constants;
use sepconv_ir::{DType, Graph, Operator, Tensor, ValueId};

/// A `BatchNormalization` (ONNX, opset 7 and later) in inference mode with constant
/// parameters: `y = (x - mean) factor + shift` for each channel, in f64.
pub(crate) struct Norm {
    /// `scale / sqrt(var + epsilon)`.
    pub factor: Vec<f64>,
    mean: Vec<f64>,
    shift: Vec<f64>,
}

impl Norm {
    /// Reads the parameters of `op`. `None` unless they are constants of `channels` numbers.
    pub fn read(graph: &Graph, op: &Operator, channels: usize) -> Option<Self> {
        let parameter = |slot| vector(graph, op.input(slot)?, channels);
        let (scale, var) = (parameter(1)?, parameter(4)?);
        let epsilon = f64::from(op.float("epsilon", 1e-5));
        let factor = scale.iter().zip(&var);
        Some(Self {
            factor: factor.map(|(s, v)| s / (v + epsilon).sqrt()).collect(),
            mean: parameter(3)?,
            shift: parameter(2)?,
        })
    }

    /// The normalised `x` of a channel.
    pub fn of(&self, channel: usize, x: f64) -> f64 {
        (x - self.mean[channel]) * self.factor[channel] + self.shift[channel]
    }
}

/// True where `op` is a batch normalisation of one output that applies its statistics
/// (`training_mode` is opset 14's, `spatial` opset 7's).
pub(crate) fn is_inference(op: &Operator) -> bool {
    op.is("BatchNormalization")
        && op.is_literal()
        && op.outputs.iter().flatten().count() == 1
        && op.int("training_mode", 0) == 0
        && op.int("spatial", 1) == 1
}

/// A constant vector of `len` floats.
pub(crate) fn vector(graph: &Graph, value: ValueId, len: usize) -> Option<Vec<f64>> {
    let tensor = constants::resolve(graph, value)?;
    (tensor.dims() == [len]).then(|| tensor.to_f64())?
}

/// A tensor of `values`, where `dtype` can hold all of them.
pub(crate) fn finite(dtype: DType, dims: Vec<usize>, values: &[f64]) -> Option<Tensor> {
    let tensor = Tensor::from_f64s(dtype, dims, values)?;
    let held = tensor.to_f64()?;
    held.iter().all(|v| v.is_finite()).then_some(tensor)
}
