//! Inputs without a batch axis: settings, and the states of recurrent networks.

use std::collections::BTreeSet;

use sepconv_ir::{Dim, ValueId};

use crate::loaded::Loaded;

/// The inputs of which one value serves for all samples: scalars, and those whose first axis is not the batch of the
/// first input that has axes, as of a state `[layers, batch, width]` beside it.
pub(super) fn without_batch(model: &Loaded) -> BTreeSet<ValueId> {
    let graph = model.graph();
    let inputs: Vec<(ValueId, &[Dim])> = graph
        .inputs()
        .filter_map(|value| {
            let declared = graph.value(value)?.ty.as_ref()?;
            Some((value, declared.dims.as_deref()?))
        })
        .collect();
    let batch = inputs.iter().find_map(|(_, dims)| dims.first());
    let whole = inputs.iter().filter(|(_, dims)| !has_batch(dims, batch));
    whole.map(|(value, _)| *value).collect()
}

/// True for declared extents that begin with the batch.
fn has_batch(dims: &[Dim], batch: Option<&Dim>) -> bool {
    let (Some(own), Some(batch)) = (dims.first(), batch) else {
        return false;
    };
    match (own.known(), batch.known()) {
        (Some(own), Some(batch)) => own == batch,
        // A fixed extent is no batch where another axis is.
        (Some(own), None) => own <= 1 || !dims[1..].contains(batch),
        (None, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(text: &str) -> Vec<Dim> {
        let dim = |part: &str| match part.parse() {
            Ok(n) => Dim::Known(n),
            Err(_) if part == "?" => Dim::Unknown,
            Err(_) => Dim::Symbol(part.into()),
        };
        text.split_whitespace().map(dim).collect()
    }

    #[test]
    fn states_and_settings_have_no_batch() {
        let has = |own: &str, first: &str| has_batch(&dims(own), dims(first).first());
        assert!(!has("", "n samples") && !has("", "1 512"));
        assert!(!has("2 n 128", "n samples") && !has("2 ? 128", "? ?"));
        assert!(!has("2 1 128", "1 576"));
        assert!(has("n 4", "n 3 h w") && has("1 128", "n 3") && has("4 h w", "n 3"));
        assert!(has("4 3 h w", "4 3 h w") && has("m 2", "n 3"));
    }
}
