//! Folds padding into the convolutions after it.
//!
//! Before: `y = Conv(Pad(x), W, b)`. After: `y = Conv(x, W, b)` with `pads` that are larger by
//! those of the `Pad`.
//! Conditions: mode `constant` with a value of positive zero and constant amounts, none of
//! them negative, on spatial axes alone; only selected convolutions read the padded value, as
//! their input, with explicit pads (`NOTSET`, `VALID`) and a constant, finite weight (an
//! infinity times a padded zero is NaN; a runtime that skips the padding never sees it).
//! Exact. Terminates: every fold removes a node.

use sepconv_analysis::{AutoPad, ConvAttributes, constants};
use sepconv_ir::{AttributeValue, Graph, NodeId, Operator, Patch, ValueId};

use crate::error::PassError;
use crate::fold_input_norm::readers;
use crate::pass::{Context, Outcome, Pass};
use crate::select::Selection;

/// Folds `Pad` (ONNX opset 2 and later) into the selected `Conv`s that read it. Notes the pads.
#[derive(Debug, Clone, Copy, Default)]
pub struct FoldPadding;

const NAME: &str = "fold-padding";

impl Pass for FoldPadding {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(&self, graph: &mut Graph, context: &Context) -> Result<Outcome, PassError> {
        let mut outcome = Outcome::default();
        let pads = graph.operators().filter(|(_, op)| op.is("Pad"));
        let pads: Vec<NodeId> = pads.map(|(id, _)| id).collect();
        // The last one first: of two in a row, the first then meets a convolution too.
        for pad in pads.into_iter().rev() {
            let label = graph.label(pad).to_owned();
            match sums(graph, pad, &context.selection) {
                Ok(convs) => {
                    let last = convs.len() - 1;
                    for (i, (conv, sum)) in convs.into_iter().enumerate() {
                        if let Some(patch) = patch(graph, pad, conv, sum, i == last) {
                            graph.apply(patch).map_err(PassError::of(NAME))?;
                        }
                    }
                    outcome.change(label, "folded into the convolutions after it");
                }
                Err(why) => outcome.keep(label, why),
            }
        }
        Ok(outcome)
    }
}

/// The convolutions after `pad` with their `pads` on its input; or why it can't be folded.
fn sums(
    graph: &Graph,
    pad: NodeId,
    selection: &Selection,
) -> Result<Vec<(NodeId, Vec<i64>)>, &'static str> {
    let convs = readers(graph, pad, selection)?.into_iter();
    convs.map(|c| Ok((c, summed(graph, pad, c)?))).collect()
}

/// The `pads` of `conv` on the input of `pad`.
fn summed(graph: &Graph, pad: NodeId, conv: NodeId) -> Result<Vec<i64>, &'static str> {
    let (op, pad) = graph
        .operator(conv)
        .zip(graph.operator(pad))
        .ok_or("it is gone")?;
    let weight = op.input(1).and_then(|w| constants::resolve(graph, w));
    let weight = weight.ok_or("the weight of a convolution after it is not a constant")?;
    let attributes = ConvAttributes::read(op, weight.dims());
    let attributes = attributes.map_err(|_| "a convolution after it is malformed")?;
    if !matches!(attributes.auto_pad, AutoPad::NotSet | AutoPad::Valid) {
        return Err("a convolution after it pads by itself");
    }
    let floats = weight.to_f32();
    if !floats.is_some_and(|w| w.iter().all(|w| w.is_finite())) {
        return Err("the weight of a convolution after it is not of finite floats");
    }
    let added = amounts(graph, pad, weight.dims().len())
        .ok_or("it does not add constant amounts of zeros around space alone")?;
    let sum = |(own, added): (&u64, i64)| i64::try_from(*own).ok()?.checked_add(added);
    let sums: Option<Vec<i64>> = attributes.pads.iter().zip(added).map(sum).collect();
    sums.ok_or("the sum of the pads is too large")
}

