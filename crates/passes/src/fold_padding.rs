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
    use crate::testing::fold_by;

    /// A `Pad` with the constants that it reads, before a 3x3 convolution.
    fn padded(constants: &str, pad: &str, attribute: &str, weight: &str) -> String {
        format!(
            "input x\n{constants}const w: f32[1,4,3,3] {weight}\n\
             p = {pad} # p\ny = Conv{{{attribute}}}(p, w) # c\noutput y\n"
        )
    }

    /// Such a graph once it is folded: the constants that are still read, and the convolution.
    fn folded(constants: &str, pad: &str, attribute: &str) -> String {
        let mut graph: Graph = padded(constants, pad, attribute, "noise(1)")
            .parse()
            .unwrap();
        let count = fold_by(&FoldPadding, &mut graph, &Selection::default());
        assert_eq!(count, Ok(1));
        let text = graph.to_string();
        let inner = text.strip_prefix("input x\nconst w: f32[1,4,3,3] noise(1)\n");
        let inner = inner.and_then(|t| t.strip_suffix(" # c\noutput y\n"));
        inner.unwrap_or(&text).to_owned()
    }

    #[test]
    fn every_form_of_a_pad_is_folded() {
        let own = "pads=[1, 0, 0, 2]";
        let sum = "y = Conv{pads=[2, 2, 3, 6]}(x, w)";
        let listed = folded("", "Pad{pads=[0, 0, 1, 2, 0, 0, 3, 4]}(x)", own);
        assert_eq!(listed, sum);
        let all = "const all: i64[8] [0, 0, 1, 2, 0, 0, 3, 4]\n";
        let zero = format!("{all}const zero: f32[] [0.0]\n");
        let named = folded(&zero, "Pad{mode=\"constant\"}(x, all, zero)", own);
        assert_eq!(named, sum);
        let some = "const some: i64[4] [2, 1, 4, 3]\nconst axes: i64[2] [-1, 2]\n";
        assert_eq!(folded(some, "Pad(x, some, _, axes)", own), sum);
        let valid = folded(all, "Pad(x, all)", "auto_pad=\"VALID\"");
        assert_eq!(valid, "y = Conv{pads=[1, 2, 3, 4]}(x, w)");
    }

    #[test]
    fn what_is_not_the_same_stays() {
        let own = "pads=[0, 0, 0, 0]";
        let ones = "const all: i64[8] [0, 0, 1, 1, 0, 0, 1, 1]\n";
        let valued = |value: &str| format!("{ones}const value: f32[] [{value}]\n");
        let (one, negative_zero) = (valued("1.0"), valued("-0.0"));
        let plain = "Pad(x, all)";
        let noise = "noise(1)";
        let cases = [
            (ones, "Pad{mode=\"reflect\"}(x, all)", own, noise),
            (
                "const all: i64[8] [0, 1, 1, 1, 0, 0, 1, 1]\n",
                plain,
                own,
                noise,
            ),
            (
                "const all: i64[8] [0, 0, 1, 1, 0, 0, -1, 1]\n",
                plain,
                own,
                noise,
            ),
            (&one, "Pad(x, all, value)", own, noise),
            (&negative_zero, "Pad(x, all, value)", own, noise),
            (ones, plain, "auto_pad=\"SAME_UPPER\"", noise),
            (ones, plain, own, "fill(inf)"),
        ];
        for (constants, pad, attribute, weight) in cases {
            let text = padded(constants, pad, attribute, weight);
            let mut graph: Graph = text.parse().unwrap();
            let why = fold_by(&FoldPadding, &mut graph, &Selection::default());
            assert_eq!(why.map_err(|why| why.len()), Err(1), "{text}");
            assert_eq!(graph.to_string(), text);
        }
    }

    #[test]
    fn skipped_layers_are_left_alone() {
        let ones = "const all: i64[8] [0, 0, 1, 1, 0, 0, 1, 1]\n";
        let text = padded(ones, "Pad(x, all)", "pads=[0, 0, 0, 0]", "noise(1)");
        let mut graph: Graph = text.parse().unwrap();
        let skip = Selection::new(&[], &["c"]).unwrap();
        let why = fold_by(&FoldPadding, &mut graph, &skip);
        let unselected = "a convolution after it is not selected".into();
        assert_eq!(why, Err(vec![unselected]));
        assert_eq!(graph.to_string(), text);
    }
}
