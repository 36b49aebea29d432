//! Folds batch normalisation into the convolution before it.
//!
//! Before: `y = BatchNormalization(Conv(x, W, b), scale, B, mean, var)`.
//! After: `y = Conv(x, W', b')` with `W'_o = W_o s_o`, `b'_o = (b_o - mean_o) s_o + B_o`,
//! `s_o = scale_o / sqrt(var_o + epsilon)`.
//! Conditions: inference mode; all parameters constant; nothing else reads the convolution's
//! output. Exact up to rounding, computed in f64. Terminates: every fold removes a node.

use sepconv_analysis::{ConvAttributes, constants};
use sepconv_ir::{Graph, NodeId, Operator, Patch, ValueId};

use crate::error::PassError;
use crate::norm::{Norm, finite, is_inference, vector};
use crate::pass::{Context, Outcome, Pass};
use crate::site::Site;

/// Folds batch normalisation (ONNX `BatchNormalization`, opset 7 and later) into the selected
/// convolutions before it. Notes the convolutions.
#[derive(Debug, Clone, Copy, Default)]
pub struct FoldBatchNorm;

const NAME: &str = "fold-batchnorm";

impl Pass for FoldBatchNorm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(&self, graph: &mut Graph, context: &Context) -> Result<Outcome, PassError> {
        let mut outcome = Outcome::default();
        let convs = graph.operators().filter(|(_, op)| is_convolution(op));
        for conv in convs.map(|(id, _)| id).collect::<Vec<_>>() {
            let Some(norm) = norm_after(graph, conv) else {
                continue;
            };
            let label = graph.label(conv).to_owned();
            let made = match context.selection.includes(&label) {
                true => fold(graph, conv, norm),
                false => Err("not selected"),
            };
            match made {
                Ok(patch) => {
                    graph.apply(patch).map_err(PassError::of(NAME))?;
                    outcome.change(label, "the norm after it folded");
                }
                Err(why) => outcome.keep(label, why),
            }
        }
        Ok(outcome)
    }
}

/// A batch normalisation of the output of `conv`.
fn norm_after(graph: &Graph, conv: NodeId) -> Option<NodeId> {
    let output = graph.operator(conv)?.output(0)?;
    let norm = |id: NodeId| {
        let op = graph.operator(id);
        op.is_some_and(|op| op.is("BatchNormalization") && op.input(0) == Some(output))
    };
    let mut readers = graph.readers(output).into_iter().map(|(id, _)| id);
    readers.find(|id| norm(*id))
}

fn fold(graph: &Graph, conv: NodeId, norm: NodeId) -> Result<Patch, &'static str> {
    let (op, bn) = graph
        .operator(conv)
        .zip(graph.operator(norm))
        .ok_or("it is gone")?;
    let outputs = op.output(0).zip(bn.output(0));
    let (output, normalised) = outputs.ok_or("it has no output")?;
    if graph.readers(output).len() > 1 {
        return Err("its output is read elsewhere too");
    }
    if !is_inference(bn) {
        return Err("the norm after it is in training mode");
    }
    let weight = op.input(1).and_then(|w| constants::resolve(graph, w));
    let weight = weight.ok_or("its weight is not a constant")?;
    // Folded it would be in the file as often as it is read, or in floats.
    if Site::weight_readers(graph, op) > 1 {
        return Err("its weight is read elsewhere too");
    }
    if op
        .input(1)
        .is_some_and(|w| constants::is_dequantized(graph, w))
    {
        return Err("its weight is of eight bits");
    }
    let attributes = ConvAttributes::read(op, weight.dims());
    let attributes = attributes.map_err(|_| "its attributes are malformed")?;
    let channels = attributes.out_channels as usize;
    let bias = match op.input(2) {
        Some(b) => Some(vector(graph, b, channels).ok_or("its bias is not a constant")?),
        None => None,
    };
    let parameters = Norm::read(graph, bn, channels);
    let parameters = parameters.ok_or("the norm's parameters are not constants")?;
    let channel = channel_of(&attributes);
    let scaled = |(i, w): (usize, f64)| w * parameters.factor[channel(i)];
    let floats = weight.to_f64().ok_or("its weight is not of floats")?;
    let folded: Vec<f64> = floats.into_iter().enumerate().map(scaled).collect();
    let bias: Vec<f64> = (0..channels)
        .map(|o| parameters.of(o, bias.as_ref().map_or(0.0, |b| b[o])))
        .collect();
    let dtype = weight.dtype();
    let unfit = "its weights would not be finite";
    let weight = finite(dtype, weight.dims().to_vec(), &folded).ok_or(unfit)?;
    let bias = finite(dtype, vec![channels], &bias).ok_or(unfit)?;
    let mut patch = Patch::replace(NAME, conv);
    patch.remove(norm);
    let parameters = op.inputs.iter().chain(&bn.inputs).flatten();
    let unread: Vec<ValueId> = parameters.copied().collect();
    let kept: Vec<ValueId> = op.input(0).into_iter().collect();
    for node in constants::orphans(graph, &unread, &[conv, norm], &kept) {
        patch.remove(node);
    }
    let label = graph.label(conv);
    let w = patch.initializer(format!("{label}/folded.weight"), weight);
    let b = patch.initializer(format!("{label}/folded.bias"), bias);
    let fused = Operator {
        source: None,
        ..op.clone()
    };
    let inputs = vec![op.input(0).map(Into::into), Some(w), Some(b)];
    patch.operator_into(fused, inputs, normalised);
    Ok(patch)
}

