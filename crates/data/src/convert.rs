//! Conversions between element types.

use half::{bf16, f16};

use crate::array::{Element, typed};
use crate::dtype::Dtype;
use crate::error::DataError;

/// Runs `$body` with `$slice` bound to the elements of `$bytes`; bools are seen as u8.
macro_rules! each_dtype {
    ($dtype:expr, $bytes:expr, $slice:ident => $body:expr) => {
        match $dtype {
            Dtype::F32 => each_dtype!(@ f32, $bytes, $slice => $body),
            Dtype::F64 => each_dtype!(@ f64, $bytes, $slice => $body),
            Dtype::F16 => each_dtype!(@ f16, $bytes, $slice => $body),
            Dtype::Bf16 => each_dtype!(@ bf16, $bytes, $slice => $body),
            Dtype::U8 | Dtype::Bool => each_dtype!(@ u8, $bytes, $slice => $body),
            Dtype::I8 => each_dtype!(@ i8, $bytes, $slice => $body),
            Dtype::U16 => each_dtype!(@ u16, $bytes, $slice => $body),
            Dtype::I16 => each_dtype!(@ i16, $bytes, $slice => $body),
            Dtype::U32 => each_dtype!(@ u32, $bytes, $slice => $body),
            Dtype::I32 => each_dtype!(@ i32, $bytes, $slice => $body),
            Dtype::U64 => each_dtype!(@ u64, $bytes, $slice => $body),
            Dtype::I64 => each_dtype!(@ i64, $bytes, $slice => $body),
        }
    };
    (@ $t:ty, $bytes:expr, $slice:ident => $body:expr) => {{
        let $slice = typed::<$t>($bytes);
        $body
    }};
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

/// The elements of `bytes` as f32, rounded.
pub(crate) fn to_f32(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    each_dtype!(dtype, bytes, s => s.iter().map(|&x| Number::to_f64(x) as f32).collect())
}

/// The elements of `bytes` as i64; none for floats and for values that do not fit.
pub(crate) fn to_i64(dtype: Dtype, bytes: &[u8]) -> Option<Vec<i64>> {
    each_dtype!(dtype, bytes, s => {
        s.iter().map(|&x| x.to_i128().and_then(|v| i64::try_from(v).ok())).collect()
    })
}

/// f32 values as bytes of any dtype: integers round to nearest and saturate, a bool is "not 0".
pub(crate) fn from_f32(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    fn encode<T: Number>(values: &[f32]) -> Vec<u8> {
        let mut out = Vec::with_capacity(size_of_val(values).max(values.len() * size_of::<T>()));
        for &x in values {
            out.extend_from_slice(bytemuck::bytes_of(&T::from_f32(x).swap_if_big_endian()));
        }
        out
    }
    match dtype {
        Dtype::F32 => encode::<f32>(values),
        Dtype::F64 => encode::<f64>(values),
        Dtype::F16 => encode::<f16>(values),
        Dtype::Bf16 => encode::<bf16>(values),
        Dtype::U8 => encode::<u8>(values),
        Dtype::I8 => encode::<i8>(values),
        Dtype::U16 => encode::<u16>(values),
        Dtype::I16 => encode::<i16>(values),
        Dtype::U32 => encode::<u32>(values),
        Dtype::I32 => encode::<i32>(values),
        Dtype::U64 => encode::<u64>(values),
        Dtype::I64 => encode::<i64>(values),
        Dtype::Bool => values.iter().map(|&x| u8::from(x != 0.0)).collect(),
    }
}

/// True where values of `from` may stand for values of `to` as they are.
///
/// Floats stand for floats, integers and bools for anything (each value is
/// checked when it is read); a float never becomes an integer or a bool.
pub(crate) fn castable(from: Dtype, to: Dtype) -> bool {
    to.is_float() || !from.is_float()
}

/// The elements of `bytes` from one dtype to another; see [`castable`].
pub(crate) fn cast(from: Dtype, to: Dtype, bytes: &[u8]) -> Result<Vec<u8>, DataError> {
    if !castable(from, to) {
        return Err(DataError::array(format!("{to} elements"), from));
    }
    if to.is_float() {
        return Ok(each_dtype!(from, bytes, s => {
            let values = s.iter().map(|&x| Number::to_f64(x));
            match to {
                Dtype::F64 => encode_all(values),
                Dtype::F16 => encode_all(values.map(f16::from_f64)),
                Dtype::Bf16 => encode_all(values.map(bf16::from_f64)),
                _ => encode_all(values.map(|x| x as f32)),
            }
        }));
    }
    each_dtype!(from, bytes, s => {
        let values = s.iter().map(|&x| x.to_i128().unwrap_or(0));
        match to {
            Dtype::I8 => checked::<i8>(values),
            Dtype::U16 => checked::<u16>(values),
            Dtype::I16 => checked::<i16>(values),
            Dtype::U32 => checked::<u32>(values),
            Dtype::I32 => checked::<i32>(values),
            Dtype::U64 => checked::<u64>(values),
            Dtype::I64 => checked::<i64>(values),
            // bool: the range is checked by Array::new
            _ => checked::<u8>(values),
        }
    })
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
    use crate::{Array, Dtype};

    #[test]
    fn every_allowed_pair_keeps_small_integers() {
        for from in Dtype::ALL {
            let source = Array::from_slice(&[2], &[0u8, 1])
                .unwrap()
                .cast(from)
                .unwrap();
            for to in Dtype::ALL {
                let cast = source.clone().cast(to);
                let refused = from.is_float() && !to.is_float() && from != to;
                assert_eq!(cast.is_err(), refused, "{from} to {to}");
                if let Ok(cast) = cast {
                    assert_eq!(&*cast.as_f32(), &[0.0, 1.0], "{from} to {to}");
                }
            }
        }
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        let wide = Array::from_slice(&[1], &[300i64]).unwrap();
        let text = wide.clone().cast(Dtype::U8).unwrap_err().to_string();
        assert_eq!(text, "array: expected values within u8, found 300");
        assert!(wide.cast(Dtype::Bool).is_err());
        let big = Array::from_slice(&[1], &[u64::MAX]).unwrap();
        assert_eq!(big.as_i64(), None);
    }

    #[test]
    fn rounding_from_f32() {
        let bytes = super::from_f32(Dtype::U8, &[-3.0, 0.5, 1.5, 254.6, 999.0]);
        assert_eq!(bytes, [0, 0, 2, 255, 255]);
    }
}
