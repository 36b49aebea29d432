//! Folds batch normalisation into the convolutions after it.
//!
//! Before: `y = Conv(BatchNormalization(x, scale, B, mean, var), W, b)`.
//! After: `y = Conv(x, W', b')` with `W'_oi = W_oi s_i`, `b'_o = b_o + sum over i and the taps
//! of W_oi (B_i - mean_i s_i)`, `s_i = scale_i / sqrt(var_i + epsilon)`.
//! Conditions: inference mode; all parameters constant; only selected convolutions read the
//! normalised value, as their input; none of them pads, for what is added at a border would
//! have to be the value that normalises to zero. A `ConvTranspose` stays: the taps that reach
//! an output, and with them its shift, differ from one position to the next.
//! Exact up to rounding, computed in f64. Terminates: every fold removes a node.

use sepconv_analysis::{AutoPad, ConvAttributes, constants, constants::Sight};
use sepconv_ir::{Graph, NodeId, Operator, Patch, Slot, Tensor, ValueId};

use crate::error::PassError;
use crate::norm::{Norm, finite, is_inference, vector};
use crate::select::Selection;

/// Folds batch normalisation (ONNX `BatchNormalization`, opset 7 and later) into the
/// selected `Conv`s that read it. Returns how many were folded.
///
/// # Errors
/// [`PassError::Graph`] where a patch does not fit: a fault of this pass.
pub fn fold_input_norm(graph: &mut Graph, selection: &Selection) -> Result<usize, PassError> {
    let norms = graph.operators().filter(|(_, op)| is_inference(op));
    let norms: Vec<NodeId> = norms.map(|(id, _)| id).collect();
    let mut folded = 0;
    // The last one first: of two in a row, the first then meets a convolution too.
    for norm in norms.into_iter().rev() {
        folded += usize::from(fold(graph, norm, selection)?.is_some());
    }
    Ok(folded)
}

fn fold(graph: &mut Graph, norm: NodeId, selection: &Selection) -> Result<Option<()>, PassError> {
    let Some(convs) = readers(graph, norm, selection) else {
        return Ok(None);
    };
    let made: Option<Vec<_>> = convs.iter().map(|c| parameters(graph, norm, *c)).collect();
    let Some(made) = made else {
        return Ok(None);
    };
    let last = convs.len() - 1;
    for (i, (conv, tensors)) in convs.into_iter().zip(made).enumerate() {
        if let Some(patch) = patch(graph, norm, conv, tensors, i == last) {
            graph.apply(patch)?;
        }
    }
    Ok(Some(()))
}

/// The convolutions that read what `node` makes as their input, where nothing else does and
/// all of them are selected.
pub(crate) fn readers(graph: &Graph, node: NodeId, selection: &Selection) -> Option<Vec<NodeId>> {
    let output = graph.operator(node)?.output(0)?;
    let readers = graph.readers(output);
    let convs: Option<Vec<NodeId>> = readers
        .iter()
        .map(|(reader, slot)| {
            let conv = graph.operator(*reader)?.is("Conv") && *slot == Slot::Input(0);
            (conv && selection.includes(graph.label(*reader))).then_some(*reader)
        })
        .collect();
    convs.filter(|convs| !convs.is_empty())
}

