//! Changes of shape that keep the elements.

use super::call::{axes, axis, show};
use super::{Call, Inferred, Stop, contradiction};
use crate::data::moved;
use crate::fact::{Extent, Fact, Scalar, count};

/// The input's elements in a new shape, in the same order.
fn viewed(x: &Fact, dims: Vec<Extent>) -> Fact {
    Fact::new(x.dtype, dims).with_data(x.data.clone())
}

/// `Reshape` (1: attribute `shape`; 5 to 24: second input): 0 copies an extent, unless
/// `allowzero` says otherwise; one -1 takes the rest.
pub(super) fn reshape(call: &Call<'_>) -> Inferred {
    let x = call.fact(0)?;
    let target = target(call)?;
    let allow_zero = call.int("allowzero", 0)? != 0;
    let source = x.dims.as_deref();
    let mut out: Vec<Extent> = Vec::with_capacity(target.len());
    let mut rest = None;
    for (i, wanted) in target.iter().enumerate() {
        out.push(match wanted {
            None => None,
            Some(0) if !allow_zero => match source {
                None => None,
                Some(dims) => match dims.get(i) {
                    Some(n) => *n,
                    None => return contradiction(format!("0 at axis {i} copies nothing")),
                },
            },
            Some(-1) if rest.is_some() => return contradiction("two axes of -1"),
            Some(-1) => {
                rest = Some(i);
                None
            }
            Some(n) => match u64::try_from(*n) {
                Ok(n) => Some(n),
                Err(_) => return contradiction(format!("extent {n}")),
            },
        });
    }
    let total = source.and_then(count);
    if let Some(axis) = rest {
        let others: Vec<Extent> = (0..out.len())
            .filter(|i| *i != axis)
            .map(|i| out[i])
            .collect();
        if let (Some(total), Some(others)) = (total, count(&others)) {
            if others == 0 || total % others != 0 {
                return misfit(x, &target);
            }
            out[axis] = Some(total / others);
        }
    } else if let (Some(total), Some(wanted)) = (total, count(&out))
        && total != wanted
    {
        return misfit(x, &target);
    }
    Ok(vec![viewed(x, out)])
}

fn misfit(x: &Fact, target: &[Option<i64>]) -> Inferred {
    let texts: Vec<String> = target
        .iter()
        .map(|n| n.map_or_else(|| "?".to_owned(), |n| n.to_string()))
        .collect();
    let x = x.dims.as_deref().map_or_else(String::new, show);
    contradiction(format!("{x} does not reshape to [{}]", texts.join(",")))
}

fn target(call: &Call<'_>) -> Result<Vec<Option<i64>>, Stop> {
    if !call.has(1) {
        return match call.list_attribute("shape")? {
            Some(list) => Ok(list.into_iter().map(Some).collect()),
            None => contradiction("the target shape is missing"),
        };
    }
    match &call.fact(1)?.data {
        Some(elements) => Ok(elements
            .iter()
            .map(|s| match s {
                Some(Scalar::Int(n)) => Some(*n),
                _ => None,
            })
            .collect()),
        None => Ok(vec![None; super::elementwise::rank_of_shape(call, 1)?]),
    }
}

/// `Flatten` (1 to 24): `[d0·…, daxis·…]`.
pub(super) fn flatten(call: &Call<'_>) -> Inferred {
    let x = call.fact(0)?;
    let dims = call.dims(0)?;
    let at = match call.int("axis", 1)? {
        // The one place where an axis may equal the rank.
        at if usize::try_from(at) == Ok(dims.len()) => dims.len(),
        at => axis(at, dims.len())?,
    };
    let (outer, inner) = dims.split_at(at);
    Ok(vec![viewed(x, vec![count(outer), count(inner)])])
}

/// `Squeeze` (1: attribute `axes`; 13 to 24: second input): without axes, all of extent 1.
pub(super) fn squeeze(call: &Call<'_>) -> Inferred {
    let x = call.fact(0)?;
    let dims = call.dims(0)?;
    let removed = match call.list("axes", 1)? {
        Some(list) => axes(&list, dims.len())?,
        None => {
            let all: Option<Vec<u64>> = dims.iter().copied().collect();
            let all = all.ok_or(Stop::Unknown)?;
            (0..all.len()).filter(|i| all[*i] == 1).collect()
        }
    };
    if let Some(axis) = removed.iter().find(|a| dims[**a].is_some_and(|n| n != 1)) {
        return contradiction(format!("axis {axis} of {} is not 1", show(dims)));
    }
    let kept = |i: &usize| !removed.contains(i);
    let out = (0..dims.len()).filter(kept).map(|i| dims[i]).collect();
    Ok(vec![viewed(x, out)])
}

/// `Unsqueeze` (1: attribute `axes`; 13 to 24: second input): axes of the result.
pub(super) fn unsqueeze(call: &Call<'_>) -> Inferred {
    let x = call.fact(0)?;
    let dims = call.dims(0)?;
    let Some(list) = call.list("axes", 1)? else {
        return contradiction("'axes' is missing");
    };
    let rank = dims.len() + list.len();
    let added = axes(&list, rank)?;
    let mut source = dims.iter();
    let out = (0..rank)
        .map(|i| {
            if added.contains(&i) {
                Some(1)
            } else {
                source.next().copied().flatten()
            }
        })
        .collect();
    Ok(vec![viewed(x, out)])
}

