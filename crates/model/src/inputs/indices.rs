//! Inputs that the graph looks elements up with, and the indices that there are.

use std::collections::HashSet;
use std::ops::Range;

use sepconv_analysis::{Shapes, constants};
use sepconv_ir::{DType, Graph, Operator, Slot, ValueId};

/// Operators that rearrange the elements of any of their inputs, or choose among them.
const REARRANGE: [&str; 11] = [
    "Concat",
    "Expand",
    "Flatten",
    "Identity",
    "Pad",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Unsqueeze",
];

/// A value as `factor x + least` to `factor x + greatest` of the input's elements `x`.
#[derive(Clone, Copy)]
struct Of {
    value: ValueId,
    factor: i64,
    least: i64,
    greatest: i64,
}

/// The elements of `input` that every look-up with them finds something for: `Gather` and its
/// kin, the scatters, `OneHot`. `None` where nothing is looked up with them, or nothing could be.
/// With `fixed`, only extents of constants count, such as those of an embedding: other extents may
/// be others with other data.
pub(super) fn indices(
    graph: &Graph,
    shapes: &Shapes,
    input: ValueId,
    fixed: bool,
) -> Option<Range<i64>> {
    let dtype = shapes.get(input)?.dtype?;
    if !is_integer(dtype) {
        return None;
    }
    let mut all: Option<Range<i64>> = None;
    let mut seen = HashSet::from([input]);
    let mut open = vec![Of {
        value: input,
        factor: 1,
        least: 0,
        greatest: 0,
    }];
    while let Some(at) = open.pop() {
        for (node, slot) in graph.readers(at.value) {
            let (Some(op), Slot::Input(slot)) = (graph.operator(node), slot) else {
                continue;
            };
            let look_up = LookUp {
                graph,
                shapes,
                op,
                fixed,
            };
            if let Some(extent) = look_up.extent(slot) {
                // From -extent to extent - 1: ONNX counts negative indices from the end.
                let (least, most) = (-extent - at.least, extent - 1 - at.greatest);
                let start =
                    least.div_euclid(at.factor) + i64::from(least.rem_euclid(at.factor) > 0);
                let end = most.div_euclid(at.factor) + 1;
                let before = all.unwrap_or(i64::MIN..i64::MAX);
                all = Some(before.start.max(start)..before.end.min(end));
            }
            for next in followed(graph, shapes, Reader { op, slot }, at) {
                if seen.insert(next.value) {
                    open.push(next);
                }
            }
        }
    }
    all.filter(|range| !range.is_empty())
}

fn is_integer(dtype: DType) -> bool {
    let signed = [DType::I8, DType::I16, DType::I32, DType::I64];
    let unsigned = [DType::U8, DType::U16, DType::U32, DType::U64];
    signed.contains(&dtype) || unsigned.contains(&dtype)
}

/// An operator that reads a value, and the input slot that it reads it at.
#[derive(Clone, Copy)]
struct Reader<'a> {
    op: &'a Operator,
    slot: u32,
}

/// The values that an operator makes of indices, which are indices still.
fn followed(graph: &Graph, shapes: &Shapes, reader: Reader<'_>, at: Of) -> Vec<Of> {
    let Reader { op, slot } = reader;
    let first = op.output(0).map(|value| Of { value, ..at });
    let integer = |value| {
        shapes
            .get(value)
            .and_then(|s| s.dtype)
            .is_some_and(is_integer)
    };
    let of_data = slot == 0 || op.is("Concat");
    if of_data && REARRANGE.iter().any(|name| op.is(name)) {
        let outputs = op.outputs.iter().flatten();
        return outputs
            .map(|value| Of {
                value: *value,
                ..at
            })
            .collect();
    }
    let kept = op.is("Transpose") || (op.is("Gather") && slot == 0) || (op.is("Where") && slot > 0);
    if kept || (op.is("Cast") && op.output(0).is_some_and(integer)) {
        return first.into_iter().collect();
    }
    let moved = first.and_then(|next| {
        let other =
            constants::resolve(graph, op.input(1usize.checked_sub(slot as usize)?)?)?.to_i64()?;
        let (least, greatest) = (*other.iter().min()?, *other.iter().max()?);
        let small = |x: i64| (-(1 << 31)..1 << 31).contains(&x);
        if !(small(least) && small(greatest) && small(at.least) && small(at.greatest)) {
            return None;
        }
        Some(if op.is("Add") {
            Of {
                least: next.least + least,
                greatest: next.greatest + greatest,
                ..next
            }
        } else if op.is("Sub") && slot == 0 {
            Of {
                least: next.least - greatest,
                greatest: next.greatest - least,
                ..next
            }
        } else if op.is("Mul") && least == greatest && least > 0 && small(next.factor) {
            Of {
                factor: next.factor.checked_mul(least).filter(|f| small(*f))?,
                least: next.least * least,
                greatest: next.greatest * least,
                ..next
            }
        } else {
            return None;
        })
    });
    moved.into_iter().collect()
}

/// An operator that may look elements up.
struct LookUp<'a> {
    graph: &'a Graph,
    shapes: &'a Shapes,
    op: &'a Operator,
    fixed: bool,
}

impl LookUp<'_> {
    /// The number of elements that an input picks one of, the least over its axes.
    fn extent(&self, slot: u32) -> Option<i64> {
        let op = self.op;
        let by_axis = ["Gather", "GatherElements", "Scatter", "ScatterElements"];
        if slot == 1 && by_axis.iter().any(|name| op.is(name)) {
            let extents = self.extents()?;
            let axis = op.int("axis", 0);
            let axis = if axis < 0 {
                axis + extents.len() as i64
            } else {
                axis
            };
            return extents.get(usize::try_from(axis).ok()?).copied();
        }
        if slot == 1 && (op.is("GatherND") || op.is("ScatterND")) {
            let skipped = usize::try_from(op.int("batch_dims", 0)).ok()?;
            let tuple = *self.shapes.extents(op.input(1)?)?.last()? as usize;
            return self.extents()?.into_iter().skip(skipped).take(tuple).min();
        }
        if slot == 0 && op.is("OneHot") {
            let depth = constants::resolve(self.graph, op.input(1)?)?;
            return depth
                .to_f64()?
                .first()
                .map(|d| *d as i64)
                .filter(|d| *d > 0);
        }
        None
    }

    /// The extents of the table that is looked up in.
    fn extents(&self) -> Option<Vec<i64>> {
        let data = self.op.input(0)?;
        let extents: Vec<u64> = match constants::resolve(self.graph, data) {
            Some(tensor) => tensor.dims().iter().map(|d| *d as u64).collect(),
            None if self.fixed => return None,
            None => self.shapes.extents(data)?,
        };
        let extents = extents
            .into_iter()
            .map(|d| i64::try_from(d).ok().filter(|d| *d < 1 << 31));
        extents.collect()
    }
}
