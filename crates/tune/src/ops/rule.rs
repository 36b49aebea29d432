//! The rule by which an operator is computed, and the context that it is read in.

use candle_core::Tensor;
use sepconv_analysis::{Shapes, constants};
use sepconv_ir::{Graph, Operator, ValueId};

/// Computes an operator's outputs from its operands.
pub(crate) type Forward = Box<dyn Fn(&[Tensor]) -> candle_core::Result<Vec<Tensor>> + Send + Sync>;

/// The rule by which an operator is computed.
pub(crate) struct Rule {
    /// The values that are read while running; the rest was read now.
    pub operands: Vec<ValueId>,
    pub forward: Forward,
}

/// An operator, in its graph.
pub(crate) struct OpContext<'a> {
    pub graph: &'a Graph,
    pub shapes: &'a Shapes,
    pub opset: i64,
    pub op: &'a Operator,
}

impl OpContext<'_> {
    pub fn input(&self, slot: usize) -> Option<ValueId> {
        self.op.input(slot)
    }

    /// Integers of an attribute, or of a constant input.
    pub fn ints(&self, name: &str, slot: usize) -> Option<Vec<i64>> {
        match (self.op.ints(name), self.input(slot)) {
            (Some(list), _) => Some(list.to_vec()),
            (None, Some(value)) => constants::resolve(self.graph, value)?.to_i64(),
            (None, None) => None,
        }
    }

    /// Numbers of a constant input.
    pub fn floats(&self, slot: usize) -> Option<Vec<f32>> {
        let tensor = constants::resolve(self.graph, self.input(slot)?)?;
        Some(tensor.to_f32()?.into_owned())
    }

    /// Extents of a value under the shapes inferred.
    pub fn extents(&self, value: Option<ValueId>) -> Option<Vec<usize>> {
        let extents = self.shapes.extents(value?)?;
        Some(extents.into_iter().map(|n| n as usize).collect())
    }

    pub fn rank(&self, slot: usize) -> Option<usize> {
        Some(self.shapes.get(self.input(slot)?)?.dims.len())
    }

    /// An axis counted from the front; `None` where it is the batch or out of range.
    pub fn axis(&self, axis: i64, rank: usize) -> Option<usize> {
        let from_front = if axis < 0 { axis + rank as i64 } else { axis };
        let axis = usize::try_from(from_front).ok()?;
        (axis > 0 && axis < rank).then_some(axis)
    }

    /// A rule of one operand.
    pub fn unary(
        &self,
        f: impl Fn(&Tensor) -> candle_core::Result<Tensor> + Send + Sync + 'static,
    ) -> Option<Rule> {
        self.of(&[0], move |x| f(&x[0]))
    }

    /// A rule of the operands at `slots`, all of which must be there.
    pub fn of(
        &self,
        slots: &[usize],
        f: impl Fn(&[Tensor]) -> candle_core::Result<Tensor> + Send + Sync + 'static,
    ) -> Option<Rule> {
        let operands = slots.iter().map(|slot| self.input(*slot));
        Some(Rule {
            operands: operands.collect::<Option<Vec<_>>>()?,
            forward: Box::new(move |x| Ok(vec![f(x)?])),
        })
    }
}
