//! Joining and splitting.

use sepconv_ir::Operator;

use super::call::agree;
use super::{Call, Inferred, Stop, contradiction};
use crate::data::{build, lookup, moved};
use crate::fact::{Extent, Fact};

/// `Concat` (1 to 13): the axis defaults to 1 in opset 1.
pub(super) fn concat(call: &Call<'_>) -> Inferred {
    let parts: Vec<&Fact> = (0..call.inputs.len())
        .map(|slot| call.fact(slot))
        .collect::<Result<_, _>>()?;
    joined(call, &parts)
}

/// com.microsoft `QLinearConcat`: output scale and zero point, then tensor, scale and zero
/// point of every part.
pub(super) fn quantized(call: &Call<'_>) -> Inferred {
    let parts: Vec<&Fact> = (2..call.inputs.len())
        .step_by(3)
        .map(|slot| call.fact(slot))
        .collect::<Result<_, _>>()?;
    joined(call, &parts)
}

fn joined(call: &Call<'_>, parts: &[&Fact]) -> Inferred {
    let dims = |part: &&Fact| part.dims.clone().ok_or(Stop::Unknown);
    let shapes: Vec<Vec<Extent>> = parts.iter().map(dims).collect::<Result<_, _>>()?;
    let Some((first, rest)) = shapes.split_first() else {
        return contradiction("nothing to join");
    };
    let axis = call.axis("axis", 1, first.len())?;
    let mut out = first.clone();
    for dims in rest {
        if dims.len() != out.len() {
            return contradiction(format!("ranks {} and {}", out.len(), dims.len()));
        }
        for (i, (sum, n)) in out.iter_mut().zip(dims).enumerate() {
            *sum = if i == axis {
                match (*sum, *n) {
                    (Some(a), Some(b)) => a.checked_add(b),
                    _ => None,
                }
            } else {
                agree(*sum, *n, "extents")?
            };
        }
    }
    let elements = parts.iter().any(|p| p.data.is_some()).then(|| {
        build(&out, |at| {
            let mut at = at.to_vec();
            for (part, dims) in parts.iter().zip(&shapes) {
                let extent = dims[axis]?;
                if at[axis] < extent {
                    return lookup(part, &at);
                }
                at[axis] -= extent;
            }
            None
        })
    });
    let dtype = parts.iter().find_map(|p| p.dtype);
    Ok(vec![Fact::new(dtype, out).with_data(elements.flatten())])
}

/// `Split` (1 to 18): lengths as attribute `split` or second input, else equal parts, of
/// which the last may be shorter where `num_outputs` says how many.
pub(super) fn split(call: &Call<'_>) -> Inferred {
    let x = call.fact(0)?;
    let dims = call.dims(0)?;
    let axis = call.axis("axis", 0, dims.len())?;
    let lengths = match call.list("split", 1) {
        Ok(Some(lengths)) => given(&lengths, call.op, dims[axis])?,
        Ok(None) => equal(call, dims[axis])?,
        Err(Stop::Unknown) => vec![None; call.op.outputs.len()],
        Err(stop) => return Err(stop),
    };
    let mut start = Some(0u64);
    let mut facts = Vec::with_capacity(lengths.len());
    for length in lengths {
        let mut out = dims.to_vec();
        out[axis] = length;
        facts.push(moved(x, out, |at| {
            let mut at = at.to_vec();
            at[axis] = at[axis].checked_add(start?)?;
            Some(at)
        }));
        start = start.and_then(|s| s.checked_add(length?));
    }
    Ok(facts)
}

fn given(lengths: &[i64], op: &Operator, extent: Extent) -> Result<Vec<Extent>, Stop> {
    let outputs = op.outputs.len();
    if lengths.len() != outputs {
        return contradiction(format!("{} lengths for {outputs} outputs", lengths.len()));
    }
    let sum = lengths.iter().try_fold(0u64, |sum, n| {
        u64::try_from(*n).ok().and_then(|n| sum.checked_add(n))
    });
    let Some(sum) = sum else {
        return contradiction(format!("lengths {lengths:?}"));
    };
    agree(extent, Some(sum), "extent and sum of lengths")?;
    Ok(lengths.iter().map(|n| u64::try_from(*n).ok()).collect())
}

fn equal(call: &Call<'_>, extent: Extent) -> Result<Vec<Extent>, Stop> {
    let outputs = call.op.outputs.len();
    let Some(extent) = extent else {
        return Ok(vec![None; outputs]);
    };
    let parts = outputs as u64;
    let uneven = call.op.attribute("num_outputs").is_some();
    if parts == 0 || (!uneven && extent % parts != 0) {
        return contradiction(format!("{extent} elements in {parts} equal parts"));
    }
    let length = extent.div_ceil(parts);
    let taken = |i: u64| i.saturating_mul(length).min(extent);
    Ok((0..parts).map(|i| Some(taken(i + 1) - taken(i))).collect())
}

