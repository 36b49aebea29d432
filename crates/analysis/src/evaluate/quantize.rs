//! Integers that stand for floats: ONNX `QuantizeLinear` and `DequantizeLinear` (opsets 10 to 24).
//!
//! The scale is one number; or one per index along `axis` (opset 13, by default 1); or one per
//! `block_size` of them (opset 21).

use sepconv_ir::{AttributeValue, DType, Operator, Tensor};

use super::Call;

/// `DequantizeLinear` of the inputs.
pub(super) fn dequantize(call: &Call<'_>) -> Option<Tensor> {
    floats(call.op, call.input(0)?, call.input(1)?, call.input(2))
}

/// `y = saturate(round(x / scale) + zero_point)`, halves to even, of the zero point's type, or of
/// that which `output_dtype` (opset 21) names, or u8. The quotient is rounded to the type of `x`.
/// `None` where the types are not made (integers of 2 bits, 8-bit floats) or the shapes don't fit.
pub(super) fn quantize(call: &Call<'_>) -> Option<Tensor> {
    let (x, scale, zero) = (call.input(0)?, call.input(1)?, call.input(2));
    if !x.dtype().is_float() || !scale.dtype().is_float() {
        return None;
    }
    let dtype = match (zero, call.op.int("output_dtype", 0)) {
        (Some(zero), _) if zero.dims() == scale.dims() => zero.dtype(),
        (Some(_), _) => return None,
        (None, 0) => DType::U8,
        (None, code) => DType::from_code(i32::try_from(code).ok()?),
    };
    let (least, most) = match dtype {
        DType::I4 => (-8, 7),
        DType::U4 => (0, 15),
        DType::I8 => (-128, 127),
        DType::U8 => (0, 255),
        DType::I16 => (-32768, 32767),
        DType::U16 => (0, 65535),
        _ => return None,
    };
    let steps = Steps::new(call.op, x.dims(), scale.dims())?;
    let (values, scales) = (x.to_f64()?, scale.to_f64()?);
    let zeros = match zero {
        Some(zero) => zero.to_i64()?,
        None => vec![0; scales.len()],
    };
    let quotient = |(i, v): (usize, &f64)| Some(v / scales.get(steps.of(i))?);
    let quotients: Option<Vec<f64>> = values.iter().enumerate().map(quotient).collect();
    let quotients = Tensor::from_f64s(x.dtype(), x.dims().to_vec(), &quotients?)?.to_f64()?;
    let level = |(i, v): (usize, f64)| {
        let rounded = v.round_ties_even();
        let zero = *zeros.get(steps.of(i))?;
        (!v.is_nan()).then(|| (rounded as i64).saturating_add(zero).clamp(least, most))
    };
    let levels: Option<Vec<i64>> = quotients.into_iter().enumerate().map(level).collect();
    Tensor::from_i64s(dtype, x.dims().to_vec(), &levels?)
}

/// `y = (x - zero_point) * scale`, of the scale's type unless `output_dtype` (opset 23) names
/// another. `None` where the types are not read (integers of 2
/// bits, 8-bit floats) or the shapes don't fit. Computed in f64, rounded once.
fn floats(op: &Operator, x: &Tensor, scale: &Tensor, zero: Option<&Tensor>) -> Option<Tensor> {
    let integer = matches!(
        x.dtype(),
        DType::I4 | DType::U4 | DType::I8 | DType::U8 | DType::I16 | DType::U16 | DType::I32
    );
    if !integer || !scale.dtype().is_float() || zero.is_some_and(|z| z.dims() != scale.dims()) {
        return None;
    }
    let dtype = match op.attribute("output_dtype") {
        Some(AttributeValue::Int(code)) if *code != 0 => {
            DType::from_code(i32::try_from(*code).ok()?)
        }
        Some(AttributeValue::Int(_)) | None => scale.dtype(),
        Some(_) => return None,
    };
    let steps = Steps::new(op, x.dims(), scale.dims())?;
    let scales = scale.to_f64()?;
    let zeros = match zero {
        Some(zero) => zero.to_i64()?,
        None => vec![0; scales.len()],
    };
    let value = |(i, v): (usize, i64)| {
        let at = steps.of(i);
        Some(v.checked_sub(*zeros.get(at)?)? as f64 * scales.get(at)?)
    };
    let values: Option<Vec<f64>> = x.to_i64()?.into_iter().enumerate().map(value).collect();
    Tensor::from_f64s(dtype, x.dims().to_vec(), &values?)
}

/// Which scale an element has.
enum Steps {
    One,
    /// Elements behind the axis, indices along it, how many of those share a scale, and how many
    /// scales that makes.
    Along {
        inner: usize,
        extent: usize,
        block: usize,
        blocks: usize,
        per_row: bool,
    },
}

impl Steps {
    fn new(op: &Operator, x: &[usize], scale: &[usize]) -> Option<Self> {
        if scale.iter().product::<usize>() == 1 && scale.len() <= 1 {
            return Some(Self::One);
        }
        let axis = op.int("axis", 1);
        let from_end = if axis < 0 {
            i64::try_from(x.len()).ok()?
        } else {
            0
        };
        let axis = usize::try_from(axis.checked_add(from_end)?).ok()?;
        let extent = *x.get(axis)?;
        let inner = x.get(axis + 1..)?.iter().product();
        let block = usize::try_from(op.int("block_size", 0)).ok()?;
        let along = |block: usize, per_row| Self::Along {
            inner,
            extent,
            block,
            blocks: extent.div_ceil(block),
            per_row,
        };
        if block == 0 {
            return (scale == [extent]).then(|| along(1, false));
        }
        let mut expected = x.to_vec();
        expected[axis] = extent.div_ceil(block);
        (scale == expected).then(|| along(block, true))
    }

