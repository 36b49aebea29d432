//! Gradients of networks: the values that a network is handed, and the kind of its outputs.

use sepconv_ir::{Graph, ValueId};
use sepconv_model::Loaded;
use sepconv_model::classes::{are_numbers, class_outputs, is_by_sample};
use sepconv_tune::{Nature, Values};

/// The origin of a value that a network with gradients is handed.
#[derive(Debug, Clone, Copy)]
pub enum Feed {
    /// A graph input, by number.
    Input(usize),
    /// An output of the part of the model before the network, by number.
    Computed(usize),
}

/// The origins of the values that a network is `given`, and those of them that have to be computed.
pub fn feeds(model: &Loaded, given: &[ValueId]) -> (Vec<Feed>, Vec<ValueId>) {
    let inputs: Vec<ValueId> = model.graph().inputs().collect();
    let mut computed = Vec::new();
    let feeds = given
        .iter()
        .map(|value| match inputs.iter().position(|i| i == value) {
            Some(i) => Feed::Input(i),
            None => {
                computed.push(*value);
                Feed::Computed(computed.len() - 1)
            }
        });
    (feeds.collect(), computed)
}

/// The kind of an output's numbers, by those seen in a batch of `rows` and by the operator that makes it.
pub fn nature_of(graph: &Graph, value: ValueId, seen: &Values, rows: usize) -> Nature {
    if !is_by_sample(&seen.dims, rows) {
        return Nature::Numbers;
    }
    let mut outputs = graph.outputs().zip(class_outputs(graph));
    if outputs.any(|(output, classes)| output == value && !classes) {
        return Nature::Numbers;
    }
    let last = graph.producer(value).map(|(_, op)| op.op_type.as_str());
    let columns = seen.dims.get(1).copied().unwrap_or(0);
    let values = seen.elements.iter().map(|v| f64::from(*v));
    match (Nature::of(&seen.dims, &seen.elements), last) {
        (Nature::Numbers, _) => Nature::Numbers,
        (Nature::Logits, _) if are_numbers(columns, values) => Nature::Numbers,
        (_, Some("Softmax")) => Nature::Probabilities,
        (_, Some("LogSoftmax")) => Nature::Logits,
        (nature, _) => nature,
    }
}
