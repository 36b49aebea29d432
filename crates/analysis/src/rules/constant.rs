//! Shapes and constants.

use sepconv_ir::{AttributeValue, DType, Tensor};

use super::elementwise::target;
use super::{Call, Inferred, Stop, contradiction};
use crate::fact::{Fact, MAX_DATA, Scalar, count};

/// `Shape` (1 to 24): extents of axes `start` to `end` (opset 15).
pub(super) fn shape(call: &Call<'_>) -> Inferred {
    let dims = call.dims(0)?;
    let rank = i64::try_from(dims.len()).map_err(|_| Stop::Unknown)?;
    let bound = |v: i64| {
        let v = if v < 0 { v.saturating_add(rank) } else { v };
        usize::try_from(v.clamp(0, rank)).unwrap_or(0)
    };
    let start = bound(call.int("start", 0)?);
    let end = bound(call.int("end", rank)?);
    let part = dims.get(start..end).unwrap_or(&[]);
    let elements = part
        .iter()
        .map(|n| n.and_then(|n| i64::try_from(n).ok()).map(Scalar::Int))
        .collect();
    let fact = Fact::fixed(DType::I64, &[part.len() as u64]);
    Ok(vec![fact.with_data(Some(elements))])
}

/// `Size` (1 to 24): the number of elements, a scalar.
pub(super) fn size(call: &Call<'_>) -> Inferred {
    let total = call.dims(0).ok().and_then(count);
    let total = total.and_then(|n| i64::try_from(n).ok());
    let fact = Fact::fixed(DType::I64, &[]);
    Ok(vec![fact.with_data(Some(vec![total.map(Scalar::Int)]))])
}

/// `Constant` (1 to 24): a tensor, or numbers (opset 12).
pub(super) fn constant(call: &Call<'_>) -> Inferred {
    let scalar = |dtype, v| Fact::fixed(dtype, &[]).with_data(Some(vec![Some(v)]));
    let list = |dtype, values: Vec<Option<Scalar>>| {
        Fact::fixed(dtype, &[values.len() as u64]).with_data(Some(values))
    };
    let given = [
        "value",
        "value_int",
        "value_ints",
        "value_float",
        "value_floats",
    ]
    .iter()
    .find_map(|name| call.op.attribute(name));
    let fact = match given {
        Some(AttributeValue::Tensor(tensor)) => Fact::constant(tensor),
        Some(AttributeValue::Int(v)) => scalar(DType::I64, Scalar::Int(*v)),
        Some(AttributeValue::Float(v)) => scalar(DType::F32, Scalar::Float(f64::from(*v))),
        Some(AttributeValue::Ints(v)) => list(
            DType::I64,
            v.iter().map(|v| Some(Scalar::Int(*v))).collect(),
        ),
        Some(AttributeValue::Floats(v)) => list(
            DType::F32,
            v.iter()
                .map(|v| Some(Scalar::Float(f64::from(*v))))
                .collect(),
        ),
        Some(_) | None => return Err(Stop::Unknown),
    };
    Ok(vec![fact])
}

/// `ConstantOfShape` (9 to 24): `value`, by default 0.0, repeated.
pub(super) fn of_shape(call: &Call<'_>) -> Inferred {
    let dims = target(call, 0)?;
    let zero = Tensor::from_f32(vec![1], vec![0.0]);
    let value = match call.op.attribute("value") {
        Some(AttributeValue::Tensor(tensor)) => Fact::constant(tensor),
        Some(_) => return contradiction("attribute 'value' is of the wrong type"),
        None => Fact::constant(&zero),
    };
    let element = value
        .data
        .as_ref()
        .and_then(|d| d.first().copied().flatten());
    let total = count(&dims).filter(|n| *n <= MAX_DATA);
    let elements = total.map(|n| vec![element; n as usize]);
    Ok(vec![Fact::new(value.dtype, dims).with_data(elements)])
}

