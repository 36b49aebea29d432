//! Outputs of classes.

use std::collections::BTreeMap;

use sepconv_ir::{Dim, Graph, ValueId};

use crate::loaded::Loaded;

/// Operators that hand their first input on, in another shape or type.
const HANDING_ON: [&str; 9] = [
    "Cast",
    "DequantizeLinear",
    "Flatten",
    "Identity",
    "QuantizeLinear",
    "Reshape",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
];

/// The most that rounding makes of probabilities beyond 1.
const ROUNDING: f64 = 1e-3;

/// True for every output of a graph that may be of classes, whatever its extents. Where `Softmax` or `LogSoftmax` (ONNX
/// opset 1 and later) makes some of the outputs `[n, classes]`, these alone: the others are numbers, such as the box
/// and the landmarks beside the score of a face. Else those whose second axis is not one of positions: a free
/// extent with a name that a person gave it, such as `frames`.
pub fn class_outputs(graph: &Graph) -> Vec<bool> {
    let distributions = distributions(graph);
    match distributions.contains(&true) {
        true => distributions,
        false => {
            let outputs = graph.outputs();
            outputs
                .map(|value| !is_over_positions(graph, value))
                .collect()
        }
    }
}

/// True of an output whose second axis is declared free, by a name that a person gave it: such as `[1, frames]`, the
/// pitch of every frame. Exporters name extents that they don't know with numbers (`unk__215`, `Gemmy_dim_1`).
fn is_over_positions(graph: &Graph, value: ValueId) -> bool {
    let ty = graph.value(value).and_then(|value| value.ty.as_ref());
    let second = ty.and_then(|ty| ty.dims.as_ref()?.get(1));
    let Some(Dim::Symbol(name)) = second else {
        return false;
    };
    let given = name
        .chars()
        .all(|c| c.is_ascii_alphabetic() || c == '_' || c == '-');
    given && !name.to_lowercase().contains("class")
}

/// True for every output `[n, classes]` of a graph that `Softmax` or `LogSoftmax` makes.
pub fn distributions(graph: &Graph) -> Vec<bool> {
    let outputs = graph.outputs();
    let are = outputs.map(|value| is_of_rows(graph, value) && is_distribution(graph, value));
    are.collect()
}

/// True of the values of an output `[n, columns]` of three columns or more that are neither probabilities nor logits: none
/// is below 0, and one is above 1 by more than rounding. Such are ratings, ages, and boxes in pixels.
pub fn are_numbers(columns: usize, values: impl IntoIterator<Item = f64>) -> bool {
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        (least, most) = (least.min(value), most.max(value));
    }
    columns > 2 && least >= 0.0 && most > 1.0 + ROUNDING
}

/// Most steps, and least classes, of an output that is recognised as a sequence of classes: more steps are positions of a
/// map, and fewer classes the scores of boxes.
const STEPS: usize = 1024;
const CLASSES: usize = 8;

/// Mean share of the greatest class of a step from which logits `[steps, 1, classes]` are those of classes: states of a
/// recurrent network, of the same shape, lie between -1 and 1.
const CLEAR: f64 = 0.9;

/// True of an output `[n, steps, classes]` or `[steps, 1, classes]` of probabilities, or of their logarithms, along its last
/// axis: the characters of a line of text, or the phonemes of speech. Also of logits `[steps, 1, classes]`, the order that
/// losses of sequences take, where the classes are clear.
pub fn are_sequences(dims: &[usize], values: &[f64]) -> bool {
    let (steps, classes, by_step) = match *dims {
        [steps, 1, classes] => (steps, classes, true),
        [_, steps, classes] => (steps, classes, false),
        _ => return false,
    };
    if !(2..=STEPS).contains(&steps) || classes < CLASSES || values.is_empty() {
        return false;
    }
    let is_one = |sum: f64| (sum - 1.0).abs() <= ROUNDING;
    let rows = values.chunks_exact(classes);
    let probabilities = |row: &[f64]| row.iter().all(|v| *v >= 0.0) && is_one(row.iter().sum());
    let logarithms =
        |row: &[f64]| row.iter().all(|v| *v <= 0.0) && is_one(row.iter().map(|v| v.exp()).sum());
    let clear = || rows.clone().map(greatest_share).sum::<f64>() / steps as f64 >= CLEAR;
    rows.clone().all(probabilities) || rows.clone().all(logarithms) || (by_step && clear())
}

