//! Folds batch normalisation into the convolutions after it.
//!
//! Before: `y = Conv(BatchNormalization(x, scale, B, mean, var), W, b)`.
//! After: `y = Conv(x, W', b')` with `W'_oi = W_oi s_i`, `b'_o = b_o + sum over i and the taps
//! of W_oi (B_i - mean_i s_i)`, `s_i = scale_i / sqrt(var_i + epsilon)`.
//! Conditions: inference mode; all parameters constant; only selected convolutions read the
//! normalised value, as their input; none of them pads, for the value that is added at a border would
//! have to be the value that normalises to zero. A `ConvTranspose` stays: the taps that reach
//! an output, and with them its shift, differ from one position to the next.
//! Exact up to rounding, computed in f64. Terminates: every fold removes a node.

use sepconv_analysis::{AutoPad, ConvAttributes, constants};
use sepconv_ir::{Graph, NodeId, Operator, Patch, Slot, Tensor, ValueId};

use crate::error::PassError;
use crate::norm::{Norm, finite, is_inference, vector};
use crate::pass::{Context, Outcome, Pass};
use crate::select::Selection;
use crate::site::Site;

/// Folds batch normalisation (ONNX `BatchNormalization`, opset 7 and later) into the selected
/// `Conv`s that read it. Notes the norms.
#[derive(Debug, Clone, Copy, Default)]
pub struct FoldInputNorm;

const NAME: &str = "fold-input-norm";

impl Pass for FoldInputNorm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(&self, graph: &mut Graph, context: &Context) -> Result<Outcome, PassError> {
        let mut outcome = Outcome::default();
        let norms = graph.operators().filter(|(_, op)| is_inference(op));
        let norms: Vec<NodeId> = norms.map(|(id, _)| id).collect();
        // The last one first: of two in a row, the first then meets a convolution too.
        for norm in norms.into_iter().rev() {
            let label = graph.label(norm).to_owned();
            let convs = match readers(graph, norm, &context.selection) {
                Ok(convs) => convs,
                Err(why) => {
                    outcome.keep(label, why);
                    continue;
                }
            };
            let made: Result<Vec<_>, _> =
                convs.iter().map(|c| parameters(graph, norm, *c)).collect();
            match made {
                Ok(made) => {
                    fold(graph, norm, convs.into_iter().zip(made).collect())?;
                    outcome.change(label, "folded into the convolutions after it");
                }
                Err(why) => outcome.keep(label, why),
            }
        }
        Ok(outcome)
    }
}

/// Gives every convolution after `norm` its weight and bias; the norm goes with the last.
fn fold(graph: &mut Graph, norm: NodeId, convs: Vec<(NodeId, Folded)>) -> Result<(), PassError> {
    let last = convs.len() - 1;
    for (i, (conv, tensors)) in convs.into_iter().enumerate() {
        if let Some(patch) = patch(graph, norm, conv, tensors, i == last) {
            graph.apply(patch).map_err(PassError::of(NAME))?;
        }
    }
    Ok(())
}

/// The convolutions that read the output of `node` as their input, where nothing else does and
/// all of them are selected; or why it can't be folded into them.
pub(crate) fn readers(
    graph: &Graph,
    node: NodeId,
    selection: &Selection,
) -> Result<Vec<NodeId>, &'static str> {
    let output = graph.operator(node).and_then(|op| op.output(0));
    let readers = graph.readers(output.ok_or("it has no output")?);
    let convs = readers.iter().map(|(reader, slot)| {
        let conv = graph.operator(*reader).is_some_and(|op| op.is("Conv"));
        if !conv || *slot != Slot::Input(0) {
            return Err("something other than a Conv reads it");
        }
        match selection.includes(graph.label(*reader)) {
            true => Ok(*reader),
            false => Err("a convolution after it is not selected"),
        }
    });
    let convs = convs.collect::<Result<Vec<_>, _>>()?;
    match convs.is_empty() {
        true => Err("nothing reads it"),
        false => Ok(convs),
    }
}

