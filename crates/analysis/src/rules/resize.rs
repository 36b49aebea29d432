//! Changes of resolution.

use sepconv_ir::AttributeValue;

use super::call::{agree, axes, show};
use super::{Call, Inferred, Stop, contradiction};
use crate::fact::{Extent, Fact};

/// `Resize` (10: scales in slot 1; 11 to 19: scales in slot 2, sizes in slot 3) and
/// `Upsample` (1: attributes `height_scale`, `width_scale`; 7: attribute `scales`; 9: slot 1).
/// An extent n becomes floor(n · scale).
pub(super) fn resize(call: &Call<'_>) -> Inferred {
    let dims = call.dims(0)?;
    let resized: Vec<usize> = match call.list_attribute("axes")? {
        Some(list) => axes(&list, dims.len())?,
        None => (0..dims.len()).collect(),
    };
    let mut out = dims.to_vec();
    if is_given(call, 3) {
        let Ok(sizes) = call.ints(3) else {
            return unknown(call, out, &resized);
        };
        fits(sizes.len(), &resized)?;
        match call.op.string("keep_aspect_ratio_policy") {
            None | Some("stretch") => {
                for (axis, n) in resized.iter().zip(&sizes) {
                    match u64::try_from(*n) {
                        Ok(n) if n > 0 => out[*axis] = Some(n),
                        _ => return contradiction(format!("sizes {sizes:?}")),
                    }
                }
            }
            Some(policy) => keep_ratio(policy, &mut out, &resized, &sizes),
        }
        return Ok(vec![Fact::new(call.dtype(0), out)]);
    }
    // The output then also depends on the region.
    if call.op.string("coordinate_transformation_mode") == Some("tf_crop_and_resize") {
        return unknown(call, out, &resized);
    }
    let Some(scales) = scales(call)? else {
        return unknown(call, out, &resized);
    };
    fits(scales.len(), &resized)?;
    for (axis, scale) in resized.iter().zip(&scales) {
        if !(scale.is_finite() && *scale > 0.0) {
            return contradiction(format!("scales {scales:?}"));
        }
        out[*axis] = dims[*axis].and_then(|n| scaled(n, *scale));
    }
    if out.contains(&Some(0)) && !dims.contains(&Some(0)) {
        return contradiction(format!("scales {scales:?} leave nothing of {}", show(dims)));
    }
    Ok(vec![Fact::new(call.dtype(0), out)])
}

fn unknown(call: &Call<'_>, mut dims: Vec<Extent>, resized: &[usize]) -> Inferred {
    for axis in resized {
        dims[*axis] = None;
    }
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

/// True for an optional input that is there and, as far as known, not empty.
fn is_given(call: &Call<'_>, slot: usize) -> bool {
    call.has(slot) && call.dims(slot).ok() != Some(&[Some(0)])
}

fn fits(found: usize, resized: &[usize]) -> Result<(), Stop> {
    if found != resized.len() {
        return contradiction(format!("{found} factors for {} axes", resized.len()));
    }
    Ok(())
}

/// floor(n · scale) in single precision, as ONNX's reference does.
fn scaled(n: u64, scale: f64) -> Extent {
    let product = (n as f32 * scale as f32).floor();
    (product >= 0.0 && product < u64::MAX as f32).then_some(product as u64)
}

/// The factors; `None` where they are there but unknown.
fn scales(call: &Call<'_>) -> Result<Option<Vec<f64>>, Stop> {
    let slot = if call.inputs.len() == 2 { 1 } else { 2 };
    if is_given(call, slot) {
        return Ok(call.floats(slot).ok());
    }
    match call.op.attribute("scales") {
        Some(AttributeValue::Floats(v)) => Ok(Some(v.iter().map(|v| f64::from(*v)).collect())),
        Some(_) => contradiction("attribute 'scales' is of the wrong type"),
        None => match ["height_scale", "width_scale"].map(|n| call.op.attribute(n)) {
            [
                Some(AttributeValue::Float(h)),
                Some(AttributeValue::Float(w)),
            ] => Ok(Some(vec![1.0, 1.0, f64::from(*h), f64::from(*w)])),
            _ => contradiction("neither scales nor sizes are given"),
        },
    }
}

/// `keep_aspect_ratio_policy` `not_larger` and `not_smaller` (opset 18): one factor for all
/// axes, rounded half up.
fn keep_ratio(policy: &str, out: &mut [Extent], resized: &[usize], sizes: &[i64]) {
    let ratios: Option<Vec<f64>> = resized
        .iter()
        .zip(sizes)
        .map(|(axis, size)| {
            out[*axis]
                .filter(|n| *n > 0)
                .map(|n| *size as f64 / n as f64)
        })
        .collect();
    let pick = match policy {
        "not_larger" => f64::min,
        "not_smaller" => f64::max,
        _ => |_, _| f64::NAN,
    };
    let scale = ratios.and_then(|r| r.into_iter().reduce(pick));
    for axis in resized {
        let rounded = out[*axis]
            .zip(scale)
            .map(|(n, scale)| (n as f64 * scale + 0.5).floor());
        let valid = rounded.filter(|v| *v >= 1.0 && *v < u64::MAX as f64);
        out[*axis] = valid.map(|v| v as u64);
    }
}

fn blocks<'a>(call: &Call<'a>) -> Result<(&'a [Extent; 4], u64, u64), Stop> {
    let dims = call.dims(0)?;
    let Ok(four) = <&[Extent; 4]>::try_from(dims) else {
        return contradiction(format!("input {} is not of rank 4", show(dims)));
    };
    let block = call.int("blocksize", 0)?;
    match u64::try_from(block) {
        Ok(b) if b > 0 && b.checked_mul(b).is_some() => Ok((four, b, b * b)),
        _ => contradiction(format!("attribute 'blocksize' is {block}")),
    }
}

