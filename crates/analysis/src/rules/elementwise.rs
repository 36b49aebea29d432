//! Broadcasting operators.

use sepconv_ir::DType;

use super::call::show;
use super::{Call, Inferred, Stop, contradiction};
use crate::data::{self, build, lookup_broadcast, rounded};
use crate::fact::{Extent, Fact, Scalar};

/// Multidirectional (NumPy) broadcasting of two shapes.
pub(super) fn broadcast(a: &[Extent], b: &[Extent]) -> Result<Vec<Extent>, Stop> {
    let rank = a.len().max(b.len());
    let at = |dims: &[Extent], axis: usize| match axis.checked_sub(rank - dims.len()) {
        Some(i) => dims[i],
        None => Some(1),
    };
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (Some(1), n) | (n, Some(1)) => Ok(n),
            (Some(m), Some(n)) if m == n => Ok(Some(n)),
            (Some(_), Some(_)) => {
                contradiction(format!("{} and {} do not broadcast", show(a), show(b)))
            }
            (Some(n), None) | (None, Some(n)) => Ok(Some(n)),
            (None, None) => Ok(None),
        })
        .collect()
}

fn all(call: &Call<'_>) -> Result<Vec<Extent>, Stop> {
    let first = call.dims(0)?;
    // Opsets 1 to 6: the second input is expanded to the first, aligned at `axis`.
    if call.op.attribute("broadcast").is_some() {
        return Ok(first.to_vec());
    }
    (1..call.inputs.len()).try_fold(first.to_vec(), |dims, slot| {
        broadcast(&dims, call.dims(slot)?)
    })
}

fn folded(call: &Call<'_>, dtype: Option<DType>) -> Inferred {
    let dims = all(call)?;
    let mut elements = None;
    if let ([Some(a), Some(b)], None) = (call.inputs.as_slice(), call.op.attribute("broadcast"))
        && a.data.is_some()
        && b.data.is_some()
    {
        elements = build(&dims, |at| {
            let (a, b) = (lookup_broadcast(a, at)?, lookup_broadcast(b, at)?);
            data::binary(&call.op.op_type, a, b).map(|v| rounded(v, dtype))
        });
    }
    Ok(vec![Fact::new(dtype, dims).with_data(elements)])
}

/// `Add`, `Sub`, `Mul`, `Div`, `Pow` (1 to 14), `Mod` (10, 13), `Min`, `Max`, `Sum`, `Mean`
/// (1 to 13) and the bitwise operators: the broadcast shape, the first input's type.
pub(super) fn arithmetic(call: &Call<'_>) -> Inferred {
    folded(call, call.dtype(0))
}

/// `Equal`, `Less`, `Greater`, `And`, `Or` … (1 to 19): booleans.
pub(super) fn comparison(call: &Call<'_>) -> Inferred {
    folded(call, Some(DType::Bool))
}

/// `Where` (9, 16): condition, then, else.
pub(super) fn select(call: &Call<'_>) -> Inferred {
    let dims = all(call)?;
    let (condition, then, other) = (call.fact(0)?, call.fact(1)?, call.fact(2)?);
    let elements = condition.data.as_ref().and_then(|_| {
        build(&dims, |at| match lookup_broadcast(condition, at)? {
            Scalar::Int(0) => lookup_broadcast(other, at),
            _ => lookup_broadcast(then, at),
        })
    });
    Ok(vec![Fact::new(call.dtype(1), dims).with_data(elements)])
}