/// `Transpose` (1 to 24): `perm`, by default the reverse.
pub(super) fn transpose(call: &Call<'_>) -> Inferred {
    let x = call.fact(0)?;
    let dims = call.dims(0)?;
    let order = match call.list_attribute("perm")? {
        Some(list) => axes(&list, dims.len())?,
        None => (0..dims.len()).rev().collect(),
    };
    if order.len() != dims.len() {
        return contradiction(format!("perm {order:?} of a tensor of rank {}", dims.len()));
    }
    let out = order.iter().map(|i| dims[*i]).collect();
    let fact = moved(x, out, |at| {
        let mut from = vec![0; at.len()];
        for (i, axis) in order.iter().enumerate() {
            from[*axis] = at[i];
        }
        Some(from)
    });
    Ok(vec![fact])
}

#[cfg(test)]
mod tests {
    use sepconv_ir::{DType, Tensor};

    use crate::testing::{Op, f32s, fixed, i64s, unknown, zeros};

    fn reshape(x: &[u64], target: &[i64]) -> Op {
        Op::new("Reshape").input(f32s(x)).constant(i64s(target))
    }

    #[test]
    fn reshapes() {
        assert_eq!(reshape(&[2, 3, 4], &[0, -1]).infer(), "f32[2,12]");
        assert_eq!(reshape(&[2, 3, 4], &[4, 6]).infer(), "f32[4,6]");
        let empty = |t: &[i64]| {
            Op::new("Reshape")
                .constant(zeros(&[2, 0]))
                .constant(i64s(t))
        };
        assert_eq!(empty(&[0, 5]).int("allowzero", 1).infer(), "f32[0,5]");
        assert_eq!(reshape(&[1], &[]).infer(), "f32[]");
        let attribute = Op::new("Reshape")
            .input(f32s(&[2, 6]))
            .ints("shape", &[-1, 4]);
        assert_eq!(attribute.infer(), "f32[3,4]");
        let partly = Op::new("Reshape")
            .input(unknown(3))
            .constant(i64s(&[0, -1, 8]));
        assert_eq!(partly.infer(), "f32[?,?,8]");
        let rank = Op::new("Reshape")
            .input(f32s(&[2, 6]))
            .input(fixed(DType::I64, &[3]));
        assert_eq!(rank.infer(), "f32[?,?,?]");
    }

    #[test]
    fn misfits() {
        let fault = |x: &[u64], target: &[i64]| {
            let text = reshape(x, target).infer();
            text.strip_prefix("node 'n' (Reshape): ").map(str::to_owned)
        };
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(fault(&[2, 3], &[4]), some("[2,3] does not reshape to [4]"));
        assert_eq!(
            fault(&[2, 3], &[-1, 4]),
            some("[2,3] does not reshape to [-1,4]")
        );
        assert_eq!(fault(&[2, 3], &[-1, -1]), some("two axes of -1"));
        assert_eq!(fault(&[2, 3], &[-7]), some("extent -7"));
        assert_eq!(
            fault(&[2, 3], &[2, 3, 0]),
            some("0 at axis 2 copies nothing")
        );
        let empty = Op::new("Reshape")
            .constant(zeros(&[2, 0]))
            .constant(i64s(&[-1, 0]));
        assert_eq!(
            empty.infer(),
            "node 'n' (Reshape): [2,0] does not reshape to [-1,0]"
        );
        assert_eq!(reshape(&[u64::MAX, 2], &[-1]).infer(), "f32[?]");
    }

    #[test]
    fn flattening() {
        let flatten = |axis| Op::new("Flatten").input(f32s(&[2, 3, 4])).int("axis", axis);
        assert_eq!(flatten(1).infer(), "f32[2,12]");
        assert_eq!(flatten(0).infer(), "f32[1,24]");
        assert_eq!(flatten(3).infer(), "f32[24,1]");
        assert_eq!(flatten(-1).infer(), "f32[6,4]");
        let outside = "node 'n' (Flatten): axis 4 of a tensor of rank 3";
        assert_eq!(flatten(4).infer(), outside);
    }

    #[test]
    fn squeezing() {
        let squeeze = || Op::new("Squeeze").input(f32s(&[1, 3, 1]));
        assert_eq!(squeeze().infer(), "f32[3]");
        assert_eq!(squeeze().ints("axes", &[-1]).infer(), "f32[1,3]");
        assert_eq!(squeeze().constant(i64s(&[0])).infer(), "f32[3,1]");
        let wrong = "node 'n' (Squeeze): axis 1 of [1,3,1] is not 1";
        assert_eq!(squeeze().ints("axes", &[1]).infer(), wrong);
        let unsqueeze = || Op::new("Unsqueeze").input(f32s(&[3]));
        assert_eq!(unsqueeze().ints("axes", &[0, -1]).infer(), "f32[1,3,1]");
        assert_eq!(unsqueeze().constant(i64s(&[1])).infer(), "f32[3,1]");
        let twice = "node 'n' (Unsqueeze): axis 0 is listed twice";
        assert_eq!(unsqueeze().ints("axes", &[0, -3]).infer(), twice);
    }

    #[test]
    fn transposition() {
        let transpose = || Op::new("Transpose").input(f32s(&[2, 3, 4]));
        assert_eq!(transpose().infer(), "f32[4,3,2]");
        assert_eq!(transpose().ints("perm", &[0, 2, 1]).infer(), "f32[2,4,3]");
        let short = "node 'n' (Transpose): perm [0] of a tensor of rank 3";
        assert_eq!(transpose().ints("perm", &[0]).infer(), short);
        let twice = "node 'n' (Transpose): axis 0 is listed twice";
        assert_eq!(transpose().ints("perm", &[0, 0, 1]).infer(), twice);
        let table = Tensor::from_i64(vec![2, 3], &[1, 2, 3, 4, 5, 6]);
        assert_eq!(
            Op::new("Transpose").constant(table).contents(),
            "1 4 2 5 3 6"
        );
    }
}
