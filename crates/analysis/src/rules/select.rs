//! Operators whose output shape depends on the contents of their inputs.

use sepconv_ir::{AttributeValue, DType};

use super::{Call, Inferred, Stop, contradiction};
use crate::fact::{Extent, Fact, Scalar};

/// The first element of an input, `None` where it is unknown.
fn scalar(call: &Call<'_>, slot: usize) -> Option<Scalar> {
    let data = call.fact(slot).ok()?.data.as_ref()?;
    data.first().copied().flatten()
}

/// `OneHot` (9, 11): an axis of `depth` is inserted.
pub(super) fn one_hot(call: &Call<'_>) -> Inferred {
    let dims = call.dims(0)?;
    let depth = scalar(call, 1).map(Scalar::as_f64);
    let depth = depth.filter(|d| *d >= 0.0).map(|d| d as u64);
    let axis = call.axis("axis", -1, dims.len() + 1)?;
    let mut out: Vec<Extent> = dims.to_vec();
    out.insert(axis, depth);
    Ok(vec![Fact::new(call.dtype(2), out)])
}

/// `TopK` (1: attribute `k`; 10 to 24: second input): values and indices.
pub(super) fn top_k(call: &Call<'_>) -> Inferred {
    let mut dims = call.dims(0)?.to_vec();
    let axis = call.axis("axis", -1, dims.len())?;
    let k = match (call.has(1), call.op.attribute("k")) {
        (true, _) => match scalar(call, 1) {
            Some(Scalar::Int(k)) => Some(k),
            _ => None,
        },
        (false, Some(AttributeValue::Int(k))) => Some(*k),
        (false, _) => return Err(Stop::Unknown),
    };
    dims[axis] = match (k.map(u64::try_from), dims[axis]) {
        (None, _) => None,
        (Some(Ok(k)), n) if n.is_none_or(|n| k <= n) => Some(k),
        _ => return contradiction("k is larger than the axis, or negative"),
    };
    let indices = Fact::new(Some(DType::I64), dims.clone());
    Ok(vec![Fact::new(call.dtype(0), dims), indices])
}

/// `NonZero` (9, 13): `[rank, ?]`.
pub(super) fn non_zero(call: &Call<'_>) -> Inferred {
    let rank = call.dims(0).ok().map(|d| d.len() as u64);
    Ok(vec![Fact::new(Some(DType::I64), vec![rank, None])])
}

/// `NonMaxSuppression` (10, 11): `[?, 3]`.
pub(super) fn non_max_suppression(_: &Call<'_>) -> Inferred {
    Ok(vec![Fact::new(Some(DType::I64), vec![None, Some(3)])])
}

#[cfg(test)]
mod tests {
    use sepconv_ir::DType;

    use crate::testing::{Op, f32s, fixed, i64s};

    #[test]
    fn partly_known_shapes() {
        let one_hot = Op::new("OneHot")
            .input(fixed(DType::I64, &[2, 3]))
            .constant(i64s(&[10]))
            .input(f32s(&[2]));
        assert_eq!(one_hot.infer(), "f32[2,3,10]");
        let top = || Op::new("TopK").input(f32s(&[2, 8])).outputs(2);
        assert_eq!(top().constant(i64s(&[5])).infer(), "f32[2,5] i64[2,5]");
        assert_eq!(
            top().int("k", 3).int("axis", 1).infer(),
            "f32[2,3] i64[2,3]"
        );
        assert_eq!(
            top().input(fixed(DType::I64, &[1])).infer(),
            "f32[2,?] i64[2,?]"
        );
        assert_eq!(
            top().constant(i64s(&[9])).infer(),
            "node 'n' (TopK): k is larger than the axis, or negative"
        );
        assert_eq!(Op::new("NonZero").input(f32s(&[2, 8])).infer(), "i64[2,?]");
        let boxes = Op::new("NonMaxSuppression").input(f32s(&[1, 9, 4]));
        assert_eq!(boxes.infer(), "i64[?,3]");
    }
}
