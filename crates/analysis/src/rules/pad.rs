//! `Pad`.

use super::call::{axes, show};
use super::{Call, Inferred, Stop, contradiction};
use crate::fact::{Extent, Fact};

/// `Pad` (1: attribute `paddings`; 2: `pads`; 11 to 24: inputs, with `axes` in slot 3): all
/// beginnings, then all ends; negative numbers cut.
pub(super) fn pad(call: &Call<'_>) -> Inferred {
    let dims = call.dims(0)?;
    let unknown = || Ok(vec![Fact::new(call.dtype(0), vec![None; dims.len()])]);
    let pads = match call.list("pads", 1) {
        Ok(Some(pads)) => pads,
        Ok(None) => match call.list_attribute("paddings")? {
            Some(pads) => pads,
            None => return contradiction("'pads' is missing"),
        },
        Err(Stop::Unknown) => return unknown(),
        Err(stop) => return Err(stop),
    };
    let padded: Vec<usize> = if call.has(3) {
        match call.ints(3) {
            Ok(list) => axes(&list, dims.len())?,
            Err(_) => return unknown(),
        }
    } else {
        (0..dims.len()).collect()
    };
    if pads.len() != padded.len() * 2 {
        return contradiction(format!("{} pads for {} axes", pads.len(), padded.len()));
    }
    let (begins, ends) = pads.split_at(padded.len());
    let mut out: Vec<Extent> = dims.to_vec();
    for (axis, (begin, end)) in padded.into_iter().zip(begins.iter().zip(ends)) {
        let Some(n) = dims[axis] else { continue };
        let sum = begin
            .checked_add(*end)
            .and_then(|p| n.checked_add_signed(p));
        match sum {
            Some(sum) => out[axis] = Some(sum),
            None => {
                return contradiction(format!(
                    "pads {begin} and {end} of axis {axis} of {}",
                    show(dims)
                ));
            }
        }
    }
    Ok(vec![Fact::new(call.dtype(0), out)])
}

#[cfg(test)]
mod tests {
    use sepconv_ir::DType;

    use crate::testing::{Op, f32s, fixed, i64s};

    #[test]
    fn padding() {
        let pad = || Op::new("Pad").input(f32s(&[1, 2, 5]));
        assert_eq!(
            pad().ints("pads", &[0, 0, 1, 0, 1, 2]).infer(),
            "f32[1,3,8]"
        );
        assert_eq!(
            pad().ints("paddings", &[0, 0, 1, 0, 0, -2]).infer(),
            "f32[1,2,4]"
        );
        assert_eq!(
            pad().constant(i64s(&[0, 0, 1, 0, 1, 2])).infer(),
            "f32[1,3,8]"
        );
        assert_eq!(pad().input(fixed(DType::I64, &[6])).infer(), "f32[?,?,?]");
        let axes = pad()
            .constant(i64s(&[1, 2]))
            .input(f32s(&[]))
            .constant(i64s(&[-1]));
        assert_eq!(axes.infer(), "f32[1,2,8]");
        assert_eq!(
            pad().ints("pads", &[1]).infer(),
            "node 'n' (Pad): 1 pads for 3 axes"
        );
        assert_eq!(
            pad().ints("pads", &[0, -9, 0, 0, 0, 0]).infer(),
            "node 'n' (Pad): pads -9 and 0 of axis 1 of [1,2,5]"
        );
        assert_eq!(
            pad().ints("pads", &[0, i64::MIN, 0, 0, -1, 0]).infer(),
            "node 'n' (Pad): pads -9223372036854775808 and -1 of axis 1 of [1,2,5]"
        );
        assert_eq!(pad().infer(), "node 'n' (Pad): 'pads' is missing");
    }
}
