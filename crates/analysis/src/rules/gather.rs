//! Look-ups.

use super::{Call, Inferred, Stop, contradiction};
use crate::data::{lookup, moved};
use crate::fact::{Extent, Fact, Scalar};

/// `Gather` (1 to 13): the axis is replaced by the shape of the indices.
pub(super) fn gather(call: &Call<'_>) -> Inferred {
    let (x, indices) = (call.fact(0)?, call.fact(1)?);
    let (dims, picked) = (call.dims(0)?, call.dims(1)?);
    let axis = call.axis("axis", 0, dims.len())?;
    let extent = dims[axis];
    if let (Some(n), Some(list)) = (extent, indices.ints())
        && let Some(outside) = list.iter().find(|i| resolve(**i, n).is_none())
    {
        return contradiction(format!("index {outside} of an axis of {n}"));
    }
    let out: Vec<Extent> = dims[..axis]
        .iter()
        .chain(picked)
        .chain(&dims[axis + 1..])
        .copied()
        .collect();
    let fact = moved(x, out, |at| {
        let (outer, rest) = at.split_at_checked(axis)?;
        let (picked, inner) = rest.split_at_checked(picked.len())?;
        let Scalar::Int(index) = lookup(indices, picked)? else {
            return None;
        };
        Some([outer, &[resolve(index, extent?)?], inner].concat())
    });
    Ok(vec![fact])
}

/// An index counted from the front; `None` outside the axis.
fn resolve(index: i64, extent: u64) -> Option<u64> {
    let index = if index < 0 {
        extent.checked_add_signed(index)?
    } else {
        index.unsigned_abs()
    };
    (index < extent).then_some(index)
}

/// `GatherElements` (11, 13): the shape of the indices.
pub(super) fn elements(call: &Call<'_>) -> Inferred {
    Ok(vec![Fact::new(call.dtype(0), call.dims(1)?.to_vec())])
}

/// `GatherND` (11 to 13): `indices[..-1]`, then what an index of that length leaves of the
/// data.
pub(super) fn nd(call: &Call<'_>) -> Inferred {
    let (dims, indices) = (call.dims(0)?, call.dims(1)?);
    let batch = call.int("batch_dims", 0)?;
    let Some((last, outer)) = indices.split_last() else {
        return contradiction("indices are a scalar");
    };
    let depth = last.ok_or(Stop::Unknown)?;
    let skipped = u64::try_from(batch).ok().and_then(|b| b.checked_add(depth));
    let inner = skipped
        .and_then(|n| usize::try_from(n).ok())
        .and_then(|n| dims.get(n..));
    match inner {
        Some(inner) => Ok(vec![Fact::new(call.dtype(0), [outer, inner].concat())]),
        None => contradiction(format!(
            "indices of length {depth} for a tensor of rank {}",
            dims.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use sepconv_ir::{DType, Tensor};

    use crate::testing::{Op, f32s, fixed, i64s};

    #[test]
    fn gathers() {
        let gather = |indices: &[u64]| {
            let op = Op::new("Gather").input(f32s(&[2, 3, 4]));
            op.input(fixed(DType::I64, indices))
        };
        assert_eq!(gather(&[]).infer(), "f32[3,4]");
        assert_eq!(gather(&[5, 6]).int("axis", 1).infer(), "f32[2,5,6,4]");
        let outside = Op::new("Gather").input(f32s(&[2])).constant(i64s(&[2]));
        assert_eq!(
            outside.infer(),
            "node 'n' (Gather): index 2 of an axis of 2"
        );
        let lowest = Op::new("Gather")
            .input(f32s(&[2]))
            .constant(i64s(&[i64::MIN]));
        assert!(lowest.infer().starts_with("node 'n' (Gather): index -9223"));
    }

    #[test]
    fn contents() {
        let gather = |i: Tensor| Op::new("Gather").constant(i64s(&[7, 8, 9])).constant(i);
        assert_eq!(gather(i64s(&[2, -3])).contents(), "9 7");
        assert_eq!(gather(Tensor::from_i64(vec![], &[1])).contents(), "8");
        let table = Tensor::from_i64(vec![2, 2], &[1, 2, 3, 4]);
        let column = Op::new("Gather").constant(table).constant(i64s(&[1]));
        assert_eq!(column.int("axis", 1).contents(), "2 4");
    }

    #[test]
    fn others() {
        let of = |op, i: &[u64]| {
            Op::new(op)
                .input(f32s(&[2, 3, 4]))
                .input(fixed(DType::I64, i))
        };
        assert_eq!(of("GatherElements", &[1, 3, 4]).infer(), "f32[1,3,4]");
        assert_eq!(of("GatherND", &[5, 2]).infer(), "f32[5,4]");
        assert_eq!(
            of("GatherND", &[2, 1]).int("batch_dims", 1).infer(),
            "f32[2,4]"
        );
        assert_eq!(
            of("GatherND", &[5, 4]).infer(),
            "node 'n' (GatherND): indices of length 4 for a tensor of rank 3"
        );
    }
}