/// Weight and bias of a convolution that takes a normalisation in.
struct Folded {
    weight: Tensor,
    bias: Tensor,
}

/// Weight and bias of `conv` on the input of `norm`.
fn parameters(graph: &Graph, norm: NodeId, conv: NodeId) -> Result<Folded, &'static str> {
    let (op, norm) = graph
        .operator(conv)
        .zip(graph.operator(norm))
        .ok_or("it is gone")?;
    let weight = op.input(1).and_then(|w| constants::resolve(graph, w));
    let weight = weight.ok_or("the weight of a convolution after it is not a constant")?;
    if op
        .input(1)
        .is_some_and(|w| constants::is_dequantized(graph, w))
    {
        return Err("the weight of a convolution after it is of eight bits");
    }
    if Site::weight_readers(graph, op) > 1 {
        return Err("the weight of a convolution after it is read elsewhere too");
    }
    let attributes = ConvAttributes::read(op, weight.dims());
    let attributes = attributes.map_err(|_| "a convolution after it is malformed")?;
    if pads(&attributes) {
        return Err("a convolution after it pads");
    }
    let outputs = attributes.out_channels as usize;
    let norm = Norm::read(graph, norm, attributes.in_channels as usize);
    let norm = norm.ok_or("its parameters are not constants")?;
    let mut bias = match op.input(2) {
        Some(b) => vector(graph, b, outputs)
            .ok_or("the bias of a convolution after it is not a constant")?,
        None => vec![0.0; outputs],
    };
    let groups = attributes.group as usize;
    let inputs = attributes.in_channels as usize / groups;
    let taps = attributes.kernel.iter().product::<u64>() as usize;
    let mut values = weight
        .to_f64()
        .ok_or("the weight of a convolution after it is not of floats")?;
    for (row, w) in values.chunks_exact_mut(taps).enumerate() {
        let output = row / inputs;
        let channel = output / (outputs / groups) * inputs + row % inputs;
        bias[output] += w.iter().sum::<f64>() * norm.of(channel, 0.0);
        w.iter_mut().for_each(|w| *w *= norm.factor[channel]);
    }
    let unfit = "the weights of a convolution after it would not be finite";
    Ok(Folded {
        weight: finite(weight.dtype(), weight.dims().to_vec(), &values).ok_or(unfit)?,
        bias: finite(weight.dtype(), vec![outputs], &bias).ok_or(unfit)?,
    })
}

/// True where anything is added around the input. `SAME_*` adds nothing for a kernel of one tap.
fn pads(attributes: &ConvAttributes) -> bool {
    match attributes.auto_pad {
        AutoPad::Valid => false,
        AutoPad::NotSet => attributes.pads.iter().any(|p| *p > 0),
        AutoPad::SameUpper | AutoPad::SameLower => attributes.kernel.iter().any(|k| *k > 1),
    }
}

