//! Conversions between element types.

use std::borrow::Cow;

use half::{bf16, f16};
use sepconv_ir::{DType, Element, Tensor};

use crate::dense::{bytes_of, dense};
use crate::error::DataError;

/// Runs `$body` with `$slice` bound to the elements of `$tensor` (bools are seen as u8), which is
/// `None` for a tensor of neither numbers nor bools.
macro_rules! each_dtype {
    ($tensor:expr, $slice:ident => $body:expr) => {
        match $tensor.dtype() {
            DType::F32 => each_dtype!(@ f32, $tensor, $slice => $body),
            DType::F64 => each_dtype!(@ f64, $tensor, $slice => $body),
            DType::F16 => each_dtype!(@ f16, $tensor, $slice => $body),
            DType::BF16 => each_dtype!(@ bf16, $tensor, $slice => $body),
            DType::U8 => each_dtype!(@ u8, $tensor, $slice => $body),
            DType::I8 => each_dtype!(@ i8, $tensor, $slice => $body),
            DType::U16 => each_dtype!(@ u16, $tensor, $slice => $body),
            DType::I16 => each_dtype!(@ i16, $tensor, $slice => $body),
            DType::U32 => each_dtype!(@ u32, $tensor, $slice => $body),
            DType::I32 => each_dtype!(@ i32, $tensor, $slice => $body),
            DType::U64 => each_dtype!(@ u64, $tensor, $slice => $body),
            DType::I64 => each_dtype!(@ i64, $tensor, $slice => $body),
            DType::Bool => {
                let $slice = bytes_of($tensor);
                Some($body)
            }
            _ => None,
        }
    };
    (@ $t:ty, $tensor:expr, $slice:ident => $body:expr) => {
        $tensor.as_slice::<$t>().map(|$slice| $body)
    };
}

/// A number on its way from one dtype to another: exact either way.
trait Number: Element {
    fn to_f64(self) -> f64;
    fn to_i128(self) -> Option<i128>;
    /// Rounded to the nearest representable value; integers saturate, NaN becomes 0.
    fn from_f32(x: f32) -> Self;
}

macro_rules! number {
    (float $($t:ty, $from32:expr;)*) => {$(
        impl Number for $t {
            fn to_f64(self) -> f64 { self.into() }
            fn to_i128(self) -> Option<i128> { None }
            fn from_f32(x: f32) -> Self { $from32(x) }
        }
    )*};
    (int $($t:ty)*) => {$(
        impl Number for $t {
            fn to_f64(self) -> f64 { self as f64 }
            fn to_i128(self) -> Option<i128> { Some(self.into()) }
            fn from_f32(x: f32) -> Self { x.round_ties_even() as $t }
        }
    )*};
}

number! { float
    f32, |x| x;
    f64, f64::from;
    f16, f16::from_f32;
    bf16, bf16::from_f32;
}
number! { int u8 i8 u16 i16 u32 i32 u64 i64 }

/// The elements of numbers or bools as f32, rounded.
pub(crate) fn to_f32(tensor: &Tensor) -> Option<Cow<'_, [f32]>> {
    if let Some(slice) = tensor.as_slice::<f32>() {
        return Some(slice);
    }
    let values = each_dtype!(tensor, s => s.iter().map(|&x| Number::to_f64(x) as f32).collect());
    values.map(Cow::Owned)
}

/// The elements as i64; none for floats and for values that do not fit.
pub(crate) fn to_i64(tensor: &Tensor) -> Option<Vec<i64>> {
    each_dtype!(tensor, s => {
        s.iter().map(|&x| x.to_i128().and_then(|v| i64::try_from(v).ok())).collect()
    })?
}

/// f32 values as bytes of numbers or bools: integers round to nearest and saturate, a bool is
/// "not 0".
pub(crate) fn from_f32(dtype: DType, values: &[f32]) -> Vec<u8> {
    fn encode<T: Number>(values: &[f32]) -> Vec<u8> {
        let mut out = Vec::with_capacity(size_of_val(values).max(values.len() * size_of::<T>()));
        for &x in values {
            out.extend_from_slice(bytemuck::bytes_of(&T::from_f32(x).swap_if_big_endian()));
        }
        out
    }
    match dtype {
        DType::F32 => encode::<f32>(values),
        DType::F64 => encode::<f64>(values),
        DType::F16 => encode::<f16>(values),
        DType::BF16 => encode::<bf16>(values),
        DType::U8 => encode::<u8>(values),
        DType::I8 => encode::<i8>(values),
        DType::U16 => encode::<u16>(values),
        DType::I16 => encode::<i16>(values),
        DType::U32 => encode::<u32>(values),
        DType::I32 => encode::<i32>(values),
        DType::U64 => encode::<u64>(values),
        DType::I64 => encode::<i64>(values),
        DType::Bool => values.iter().map(|&x| u8::from(x != 0.0)).collect(),
        _ => Vec::new(),
    }
}