/// `Tile` (6, 13): repetitions per axis; opset 1's form (tiles, axis) is left unknown.
pub(super) fn tile(call: &Call<'_>) -> Inferred {
    if call.inputs.len() != 2 {
        return Err(Stop::Unknown);
    }
    let x = call.fact(0)?;
    let dims = call.dims(0)?;
    let Ok(repeats) = call.ints(1) else {
        return Ok(vec![Fact::new(x.dtype, vec![None; dims.len()])]);
    };
    if repeats.len() != dims.len() {
        return contradiction(format!("{} repeats for rank {}", repeats.len(), dims.len()));
    }
    let mut out = Vec::with_capacity(dims.len());
    for (n, times) in dims.iter().zip(&repeats) {
        let Ok(times) = u64::try_from(*times) else {
            return contradiction(format!("repeats {repeats:?}"));
        };
        out.push(n.and_then(|n| n.checked_mul(times)));
    }
    let fact = moved(x, out, |at| {
        at.iter()
            .zip(dims)
            .map(|(i, n)| i.checked_rem((*n)?))
            .collect()
    });
    Ok(vec![fact])
}

#[cfg(test)]
mod tests {
    use sepconv_ir::DType;

    use crate::testing::{Op, f32s, fixed, i64s, unknown};

    #[test]
    fn concatenation() {
        let join = |a: &[u64], b: &[u64]| Op::new("Concat").input(f32s(a)).input(f32s(b));
        assert_eq!(
            join(&[1, 2, 5], &[1, 3, 5]).int("axis", 1).infer(),
            "f32[1,5,5]"
        );
        assert_eq!(
            join(&[1, 2, 5], &[1, 2, 4]).int("axis", -1).infer(),
            "f32[1,2,9]"
        );
        assert_eq!(join(&[1, 2], &[1, 3]).infer(), "f32[1,5]");
        assert_eq!(
            join(&[1, 2, 5], &[1, 3, 4]).int("axis", 1).infer(),
            "node 'n' (Concat): extents 5 and 4 disagree"
        );
        assert_eq!(
            join(&[1], &[1, 3]).int("axis", 0).infer(),
            "node 'n' (Concat): ranks 1 and 2"
        );
        assert_eq!(
            join(&[1], &[1]).int("axis", 7).infer(),
            "node 'n' (Concat): axis 7 of a tensor of rank 1"
        );
        let partly = Op::new("Concat").input(unknown(2)).input(f32s(&[4, 2]));
        assert_eq!(partly.infer(), "f32[4,?]");
    }

    #[test]
    fn joined_contents_may_be_partly_known() {
        let join = Op::new("Concat")
            .constant(i64s(&[4]))
            .input(fixed(DType::I64, &[1]))
            .constant(i64s(&[-1, 2]))
            .int("axis", 0);
        assert_eq!(join.contents(), "4 ? -1 2");
    }

    #[test]
    fn splits() {
        let split = |n| {
            Op::new("Split")
                .input(f32s(&[2, 6]))
                .int("axis", 1)
                .outputs(n)
        };
        assert_eq!(split(3).infer(), "f32[2,2] f32[2,2] f32[2,2]");
        assert_eq!(split(2).ints("split", &[5, 1]).infer(), "f32[2,5] f32[2,1]");
        assert_eq!(
            split(2).constant(i64s(&[4, 2])).infer(),
            "f32[2,4] f32[2,2]"
        );
        assert_eq!(
            split(4).int("num_outputs", 4).infer(),
            "f32[2,2] f32[2,2] f32[2,2] f32[2,0]"
        );
        assert_eq!(
            split(2).input(fixed(DType::I64, &[2])).infer(),
            "f32[2,?] f32[2,?]"
        );
        assert_eq!(
            split(4).infer(),
            "node 'n' (Split): 6 elements in 4 equal parts"
        );
        assert_eq!(
            split(2).ints("split", &[5, 2]).infer(),
            "node 'n' (Split): extent and sum of lengths 6 and 7 disagree"
        );
        assert_eq!(
            split(2).ints("split", &[7, -1]).infer(),
            "node 'n' (Split): lengths [7, -1]"
        );
        let halves = Op::new("Split").constant(i64s(&[1, 2, 3, 4])).outputs(2);
        assert_eq!(halves.contents(), "1 2");
    }

    #[test]
    fn tiles() {
        let tile = |r: &[i64]| Op::new("Tile").input(f32s(&[2, 3])).constant(i64s(r));
        assert_eq!(tile(&[1, 4]).infer(), "f32[2,12]");
        assert_eq!(tile(&[1, i64::MAX]).infer(), "f32[2,?]");
        assert_eq!(tile(&[-1, 1]).infer(), "node 'n' (Tile): repeats [-1, 1]");
        let contents = Op::new("Tile").constant(i64s(&[1, 2])).constant(i64s(&[2]));
        assert_eq!(contents.contents(), "1 2 1 2");
    }
}
