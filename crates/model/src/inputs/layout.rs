//! Layout of a picture input, by the operators that read it.

use std::collections::HashSet;

use sepconv_data::Layout;
use sepconv_ir::{AttributeValue, Graph, Operator, Slot, ValueId};

/// Operators that keep the axes of their first input.
const KEEP: [&str; 27] = [
    "Abs",
    "Add",
    "Cast",
    "Clip",
    "Concat",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "Exp",
    "Identity",
    "LeakyRelu",
    "Log",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "PRelu",
    "Pad",
    "Pow",
    "QuantizeLinear",
    "Relu",
    "Resize",
    "Sigmoid",
    "Slice",
    "Sqrt",
    "Sub",
    "Upsample",
];

/// Operators that take the second axis of their first input for the channels.
const CHANNELS_SECOND: [&str; 14] = [
    "AveragePool",
    "BatchNormalization",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "DepthToSpace",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GroupNormalization",
    "InstanceNormalization",
    "LRN",
    "MaxPool",
    "QLinearConv",
    "SpaceToDepth",
];

/// The layout of an input of rank 4, from the first operators that know channels, seen through
/// `Transpose` and operators that keep axes. `None` where the graph does not say.
pub(super) fn layout(graph: &Graph, input: ValueId) -> Option<Layout> {
    let mut seen = HashSet::from([input]);
    // Values with the input's axis at each of their axes.
    let mut open = vec![(input, [0usize, 1, 2, 3])];
    while let Some((value, axes)) = open.pop() {
        for (node, slot) in graph.readers(value) {
            let Some(op) = graph.operator(node) else {
                continue;
            };
            if slot == Slot::Input(0) && CHANNELS_SECOND.iter().any(|name| op.is(name)) {
                match axes[1] {
                    1 => return Some(Layout::Nchw),
                    3 => return Some(Layout::Nhwc),
                    _ => continue,
                }
            }
            let axes = match slot {
                Slot::Input(0) if op.is("Transpose") => transposed(op, axes),
                Slot::Input(_) if KEEP.iter().any(|name| op.is(name)) => Some(axes),
                _ => None,
            };
            if let (Some(axes), Some(output)) = (axes, op.output(0))
                && seen.insert(output)
            {
                open.push((output, axes));
            }
        }
    }
    None
}

fn transposed(op: &Operator, axes: [usize; 4]) -> Option<[usize; 4]> {
    let reversed = [3, 2, 1, 0];
    let order = match op.attribute("perm") {
        None => &reversed[..],
        Some(AttributeValue::Ints(order)) => order,
        Some(_) => return None,
    };
    let order: Option<Vec<usize>> = order
        .iter()
        .map(|axis| axes.get(usize::try_from(*axis).ok()?).copied())
        .collect();
    order?.try_into().ok()
}
