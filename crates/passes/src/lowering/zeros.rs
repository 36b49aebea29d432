//! Zeros around a map, as operators of their own.

use sepconv_ir::{AttributeValue, Operator, PatchValue, Tensor};

use super::emitter::{Destination, Emitter};
use super::padding::{At, fixed, some};

impl Emitter<'_> {
    /// From now on maps are padded beforehand.
    pub(super) fn pad_apart(&mut self, at: At) {
        self.apart = Some(At::Filters);
        if at == At::Filters {
            return;
        }
        let pads = fixed(&self.site.attributes).and_then(some);
        if let (Some(pads), Some(x)) = (pads, self.input()) {
            let padded = self.padded("input", x, &pads);
            (self.input, self.apart) = (padded, Some(at));
        }
    }

    /// `x` with zeros around it, as `<layer>/<name>/pad...`; `x` that was padded so before is not
    /// padded again.
    pub(super) fn padded(
        &mut self,
        name: &str,
        x: PatchValue,
        pads: &[(u64, u64)],
    ) -> Option<PatchValue> {
        let known = self.made.iter().find(|(of, by, _)| *of == x && by == pads);
        if let Some((_, _, made)) = known {
            return Some(*made);
        }
        let shape = Operator::new("Shape", format!("{name}/shape"));
        let shape = self.operator(shape, vec![Some(x)], Destination::Inner)?;
        let mut grown = vec![0; pads.len() + 2];
        let mut padded = x;
        // Rows first, while there are fewest of them.
        for (axis, (begin, end)) in pads.iter().enumerate().rev() {
            let axis = axis + 2;
            let mut zeros = |side: &str, count: u64| {
                let name = format!("{name}/pad{axis}{side}");
                let made =
                    (count > 0).then(|| self.zeros(&name, shape, &grown, Rim { axis, count }));
                made.flatten()
            };
            let before = zeros("", *begin);
            let after = match end == begin {
                true => before,
                false => zeros("_end", *end),
            };
            let parts = [before, Some(padded), after].into_iter().flatten();
            let parts: Vec<_> = parts.map(Some).collect();
            if parts.len() > 1 {
                let concat = Operator::new("Concat", format!("{name}/padded{axis}"));
                let concat = concat.with("axis", AttributeValue::Int(axis as i64));
                padded = self.operator(concat, parts, Destination::Inner)?;
                grown[axis] += (begin + end) as i64;
            }
        }
        self.made.push((x, pads.to_vec(), padded));
        Some(padded)
    }

    /// Zeros of the extents of `shape` and as many more as `grown` says, but for the rim's axis.
    fn zeros(
        &mut self,
        name: &str,
        shape: PatchValue,
        grown: &[i64],
        rim: Rim,
    ) -> Option<PatchValue> {
        let mut keep = vec![1; grown.len()];
        let mut add = grown.to_vec();
        (keep[rim.axis], add[rim.axis]) = (0, rim.count as i64);
        let keep = self.integers(&format!("{name}/keep"), &keep);
        let add = self.integers(&format!("{name}/add"), &add);
        let mut inner = |suffix: &str, op_type: &str, inputs| {
            let op = Operator::new(op_type, format!("{name}/{suffix}"));
            self.operator(op, inputs, Destination::Inner)
        };
        let kept = inner("kept", "Mul", vec![Some(shape), Some(keep)]);
        let extents = inner("extents", "Add", vec![kept, Some(add)]);
        let zero = Tensor::from_floats(self.dtype(), vec![1], vec![0.0])?;
        let zeros = Operator::new("ConstantOfShape", format!("{name}/zeros"));
        let zeros = zeros.with("value", AttributeValue::Tensor(zero));
        self.operator(zeros, vec![extents], Destination::Inner)
    }
}

/// Zeros along one axis of a map.
#[derive(Clone, Copy)]
struct Rim {
    axis: usize,
    count: u64,
}
