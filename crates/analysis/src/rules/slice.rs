//! `Slice`.

use super::call::axes;
use super::{Call, Inferred, Stop, contradiction};
use crate::data::moved;
use crate::fact::{Extent, Fact};

/// A slice along one axis: first index, step and number of elements.
#[derive(Clone, Copy)]
struct Cut {
    start: u64,
    step: i64,
    length: u64,
}

/// `Slice` (1: attributes `starts`, `ends`, `axes`; 10 to 13: inputs, with `steps`). Ends
/// beyond the extent are clamped, negative ones count from the back.
pub(super) fn slice(call: &Call<'_>) -> Inferred {
    let x = call.fact(0)?;
    let dims = call.dims(0)?;
    let rank = dims.len();
    let listed = match call.list("axes", 3) {
        Ok(listed) => listed,
        // Any axis may be cut.
        Err(Stop::Unknown) => return Ok(vec![Fact::new(x.dtype, vec![None; rank])]),
        Err(stop) => return Err(stop),
    };
    let bounds = Bounds {
        starts: required(call, "starts", 1)?,
        ends: required(call, "ends", 2)?,
        steps: optional(call, 4)?,
    };
    let count = match (&listed, &bounds.starts, &bounds.ends) {
        (Some(axes), _, _) => axes.len(),
        (None, Some(starts), _) => starts.len(),
        (None, None, Some(ends)) => ends.len(),
        (None, None, None) => rank,
    };
    let listed = listed.unwrap_or_else(|| (0i64..).take(count.min(rank + 1)).collect());
    bounds.check(listed.len())?;
    let mut out = dims.to_vec();
    let mut cuts: Vec<Option<Cut>> = vec![None; rank];
    for (i, axis) in axes(&listed, rank)?.into_iter().enumerate() {
        cuts[axis] = bounds.cut(i, dims[axis])?;
        out[axis] = cuts[axis].map(|cut| cut.length);
    }
    let fact = moved(x, out, |at| {
        at.iter()
            .zip(&cuts)
            .map(|(i, cut)| match cut {
                None => Some(*i),
                Some(cut) => i64::try_from(*i)
                    .ok()?
                    .checked_mul(cut.step)
                    .and_then(|offset| cut.start.checked_add_signed(offset)),
            })
            .collect()
    });
    Ok(vec![fact])
}

/// Contents that may be unknown, of an input that must be there.
fn required(call: &Call<'_>, name: &str, slot: usize) -> Result<Option<Vec<i64>>, Stop> {
    match call.list(name, slot) {
        Ok(Some(list)) => Ok(Some(list)),
        Ok(None) => contradiction(format!("'{name}' is missing")),
        Err(Stop::Unknown) => Ok(None),
        Err(stop) => Err(stop),
    }
}

/// `steps`: ones where it is absent (`Some(None)`), `None` where it is unknown.
fn optional(call: &Call<'_>, slot: usize) -> Result<Option<Option<Vec<i64>>>, Stop> {
    if !call.has(slot) {
        return Ok(Some(None));
    }
    match call.ints(slot) {
        Ok(steps) => Ok(Some(Some(steps))),
        Err(Stop::Unknown) => Ok(None),
        Err(stop) => Err(stop),
    }
}

struct Bounds {
    starts: Option<Vec<i64>>,
    ends: Option<Vec<i64>>,
    steps: Option<Option<Vec<i64>>>,
}

impl Bounds {
    fn check(&self, expected: usize) -> Result<(), Stop> {
        let steps = self.steps.as_ref().and_then(Option::as_ref);
        let lists = [self.starts.as_ref(), self.ends.as_ref(), steps];
        match lists.into_iter().flatten().find(|l| l.len() != expected) {
            Some(list) => contradiction(format!("{} bounds for {expected} axes", list.len())),
            None => Ok(()),
        }
    }

