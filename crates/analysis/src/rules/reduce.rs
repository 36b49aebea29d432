//! Reductions.

use sepconv_ir::DType;

use super::call::axes;
use super::{Call, Inferred, Stop};
use crate::data::{binary, rounded};
use crate::fact::{Data, Extent, Fact};

fn reduced(dims: &[Extent], removed: &[usize], keep: bool) -> Vec<Extent> {
    dims.iter()
        .enumerate()
        .filter_map(|(axis, n)| match (removed.contains(&axis), keep) {
            (false, _) => Some(*n),
            (true, true) => Some(Some(1)),
            (true, false) => None,
        })
        .collect()
}

/// `ReduceSum`, `ReduceMean`, … (1: attribute `axes`; 13 and 18: second input). Without axes
/// all are reduced, or none where `noop_with_empty_axes` says so.
pub(super) fn reduce(call: &Call<'_>) -> Inferred {
    let x = call.fact(0)?;
    let dims = call.dims(0)?;
    let keep = call.int("keepdims", 1)? != 0;
    let removed = match call.list("axes", 1) {
        Ok(list) => match list.filter(|l| !l.is_empty()) {
            Some(list) => axes(&list, dims.len())?,
            None if call.int("noop_with_empty_axes", 0)? != 0 => return Ok(vec![x.clone()]),
            None => (0..dims.len()).collect(),
        },
        Err(Stop::Unknown) if keep => return Ok(vec![Fact::new(x.dtype, vec![None; dims.len()])]),
        Err(stop) => return Err(stop),
    };
    let elements = x.data.as_ref().filter(|_| removed.len() == dims.len());
    let fact = Fact::new(x.dtype, reduced(dims, &removed, keep));
    Ok(vec![fact.with_data(elements.and_then(|d| folded(call, d)))])
}

/// All elements reduced to one, for the reductions of shape arithmetic.
fn folded(call: &Call<'_>, elements: &Data) -> Option<Data> {
    let step = match call.op.op_type.as_str() {
        "ReduceProd" => "Mul",
        "ReduceSum" => "Add",
        "ReduceMin" => "Min",
        "ReduceMax" => "Max",
        _ => return None,
    };
    let known = elements.iter().copied().collect::<Option<Vec<_>>>()?;
    let (first, rest) = known.split_first()?;
    let total = rest.iter().try_fold(*first, |sum, v| {
        binary(step, sum, *v).map(|v| rounded(v, call.dtype(0)))
    });
    Some(vec![total])
}

/// `ArgMax`, `ArgMin` (1 to 13): integers.
pub(super) fn arg(call: &Call<'_>) -> Inferred {
    let dims = call.dims(0)?;
    let axis = call.axis("axis", 0, dims.len())?;
    let keep = call.int("keepdims", 1)? != 0;
    let out = reduced(dims, &[axis], keep);
    Ok(vec![Fact::new(Some(DType::I64), out)])
}

#[cfg(test)]
mod tests {
    use sepconv_ir::DType;

    use crate::testing::{Op, f32s, fixed, i64s};

    #[test]
    fn reductions() {
        let mean = || Op::new("ReduceMean").input(f32s(&[2, 3, 4]));
        assert_eq!(mean().infer(), "f32[1,1,1]");
        assert_eq!(mean().int("keepdims", 0).infer(), "f32[]");
        assert_eq!(mean().ints("axes", &[-1, 1]).infer(), "f32[2,1,1]");
        let input = || mean().constant(i64s(&[1])).int("keepdims", 0);
        assert_eq!(input().infer(), "f32[2,4]");
        assert_eq!(mean().int("noop_with_empty_axes", 1).infer(), "f32[2,3,4]");
        let later = || mean().input(fixed(DType::I64, &[1]));
        assert_eq!(later().infer(), "f32[?,?,?]");
        assert_eq!(later().int("keepdims", 0).infer(), "unknown");
        assert_eq!(
            mean().ints("axes", &[3]).infer(),
            "node 'n' (ReduceMean): axis 3 of a tensor of rank 3"
        );
    }

    #[test]
    fn contents() {
        let of = |op| Op::new(op).constant(i64s(&[2, 3, 7])).contents();
        assert_eq!(of("ReduceProd"), "42");
        assert_eq!(of("ReduceMax"), "7");
        assert_eq!(of("ReduceL1"), "none");
    }

    #[test]
    fn arguments() {
        let arg = || Op::new("ArgMax").input(f32s(&[2, 3]));
        assert_eq!(arg().infer(), "i64[1,3]");
        assert_eq!(arg().int("axis", -1).int("keepdims", 0).infer(), "i64[2]");
    }
}