fn is_convolution(op: &Operator) -> bool {
    op.is("Conv") || op.is("ConvTranspose")
}

/// The output channel that the weight at an index belongs to: `[Co, Ci / groups, k...]`, or
/// `[Ci, Co / groups, k...]` where the convolution is transposed.
fn channel_of(attributes: &ConvAttributes) -> impl Fn(usize) -> usize {
    let taps = attributes.kernel.iter().product::<u64>() as usize;
    let groups = attributes.group as usize;
    let inputs = attributes.in_channels as usize / groups;
    let outputs = attributes.out_channels as usize / groups;
    let transposed = attributes.transposed;
    move |index| {
        let row = index / taps;
        if transposed {
            row / outputs / inputs * outputs + row % outputs
        } else {
            row / inputs
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::select::Selection;
    use crate::testing::fold_by;

    const CONV_AND_NORM: &str = "\
input x
const w: f32[2,1,1,1] [2.0, 3.0]
const scale: f32[2] [1.0, 2.0]
const shift: f32[2] [0.5, 0.0]
const mean: f32[2] [1.0, 1.0]
const var: f32[2] [3.0, 0.0]
y = Conv(x, w) # c
z = BatchNormalization{epsilon=1.0}(y, scale, shift, mean, var) # bn
output z
";

    #[test]
    fn parameters_are_folded() {
        let mut g: Graph = CONV_AND_NORM.parse().unwrap();
        let all = Selection::default();
        assert_eq!(fold_by(&FoldBatchNorm, &mut g, &all), Ok(1));
        let folded = "\
input x
const c/folded.weight: f32[2,1,1,1] [1.0, 6.0]
const c/folded.bias: f32[2] [0.0, -2.0]
z = Conv(x, c/folded.weight, c/folded.bias) # c
output z
";
        assert_eq!(g.to_string(), folded);
    }

    #[test]
    fn a_convolution_read_elsewhere_stays() {
        let text = format!("{CONV_AND_NORM}output y\n");
        let mut g: Graph = text.parse().unwrap();
        let why = fold_by(&FoldBatchNorm, &mut g, &Selection::default());
        assert_eq!(why, Err(vec!["its output is read elsewhere too".into()]));
        assert_eq!(g.to_string(), text);
    }

    #[test]
    fn a_weight_that_others_read_stays() {
        let text = format!("{CONV_AND_NORM}p = Conv(z, w) # d\noutput p\n");
        let mut g: Graph = text.parse().unwrap();
        let why = fold_by(&FoldBatchNorm, &mut g, &Selection::default());
        assert_eq!(why, Err(vec!["its weight is read elsewhere too".into()]));
    }

    #[test]
    fn a_weight_that_the_model_rounds_stays() {
        let rounded = "y = Conv(x, r)";
        let made = "const s: f32[] [0.5]\nconst o: i8[] [0]\nq = QuantizeLinear(w, s, o)\n\
                    r = DequantizeLinear(q, s, o)\n";
        let text = CONV_AND_NORM.replace("y = Conv(x, w)", &format!("{made}{rounded}"));
        let mut g: Graph = text.parse().unwrap();
        let why = fold_by(&FoldBatchNorm, &mut g, &Selection::default());
        assert_eq!(why, Err(vec!["its weight is of eight bits".into()]));
    }

    #[test]
    fn only_selected_layers_are_folded() {
        let mut g: Graph = CONV_AND_NORM.parse().unwrap();
        let skip = Selection::new(&[], &["c"]).unwrap();
        let why = fold_by(&FoldBatchNorm, &mut g, &skip);
        assert_eq!(why, Err(vec!["not selected".into()]));
    }
}
