//! Convolutions.

use sepconv_ir::DType;

use super::call::show;
use super::{Call, Inferred, Stop, contradiction};
use crate::conv::ConvAttributes;
use crate::fact::{Extent, Fact};

/// `Conv` (1, 11, 22), `ConvTranspose` (1, 11, 22), `ConvInteger` (10), `QLinearConv` (10),
/// `DeformConv` (19), com.microsoft `FusedConv`: `[N, Ci, …] * [Co, Ci/g, k…] -> [N, Co, …]`.
pub(super) fn conv(call: &Call<'_>) -> Inferred {
    let quantized = call.op.op_type == "QLinearConv";
    let x = call.dims(0)?;
    let weight: Vec<usize> = call
        .extents(if quantized { 3 } else { 1 })?
        .iter()
        .map(|n| usize::try_from(*n).map_err(|_| Stop::Unknown))
        .collect::<Result<_, _>>()?;
    let attributes = ConvAttributes::read(call.op, &weight).map_err(|e| Stop::from(e.reason))?;
    let (batch, channels, spatial) = match x {
        [batch, channels, spatial @ ..] if x.len() == weight.len() => (*batch, *channels, spatial),
        _ => {
            let (x, rank) = (show(x), weight.len());
            return contradiction(format!("input {x} and a weight of rank {rank}"));
        }
    };
    let expected = attributes.in_channels;
    if let Some(found) = channels.filter(|c| *c != expected) {
        return contradiction(format!("input of {found} channels, weight for {expected}"));
    }
    let mut dims: Vec<Extent> = vec![batch, Some(attributes.out_channels)];
    for (axis, extent) in spatial.iter().enumerate() {
        let out = extent.map(|n| {
            attributes
                .output_extent(axis, n)
                .ok_or_else(|| Stop::Contradiction(format!("no output for input {}", show(x))))
        });
        dims.push(out.transpose()?);
    }
    let dtype = match call.op.op_type.as_str() {
        "ConvInteger" => Some(DType::I32),
        "QLinearConv" => call.dtype(7).or(call.dtype(0)),
        _ => call.dtype(0),
    };
    Ok(vec![Fact::new(dtype, dims)])
}

#[cfg(test)]
mod tests {
    use sepconv_ir::DType;

    use crate::testing::{Op, f32s, fixed, zeros};

    #[test]
    fn convolutions() {
        let conv = || Op::new("Conv").input(f32s(&[2, 6, 9, 8]));
        let w = zeros(&[4, 6, 3, 3]);
        assert_eq!(conv().constant(w.clone()).infer(), "f32[2,4,7,6]");
        let strided = conv()
            .constant(w.clone())
            .ints("strides", &[2, 1])
            .ints("pads", &[1, 0, 1, 0]);
        assert_eq!(strided.infer(), "f32[2,4,5,6]");
        let grouped = conv().constant(zeros(&[4, 3, 3, 3])).int("group", 2);
        assert_eq!(grouped.infer(), "f32[2,4,7,6]");
        let same = conv()
            .constant(w)
            .ints("strides", &[2, 2])
            .string("auto_pad", "SAME_LOWER");
        assert_eq!(same.infer(), "f32[2,4,5,4]");
    }

    #[test]
    fn transposed() {
        let op = Op::new("ConvTranspose")
            .input(f32s(&[1, 6, 5, 5]))
            .constant(zeros(&[6, 4, 3, 3]))
            .ints("strides", &[2, 2])
            .ints("pads", &[1, 1, 1, 1])
            .ints("output_padding", &[1, 1]);
        assert_eq!(op.infer(), "f32[1,4,10,10]");
    }

    #[test]
    fn quantized() {
        let scale = || f32s(&[]);
        let zero = || fixed(DType::U8, &[]);
        let op = Op::new("QLinearConv")
            .input(fixed(DType::U8, &[1, 3, 8, 8]))
            .input(scale())
            .input(zero())
            .input(fixed(DType::I8, &[4, 3, 1, 1]))
            .input(scale())
            .input(zero())
            .input(scale())
            .input(fixed(DType::I8, &[]));
        assert_eq!(op.infer(), "i8[1,4,8,8]");
        let op = Op::new("ConvInteger")
            .input(fixed(DType::U8, &[1, 3, 8, 8]))
            .input(fixed(DType::U8, &[4, 3, 1, 1]));
        assert_eq!(op.infer(), "i32[1,4,8,8]");
    }

    #[test]
    fn misfits_are_contradictions() {
        let conv = |x: &[u64]| {
            Op::new("Conv")
                .input(f32s(x))
                .constant(zeros(&[4, 6, 3, 3]))
        };
        assert_eq!(
            conv(&[1, 5, 9, 9]).infer(),
            "node 'n' (Conv): input of 5 channels, weight for 6"
        );
        assert_eq!(
            conv(&[1, 6, 2, 9]).infer(),
            "node 'n' (Conv): no output for input [1,6,2,9]"
        );
        assert_eq!(
            conv(&[1, 6, 9]).infer(),
            "node 'n' (Conv): input [1,6,9] and a weight of rank 4"
        );
        assert_eq!(
            conv(&[1, 6, 9, 9]).ints("strides", &[0, 0]).infer(),
            "node 'n' (Conv): attribute 'strides' is 0, below 1"
        );
        assert_eq!(
            conv(&[1, 6, u64::MAX, 9])
                .ints("pads", &[i64::MAX, 0, i64::MAX, 0])
                .infer(),
            "node 'n' (Conv): no output for input [1,6,18446744073709551615,9]"
        );
        assert_eq!(Op::new("Conv").infer(), "unknown");
    }
}
