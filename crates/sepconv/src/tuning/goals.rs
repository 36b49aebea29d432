//! What outputs are compared by.

use sepconv_ir::{Graph, ValueId};
use sepconv_tune::{Goal, Loss, Nature, Values};

/// What an output's numbers are, by those seen and by the operator that makes it.
pub(crate) fn nature_of(graph: &Graph, value: ValueId, seen: &Values) -> Nature {
    let last = graph.producer(value).map(|(_, op)| op.op_type.as_str());
    match (Nature::of(&seen.dims, &seen.elements), last) {
        (Nature::Numbers, _) => Nature::Numbers,
        (_, Some("Softmax")) => Nature::Probabilities,
        (_, Some("LogSoftmax")) => Nature::Logits,
        (nature, _) => nature,
    }
}

/// The goal of an output, by what the original gives for it and by the operator that makes it.
pub(super) fn of_output(graph: &Graph, value: ValueId, seen: &Values, asked: Option<Loss>) -> Goal {
    let nature = nature_of(graph, value, seen);
    let loss = asked.unwrap_or(match nature {
        Nature::Numbers => Loss::L2,
        _ => Loss::Kl,
    });
    Goal {
        name: graph.name(value).to_owned(),
        loss: match (nature, loss) {
            // There are no classes to diverge.
            (Nature::Numbers, Loss::Kl) => Loss::L2,
            (_, loss) => loss,
        },
        nature,
        output: true,
    }
}

/// The goal of a value on the way.
pub(super) fn of_block(graph: &Graph, value: ValueId) -> Goal {
    Goal {
        name: graph.name(value).to_owned(),
        loss: Loss::L2,
        nature: Nature::Numbers,
        output: false,
    }
}
