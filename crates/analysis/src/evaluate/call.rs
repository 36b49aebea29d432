//! Calls of operators with constant inputs.

use sepconv_ir::{AttributeValue, Operator, Tensor};

/// Results of so many elements are made whatever they are made of.
const SMALL: usize = 1 << 24;
/// Results of more elements are not made, unless they are as large as an input.
const LARGE: usize = 1 << 27;

/// An operator with its constant inputs.
pub(crate) struct Call<'a> {
    pub op: &'a Operator,
    pub inputs: &'a [Option<Tensor>],
    /// The output that is wanted.
    pub output: usize,
}

impl Call<'_> {
    /// The input at `slot`, if that slot is filled.
    pub(super) fn input(&self, slot: usize) -> Option<&Tensor> {
        self.inputs.get(slot)?.as_ref()
    }

    /// A list of integers: the attribute, or the input at `slot`, whichever the opset has.
    /// `Some(None)` where there is neither.
    pub(super) fn ints(&self, name: &str, slot: usize) -> Option<Option<Vec<i64>>> {
        if let Some(attribute) = self.op.attribute(name) {
            let AttributeValue::Ints(all) = attribute else {
                return None;
            };
            return Some(Some(all.clone()));
        }
        match self.input(slot) {
            Some(tensor) if tensor.dims().len() <= 1 => tensor.to_i64().map(Some),
            Some(_) => None,
            None => Some(None),
        }
    }

    /// Number of elements of a result of these extents; `None` where it is too large to make.
    pub(super) fn room(&self, dims: &[usize]) -> Option<usize> {
        let count = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        let inputs = self.inputs.iter().flatten().map(Tensor::len);
        let (largest, sum) = inputs.fold((0, 0usize), |(max, sum), n| {
            (n.max(max), sum.saturating_add(n))
        });
        let fits = count <= SMALL.max(largest) || count <= LARGE.min(sum);
        fits.then_some(count)
    }
}