/// Weight and bias of `conv` on the input of `norm`.
fn parameters(graph: &Graph, norm: NodeId, conv: NodeId) -> Option<(Tensor, Tensor)> {
    let op = graph.operator(conv)?;
    let weight = constants::resolve(graph, op.input(1)?)?;
    let attributes = ConvAttributes::read(op, weight.dims()).ok()?;
    if pads(&attributes) {
        return None;
    }
    let outputs = attributes.out_channels as usize;
    let norm = Norm::read(
        graph,
        graph.operator(norm)?,
        attributes.in_channels as usize,
    )?;
    let mut bias = match op.input(2) {
        Some(b) => vector(graph, b, outputs)?,
        None => vec![0.0; outputs],
    };
    let groups = attributes.group as usize;
    let inputs = attributes.in_channels as usize / groups;
    let taps = attributes.kernel.iter().product::<u64>() as usize;
    let mut values = weight.to_f64()?;
    for (row, w) in values.chunks_exact_mut(taps).enumerate() {
        let output = row / inputs;
        let channel = output / (outputs / groups) * inputs + row % inputs;
        bias[output] += w.iter().sum::<f64>() * norm.of(channel, 0.0);
        w.iter_mut().for_each(|w| *w *= norm.factor[channel]);
    }
    Some((
        finite(weight.dtype(), weight.dims().to_vec(), &values)?,
        finite(weight.dtype(), vec![outputs], &bias)?,
    ))
}

/// Whether anything is added around the input. `SAME_*` adds nothing for a kernel of one tap.
fn pads(attributes: &ConvAttributes) -> bool {
    match attributes.auto_pad {
        AutoPad::Valid => false,
        AutoPad::NotSet => attributes.pads.iter().any(|p| *p > 0),
        AutoPad::SameUpper | AutoPad::SameLower => attributes.kernel.iter().any(|k| *k > 1),
    }
}

fn patch(
    graph: &Graph,
    norm: NodeId,
    conv: NodeId,
    (weight, bias): (Tensor, Tensor),
    last: bool,
) -> Option<Patch> {
    let (op, bn) = (graph.operator(conv)?, graph.operator(norm)?);
    let mut patch = Patch::replace("fold-input-norm", conv);
    let mut gone = vec![conv];
    let mut unread: Vec<ValueId> = op.inputs.iter().skip(1).flatten().copied().collect();
    if last {
        patch.remove(norm);
        gone.push(norm);
        unread.extend(bn.inputs.iter().skip(1).flatten());
    }
    let input = bn.input(0)?;
    for node in constants::orphans(graph, Sight::Plain, &unread, &gone, &[input]) {
        patch.remove(node);
    }
    let label = graph.label(conv);
    let w = patch.initializer(format!("{label}/folded.weight"), weight);
    let b = patch.initializer(format!("{label}/folded.bias"), bias);
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
    use crate::testing;
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
        let w = b.initializer("w", weight).unwrap();
        for i in 0..convs {
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
        assert_eq!(fold_input_norm(&mut g, &all).unwrap(), 1);
        g.verify().unwrap();
        assert_eq!(
            g.to_string(),
            "input x\n\
             const c0/folded.weight: f32[2,1,1,2]\n\
             const c0/folded.bias: f32[2]\n\
             const c1/folded.weight: f32[2,1,1,2]\n\
             const c1/folded.bias: f32[2]\n\
             y0 = Conv{group=2, pads=[0, 0, 0, 0]}(x, c0/folded.weight, c0/folded.bias) # c0\n\
             y1 = Conv{group=2, pads=[0, 0, 0, 0]}(x, c1/folded.weight, c1/folded.bias) # c1\n\
             output y0\n\
             output y1\n"
        );
        let constant = |name: &str| {
            let tensor = g.constant(g.find(name).unwrap()).unwrap();
            tensor.to_f32().unwrap().into_owned()
        };
        // Factors 1/2 and 2, shifts 0 and -2.
        assert_eq!(constant("c1/folded.weight"), [1.0, 2.0, 6.0, 2.0]);
        assert_eq!(constant("c1/folded.bias"), [0.0, -8.0]);
    }

    #[test]
    fn what_is_padded_or_not_selected_stays() {
        let mut g = graph(1, 1);
        assert_eq!(fold_input_norm(&mut g, &Selection::default()).unwrap(), 0);
        let mut g = graph(2, 0);
        let skip = Selection::new(&[], &["c1"]).unwrap();
        assert_eq!(fold_input_norm(&mut g, &skip).unwrap(), 0);
        assert!(!g.is_modified());
    }
}
