//! The losses that outputs are compared by.

use sepconv_calibrate::gradients::nature_of;
use sepconv_ir::{Graph, Tensor, ValueId};
use sepconv_model::parts::PartScales;
use sepconv_tune::{Goal, Loss, Nature, Values};

/// Samples that the scales of an output's parts are of, at most.
pub(super) const SCALED: usize = 8;

/// The goal of an output, by the original's values for some batches of `rows`, and by the operator that makes it. Parts of
/// numbers count on their own scales.
pub(super) fn of_output(
    graph: &Graph,
    value: ValueId,
    seen: &[Values],
    rows: usize,
    asked: Option<Loss>,
) -> Goal {
    let nature = match seen.first() {
        Some(first) => nature_of(graph, value, first, rows),
        None => Nature::Numbers,
    };
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
        factors: match nature {
            Nature::Numbers => factors(seen),
            _ => None,
        },
        nature,
        output: true,
    }
}

/// Factors of the numbers of a row, by some samples.
fn factors(seen: &[Values]) -> Option<Vec<f32>> {
    let tensors = seen
        .iter()
        .map(|own| Tensor::from_f32(own.dims.clone(), own.elements.clone()));
    let tensors: Vec<Tensor> = tensors.collect();
    let dims = tensors.first()?.dims();
    let rows = *dims.first()?;
    let mut factors = PartScales::of(&tensors)?.factors(dims);
    factors.truncate(factors.len() / rows.max(1));
    Some(factors)
}

/// The goal of a value on the way.
pub(super) fn of_block(graph: &Graph, value: ValueId) -> Goal {
    Goal {
        name: graph.name(value).to_owned(),
        loss: Loss::L2,
        nature: Nature::Numbers,
        factors: None,
        output: false,
    }
}
