//! The losses that outputs are compared by.

use sepconv_calibrate::gradients::nature_of;
use sepconv_ir::{Graph, ValueId};
use sepconv_tune::{Goal, Loss, Nature, Values};

/// The goal of an output, by the original's values and by the operator that makes it.
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
