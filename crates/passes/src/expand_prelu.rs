//! Writes leaky activations with a slope for each channel in simpler operators.
//!
//! Before: `y = PRelu(x, s)`. After, by the slopes `s`, which are constant:
//! - all alike: `y = LeakyRelu(x)`, which runtimes join with the convolution before it;
//! - none zero or above one: `y = Max(x, x s)`;
//! - none below one: `y = Min(x, x s)`;
//! - any others: `y = Relu(x) + s Min(x, 0)`.
//!
//! Exact for numbers, infinite ones too: of the two terms of a sum one is zero, and no infinity meets a slope of zero that
//! it does not meet in `PRelu`. Runtimes that compute `PRelu` value by value compute these forms
//! on vectors; others have a kernel of their own for it, so whoever runs the pass measures the result.
//! Terminates: every patch removes a `PRelu`, and none adds one.

use sepconv_analysis::constants;
use sepconv_ir::{AttributeValue, DType, Graph, NodeId, Operator, Patch, Tensor};

use crate::error::PassError;
use crate::pass::{Context, Outcome, Pass};

/// Writes each `PRelu` (ONNX opset 7 and later) of the main graph in operators of `opset`, the model's.
/// Notes the activations. It is none of [`crate::FOLDS`].
#[derive(Debug, Clone, Copy)]
pub struct ExpandPRelu {
    /// The model's opset of the default domain.
    pub opset: i64,
}

const NAME: &str = "expand-prelu";

/// The first opset in which the slopes of `PRelu` and the factors of `Mul` broadcast in both directions.
const BROADCASTS: i64 = 7;

/// The first opset in which `Min` does.
const MIN_BROADCASTS: i64 = 8;

impl Pass for ExpandPRelu {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(&self, graph: &mut Graph, _: &Context) -> Result<Outcome, PassError> {
        let mut outcome = Outcome::default();
        let found = graph.operators().filter(|(_, op)| op.is("PRelu"));
        for node in found.map(|(id, _)| id).collect::<Vec<_>>() {
            let label = graph.label(node).to_owned();
            let made = match self.opset >= BROADCASTS {
                true => expanded(graph, node, self.opset),
                false => Err("the opset's operators do not broadcast"),
            };
            match made {
                Ok(patch) => {
                    graph.apply(patch).map_err(PassError::of(NAME))?;
                    outcome.change(label, "in simpler operators");
                }
                Err(why) => outcome.keep(label, why),
            }
        }
        Ok(outcome)
    }
}