/// `Range` (11): start, limit, delta.
pub(super) fn range(call: &Call<'_>) -> Inferred {
    let dtype = call.dtype(0);
    let scalar = |slot: usize| -> Result<Option<Scalar>, Stop> {
        let data = call.fact(slot)?.data.as_ref();
        Ok(data.and_then(|d| d.first().copied().flatten()))
    };
    let (Some(start), Some(limit), Some(delta)) = (scalar(0)?, scalar(1)?, scalar(2)?) else {
        return Ok(vec![Fact::new(dtype, vec![None])]);
    };
    if delta.as_f64() == 0.0 {
        return contradiction("a delta of 0");
    }
    let (Scalar::Int(start), Scalar::Int(limit), Scalar::Int(delta)) = (start, limit, delta) else {
        let length = ((limit.as_f64() - start.as_f64()) / delta.as_f64())
            .ceil()
            .max(0.0);
        let length = (length < u64::MAX as f64).then_some(length as u64);
        return Ok(vec![Fact::new(dtype, vec![length])]);
    };
    let distance = i128::from(limit) - i128::from(start);
    let delta = i128::from(delta);
    let whole = distance / delta + i128::from(distance % delta != 0);
    let ahead = (distance > 0) == (delta > 0);
    let length = if ahead {
        u64::try_from(whole).ok()
    } else {
        Some(0)
    };
    let elements = length.filter(|n| *n <= MAX_DATA).map(|n| {
        let at = |i| i64::try_from(i128::from(start) + delta * i128::from(i));
        (0..n).map(|i| at(i).ok().map(Scalar::Int)).collect()
    });
    Ok(vec![Fact::new(dtype, vec![length]).with_data(elements)])
}

#[cfg(test)]
mod tests {
    use sepconv_ir::{DType, Tensor};

    use crate::testing::{Op, f32s, fixed, i64s, unknown};

    #[test]
    fn shapes_become_contents() {
        let shape = || Op::new("Shape").input(f32s(&[2, 3, 4]));
        assert_eq!(shape().contents(), "2 3 4");
        assert_eq!(shape().int("start", 1).contents(), "3 4");
        assert_eq!(shape().int("start", -9).int("end", -1).contents(), "2 3");
        assert_eq!(shape().int("start", 2).int("end", 1).infer(), "i64[0]");
        assert_eq!(Op::new("Shape").input(unknown(2)).contents(), "? ?");
        assert_eq!(Op::new("Size").input(f32s(&[2, 3])).contents(), "6");
        assert_eq!(Op::new("Size").input(f32s(&[u64::MAX, 3])).contents(), "?");
    }

    #[test]
    fn constants() {
        let op = || Op::new("Constant");
        assert_eq!(op().tensor("value", i64s(&[3, 4])).contents(), "3 4");
        assert_eq!(op().int("value_int", 5).contents(), "5");
        assert_eq!(op().int("value_int", 5).infer(), "i64[]");
        assert_eq!(op().ints("value_ints", &[5, 6]).contents(), "5 6");
        assert_eq!(op().float("value_float", 0.5).contents(), "0.5");
        assert_eq!(op().floats("value_floats", &[0.5]).infer(), "f32[1]");
        assert_eq!(op().infer(), "unknown");
    }

    #[test]
    fn constants_of_shape() {
        let op = |dims: &[i64]| Op::new("ConstantOfShape").constant(i64s(dims));
        assert_eq!(op(&[2, 3]).infer(), "f32[2,3]");
        assert_eq!(op(&[]).contents(), "0.");
        assert_eq!(op(&[2]).tensor("value", i64s(&[9])).contents(), "9 9");
        assert_eq!(op(&[i64::MAX, i64::MAX]).contents(), "none");
        assert_eq!(op(&[-1]).infer(), "node 'n' (ConstantOfShape): extent -1");
        let later = Op::new("ConstantOfShape").input(fixed(DType::I64, &[2]));
        assert_eq!(later.infer(), "f32[?,?]");
    }

    #[test]
    fn ranges() {
        let range = |v: [i64; 3]| {
            v.iter().fold(Op::new("Range"), |op, v| {
                op.constant(Tensor::from_i64(vec![], &[*v]))
            })
        };
        assert_eq!(range([0, 5, 2]).contents(), "0 2 4");
        assert_eq!(range([3, 0, -2]).contents(), "3 1");
        assert_eq!(range([5, 0, 1]).infer(), "i64[0]");
        assert_eq!(
            range([i64::MIN, i64::MAX, 1]).infer(),
            "i64[18446744073709551615]"
        );
        assert_eq!(range([0, 5, 0]).infer(), "node 'n' (Range): a delta of 0");
        let later = Op::new("Range").input(fixed(DType::I64, &[]));
        let later = later
            .input(fixed(DType::I64, &[]))
            .input(fixed(DType::I64, &[]));
        assert_eq!(later.infer(), "i64[?]");
    }
}
