//! Between which values a convolution is fitted.

use sepconv_factor::Activation;
use sepconv_ir::{Graph, Operator, Slot, ValueId};
use sepconv_passes::Site;

use sepconv_model::Loaded;

/// Values between which a convolution is fitted: its input, and the original network's output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Endpoints {
    /// The convolution's input, taken from the network compressed so far.
    pub input: ValueId,
    /// The convolution's output, or the sum that it goes into, of the original network.
    pub target: ValueId,
    /// The other summand, taken from the network compressed so far.
    pub shortcut: Option<ValueId>,
    /// The activation behind the target, where nothing else reads it.
    pub activation: Option<Activation>,
}

impl Endpoints {
    /// The ends of a convolution of `model`. `None` where it has no input or output.
    pub fn of(model: &Loaded, site: &Site) -> Option<Self> {
        let graph = model.graph();
        let op = graph.operator(site.node)?;
        let (input, output) = (op.input(0)?, op.output(0)?);
        let plain = Self {
            input,
            target: output,
            shortcut: None,
            activation: activation(model, output),
        };
        let [(reader, Slot::Input(slot))] = graph.readers(output)[..] else {
            return Some(plain);
        };
        let sum = graph.operator(reader).filter(|o| o.is("Add"));
        let Some((target, other)) =
            sum.and_then(|o| Some((o.output(0)?, o.input(1 - slot as usize)?)))
        else {
            return Some(plain);
        };
        let extents = |v| model.shapes.extents(v);
        let alike = extents(other).is_some() && extents(other) == extents(output);
        if !alike || graph.constant(other).is_some() {
            return Some(plain);
        }
        Some(Self {
            input,
            target,
            shortcut: Some(other),
            activation: activation(model, target),
        })
    }

    /// The values that are taken from the network compressed so far.
    pub fn now(&self) -> [ValueId; 2] {
        [self.input, self.shortcut.unwrap_or(self.input)]
    }
}

/// The activation that all readers of `value` are: `Relu`, `LeakyRelu` with a slope from 0 to
/// 1, `Clip` from zero.
fn activation(model: &Loaded, value: ValueId) -> Option<Activation> {
    let graph = model.graph();
    if graph.is_output(value) {
        return None;
    }
    let readers = graph.readers(value).into_iter();
    let mut kinds = readers.map(|(reader, _)| graph.operator(reader).and_then(|op| of(graph, op)));
    let first = kinds.next()??;
    kinds.all(|kind| kind == Some(first)).then_some(first)
}

fn of(graph: &Graph, op: &Operator) -> Option<Activation> {
    let leaky = |slope| Activation {
        slope,
        ..Activation::RELU
    };
    match op.op_type.as_str() {
        "Relu" => Some(Activation::RELU),
        "LeakyRelu" => {
            Some(leaky(op.float("alpha", 0.01))).filter(|a| (0.0..=1.0).contains(&a.slope))
        }
        "Clip" => {
            // Opset 6 has attributes, opset 11 inputs.
            let bound = |slot: usize, name: &str, default: f32| match op.input(slot) {
                Some(value) => graph.constant(value)?.to_f32()?.first().copied(),
                None => Some(op.float(name, default)),
            };
            let (low, high) = (bound(1, "min", f32::MIN)?, bound(2, "max", f32::MAX)?);
            (low == 0.0 && high > 0.0).then_some(Activation {
                ceiling: high,
                ..Activation::RELU
            })
        }
        _ => None,
    }
}
