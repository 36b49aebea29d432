//! Between which values a convolution is fitted.

use sepconv_ir::{Slot, ValueId};
use sepconv_passes::Site;

use crate::loaded::Loaded;

/// What a convolution is fitted by: its input, and what the original network makes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// The convolution's input, taken from the network compressed so far.
    pub input: ValueId,
    /// The convolution's output, or the sum that it goes into, of the original network.
    pub target: ValueId,
    /// The other summand, taken from the network compressed so far.
    pub shortcut: Option<ValueId>,
}

impl Ends {
    /// The ends of a convolution of `model`. `None` where it has no input or output.
    pub fn of(model: &Loaded, site: &Site) -> Option<Self> {
        let graph = model.graph();
        let op = graph.operator(site.node)?;
        let (input, output) = (op.input(0)?, op.output(0)?);
        let plain = Self {
            input,
            target: output,
            shortcut: None,
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
        })
    }

    /// The values that are taken from the network compressed so far.
    pub fn now(&self) -> [ValueId; 2] {
        [self.input, self.shortcut.unwrap_or(self.input)]
    }
}
