//! Pools.

use sepconv_ir::{AttributeValue, DType};

use super::call::show;
use super::{Call, Inferred, Stop, contradiction};
use crate::conv::{ConvFault, auto_pad, list};
use crate::fact::{Extent, Fact};
use crate::window::Window;

/// `MaxPool` (1 to 22), `AveragePool` (1 to 22), `LpPool` (2 to 22), com.microsoft
/// `QLinearAveragePool`. `MaxPool`'s second output is the indices.
pub(super) fn pool(call: &Call<'_>) -> Inferred {
    let x = call.dims(0)?;
    let [batch, channels, spatial @ ..] = x else {
        return contradiction(format!("input {} has no spatial axes", show(x)));
    };
    let axes = spatial.len();
    let Some(kernel) = list(call.op, "kernel_shape", axes, 1)? else {
        return contradiction("attribute 'kernel_shape' is missing");
    };
    let strides = list(call.op, "strides", axes, 1)?.unwrap_or_else(|| vec![1; axes]);
    let dilations = list(call.op, "dilations", axes, 1)?.unwrap_or_else(|| vec![1; axes]);
    let pads = list(call.op, "pads", 2 * axes, 0)?.unwrap_or_else(|| vec![0; 2 * axes]);
    let auto = auto_pad(call.op)?;
    let ceil = call.int("ceil_mode", 0)? != 0;
    let mut dims: Vec<Extent> = vec![*batch, *channels];
    for (axis, extent) in spatial.iter().enumerate() {
        let window = Window {
            kernel: kernel[axis],
            stride: strides[axis],
            dilation: dilations[axis],
            pads: (pads[axis], pads[axis + axes]),
        };
        let out = extent.map(|n| {
            window
                .output(auto, n, ceil)
                .filter(|n| *n > 0)
                .ok_or_else(|| Stop::Contradiction(format!("no output for input {}", show(x))))
        });
        dims.push(out.transpose()?);
    }
    let indices = Fact::new(Some(DType::I64), dims.clone());
    Ok(vec![Fact::new(call.dtype(0), dims), indices])
}

/// `GlobalAveragePool`, `GlobalMaxPool` (1, 22), `GlobalLpPool` (1, 2, 22), com.microsoft
/// `QLinearGlobalAveragePool` (also with channels last): spatial extents become 1.
pub(super) fn global(call: &Call<'_>) -> Inferred {
    let x = call.dims(0)?;
    let channels = if call.int("channels_last", 0)? != 0 {
        x.len().saturating_sub(1)
    } else {
        1
    };
    let dims = x
        .iter()
        .enumerate()
        .map(|(axis, n)| {
            if axis == 0 || axis == channels {
                *n
            } else {
                Some(1)
            }
        })
        .collect();
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

/// `MaxRoiPool` (1, 22) and `RoiAlign` (10 to 22): `[N, C, H, W]`, `[R, …] -> [R, C, h, w]`.
pub(super) fn regions(call: &Call<'_>) -> Inferred {
    let (x, regions) = (call.dims(0)?, call.dims(1)?);
    let [_, channels, _, _] = x else {
        return contradiction(format!("input {} is not of rank 4", show(x)));
    };
    let count = regions.first().copied().flatten();
    let (height, width) = match call.op.attribute("pooled_shape") {
        Some(AttributeValue::Ints(v)) if v.len() == 2 => (v[0], v[1]),
        Some(_) => return contradiction("attribute 'pooled_shape' is not two integers"),
        None => (call.int("output_height", 1)?, call.int("output_width", 1)?),
    };
    let extent = |name: &'static str, value: i64| {
        u64::try_from(value).map_err(|_| {
            let least = 0;
            Stop::from(ConvFault::Range { name, value, least })
        })
    };
    let dims = vec![
        count,
        *channels,
        Some(extent("output_height", height)?),
        Some(extent("output_width", width)?),
    ];
    Ok(vec![Fact::new(call.dtype(0), dims)])
}

#[cfg(test)]
mod tests {
    use crate::testing::{Op, f32s};

    #[test]
    fn windows() {
        let pool = || Op::new("MaxPool").input(f32s(&[1, 8, 7, 8])).outputs(2);
        let kernel = || {
            pool()
                .ints("kernel_shape", &[2, 2])
                .ints("strides", &[2, 2])
        };
        assert_eq!(kernel().infer(), "f32[1,8,3,4] i64[1,8,3,4]");
        assert_eq!(
            kernel().int("ceil_mode", 1).infer(),
            "f32[1,8,4,4] i64[1,8,4,4]"
        );
        assert_eq!(
            kernel().string("auto_pad", "SAME_UPPER").infer(),
            "f32[1,8,4,4] i64[1,8,4,4]"
        );
        assert_eq!(
            kernel().ints("dilations", &[3, 3]).infer(),
            "f32[1,8,2,3] i64[1,8,2,3]"
        );
        assert_eq!(
            Op::new("AveragePool")
                .input(f32s(&[1, 8, 7]))
                .ints("kernel_shape", &[3])
                .ints("pads", &[1, 1])
                .infer(),
            "f32[1,8,7]"
        );
        assert_eq!(
            pool().infer(),
            "node 'n' (MaxPool): attribute 'kernel_shape' is missing"
        );
        assert_eq!(
            pool().ints("kernel_shape", &[9, 1]).infer(),
            "node 'n' (MaxPool): no output for input [1,8,7,8]"
        );
        assert_eq!(
            pool().ints("kernel_shape", &[-1, 1]).infer(),
            "node 'n' (MaxPool): attribute 'kernel_shape' is -1, below 1"
        );
    }

    #[test]
    fn global_pools() {
        let x = || f32s(&[2, 8, 7, 9]);
        for op in ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"] {
            assert_eq!(Op::new(op).input(x()).infer(), "f32[2,8,1,1]");
        }
        let last = Op::new("QLinearGlobalAveragePool")
            .domain("com.microsoft")
            .int("channels_last", 1);
        assert_eq!(last.input(x()).infer(), "f32[2,1,1,9]");
    }

    #[test]
    fn regions() {
        let align = Op::new("RoiAlign")
            .input(f32s(&[1, 8, 50, 50]))
            .input(f32s(&[30, 4]));
        assert_eq!(
            align.int("output_height", 7).int("output_width", 6).infer(),
            "f32[30,8,7,6]"
        );
    }
}