/// The extents that a `Pad` of zeros adds along the spatial axes of a tensor of `rank` axes: all
/// beginnings, then all ends.
fn amounts(graph: &Graph, op: &Operator, rank: usize) -> Option<Vec<i64>> {
    let ints = |slot| constants::resolve(graph, slot)?.to_i64();
    let constant = op.attribute("mode").is_none() || op.string("mode") == Some("constant");
    let zero = match op.input(2) {
        Some(value) => constants::resolve(graph, value)?
            .data()?
            .iter()
            .all(|byte| *byte == 0),
        None => op.float("value", 0.0).to_bits() == 0,
    };
    if !constant || !zero || !op.is_literal() {
        return None;
    }
    // Inputs since opset 11, `axes` among them since opset 18.
    let pads = match op.input(1) {
        Some(pads) => ints(pads)?,
        None => op.ints("pads")?.to_vec(),
    };
    let axes = match op.input(3) {
        Some(axes) => ints(axes)?,
        None => (0..i64::try_from(rank).ok()?).collect(),
    };
    if pads.len() != 2 * axes.len() || pads.iter().any(|p| *p < 0) {
        return None;
    }
    let spatial = rank.checked_sub(2)?;
    let mut found = vec![0; 2 * spatial];
    let (begins, ends) = pads.split_at(axes.len());
    for (axis, (begin, end)) in axes.iter().zip(begins.iter().zip(ends)) {
        let from_end = if *axis < 0 {
            i64::try_from(rank).ok()?
        } else {
            0
        };
        let axis = usize::try_from(axis.checked_add(from_end)?).ok()?;
        if (*begin, *end) == (0, 0) {
            continue;
        }
        let axis = axis.checked_sub(2).filter(|axis| *axis < spatial)?;
        for (at, amount) in [(axis, *begin), (spatial + axis, *end)] {
            found[at] = i64::checked_add(found[at], amount)?;
        }
    }
    Some(found)
}

