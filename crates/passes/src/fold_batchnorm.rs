//! Folds batch normalisation into the convolution before it.
//!
//! Before: `y = BatchNormalization(Conv(x, W, b), scale, B, mean, var)`.
//! After: `y = Conv(x, W', b')` with `W'_o = W_o s_o`, `b'_o = (b_o - mean_o) s_o + B_o`,
//! `s_o = scale_o / sqrt(var_o + epsilon)`.
//! Conditions: inference mode; all parameters constant; nothing else reads the convolution's
//! output. Exact up to rounding, computed in f64. Terminates: every fold removes a node.

use sepconv_analysis::{ConvAttributes, constants, constants::Sight};
use sepconv_ir::{Graph, NodeId, Operator, Patch, ValueId};

use crate::error::PassError;
use crate::norm::{Norm, finite, is_inference, vector};
use crate::select::Selection;

/// Folds batch normalisation (ONNX `BatchNormalization`, opset 7 and later) into the
/// selected convolutions. Returns how many were folded.
///
/// # Errors
/// [`PassError::Graph`] where a patch does not fit: a fault of this pass.
pub fn fold_batchnorm(graph: &mut Graph, selection: &Selection) -> Result<usize, PassError> {
    let convs: Vec<NodeId> = graph
        .operators()
        .filter(|(id, op)| is_convolution(op) && selection.includes(graph.label(*id)))
        .map(|(id, _)| id)
        .collect();
    let mut folded = 0;
    for conv in convs {
        if let Some(patch) = fold(graph, conv) {
            graph.apply(patch)?;
            folded += 1;
        }
    }
    Ok(folded)
}

fn fold(graph: &Graph, conv: NodeId) -> Option<Patch> {
    let op = graph.operator(conv)?;
    let output = op.output(0)?;
    let readers = graph.readers(output);
    let [(node, _)] = readers.as_slice() else {
        return None;
    };
    let bn = graph
        .operator(*node)
        .filter(|n| is_inference(n) && n.input(0) == Some(output))?;
    let weight = constants::resolve(graph, op.input(1)?)?;
    let attributes = ConvAttributes::read(op, weight.dims()).ok()?;
    let channels = attributes.out_channels as usize;
    let bias = match op.input(2) {
        Some(b) => Some(vector(graph, b, channels)?),
        None => None,
    };
    let norm = Norm::read(graph, bn, channels)?;
    let channel = channel_of(&attributes);
    let scaled = |(i, w): (usize, f64)| w * norm.factor[channel(i)];
    let folded: Vec<f64> = weight
        .to_f64()?
        .into_iter()
        .enumerate()
        .map(scaled)
        .collect();
    let bias: Vec<f64> = (0..channels)
        .map(|o| norm.of(o, bias.as_ref().map_or(0.0, |b| b[o])))
        .collect();
    let dtype = weight.dtype();
    let weight = finite(dtype, weight.dims().to_vec(), &folded)?;
    let bias = finite(dtype, vec![channels], &bias)?;
    let mut patch = Patch::replace("fold-batchnorm", conv);
    patch.remove(*node);
    let parameters = op.inputs.iter().chain(&bn.inputs).flatten();
    let unread: Vec<ValueId> = parameters.copied().collect();
    let kept: Vec<ValueId> = op.input(0).into_iter().collect();
    for node in constants::orphans(graph, Sight::Plain, &unread, &[conv, *node], &kept) {
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
    patch.operator_into(fused, inputs, bn.output(0)?);
    Some(patch)
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
    use crate::testing::vector;
    use sepconv_ir::{AttributeValue, Builder, Tensor};

    fn graph(conv_is_output: bool) -> Graph {
        let mut b = Builder::new();
        let x = b.input("x", None).unwrap();
        let w = b
            .initializer("w", Tensor::from_f32(vec![2, 1, 1, 1], vec![2.0, 3.0]))
            .unwrap();
        let parameters = [
            ("scale", [1.0, 2.0]),
            ("shift", [0.5, 0.0]),
            ("mean", [1.0, 1.0]),
            ("var", [3.0, 0.0]),
        ];
        let y = b
            .operator(Operator::new("Conv", "c"), &[Some(x), Some(w)], &["y"])
            .unwrap()[0];
        let mut inputs = vec![Some(y)];
        for (name, values) in parameters {
            inputs.push(Some(vector(&mut b, name, &values)));
        }
        let bn =
            Operator::new("BatchNormalization", "bn").with("epsilon", AttributeValue::Float(1.0));
        let z = b.operator(bn, &inputs, &["z"]).unwrap()[0];
        b.output(z).unwrap();
        if conv_is_output {
            b.output(y).unwrap();
        }
        b.finish().unwrap()
    }

    #[test]
    fn parameters_are_folded() {
        let mut g = graph(false);
        assert_eq!(fold_batchnorm(&mut g, &Selection::default()).unwrap(), 1);
        g.verify().unwrap();
        assert_eq!(
            g.to_string(),
            "input x\n\
             const c/folded.weight: f32[2,1,1,1]\n\
             const c/folded.bias: f32[2]\n\
             z = Conv(x, c/folded.weight, c/folded.bias) # c\n\
             output z\n"
        );
        let constant = |name: &str| {
            let tensor = g.constant(g.find(name).unwrap()).unwrap();
            tensor.to_f32().unwrap().into_owned()
        };
        assert_eq!(constant("c/folded.weight"), [1.0, 6.0]);
        assert_eq!(constant("c/folded.bias"), [0.0, -2.0]);
    }

    #[test]
    fn a_convolution_read_elsewhere_stays() {
        let mut g = graph(true);
        assert_eq!(fold_batchnorm(&mut g, &Selection::default()).unwrap(), 0);
        assert!(!g.is_modified());
    }

    #[test]
    fn only_selected_layers_are_folded() {
        let mut g = graph(false);
        let skip = Selection::new(&[], &["c"]).unwrap();
        assert_eq!(fold_batchnorm(&mut g, &skip).unwrap(), 0);
    }
}