    /// Index of the scale of element `i`.
    fn of(&self, i: usize) -> usize {
        match *self {
            Self::One => 0,
            Self::Along {
                inner,
                extent,
                block,
                blocks,
                per_row,
            } => {
                let at = i / inner.max(1) % extent.max(1) / block;
                if !per_row {
                    return at;
                }
                let outer = i / (inner * extent).max(1);
                (outer * blocks + at) * inner + i % inner.max(1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bytes(dtype: DType, dims: &[usize], values: &[i8]) -> Tensor {
        let data: Vec<u8> = values.iter().map(|v| *v as u8).collect();
        Tensor::new(dtype, dims.to_vec(), data.into()).unwrap()
    }

    fn numbers(dims: &[usize], values: &[f32]) -> Tensor {
        Tensor::from_f32(dims.to_vec(), values.to_vec())
    }

    fn op(axis: Option<i64>, block: Option<i64>) -> Operator {
        let op = Operator::new("DequantizeLinear", "d");
        let attributes = [("axis", axis), ("block_size", block)].into_iter();
        let given = attributes.filter_map(|(name, v)| Some((name, v?)));
        given.fold(op, |op, (name, v)| op.with(name, AttributeValue::Int(v)))
    }

    fn read(op: &Operator, x: &Tensor, scale: &Tensor, zero: Option<&Tensor>) -> Option<Vec<f32>> {
        let made = floats(op, x, scale, zero)?;
        assert_eq!((made.dtype(), made.dims()), (scale.dtype(), x.dims()));
        Some(made.to_f32()?.into_owned())
    }

    #[test]
    fn one_scale_for_all() {
        let x = bytes(DType::U8, &[2, 2], &[0, 1, 127, -1]);
        let zero = bytes(DType::U8, &[], &[1]);
        let made = read(&op(None, None), &x, &numbers(&[], &[0.5]), Some(&zero)).unwrap();
        assert_eq!(made, [-0.5, 0.0, 63.0, 127.0]);
        let x = bytes(DType::I8, &[2, 2], &[0, 1, 127, -1]);
        let made = read(&op(None, None), &x, &numbers(&[1], &[2.0]), None).unwrap();
        assert_eq!(made, [0.0, 2.0, 254.0, -2.0]);
    }

    #[test]
    fn four_bits() {
        let x = bytes(DType::I4, &[2, 3], &[0x21, -8, -121]);
        let made = read(&op(Some(0), None), &x, &numbers(&[2], &[1.0, 2.0]), None).unwrap();
        assert_eq!(made, [1.0, 2.0, -8.0, -2.0, 14.0, -16.0]);
        let (x, zero) = (
            bytes(DType::U4, &[2, 1], &[0x21]),
            bytes(DType::U4, &[], &[3]),
        );
        let made = read(&op(None, None), &x, &numbers(&[], &[0.5]), Some(&zero)).unwrap();
        assert_eq!(made, [-1.0, -0.5]);
    }

    #[test]
    fn a_scale_per_channel_or_block() {
        let x = bytes(DType::I8, &[2, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8]);
        let scale = numbers(&[2], &[1.0, 10.0]);
        let zero = bytes(DType::I8, &[2], &[0, 1]);
        let by = |axis| read(&op(axis, None), &x, &scale, Some(&zero)).unwrap();
        assert_eq!(by(Some(0)), [1.0, 2.0, 3.0, 4.0, 40.0, 50.0, 60.0, 70.0]);
        assert_eq!(by(None), [1.0, 2.0, 20.0, 30.0, 5.0, 6.0, 60.0, 70.0]);
        assert_eq!(by(Some(-1)), [1.0, 10.0, 3.0, 30.0, 5.0, 50.0, 7.0, 70.0]);
        let x = bytes(DType::I8, &[2, 3], &[1, 1, 1, 1, 1, 1]);
        let scale = numbers(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let made = read(&op(None, Some(2)), &x, &scale, None).unwrap();
        assert_eq!(made, [1.0, 1.0, 2.0, 3.0, 3.0, 4.0]);
    }

    #[test]
    fn what_does_not_fit_is_unknown() {
        let x = bytes(DType::I8, &[2, 3], &[1; 6]);
        let two = numbers(&[2], &[1.0, 2.0]);
        assert_eq!(read(&op(None, None), &x, &two, None), None, "an axis of 3");
        assert_eq!(
            read(&op(Some(2), None), &x, &two, None),
            None,
            "no such axis"
        );
        let zero = bytes(DType::I8, &[], &[0]);
        assert_eq!(read(&op(Some(0), None), &x, &two, Some(&zero)), None);
        let halves = Tensor::opaque(DType::Other(25), vec![2, 3]);
        assert_eq!(read(&op(Some(0), None), &halves, &two, None), None);
        assert_eq!(
            read(
                &op(None, None),
                &numbers(&[1], &[1.0]),
                &numbers(&[], &[1.0]),
                None
            ),
            None
        );
    }
}