fn divided(n: Extent, by: u64) -> Result<Extent, Stop> {
    match n {
        Some(n) if n % by != 0 => contradiction(format!("{n} is not divisible by {by}")),
        n => Ok(n.map(|n| n / by)),
    }
}

/// `DepthToSpace` (1 to 13): `[N, C, H, W] -> [N, C/b², H·b, W·b]`.
pub(super) fn depth_to_space(call: &Call<'_>) -> Inferred {
    let ([n, c, h, w], block, area) = blocks(call)?;
    let grown = |n: Extent| n.and_then(|n| n.checked_mul(block));
    let dims = vec![*n, divided(*c, area)?, grown(*h), grown(*w)];
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

/// `SpaceToDepth` (1, 13): `[N, C, H, W] -> [N, C·b², H/b, W/b]`.
pub(super) fn space_to_depth(call: &Call<'_>) -> Inferred {
    let ([n, c, h, w], block, area) = blocks(call)?;
    let depth = c.and_then(|c| c.checked_mul(area));
    let dims = vec![*n, depth, divided(*h, block)?, divided(*w, block)?];
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

/// `GridSample` (16 to 22): `[N, C, …]` and a grid `[N, spatial…, axes] -> [N, C, spatial…]`.
pub(super) fn grid_sample(call: &Call<'_>) -> Inferred {
    let (x, grid) = (call.dims(0)?, call.dims(1)?);
    let ([n, c, ..], [grid_n, spatial @ .., _]) = (x, grid) else {
        return contradiction(format!("input {} and grid {}", show(x), show(grid)));
    };
    let n = agree(*n, *grid_n, "batches")?;
    let mut dims = vec![n, *c];
    dims.extend(spatial);
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

#[cfg(test)]
mod tests {
    use sepconv_ir::DType;

    use crate::testing::{Op, f32s, fixed, floats, i64s};

    #[test]
    fn scales_of_all_opsets() {
        let x = || f32s(&[1, 3, 5, 6]);
        let factors = [1.0, 1.0, 2.0, 1.5];
        let new = Op::new("Resize")
            .input(x())
            .none()
            .constant(floats(&factors));
        assert_eq!(new.infer(), "f32[1,3,10,9]");
        let old = Op::new("Resize").input(x()).constant(floats(&factors));
        assert_eq!(old.infer(), "f32[1,3,10,9]");
        let upsample = Op::new("Upsample").input(x()).constant(floats(&factors));
        assert_eq!(upsample.infer(), "f32[1,3,10,9]");
        let attribute = Op::new("Upsample").input(x()).floats("scales", &factors);
        assert_eq!(attribute.infer(), "f32[1,3,10,9]");
        let first = Op::new("Upsample").input(x());
        let first = first.float("height_scale", 2.0).float("width_scale", 1.0);
        assert_eq!(first.infer(), "f32[1,3,10,6]");
    }

    #[test]
    fn sizes() {
        let op = || Op::new("Resize").input(f32s(&[1, 3, 5, 6])).none();
        let sizes = op().constant(floats(&[])).constant(i64s(&[1, 3, 7, 8]));
        assert_eq!(sizes.infer(), "f32[1,3,7,8]");
        let axes = || op().none().constant(i64s(&[10, 20])).ints("axes", &[2, 3]);
        assert_eq!(axes().infer(), "f32[1,3,10,20]");
        let policy = |p| axes().string("keep_aspect_ratio_policy", p).infer();
        assert_eq!(policy("not_larger"), "f32[1,3,10,12]");
        assert_eq!(policy("not_smaller"), "f32[1,3,17,20]");
        let later = op().none().input(fixed(DType::I64, &[4]));
        assert_eq!(later.infer(), "f32[?,?,?,?]");
    }

    #[test]
    fn misfits() {
        let scales = |v: &[f32]| Op::new("Resize").input(f32s(&[1, 3])).constant(floats(v));
        for (values, reason) in [
            (&[1.0][..], "1 factors for 2 axes"),
            (&[1.0, -1.0], "scales [1.0, -1.0]"),
            (
                &[1.0, 0.1],
                "scales [1.0, 0.10000000149011612] leave nothing of [1,3]",
            ),
        ] {
            assert_eq!(
                scales(values).infer(),
                format!("node 'n' (Resize): {reason}")
            );
        }
        assert_eq!(scales(&[1.0, 3e38]).infer(), "f32[1,?]");
        assert_eq!(
            Op::new("Resize").input(f32s(&[1])).infer(),
            "node 'n' (Resize): neither scales nor sizes are given"
        );
    }

    #[test]
    fn blocks() {
        let op = |name, x: &[u64]| Op::new(name).input(f32s(x)).int("blocksize", 2);
        assert_eq!(op("DepthToSpace", &[1, 8, 3, 4]).infer(), "f32[1,2,6,8]");
        assert_eq!(op("SpaceToDepth", &[1, 2, 6, 8]).infer(), "f32[1,8,3,4]");
        assert_eq!(
            op("SpaceToDepth", &[1, 2, 5, 8]).infer(),
            "node 'n' (SpaceToDepth): 5 is not divisible by 2"
        );
        let none = Op::new("DepthToSpace").input(f32s(&[1, 8, 3, 4]));
        assert_eq!(
            none.infer(),
            "node 'n' (DepthToSpace): attribute 'blocksize' is 0"
        );
        let grid = Op::new("GridSample")
            .input(f32s(&[1, 2, 6, 8]))
            .input(f32s(&[1, 4, 5, 2]));
        assert_eq!(grid.infer(), "f32[1,2,4,5]");
    }
}