/// The share of the greatest class of logits; 0 where one is no number.
fn greatest_share(logits: &[f64]) -> f64 {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|v| (v - most).exp()).sum();
    if sum.is_finite() { 1.0 / sum } else { 0.0 }
}

/// True where a graph output is declared as `[n, classes]`, trailing 1s aside, or its rank is not declared.
fn is_of_rows(graph: &Graph, value: ValueId) -> bool {
    let ty = graph.value(value).and_then(|value| value.ty.as_ref());
    ty.and_then(|ty| ty.dims.as_ref()).is_none_or(|dims| {
        let trailing = dims.iter().skip(2);
        dims.len() > 1 && trailing.map(|dim| dim.known()).all(|n| n == Some(1))
    })
}

/// True where a value is what `Softmax` or `LogSoftmax` makes, in some shape or type.
fn is_distribution(graph: &Graph, value: ValueId) -> bool {
    distributed(graph, value).is_some()
}

/// The value of which `Softmax` or `LogSoftmax` makes another one, both in some shape or type.
fn distributed(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let (_, node) = graph.producer(handed_on(graph, value))?;
    match (node.op_type.as_str(), node.inputs.first()) {
        ("Softmax" | "LogSoftmax", Some(Some(input))) => Some(handed_on(graph, *input)),
        _ => None,
    }
}

/// The value that operators hand on as another one, in some shape or type.
fn handed_on(graph: &Graph, mut value: ValueId) -> ValueId {
    while let Some((_, node)) = graph.producer(value) {
        match (node.op_type.as_str(), node.inputs.first()) {
            (op, Some(Some(input))) if HANDING_ON.contains(&op) => value = *input,
            _ => break,
        }
    }
    value
}

/// True for every output of a graph of which `Softmax` or `LogSoftmax` makes another one: logits say what their
/// probabilities say.
pub fn logits(graph: &Graph) -> Vec<bool> {
    let read: Vec<ValueId> = graph
        .outputs()
        .filter_map(|value| distributed(graph, value))
        .collect();
    let outputs = graph.outputs();
    let are = outputs.map(|value| read.contains(&handed_on(graph, value)));
    are.collect()
}

/// True for the extents of an output that begins with the axis of a batch of `rows`. Other outputs are one sample's, and of no
/// classes, whatever their shape: `[frames, pitches]`.
pub fn is_by_sample(dims: &[usize], rows: usize) -> bool {
    dims.first() == Some(&rows)
}

/// Rows and columns of an output of shape `[n, classes]`, trailing 1s aside; `None` for other
/// shapes.
pub fn class_rows(dims: &[usize]) -> Option<(usize, usize)> {
    match dims {
        [n, classes, rest @ ..] if *classes > 1 && rest.iter().all(|d| *d == 1) => {
            Some((*n, *classes))
        }
        _ => None,
    }
}

/// [`class_rows`] of a value of a model; `None` where its extents are not known, or are of positions.
pub fn class_rows_of(model: &Loaded, value: ValueId) -> Option<(usize, usize)> {
    if is_over_positions(model.graph(), value) {
        return None;
    }
    let dims = model.shapes.extents(value)?;
    let dims: Vec<usize> = dims.iter().map(|d| *d as usize).collect();
    class_rows(&dims)
}

/// Share of the samples that are of the most frequent of their `classes`; `None` without samples.
pub fn largest_share(classes: impl Iterator<Item = usize>) -> Option<f64> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    classes.for_each(|class| *counts.entry(class).or_default() += 1);
    let most = *counts.values().max()?;
    Some(most as f64 / counts.values().sum::<usize>() as f64)
}

/// Index of the greatest value, the first of several; `None` where one is not a number, or there is none.
pub fn argmax<T: Copy + Into<f64>>(row: &[T]) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (i, value) in row.iter().enumerate() {
        let value: f64 = (*value).into();
        if value.is_nan() {
            return None;
        }
        if best.is_none_or(|(_, most)| value > most) {
            best = Some((i, value));
        }
    }
    best.map(|(i, _)| i)
}

