//! Propagation of small tensors: index arithmetic and element arithmetic.

use sepconv_ir::DType;

use crate::fact::{Data, Extent, Fact, MAX_DATA, Scalar, count};

/// The elements of a small output, each looked up by its coordinates. `None` where the shape
/// is unknown or not small.
pub(crate) fn build(
    dims: &[Extent],
    mut element: impl FnMut(&[u64]) -> Option<Scalar>,
) -> Option<Data> {
    let total = count(dims).filter(|n| *n <= MAX_DATA)?;
    let dims: Vec<u64> = dims.iter().copied().collect::<Option<_>>()?;
    let mut at = vec![0; dims.len()];
    let mut data = Vec::new();
    for _ in 0..total {
        data.push(element(&at));
        for (i, n) in at.iter_mut().zip(&dims).rev() {
            *i += 1;
            if *i < *n {
                break;
            }
            *i = 0;
        }
    }
    Some(data)
}

/// A fact of `dims` whose elements come from those of `source`; `from` maps coordinates of
/// the result to coordinates of the source.
pub(crate) fn moved(
    source: &Fact,
    dims: Vec<Extent>,
    mut from: impl FnMut(&[u64]) -> Option<Vec<u64>>,
) -> Fact {
    let data = source
        .data
        .as_ref()
        .and_then(|_| build(&dims, |at| lookup(source, &from(at)?)));
    Fact::new(source.dtype, dims).with_data(data)
}

/// The element at some coordinates.
pub(crate) fn lookup(source: &Fact, at: &[u64]) -> Option<Scalar> {
    let dims = source.dims.as_ref()?;
    if dims.len() != at.len() {
        return None;
    }
    let mut index = 0u64;
    for (i, n) in at.iter().zip(dims) {
        let n = n.filter(|n| i < n)?;
        index = index.checked_mul(n)?.checked_add(*i)?;
    }
    *source.data.as_ref()?.get(usize::try_from(index).ok()?)?
}

/// The element that broadcasting reads at coordinates of a result of equal or higher rank.
pub(crate) fn lookup_broadcast(source: &Fact, at: &[u64]) -> Option<Scalar> {
    let dims = source.dims.as_ref()?;
    let tail = at.get(at.len().checked_sub(dims.len())?..)?;
    let at: Vec<u64> = tail
        .iter()
        .zip(dims)
        .map(|(i, n)| if *n == Some(1) { 0 } else { *i })
        .collect();
    lookup(source, &at)
}

/// One element of an ONNX arithmetic, comparison or logical operator. `None` for operators
/// that are not propagated, overflow and division by zero.
pub(crate) fn binary(op: &str, a: Scalar, b: Scalar) -> Option<Scalar> {
    let truth = |v: bool| Some(Scalar::Int(i64::from(v)));
    match (op, a, b) {
        ("Add", Scalar::Int(a), Scalar::Int(b)) => a.checked_add(b).map(Scalar::Int),
        ("Sub", Scalar::Int(a), Scalar::Int(b)) => a.checked_sub(b).map(Scalar::Int),
        ("Mul", Scalar::Int(a), Scalar::Int(b)) => a.checked_mul(b).map(Scalar::Int),
        ("Div", Scalar::Int(a), Scalar::Int(b)) => a.checked_div(b).map(Scalar::Int),
        // Mod takes the sign of the divisor (fmod, opset 10, is not propagated).
        ("Mod", Scalar::Int(a), Scalar::Int(b)) if b > 0 => Some(Scalar::Int(a.rem_euclid(b))),
        ("Min" | "Max", Scalar::Int(a), Scalar::Int(b)) => {
            Some(Scalar::Int(if op == "Min" { a.min(b) } else { a.max(b) }))
        }
        ("Equal", Scalar::Int(a), Scalar::Int(b)) => truth(a == b),
        ("Less", Scalar::Int(a), Scalar::Int(b)) => truth(a < b),
        ("LessOrEqual", Scalar::Int(a), Scalar::Int(b)) => truth(a <= b),
        ("Greater", Scalar::Int(a), Scalar::Int(b)) => truth(a > b),
        ("GreaterOrEqual", Scalar::Int(a), Scalar::Int(b)) => truth(a >= b),
        ("And", Scalar::Int(a), Scalar::Int(b)) => truth(a != 0 && b != 0),
        ("Or", Scalar::Int(a), Scalar::Int(b)) => truth(a != 0 || b != 0),
        ("Add", Scalar::Float(a), Scalar::Float(b)) => finite(a + b),
        ("Sub", Scalar::Float(a), Scalar::Float(b)) => finite(a - b),
        ("Mul", Scalar::Float(a), Scalar::Float(b)) => finite(a * b),
        ("Div", Scalar::Float(a), Scalar::Float(b)) => finite(a / b),
        ("Min", Scalar::Float(a), Scalar::Float(b)) => finite(a.min(b)),
        ("Max", Scalar::Float(a), Scalar::Float(b)) => finite(a.max(b)),
        _ => None,
    }
}

