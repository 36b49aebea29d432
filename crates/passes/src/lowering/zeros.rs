//! Zeros around a map, as operators of their own.

use sepconv_ir::{AttributeValue, PatchValue, Tensor};

use super::emitter::{Destination, Emitter};
use super::padding::{At, fixed, some};

impl Emitter<'_> {
    /// From now on what is padded is padded beforehand.
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
        let shape = self.operator(
            &format!("{name}/shape"),
            "Shape",
            None,
            vec![Some(x)],
            Destination::Inner,
        )?;
        let mut grown = vec![0; pads.len() + 2];
        let mut padded = x;
        // Rows first, while there are fewest of them.
        for (axis, (begin, end)) in pads.iter().enumerate().rev() {
            let axis = axis + 2;
            let mut zeros = |side: &str, count: u64| {
                let name = format!("{name}/pad{axis}{side}");
                let made = (count > 0).then(|| self.zeros(&name, shape, &grown, axis, count));
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
                let along = Some(("axis", AttributeValue::Int(axis as i64)));
                let name = format!("{name}/padded{axis}");
                padded = self.operator(&name, "Concat", along, parts, Destination::Inner)?;
                grown[axis] += (begin + end) as i64;
            }
        }
        self.made.push((x, pads.to_vec(), padded));
        Some(padded)
    }

    /// Zeros of the extents `shape + grown`, but for `axis`, which has `count`.
    fn zeros(
        &mut self,
        name: &str,
        shape: PatchValue,
        grown: &[i64],
        axis: usize,
        count: u64,
    ) -> Option<PatchValue> {
        let mut keep = vec![1; grown.len()];
        let mut add = grown.to_vec();
        (keep[axis], add[axis]) = (0, count as i64);
        let keep = self.integers(&format!("{name}/keep"), &keep);
        let add = self.integers(&format!("{name}/add"), &add);
        let inner = |e: &mut Self, suffix: &str, op: &str, attribute, inputs| {
            e.operator(
                &format!("{name}/{suffix}"),
                op,
                attribute,
                inputs,
                Destination::Inner,
            )
        };
        let kept = inner(self, "kept", "Mul", None, vec![Some(shape), Some(keep)]);
        let extents = inner(self, "extents", "Add", None, vec![kept, Some(add)]);
        let zero = Tensor::from_floats(self.dtype(), vec![1], vec![0.0])?;
        let zero = Some(("value", AttributeValue::Tensor(zero)));
        inner(self, "zeros", "ConstantOfShape", zero, vec![extents])
    }
}