fn patch(graph: &Graph, norm: NodeId, conv: NodeId, folded: Folded, last: bool) -> Option<Patch> {
    let (op, bn) = (graph.operator(conv)?, graph.operator(norm)?);
    let mut patch = Patch::replace(NAME, conv);
    let mut gone = vec![conv];
    let mut unread: Vec<ValueId> = op.inputs.iter().skip(1).flatten().copied().collect();
    if last {
        patch.remove(norm);
        gone.push(norm);
        unread.extend(bn.inputs.iter().skip(1).flatten());
    }
    let input = bn.input(0)?;
    for node in constants::orphans(graph, &unread, &gone, &[input]) {
        patch.remove(node);
    }
    let label = graph.label(conv);
    let w = patch.initializer(format!("{label}/folded.weight"), folded.weight);
    let b = patch.initializer(format!("{label}/folded.bias"), folded.bias);
    let fused = Operator {
        source: None,
        ..op.clone()
    };
    let inputs = vec![Some(input.into()), Some(w), Some(b)];
    patch.operator_into(fused, inputs, op.output(0)?);
    Some(patch)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{self, fold_by};
    use sepconv_ir::{AttributeValue, Builder};

    /// Two channels, normalised, into `convs` grouped 1x2 convolutions of a pad.
    fn graph(convs: usize, pad: i64) -> Graph {
        let mut b = Builder::new();
        let mut inputs = vec![Some(b.input("x", None).unwrap())];
        for (name, values) in [
            ("scale", [1.0, 2.0]),
            ("shift", [0.5, 0.0]),
            ("mean", [1.0, 1.0]),
            ("var", [3.0, 0.0]),
        ] {
            inputs.push(Some(testing::vector(&mut b, name, &values)));
        }
        let bn =
            Operator::new("BatchNormalization", "bn").with("epsilon", AttributeValue::Float(1.0));
        let n = b.operator(bn, &inputs, &["n"]).unwrap()[0];
        let weight = Tensor::from_f32(vec![2, 1, 1, 2], vec![2.0, 4.0, 3.0, 1.0]);
        for i in 0..convs {
            let w = b.initializer(&format!("w{i}"), weight.clone()).unwrap();
            let op = Operator::new("Conv", format!("c{i}"))
                .with("group", AttributeValue::Int(2))
                .with("pads", AttributeValue::Ints(vec![0, pad, 0, 0]));
            let out = format!("y{i}");
            let y = b.operator(op, &[Some(n), Some(w)], &[&out]).unwrap()[0];
            b.output(y).unwrap();
        }
        b.finish().unwrap()
    }

    #[test]
    fn parameters_are_folded_into_every_reader() {
        let mut g = graph(2, 0);
        let all = Selection::default();
        assert_eq!(fold_by(&FoldInputNorm, &mut g, &all), Ok(1));
        g.verify().unwrap();
        // Factors 1/2 and 2, shifts 0 and -2.
        let folded = "\
input x
const c0/folded.weight: f32[2,1,1,2] [1.0, 2.0, 6.0, 2.0]
const c0/folded.bias: f32[2] [0.0, -8.0]
const c1/folded.weight: f32[2,1,1,2] [1.0, 2.0, 6.0, 2.0]
const c1/folded.bias: f32[2] [0.0, -8.0]
y0 = Conv{group=2, pads=[0, 0, 0, 0]}(x, c0/folded.weight, c0/folded.bias) # c0
y1 = Conv{group=2, pads=[0, 0, 0, 0]}(x, c1/folded.weight, c1/folded.bias) # c1
output y0
output y1
";
        assert_eq!(g.to_string(), folded);
    }

    #[test]
    fn a_weight_that_others_read_stays() {
        let text = "\
input x
const w: f32[1,1,1,1] [2.0]
const one: f32[1] [1.0]
n = BatchNormalization(x, one, one, one, one) # bn
y = Conv(n, w) # c
z = Conv(y, w) # d
output z
";
        let mut g: Graph = text.parse().unwrap();
        let why = fold_by(&FoldInputNorm, &mut g, &Selection::default());
        let read = "the weight of a convolution after it is read elsewhere too".into();
        assert_eq!(why, Err(vec![read]));
    }

    #[test]
    fn what_is_padded_or_not_selected_stays() {
        let mut g = graph(1, 1);
        let why = fold_by(&FoldInputNorm, &mut g, &Selection::default());
        assert_eq!(why, Err(vec!["a convolution after it pads".into()]));
        let mut g = graph(2, 0);
        let skip = Selection::new(&[], &["c1"]).unwrap();
        let why = fold_by(&FoldInputNorm, &mut g, &skip);
        let unselected = "a convolution after it is not selected".into();
        assert_eq!(why, Err(vec![unselected]));
        assert!(!g.is_modified());
    }
}
