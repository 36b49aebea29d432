//! Operators that make tensors out of shapes and numbers.

use sepconv_ir::{AttributeValue, DType, Operator, Tensor};

use super::Call;
use super::layout::extents;

/// `Shape`, from `start` to before `end` (opset 15), and `Size`: all that read nothing but extents.
pub(super) fn extents_read(call: &Call<'_>) -> Option<Tensor> {
    of_extents(call.op, call.input(0)?.dims())
}

/// The result of `Shape` or `Size` on an input of these extents; `None` of other operators.
pub(crate) fn of_extents(op: &Operator, dims: &[usize]) -> Option<Tensor> {
    if op.is("Size") {
        let count = dims
            .iter()
            .try_fold(1, |n: usize, dim| n.checked_mul(*dim))?;
        return Some(Tensor::from_i64(vec![], &[i64::try_from(count).ok()?]));
    }
    if !op.is("Shape") {
        return None;
    }
    let rank = i64::try_from(dims.len()).ok()?;
    let cut = |v: i64| {
        let from = if v < 0 { v.saturating_add(rank) } else { v };
        usize::try_from(from.clamp(0, rank)).ok()
    };
    let start = cut(op.int("start", 0))?;
    let end = cut(op.int("end", rank))?;
    let part = dims.get(start..end).unwrap_or_default();
    let all: Vec<i64> = part.iter().map(|n| *n as i64).collect();
    Some(Tensor::from_i64(vec![all.len()], &all))
}

/// `ConstantOfShape`: `value`, by default 0.0, repeated.
pub(super) fn of_shape(call: &Call<'_>) -> Option<Tensor> {
    let dims = extents(call.input(0)?)?;
    let zero = Tensor::from_f32(vec![1], vec![0.0]);
    let value = match call.op.attribute("value") {
        Some(AttributeValue::Tensor(tensor)) if tensor.len() == 1 => tensor,
        Some(_) => return None,
        None => &zero,
    };
    value.dtype().size()?;
    let data = value.data()?.repeat(call.room(&dims)?);
    Tensor::new(value.dtype(), dims, data.into())
}

/// `Range` of integers or floats.
pub(super) fn range(call: &Call<'_>) -> Option<Tensor> {
    let dtype = call.input(0)?.dtype();
    let same = call
        .inputs
        .iter()
        .flatten()
        .all(|t| t.dtype() == dtype && t.len() == 1);
    if !same {
        return None;
    }
    if dtype.is_float() {
        let number = |slot: usize| call.input(slot)?.to_f64()?.pop();
        let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
        let count = ((limit - start) / delta).ceil();
        if !count.is_finite() || delta == 0.0 {
            return None;
        }
        let dims = vec![count.max(0.0) as usize];
        let all: Vec<f64> = (0..call.room(&dims)?)
            .map(|i| start + i as f64 * delta)
            .collect();
        return Tensor::from_f64s(dtype, dims, &all);
    }
    let number = |slot: usize| {
        let tensor = call.input(slot).filter(|t| t.dtype() != DType::U64)?;
        tensor.to_i64()?.pop().map(i128::from)
    };
    let (start, limit, delta) = (number(0)?, number(1)?, number(2)?);
    if delta == 0 {
        return None;
    }
    let distance = limit - start;
    let whole = distance / delta + i128::from(distance % delta != 0);
    let ahead = (distance > 0) == (delta > 0);
    let dims = vec![if ahead {
        usize::try_from(whole).ok()?
    } else {
        0
    }];
    let at = |i: usize| i64::try_from(start + delta * i as i128).ok();
    let all: Option<Vec<i64>> = (0..call.room(&dims)?).map(at).collect();
    Tensor::from_i64s(dtype, dims, &all?)
}