    /// The cut along the i-th listed axis; `None` where a bound or the extent is unknown.
    fn cut(&self, i: usize, extent: Extent) -> Result<Option<Cut>, Stop> {
        let (Some(starts), Some(ends), Some(steps)) = (&self.starts, &self.ends, &self.steps)
        else {
            return Ok(None);
        };
        let step = steps.as_ref().map_or(1, |s| s[i]);
        if step == 0 {
            return contradiction("a step of 0");
        }
        let Some(n) = extent.and_then(|n| i64::try_from(n).ok()) else {
            return Ok(None);
        };
        let from_front = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
        let (start, end) = (from_front(starts[i]), from_front(ends[i]));
        let (start, distance) = if step > 0 {
            let start = start.clamp(0, n);
            (start, end.clamp(0, n) - start)
        } else {
            let start = start.clamp(-1, n - 1);
            (start, start - end.clamp(-1, n - 1))
        };
        let length = distance.max(0).unsigned_abs().div_ceil(step.unsigned_abs());
        let start = u64::try_from(start).unwrap_or(0);
        Ok(Some(Cut {
            start,
            step,
            length,
        }))
    }
}

#[cfg(test)]
mod tests {
    use sepconv_ir::DType;

    use crate::testing::{Op, f32s, fixed, i64s};

    fn cut(starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64]) -> Op {
        let mut op = Op::new("Slice").input(f32s(&[4, 10]));
        for list in [starts, ends, axes, steps] {
            op = op.constant(i64s(list));
        }
        op
    }

    #[test]
    fn bounds_are_clamped() {
        assert_eq!(cut(&[1], &[i64::MAX], &[1], &[1]).infer(), "f32[4,9]");
        assert_eq!(cut(&[-3], &[-1], &[-1], &[1]).infer(), "f32[4,2]");
        assert_eq!(cut(&[0, 2], &[2, 9], &[0, 1], &[1, 3]).infer(), "f32[2,3]");
        assert_eq!(cut(&[-1], &[i64::MIN], &[1], &[-1]).infer(), "f32[4,10]");
        assert_eq!(cut(&[7], &[2], &[1], &[1]).infer(), "f32[4,0]");
        assert_eq!(cut(&[7], &[2], &[1], &[i64::MIN]).infer(), "f32[4,1]");
    }

    #[test]
    fn attributes_of_opset_1() {
        let op = || Op::new("Slice").input(f32s(&[4, 10]));
        let both = op().ints("starts", &[1, 0]).ints("ends", &[3, -1]);
        assert_eq!(both.infer(), "f32[2,9]");
        let one = op()
            .ints("starts", &[1])
            .ints("ends", &[3])
            .ints("axes", &[1]);
        assert_eq!(one.infer(), "f32[4,2]");
    }

    #[test]
    fn unknown_bounds_keep_the_other_axes() {
        let op = Op::new("Slice")
            .input(f32s(&[4, 10]))
            .input(fixed(DType::I64, &[1]))
            .constant(i64s(&[5]))
            .constant(i64s(&[1]));
        assert_eq!(op.infer(), "f32[4,?]");
        let op = Op::new("Slice").input(f32s(&[4, 10]));
        let op = op
            .input(fixed(DType::I64, &[1]))
            .input(fixed(DType::I64, &[1]));
        assert_eq!(op.infer(), "f32[?,?]");
    }

    #[test]
    fn contents() {
        let op = |starts: &[i64], ends: &[i64], steps: &[i64]| {
            Op::new("Slice")
                .constant(i64s(&[10, 20, 30, 40]))
                .constant(i64s(starts))
                .constant(i64s(ends))
                .constant(i64s(&[0]))
                .constant(i64s(steps))
        };
        assert_eq!(op(&[2], &[9], &[1]).contents(), "30 40");
        assert_eq!(op(&[-1], &[-9], &[-2]).contents(), "40 20");
    }

    #[test]
    fn misfits() {
        assert_eq!(
            cut(&[0], &[1], &[1], &[0]).infer(),
            "node 'n' (Slice): a step of 0"
        );
        assert_eq!(
            cut(&[0, 1], &[1], &[1], &[1]).infer(),
            "node 'n' (Slice): 2 bounds for 1 axes"
        );
        assert_eq!(
            cut(&[0; 3], &[1; 3], &[0, 1, 2], &[1; 3]).infer(),
            "node 'n' (Slice): axis 2 of a tensor of rank 2"
        );
        let bare = Op::new("Slice").input(f32s(&[4]));
        assert_eq!(bare.infer(), "node 'n' (Slice): 'starts' is missing");
    }
}