/// One element of a unary operator. `None` for operators that are not propagated.
pub(crate) fn unary(op: &str, v: Scalar) -> Option<Scalar> {
    match (op, v) {
        ("Neg", Scalar::Int(v)) => v.checked_neg().map(Scalar::Int),
        ("Abs", Scalar::Int(v)) => v.checked_abs().map(Scalar::Int),
        ("Not", Scalar::Int(v)) => Some(Scalar::Int(i64::from(v == 0))),
        ("Neg", Scalar::Float(v)) => finite(-v),
        ("Abs", Scalar::Float(v)) => finite(v.abs()),
        ("Floor", Scalar::Float(v)) => finite(v.floor()),
        ("Ceil", Scalar::Float(v)) => finite(v.ceil()),
        ("Round", Scalar::Float(v)) => finite(v.round_ties_even()),
        ("Sqrt", Scalar::Float(v)) => finite(v.sqrt()),
        _ => None,
    }
}

/// `Cast` of one element; floats are cut towards zero.
pub(crate) fn cast(v: Scalar, to: DType) -> Option<Scalar> {
    match (v, to) {
        (v, DType::F32 | DType::F64 | DType::F16 | DType::BF16) => finite(v.as_f64()),
        (v, DType::Bool) => Some(Scalar::Int(i64::from(v.as_f64() != 0.0))),
        (_, DType::String | DType::Other(_)) => None,
        (Scalar::Int(v), _) => Some(Scalar::Int(v)),
        // `as` saturates, and these are extents: far from the ends of i64.
        (Scalar::Float(v), _) => Some(Scalar::Int(v as i64)),
    }
}

fn finite(v: f64) -> Option<Scalar> {
    v.is_finite().then_some(Scalar::Float(v))
}

/// Rounds floats to f32, where that is the element type, so that `Floor`
/// agrees with runtimes.
pub(crate) fn rounded(v: Scalar, dtype: Option<DType>) -> Scalar {
    match (v, dtype) {
        (Scalar::Float(v), Some(DType::F32)) => Scalar::Float(f64::from(v as f32)),
        (v, _) => v,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_run_row_major() {
        let data = build(&[Some(2), Some(3)], |at| {
            Some(Scalar::Int((at[0] * 10 + at[1]) as i64))
        });
        let expected = [0, 1, 2, 10, 11, 12].map(|v| Some(Scalar::Int(v)));
        assert_eq!(data, Some(expected.to_vec()));
        assert_eq!(build(&[Some(65)], |_| None), None);
        assert_eq!(build(&[Some(u64::MAX), Some(0)], |_| None), Some(vec![]));
    }

    #[test]
    fn integer_arithmetic_is_checked() {
        let int = Scalar::Int;
        assert_eq!(binary("Div", int(7), int(0)), None);
        assert_eq!(binary("Div", int(-7), int(2)), Some(int(-3)));
        assert_eq!(binary("Mul", int(i64::MAX), int(2)), None);
        assert_eq!(binary("Mod", int(-7), int(4)), Some(int(1)));
        assert_eq!(unary("Neg", int(i64::MIN)), None);
        assert_eq!(cast(Scalar::Float(-2.7), DType::I64), Some(int(-2)));
        assert_eq!(cast(Scalar::Float(1e300), DType::I64), Some(int(i64::MAX)));
    }

    #[test]
    fn single_precision_is_kept() {
        // 0.1f32 * 30 is 3.0000000447 in f64, 3.0 in f32.
        let tenth = Scalar::Float(f64::from(0.1f32));
        let product =
            binary("Mul", tenth, Scalar::Float(30.0)).map(|v| rounded(v, Some(DType::F32)));
        assert_eq!(product, Some(Scalar::Float(3.0)));
    }
}
