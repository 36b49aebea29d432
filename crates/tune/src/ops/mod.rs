//! ONNX operators as operations with gradients.

mod elementwise;
mod layout;
mod linear;
mod normalise;
pub(crate) use normalise::log_softmax;
mod pools;
mod reduce;
mod rule;
mod sigmoid;

pub(crate) use rule::{Forward, Rule};

use rule::OpContext;
use sepconv_ir::Operator;

use crate::typed::TypedGraph;

type Family = fn(&OpContext<'_>) -> Option<Rule>;

/// The families of operators, each with a rule of its own.
const FAMILIES: [Family; 6] = [
    elementwise::rule,
    linear::rule,
    pools::rule,
    layout::rule,
    normalise::rule,
    reduce::rule,
];

/// The rule of an operator; `None` where it has no gradient, or mixes rows of the batch.
pub(crate) fn rule(model: TypedGraph<'_>, op: &Operator) -> Option<Rule> {
    if !(op.domain.is_empty() || op.domain == "ai.onnx") || !op.captures.is_empty() {
        return None;
    }
    let context = OpContext {
        graph: model.graph,
        shapes: model.shapes,
        opset: model.opset,
        op,
    };
    FAMILIES.iter().find_map(|family| family(&context))
}