/// True where values of `from` may stand for values of `to` as they are.
///
/// Floats stand for floats, integers and bools for anything (each value is
/// checked when it is read); a float never becomes an integer or a bool.
pub(crate) fn castable(from: DType, to: DType) -> bool {
    to.is_float() || !from.is_float()
}

/// The same values in another dtype; see [`castable`]. Floats round to nearest.
///
/// # Errors
/// [`DataError::Array`] for a float made an integer or a bool, an integer that does not fit, and
/// one other than 0 and 1 made a bool.
pub(crate) fn cast(tensor: Tensor, to: DType) -> Result<Tensor, DataError> {
    let from = tensor.dtype();
    if from == to {
        return Ok(tensor);
    }
    let refused = || DataError::array(format!("{to} elements"), from);
    if !castable(from, to) {
        return Err(refused());
    }
    let bytes = if to.is_float() {
        each_dtype!(&tensor, s => {
            let values = s.iter().map(|&x| Number::to_f64(x));
            Ok(match to {
                DType::F64 => encode_all(values),
                DType::F16 => encode_all(values.map(f16::from_f64)),
                DType::BF16 => encode_all(values.map(bf16::from_f64)),
                _ => encode_all(values.map(|x| x as f32)),
            })
        })
    } else {
        each_dtype!(&tensor, s => {
            let values = s.iter().map(|&x| x.to_i128().unwrap_or(0));
            match to {
                DType::I8 => checked::<i8>(values),
                DType::U16 => checked::<u16>(values),
                DType::I16 => checked::<i16>(values),
                DType::U32 => checked::<u32>(values),
                DType::I32 => checked::<i32>(values),
                DType::U64 => checked::<u64>(values),
                DType::I64 => checked::<i64>(values),
                // Of bools, `dense` checks the range.
                _ => checked::<u8>(values),
            }
        })
    };
    dense(to, tensor.dims().to_vec(), bytes.ok_or_else(refused)??)
}

fn encode_all<T: Element>(values: impl Iterator<Item = T>) -> Vec<u8> {
    let mut out = Vec::new();
    for value in values {
        out.extend_from_slice(bytemuck::bytes_of(&value.swap_if_big_endian()));
    }
    out
}

fn checked<T: Element + TryFrom<i128>>(
    values: impl Iterator<Item = i128>,
) -> Result<Vec<u8>, DataError> {
    let mut out = Vec::new();
    for value in values {
        let narrow = T::try_from(value)
            .map_err(|_| DataError::array(format!("values within {}", T::DTYPE), value))?;
        out.extend_from_slice(bytemuck::bytes_of(&narrow.swap_if_big_endian()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [DType; 13] = [
        DType::F32,
        DType::F64,
        DType::F16,
        DType::BF16,
        DType::U8,
        DType::I8,
        DType::U16,
        DType::I16,
        DType::U32,
        DType::I32,
        DType::U64,
        DType::I64,
        DType::Bool,
    ];

    #[test]
    fn every_allowed_pair_keeps_small_integers() {
        for from in ALL {
            let source = Tensor::from_slice(&[2], &[0u8, 1]).unwrap();
            let source = cast(source, from).unwrap();
            for to in ALL {
                let result = cast(source.clone(), to);
                let refused = from.is_float() && !to.is_float() && from != to;
                assert_eq!(result.is_err(), refused, "{from} to {to}");
                if let Ok(result) = result {
                    assert_eq!(&*to_f32(&result).unwrap(), &[0.0, 1.0], "{from} to {to}");
                }
            }
        }
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        let wide = Tensor::from_slice(&[1], &[300i64]).unwrap();
        let text = cast(wide.clone(), DType::U8).unwrap_err().to_string();
        assert_eq!(text, "array: expected values within u8, found 300");
        assert!(cast(wide, DType::Bool).is_err());
        let big = Tensor::from_slice(&[1], &[u64::MAX]).unwrap();
        assert_eq!(to_i64(&big), None);
        let text = Tensor::opaque(DType::String, vec![1]);
        assert_eq!((to_i64(&text), to_f32(&text)), (None, None));
        assert!(cast(text, DType::F32).is_err());
    }

    #[test]
    fn rounding_from_f32() {
        let bytes = from_f32(DType::U8, &[-3.0, 0.5, 1.5, 254.6, 999.0]);
        assert_eq!(bytes, [0, 0, 2, 255, 255]);
    }
}