/// com.microsoft `QLinearAdd`, `QLinearMul`: A, its scale and zero point, B, its scale and
/// zero point, ….
pub(super) fn quantized(call: &Call<'_>) -> Inferred {
    let dims = broadcast(call.dims(0)?, call.dims(3)?)?;
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

/// `Expand` (8, 13): broadcasting to a shape that is the second input.
pub(super) fn expand(call: &Call<'_>) -> Inferred {
    let x = call.fact(0)?;
    let target = target(call, 1)?;
    let dims = broadcast(call.dims(0)?, &target)?;
    let elements = x
        .data
        .as_ref()
        .and_then(|_| build(&dims, |at| lookup_broadcast(x, at)));
    Ok(vec![Fact::new(x.dtype, dims).with_data(elements)])
}

/// A shape that is the contents of an input: partly unknown where its contents are, unknown
/// altogether where its length is.
pub(super) fn target(call: &Call<'_>, slot: usize) -> Result<Vec<Extent>, Stop> {
    let shape = call.fact(slot)?;
    match &shape.data {
        Some(elements) => elements
            .iter()
            .map(|s| match s {
                Some(Scalar::Int(n)) => u64::try_from(*n)
                    .map(Some)
                    .or_else(|_| contradiction(format!("extent {n}"))),
                Some(Scalar::Float(_)) => contradiction("a shape of floating-point numbers"),
                None => Ok(None),
            })
            .collect(),
        None => rank_of_shape(call, slot).map(|rank| vec![None; rank]),
    }
}

/// The rank that a shape tensor of unknown contents describes.
pub(super) fn rank_of_shape(call: &Call<'_>, slot: usize) -> Result<usize, Stop> {
    match call.dims(slot)? {
        [Some(rank)] if *rank <= crate::fact::MAX_RANK as u64 => Ok(*rank as usize),
        _ => Err(Stop::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use sepconv_ir::DType;

    use crate::testing::{Op, f32s, fixed, i64s, unknown};

    fn binary(op: &str, a: &[u64], b: &[u64]) -> Op {
        Op::new(op).input(f32s(a)).input(f32s(b))
    }

    #[test]
    fn broadcasting() {
        assert_eq!(binary("Add", &[2, 1, 4], &[3, 1]).infer(), "f32[2,3,4]");
        assert_eq!(binary("Mul", &[], &[3, 1]).infer(), "f32[3,1]");
        assert_eq!(binary("Less", &[2], &[1]).infer(), "bool[2]");
        assert_eq!(
            binary("Sum", &[2, 1], &[2]).input(f32s(&[5, 1, 1])).infer(),
            "f32[5,2,2]"
        );
        assert_eq!(
            binary("Add", &[2, 3], &[2]).infer(),
            "node 'n' (Add): [2,3] and [2] do not broadcast"
        );
        let partly = Op::new("Add").input(unknown(2)).input(f32s(&[5, 1]));
        assert_eq!(partly.infer(), "f32[5,?]");
    }

    #[test]
    fn legacy_broadcasting_follows_the_first_input() {
        let legacy = binary("Add", &[2, 3, 4, 4], &[3])
            .int("broadcast", 1)
            .int("axis", 1);
        assert_eq!(legacy.infer(), "f32[2,3,4,4]");
    }

    #[test]
    fn contents() {
        let of = |op: &str| {
            let op = Op::new(op).constant(i64s(&[7, -7]));
            op.constant(i64s(&[2])).contents()
        };
        assert_eq!(of("Add"), "9 -5");
        assert_eq!(of("Sub"), "5 -9");
        assert_eq!(of("Mul"), "14 -14");
        assert_eq!(of("Div"), "3 -3");
        assert_eq!(of("Max"), "7 2");
        assert_eq!(of("Greater"), "1 0");
        assert_eq!(of("Equal"), "0 0");
        let none = Op::new("Div").constant(i64s(&[7])).constant(i64s(&[0]));
        assert_eq!(none.contents(), "?");
    }

    #[test]
    fn expand_targets_of_pytorch() {
        // Where(shape == -1, ones, shape).
        let op = Op::new("Where")
            .constant(i64s(&[1, 0]))
            .constant(i64s(&[1, 1]))
            .constant(i64s(&[-1, 5]));
        assert_eq!(op.contents(), "1 5");
        let expand = |t: &[i64]| Op::new("Expand").input(f32s(&[3, 1])).constant(i64s(t));
        assert_eq!(expand(&[2, 1, 6]).infer(), "f32[2,3,6]");
        assert_eq!(expand(&[-2, 1]).infer(), "node 'n' (Expand): extent -2");
        let unknown = Op::new("Expand")
            .input(f32s(&[3, 1]))
            .input(fixed(DType::I64, &[2]));
        assert_eq!(unknown.infer(), "f32[3,?]");
        let hostile = Op::new("Expand")
            .input(f32s(&[3, 1]))
            .input(fixed(DType::I64, &[u64::MAX]));
        assert_eq!(hostile.infer(), "unknown");
    }
}