fn patch(graph: &Graph, pad: NodeId, conv: NodeId, pads: Vec<i64>, last: bool) -> Option<Patch> {
    let (op, padding) = (graph.operator(conv)?, graph.operator(pad)?);
    let mut patch = Patch::replace(NAME, conv);
    let input = padding.input(0)?;
    if last {
        patch.remove(pad);
        let unread: Vec<ValueId> = padding.inputs.iter().skip(1).flatten().copied().collect();
        for node in constants::orphans(graph, &unread, &[pad], &[input]) {
            patch.remove(node);
        }
    }
    let mut padded = Operator {
        source: None,
        ..op.clone()
    };
    let ours = |name: &str| matches!(name, "pads" | "auto_pad");
    padded.attributes.retain(|a| !ours(&a.name));
    let padded = padded.with("pads", AttributeValue::Ints(pads));
    let mut inputs = vec![Some(input.into())];
    inputs.extend(op.inputs.iter().skip(1).map(|v| v.map(Into::into)));
    patch.operator_into(padded, inputs, op.output(0)?);
    Some(patch)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{fold_by, weights};
    use sepconv_ir::{Builder, Tensor};

    /// A `Pad` and its inputs after the first, before a 3x3 convolution that has `attribute`.
    fn graph(
        pad: Operator,
        constants: &[Option<Tensor>],
        attribute: (&str, AttributeValue),
        weight: Vec<f32>,
    ) -> Graph {
        let mut b = Builder::new();
        let mut inputs = vec![Some(b.input("x", None).unwrap())];
        for (i, tensor) in constants.iter().enumerate() {
            let made = tensor.clone();
            inputs.push(made.map(|t| b.initializer(&format!("p{i}"), t).unwrap()));
        }
        let p = b.operator(pad, &inputs, &["p"]).unwrap()[0];
        let dims = vec![1, weight.len() / 9, 3, 3];
        let w = b.initializer("w", Tensor::from_f32(dims, weight)).unwrap();
        let conv = Operator::new("Conv", "c").with(attribute.0, attribute.1);
        let y = b.operator(conv, &[Some(p), Some(w)], &["y"]).unwrap()[0];
        b.output(y).unwrap();
        b.finish().unwrap()
    }

    fn ints(values: &[i64]) -> Option<Tensor> {
        Some(Tensor::from_i64(vec![values.len()], values))
    }

    fn text(text: &'static str) -> AttributeValue {
        AttributeValue::String(text.into())
    }

    /// The pads of the convolution once folded.
    fn folded(mut graph: Graph) -> Option<Vec<i64>> {
        let count = fold_by(&FoldPadding, &mut graph, &Selection::default()).unwrap_or(0);
        graph.verify().unwrap();
        assert_eq!(count == 1, graph.operators().count() == 1);
        let (_, conv) = graph.operators().last()?;
        (count == 1).then(|| conv.ints("pads").unwrap().to_vec())
    }

    #[test]
    fn every_form_of_a_pad_is_folded() {
        let own = || ("pads", AttributeValue::Ints(vec![1, 0, 0, 2]));
        let pad = || Operator::new("Pad", "p");
        let listed = pad().with("pads", AttributeValue::Ints(vec![0, 0, 1, 2, 0, 0, 3, 4]));
        let w = || weights(18);
        let fold = |pad, constants: &[_]| folded(graph(pad, constants, own(), w()));
        let sum = Some(vec![2, 2, 3, 6]);
        assert_eq!(fold(listed, &[]), sum);
        let zero = Some(Tensor::from_f32(vec![], vec![0.0]));
        let (all, some) = (ints(&[0, 0, 1, 2, 0, 0, 3, 4]), ints(&[2, 1, 4, 3]));
        assert_eq!(
            fold(pad().with("mode", text("constant")), &[all.clone(), zero]),
            sum
        );
        assert_eq!(fold(pad(), &[some, None, ints(&[-1, 2])]), sum);
        let valid = ("auto_pad", text("VALID"));
        assert_eq!(
            folded(graph(pad(), &[all], valid, w())),
            Some(vec![1, 2, 3, 4])
        );
    }

    #[test]
    fn what_is_not_the_same_stays() {
        let own = || ("pads", AttributeValue::Ints(vec![0; 4]));
        let fold = |pad, constants: &[_]| folded(graph(pad, constants, own(), weights(18)));
        let pad = || Operator::new("Pad", "p");
        let ones = || ints(&[0, 0, 1, 1, 0, 0, 1, 1]);
        assert_eq!(fold(pad().with("mode", text("reflect")), &[ones()]), None);
        assert_eq!(fold(pad(), &[ints(&[0, 1, 1, 1, 0, 0, 1, 1])]), None);
        assert_eq!(fold(pad(), &[ints(&[0, 0, 1, 1, 0, 0, -1, 1])]), None);
        for value in [1.0, -0.0] {
            let value = Some(Tensor::from_f32(vec![], vec![value]));
            assert_eq!(fold(pad(), &[ones(), value]), None);
        }
        let same = ("auto_pad", text("SAME_UPPER"));
        assert_eq!(folded(graph(pad(), &[ones()], same, weights(18))), None);
        let infinite = vec![f32::INFINITY; 9];
        assert_eq!(folded(graph(pad(), &[ones()], own(), infinite)), None);
    }

    #[test]
    fn skipped_layers_are_left_alone() {
        let own = ("pads", AttributeValue::Ints(vec![0; 4]));
        let pad = Operator::new("Pad", "p");
        let mut g = graph(pad, &[ints(&[0, 0, 1, 1, 0, 0, 1, 1])], own, weights(18));
        let skip = Selection::new(&[], &["c"]).unwrap();
        let why = fold_by(&FoldPadding, &mut g, &skip);
        let unselected = "a convolution after it is not selected".into();
        assert_eq!(why, Err(vec![unselected]));
        assert!(!g.is_modified());
    }
}