fn expanded(graph: &Graph, node: NodeId, opset: i64) -> Result<Patch, &'static str> {
    let label = graph.label(node);
    let op = graph.operator(node).ok_or("it is gone")?;
    let ends = op.input(0).zip(op.input(1)).zip(op.output(0));
    let ((x, slope), y) = ends.ok_or("it lacks an input or its output")?;
    let tensor = constants::resolve(graph, slope).ok_or("its slopes are not constants")?;
    let slopes = (tensor.dtype() == DType::F32).then(|| tensor.to_f32());
    let slopes = slopes.flatten().ok_or("its slopes are not of f32")?;
    let first = slopes.first().copied().ok_or("it has no slopes")?;
    if !slopes.iter().all(|s| s.is_finite()) {
        return Err("its slopes are not finite");
    }
    let mut patch = Patch::replace(NAME, node);
    let own = |name: &str, part: &str| Operator::new(name, format!("{label}/{part}"));
    // tract names what it makes of operators and of constants alike.
    let last = |name: &str| match graph.name(slope) == label {
        true => own(name, "result"),
        false => Operator::new(name, label),
    };
    let (x, s) = (Some(x.into()), Some(slope.into()));
    let alike = slopes.iter().all(|s| s.to_bits() == first.to_bits());
    if alike {
        for node in constants::orphans(graph, &[slope], &[node], &[]) {
            patch.remove(node);
        }
        let leaky = last("LeakyRelu").with("alpha", AttributeValue::Float(first));
        patch.operator_into(leaky, vec![x], y);
        return Ok(patch);
    }
    let scaled = format!("{label}/scaled");
    let one_sided = match &slopes {
        all if all.iter().all(|s| *s <= 1.0 && *s != 0.0) => Some("Max"),
        all if all.iter().all(|s| *s >= 1.0) => Some("Min"),
        _ => None,
    };
    if let Some(name) = one_sided {
        let product = patch.operator(own("Mul", "scaled"), vec![x, s], scaled);
        patch.operator_into(last(name), vec![x, Some(product)], y);
        return Ok(patch);
    }
    if opset < MIN_BROADCASTS {
        return Err("the opset's Min does not broadcast");
    }
    let zero = patch.initializer(format!("{label}/zero"), Tensor::from_f32(vec![], vec![0.0]));
    let above = patch.operator(own("Relu", "above"), vec![x], format!("{label}/above"));
    let below = own("Min", "below");
    let below = patch.operator(below, vec![x, Some(zero)], format!("{label}/below"));
    let product = patch.operator(own("Mul", "scaled"), vec![Some(below), s], scaled);
    patch.operator_into(last("Add"), vec![Some(above), Some(product)], y);
    Ok(patch)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::pass::run;

    /// The graph behind the pass, and the reasons for activations that stay.
    fn written(slopes: &str, opset: i64) -> (String, Vec<String>) {
        let text =
            format!("input x\nconst s: f32[2,1,1] {slopes}\ny = PRelu(x, s) # p\noutput y\n");
        let mut graph: Graph = text.parse().unwrap();
        let pass = ExpandPRelu { opset };
        let outcomes = run(&[&pass], &mut graph, &Context::default()).unwrap();
        let kept = outcomes.into_iter().flat_map(|o| o.kept);
        (graph.to_string(), kept.map(|note| note.what).collect())
    }

    #[test]
    fn slopes_choose_the_form() {
        let of = |slopes: &str| written(slopes, 17).0;
        assert_eq!(
            of("[0.25, 0.25]"),
            "input x\ny = LeakyRelu{alpha=0.25}(x) # p\noutput y\n"
        );
        let head = |slopes: &str| format!("input x\nconst s: f32[2,1,1] {slopes}\n");
        let (few, many) = ("[-0.5, 1.0]", "[1.0, 1.5]");
        let scaled = "p/scaled = Mul(x, s) # p/scaled\n";
        let rest = |name: &str| format!("{scaled}y = {name}(x, p/scaled) # p\noutput y\n");
        assert_eq!(of(few), head(few) + &rest("Max"));
        assert_eq!(of(many), head(many) + &rest("Min"));
        let expected = "\
const p/zero: f32[] [0.0]
p/above = Relu(x) # p/above
p/below = Min(x, p/zero) # p/below
p/scaled = Mul(p/below, s) # p/scaled
y = Add(p/above, p/scaled) # p
output y
";
        // Infinity times a slope of zero is no number.
        for mixed in ["[0.5, 1.5]", "[0.0, 0.5]"] {
            assert_eq!(of(mixed), head(mixed) + expected);
        }
    }

    #[test]
    fn the_last_operator_does_not_share_a_name_with_the_slopes() {
        let text = "input x\nconst s: f32[2,1,1] [0.5, 0.25]\ny = PRelu(x, s) # s\noutput y\n";
        let mut graph: Graph = text.parse().unwrap();
        run(
            &[&ExpandPRelu { opset: 17 }],
            &mut graph,
            &Context::default(),
        )
        .unwrap();
        let text = graph.to_string();
        assert!(text.contains("y = Max(x, s/scaled) # s/result"), "{text}");
    }

    #[test]
    fn an_opset_without_broadcasts_and_slopes_that_are_none_stay() {
        let (text, why) = written("[0.5, 1.5]", 7);
        assert!(text.contains("PRelu"), "{text}");
        assert_eq!(why, ["the opset's Min does not broadcast"]);
        assert_eq!(written("[0.5, 0.25]", 7).1, [""; 0]);
        let why = written("[0.5, 0.25]", 6).1;
        assert_eq!(why, ["the opset's operators do not broadcast"]);
        assert_eq!(written("[0.5, inf]", 17).1, ["its slopes are not finite"]);
        let mut graph: Graph = "input x\ninput s\ny = PRelu(x, s) # p\noutput y\n"
            .parse()
            .unwrap();
        let pass = ExpandPRelu { opset: 17 };
        let outcomes = run(&[&pass], &mut graph, &Context::default()).unwrap();
        assert_eq!(outcomes[0].kept[0].what, "its slopes are not constants");
    }
}
