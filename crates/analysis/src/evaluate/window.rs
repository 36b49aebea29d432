//! Operators that cut parts out of a tensor, or put it into a larger one.

use sepconv_ir::{AttributeValue, Tensor};

use super::Call;
use super::layout::{pick, whole};
use super::walk::axis;

/// `Slice`: by attributes (before opset 10) or inputs.
pub(super) fn slice(call: &Call<'_>) -> Option<Tensor> {
    let tensor = call.input(0)?;
    let rank = tensor.dims().len();
    let (starts, ends) = (call.ints("starts", 1)??, call.ints("ends", 2)??);
    let all = || (0..starts.len() as i64).collect();
    let axes = call.ints("axes", 3)?.unwrap_or_else(all);
    let steps = match call.input(4) {
        Some(steps) => steps.to_i64()?,
        None => vec![1; starts.len()],
    };
    let counts = [ends.len(), axes.len(), steps.len()];
    if counts.iter().any(|n| *n != starts.len()) {
        return None;
    }
    let mut picks = whole(tensor.dims());
    for (i, a) in axes.iter().enumerate() {
        let at = axis(*a, rank)?;
        picks[at] = range(tensor.dims()[at], starts[i], ends[i], steps[i])?;
    }
    pick(call, tensor, &picks, &[])
}

/// Indices from a start to before an end, both counted from the end where they are negative and
/// cut to the extent.
fn range(extent: usize, start: i64, end: i64, step: i64) -> Option<Vec<Option<usize>>> {
    let n = i64::try_from(extent).ok()?;
    let from_end = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
    let (start, end) = (from_end(start), from_end(end));
    let (start, end) = match step {
        0 => return None,
        s if s > 0 => (start.clamp(0, n), end.clamp(0, n)),
        _ => (start.clamp(-1, n - 1), end.clamp(-1, n - 1)),
    };
    let mut found = Vec::new();
    let mut at = start;
    while if step > 0 { at < end } else { at > end } {
        found.push(Some(usize::try_from(at).ok()?));
        at = at.saturating_add(step);
    }
    Some(found)
}

/// One part of a `Split`: of given extents (attribute `split`, or input 1 from opset 13 on), or of
/// equal ones, of which the last is smaller where they do not divide (opset 18).
pub(super) fn split(call: &Call<'_>) -> Option<Tensor> {
    let tensor = call.input(0)?;
    let at = axis(call.op.int("axis", 0), tensor.dims().len())?;
    let extent = tensor.dims()[at];
    let parts = match call.ints("split", 1)? {
        Some(parts) => parts
            .into_iter()
            .map(|n| usize::try_from(n).ok())
            .collect::<Option<Vec<_>>>()?,
        None => {
            let count = call.op.outputs.len();
            let each = extent.div_ceil(count.max(1));
            let part = |i: usize| each.min(extent.saturating_sub(i * each));
            (0..count).map(part).collect()
        }
    };
    let sum = parts.iter().try_fold(0usize, |sum, n| sum.checked_add(*n));
    if sum != Some(extent) {
        return None;
    }
    let start = parts.get(..call.output)?.iter().sum::<usize>();
    let mut picks = whole(tensor.dims());
    picks[at] = (start..start + parts.get(call.output)?).map(Some).collect();
    pick(call, tensor, &picks, &[])
}

/// `Pad`, by attributes (before opset 11) or inputs, in its four modes.
pub(super) fn pad(call: &Call<'_>) -> Option<Tensor> {
    let tensor = call.input(0)?;
    let rank = tensor.dims().len();
    let pads = call.ints("pads", 1)??;
    let axes = match call.input(3) {
        Some(axes) => axes.to_i64()?,
        None => (0..i64::try_from(rank).ok()?).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return None;
    }
    let size = tensor.dtype().size()?;
    let fill = match (call.input(2), call.op.attribute("value")) {
        (Some(value), _) if value.dtype() == tensor.dtype() && value.len() == 1 => {
            value.data()?.to_vec()
        }
        (None, Some(AttributeValue::Float(v))) => {
            let one = Tensor::from_f64s(tensor.dtype(), vec![], &[f64::from(*v)])?;
            one.data()?.to_vec()
        }
        (None, None) => vec![0; size],
        _ => return None,
    };
    let mode = match call.op.attribute("mode") {
        None => "constant",
        Some(_) => call.op.string("mode")?,
    };
    let mut around = vec![(0, 0); rank];
    for (i, a) in axes.iter().enumerate() {
        around[axis(*a, rank)?] = (pads[i], pads[axes.len() + i]);
    }
    let mut dims = Vec::new();
    for (n, (begin, end)) in tensor.dims().iter().zip(&around) {
        let n = i64::try_from(*n).ok()?;
        let extent = n.checked_add(*begin)?.checked_add(*end)?;
        dims.push(usize::try_from(extent).ok()?);
    }
    call.room(&dims)?;
    let mut picks = Vec::new();
    for ((own, all), (begin, _)) in tensor.dims().iter().zip(&dims).zip(&around) {
        let own = i64::try_from(*own).ok()?;
        let from = (0..i64::try_from(*all).ok()?).map(|i| source(i - begin, own, mode));
        picks.push(from.collect::<Option<Vec<_>>>()?);
    }
    pick(call, tensor, &picks, &fill)
}

/// The index that padding reads at `i` of an axis of `n`. `None` where there is no such mode, or
/// nothing to read.
fn source(i: i64, n: i64, mode: &str) -> Option<Option<usize>> {
    if (0..n).contains(&i) {
        return Some(usize::try_from(i).ok());
    }
    let from = match mode {
        "constant" => return Some(None),
        _ if n == 0 => return None,
        "edge" => i.clamp(0, n - 1),
        "wrap" => i.rem_euclid(n),
        "reflect" if n == 1 => 0,
        "reflect" => {
            let at = i.rem_euclid(2 * (n - 1));
            at.min(2 * (n - 1) - at)
        }
        _ => return None,
    };
    Some(usize::try_from(from).ok())
}