/// True where both rows have their greatest value at the same place; never where one has none.
pub fn same_class<T: Copy + Into<f64>>(a: &[T], b: &[T]) -> bool {
    argmax(a).is_some_and(|class| argmax(b) == Some(class))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(text: &str) -> Vec<bool> {
        class_outputs(&text.parse().unwrap())
    }

    #[test]
    fn numbers_beside_a_distribution_are_no_classes() {
        let face = "input x\nbox = Relu(x)\np = Softmax(x)\nscore = Identity(p)\n";
        assert_eq!(
            of(&format!("{face}output box\noutput score\n")),
            [false, true]
        );
        // Logits stand for themselves where nothing else is known to be of classes.
        assert_eq!(of(&format!("{face}output box\noutput x\n")), [true, true]);
    }

    #[test]
    fn what_is_no_number_is_of_no_class() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(argmax(&[f32::NAN, 1.0]), None);
        assert_eq!(argmax::<f32>(&[]), None);
        assert!(same_class(&[2.0, 1.0], &[5.0, f32::NEG_INFINITY]));
        assert!(!same_class(&[2.0, 1.0], &[f32::NAN, f32::NAN]));
        assert!(!same_class(&[f32::NAN; 2], &[f32::NAN; 2]));
    }

    #[test]
    fn outputs_over_positions_are_no_classes() {
        let declared = |dims: &str| of(&format!("input x\ny: f32[{dims}] = Relu(x)\noutput y\n"));
        assert_eq!(declared("1, frames"), [false]);
        for dims in ["n, 10", "n, num_classes", "n, unk__215", "n, ?"] {
            assert_eq!(declared(dims), [true], "{dims}");
        }
    }

    #[test]
    fn probabilities_of_steps_are_sequences_of_classes() {
        let even = [0.125; 32];
        let logarithms = even.map(f64::ln);
        assert!(are_sequences(&[1, 4, 8], &even) && are_sequences(&[2, 2, 8], &logarithms));
        // Rows of 16, boxes of two scores, positions of a map, logits.
        assert!(!are_sequences(&[1, 2, 16], &even) && !are_sequences(&[1, 16, 2], &[0.5; 32]));
        // Time first: probabilities, and logits whose classes are clear.
        assert!(are_sequences(&[4, 1, 8], &even));
        let logits = |most: f64| -> Vec<f64> {
            let one = |at: usize| if at % 8 == at / 8 { most } else { -0.5 };
            (0..32).map(one).collect()
        };
        assert!(are_sequences(&[4, 1, 8], &logits(9.0)));
        assert!(!are_sequences(&[4, 1, 8], &logits(1.0)));
        assert!(!are_sequences(&[1, 4, 8], &logits(9.0)));
        assert!(!are_sequences(&[4, 1, 8], &[f64::NAN; 32]));
        assert!(!are_sequences(&[1, 2048, 8], &[0.125; 16384]));
        assert!(!are_sequences(&[1, 4, 8], &[0.3; 32]) && !are_sequences(&[4, 8], &even));
    }

    #[test]
    fn ratings_are_numbers_and_logits_are_not() {
        assert!(are_numbers(3, [1.2, 3.4, 4.8, 2.0, 2.5, 0.0]));
        for classes in [[-0.1, 3.4, 4.8], [0.2, 0.3, 0.5], [0.0, 1.000_001, 0.0]] {
            assert!(!are_numbers(3, classes), "{classes:?}");
        }
        // Two logits may both be above 0 in a few samples.
        assert!(!are_numbers(2, [1.2, 3.4]) && !are_numbers(3, []));
    }

    #[test]
    fn distributions_over_positions_are_no_output_of_classes() {
        let declared = |dims: &str| {
            format!("input x\nmap: f32[{dims}] = Softmax(x)\ny = Relu(x)\noutput map\noutput y\n")
        };
        assert_eq!(of(&declared("1, 21, 8, 8")), [true, true]);
        assert_eq!(of(&declared("1, 21, 1, 1")), [true, false]);
    }
}
