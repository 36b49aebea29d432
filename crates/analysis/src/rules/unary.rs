//! Operators whose first output has the shape of their first input.

use sepconv_ir::{AttributeValue, DType};

use super::{Call, Inferred, contradiction};
use crate::data::{self, rounded};
use crate::fact::Fact;

/// Activations and the like, any opset: shape and type of the first input. Elements are
/// propagated through `Neg`, `Abs`, `Not`, `Floor`, `Ceil`, `Round` and `Sqrt`.
pub(super) fn same(call: &Call<'_>) -> Inferred {
    let x = call.fact(0)?;
    let elements = x.data.as_ref().map(|elements| {
        let one = |s: &Option<_>| data::unary(&call.op.op_type, (*s)?).map(|v| rounded(v, x.dtype));
        elements.iter().map(one).collect()
    });
    let mut fact = x.clone();
    fact.data = None;
    Ok(vec![fact.with_data(elements)])
}

/// `Identity` (1 to 24).
pub(super) fn identity(call: &Call<'_>) -> Inferred {
    Ok(vec![call.fact(0)?.clone()])
}

/// `Dropout` (1 to 22): the input and the mask.
pub(super) fn dropout(call: &Call<'_>) -> Inferred {
    let x = call.fact(0)?;
    let mask = Fact {
        dtype: Some(DType::Bool),
        dims: x.dims.clone(),
        data: None,
    };
    Ok(vec![x.clone(), mask])
}

/// `Cast` (1 to 24; the type is a text in opset 1) and `CastLike` (15 to 24).
pub(super) fn cast(call: &Call<'_>) -> Inferred {
    let x = call.fact(0)?;
    let to = match call.op.attribute("to") {
        Some(AttributeValue::Int(code)) => i32::try_from(*code).ok().map(DType::from_code),
        Some(_) => None,
        None if call.op.op_type == "CastLike" => call.dtype(1),
        None => return contradiction("attribute 'to' is missing"),
    };
    let elements = to.and_then(|to| {
        let one = |s: &Option<_>| data::cast((*s)?, to).map(|v| rounded(v, Some(to)));
        Some(x.data.as_ref()?.iter().map(one).collect())
    });
    let fact = Fact {
        dtype: to,
        dims: x.dims.clone(),
        data: None,
    };
    Ok(vec![fact.with_data(elements)])
}

/// `IsNaN` (9 to 20), `IsInf` (10, 20): booleans.
pub(super) fn predicate(call: &Call<'_>) -> Inferred {
    retyped(call, Some(DType::Bool))
}

/// `Bernoulli` (15, 22), `EyeLike` (9, 22), `RandomNormalLike`, `RandomUniformLike` (1, 22): the
/// type is the attribute `dtype`, else that of the input.
pub(super) fn like(call: &Call<'_>) -> Inferred {
    let dtype = match call.int("dtype", 0)? {
        0 => call.dtype(0),
        code => i32::try_from(code).ok().map(DType::from_code),
    };
    retyped(call, dtype)
}

/// `QuantizeLinear` (10 to 24): the type of the zero point, else `output_dtype`, else u8.
pub(super) fn quantize(call: &Call<'_>) -> Inferred {
    let declared = match call.int("output_dtype", 0)? {
        0 => DType::U8,
        code => i32::try_from(code).map_or(DType::Other(-1), DType::from_code),
    };
    let dtype = if call.has(2) {
        call.dtype(2)
    } else {
        Some(declared)
    };
    retyped(call, dtype)
}

/// `DequantizeLinear` (10 to 24): the type of the scale.
pub(super) fn dequantize(call: &Call<'_>) -> Inferred {
    retyped(call, call.dtype(1))
}

/// `DynamicQuantizeLinear` (11): the quantized tensor, its scale and its zero point.
pub(super) fn dynamic_quantize(call: &Call<'_>) -> Inferred {
    let mut facts = retyped(call, Some(DType::U8))?;
    facts.push(Fact::fixed(DType::F32, &[]));
    facts.push(Fact::fixed(DType::U8, &[]));
    Ok(facts)
}

fn retyped(call: &Call<'_>, dtype: Option<DType>) -> Inferred {
    Ok(vec![Fact {
        dtype,
        dims: call.fact(0)?.dims.clone(),
        data: None,
    }])
}

#[cfg(test)]
mod tests {
    use sepconv_ir::{DType, Tensor};

    use crate::testing::{Op, f32s, fixed, i64s};

    #[test]
    fn activations_keep_the_shape() {
        for op in ["Relu", "Clip", "Softmax", "HardSwish", "Erf", "LeakyRelu"] {
            assert_eq!(Op::new(op).input(f32s(&[2, 3])).infer(), "f32[2,3]");
        }
        let selu = Op::new("Selu").constant(i64s(&[1, 2]));
        assert_eq!(selu.contents(), "? ?");
    }

    #[test]
    fn contents_of_shape_arithmetic() {
        let floats = |v: &[f32]| Tensor::from_f32(vec![v.len()], v.to_vec());
        assert_eq!(Op::new("Neg").constant(i64s(&[1, -2])).contents(), "-1 2");
        assert_eq!(
            Op::new("Floor").constant(floats(&[1.5, -1.5])).contents(),
            "1. -2."
        );
        assert_eq!(
            Op::new("Ceil").constant(floats(&[1.5, -1.5])).contents(),
            "2. -1."
        );
        let cast = Op::new("Cast").constant(floats(&[7.9])).int("to", 7);
        assert_eq!(cast.contents(), "7");
        assert_eq!(Op::new("Identity").constant(i64s(&[4])).contents(), "4");
    }

    #[test]
    fn types_change() {
        let cast = |to| Op::new("Cast").input(f32s(&[2])).int("to", to);
        assert_eq!(cast(10).infer(), "f16[2]");
        assert_eq!(cast(i64::MAX).infer(), "?[2]");
        assert_eq!(
            Op::new("Cast").input(f32s(&[2])).infer(),
            "node 'n' (Cast): attribute 'to' is missing"
        );
        assert_eq!(Op::new("IsNaN").input(f32s(&[2])).infer(), "bool[2]");
        let like = |to| Op::new("Bernoulli").input(f32s(&[2])).int("dtype", to);
        assert_eq!(like(11).infer(), "f64[2]");
        assert_eq!(like(0).infer(), "f32[2]");
        let dropout = Op::new("Dropout").input(f32s(&[2])).outputs(2);
        assert_eq!(dropout.infer(), "f32[2] bool[2]");
    }

    #[test]
    fn quantization() {
        let quantize = || {
            Op::new("QuantizeLinear")
                .input(f32s(&[2, 3]))
                .input(f32s(&[]))
        };
        assert_eq!(quantize().infer(), "u8[2,3]");
        assert_eq!(quantize().input(fixed(DType::I8, &[])).infer(), "i8[2,3]");
        let back = Op::new("DequantizeLinear")
            .input(fixed(DType::I8, &[2]))
            .input(f32s(&[]));
        assert_eq!(back.infer(), "f32[2]");
        let dynamic = Op::new("DynamicQuantizeLinear")
            .input(f32s(&[2]))
            .outputs(3);
        assert_eq!(dynamic.infer(), "u8[2] f32[] u8[]");
    }
}
