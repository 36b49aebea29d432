//! Inputs without a batch axis: settings, and the states of recurrent networks.

use std::collections::BTreeSet;

use sepconv_ir::{Dim, Graph, Operator, Slot, ValueId};

use crate::loaded::Loaded;

/// The inputs of which one value serves for all samples: scalars, and those whose first axis is not the batch of the
/// first input that has axes, as of a state `[layers, batch, width]` beside it: by the extents, or as a recurrent operator
/// reads it.
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
    let whole = inputs
        .iter()
        .filter(|(value, dims)| !has_batch(dims, batch) || is_state(graph, *value, dims));
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

/// True for the initial state `[layers, batch, width]` of recurrent operators (ONNX `LSTM`, `GRU` and `RNN`, inputs
/// `initial_h` and `initial_c`, layout 0), whole or cut into layers, where the first extent is fixed and more than one.
fn is_state(graph: &Graph, value: ValueId, dims: &[Dim]) -> bool {
    if dims.len() != 3 || dims[0].known().is_none_or(|n| n <= 1) {
        return false;
    }
    let mut seen = BTreeSet::from([value]);
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        for (reader, slot) in graph.readers(value) {
            let Some(op) = graph.operator(reader) else {
                continue;
            };
            let recurrent = || RECURRENT.iter().any(|name| op.is(name));
            match slot {
                Slot::Input(5 | 6) if recurrent() && op.int("layout", 0) == 0 => return true,
                Slot::Input(0) if cuts_layers(graph, op) => {
                    let cut = op.outputs.iter().flatten();
                    open.extend(cut.filter(|cut| seen.insert(**cut)));
                }
                _ => {}
            }
        }
    }
    false
}

/// Operators with initial states.
const RECURRENT: [&str; 3] = ["LSTM", "GRU", "RNN"];
/// Operators that hand their first input on.
const PASS: [&str; 4] = ["Cast", "Identity", "Squeeze", "Unsqueeze"];

/// True for an operator whose outputs are parts of its first input along the first axis, or that input itself.
fn cuts_layers(graph: &Graph, op: &Operator) -> bool {
    if op.is("Slice") {
        let input = || graph.constant(op.input(3)?)?.to_i64();
        let axes = op.ints("axes").map(<[i64]>::to_vec).or_else(input);
        return axes.is_some_and(|axes| axes == [0]);
    }
    let apart = op.is("Gather") || op.is("Split");
    PASS.iter().any(|name| op.is(name)) || apart && op.int("axis", 0) == 0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
    fn what_a_recurrent_operator_begins_with_is_a_state() {
        let of = |state: &str, axis: i64, layout: &str| {
            let text = format!(
                "input x: f32[n,5,3]\n\
                 input h: f32[{state}]\n\
                 const from: i64[1] fill(0)\n\
                 const to: i64[1] fill(2)\n\
                 const axes: i64[1] fill({axis})\n\
                 const w: f32[2,12,3] noise(1)\n\
                 const r: f32[2,12,4] noise(2)\n\
                 first = Slice(h, from, to, axes)\n\
                 y, last = GRU{{hidden_size=4{layout}}}(x, w, r, _, _, first)\n\
                 other = Relu(h)\n\
                 output last\n\
                 output other\n"
            );
            let graph: Graph = text.parse().unwrap();
            let h = graph.inputs().nth(1).unwrap();
            let dims = graph.value(h).unwrap().ty.as_ref().unwrap().dims.as_ref();
            is_state(&graph, h, dims.unwrap())
        };
        assert!(of("4,1,4", 0, "") && of("4,1,4", 0, ", layout=0"));
        // Samples come first.
        assert!(!of("4,1,4", 0, ", layout=1") && !of("4,4,4", 1, "") && !of("4,4", 0, ""));
        assert!(!of("1,1,4", 0, "") && !of("n,1,4", 0, ""));
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
