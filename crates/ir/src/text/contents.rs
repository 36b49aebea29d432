//! Contents of tensors.

use half::{bf16, f16};

use crate::tensor::Tensor;
use crate::types::DType;

/// Tensors of at most so many elements are written out.
pub(super) const LISTED: usize = 32;

/// Tensors of at most so many elements are made by `fill` and `noise`.
const LARGEST: usize = 1 << 28;

/// Seeds below this are found again from the elements.
const SEEDS: u64 = 1 << 16;

/// The elements as they are written; `None` for types that are not read.
pub(super) fn elements(tensor: &Tensor) -> Option<Vec<String>> {
    fn list<T: ToString>(values: &[T]) -> Vec<String> {
        values.iter().map(ToString::to_string).collect()
    }
    if tensor.dtype().is_float() {
        return Some(match tensor.dtype() {
            DType::F64 => tensor.to_f64()?.iter().map(|v| format!("{v:?}")).collect(),
            _ => tensor.to_f32()?.iter().map(|v| format!("{v:?}")).collect(),
        });
    }
    match tensor.as_slice::<u64>() {
        Some(values) => Some(list(&values)),
        None => Some(list(&tensor.to_i64()?)),
    }
}

/// The contents as they are written: those of small tensors, and of larger ones the form that
/// says them all, if there is one.
pub(super) fn written(tensor: &Tensor) -> Option<String> {
    tensor.data()?;
    if tensor.len() <= LISTED {
        return Some(format!("[{}]", elements(tensor)?.join(", ")));
    }
    let size = tensor.dtype().size()?;
    let data = tensor.data()?;
    let first = Tensor::new(tensor.dtype(), vec![1], data.slice(..size))?;
    if data
        .chunks(size)
        .all(|element| Some(element) == first.data().map(|d| &d[..]))
    {
        return Some(format!("fill({})", elements(&first)?.pop()?));
    }
    let wanted = *first.to_f64()?.first()?;
    let mut seeds = (0..SEEDS).filter(|seed| rounded(tensor.dtype(), drawn(*seed, 0)) == wanted);
    let seed = seeds.find(|s| noise(tensor.dtype(), tensor.dims(), *s).as_ref() == Some(tensor));
    Some(format!("noise({})", seed?))
}

/// A float as its type holds it.
fn rounded(dtype: DType, value: f32) -> f64 {
    f64::from(match dtype {
        DType::F16 => f16::from_f32(value).to_f32(),
        DType::BF16 => bf16::from_f32(value).to_f32(),
        _ => value,
    })
}

/// A tensor of elements as they are written; `None` where one is no number of the type.
pub(super) fn listed(dtype: DType, dims: Vec<usize>, elements: &[&str]) -> Option<Tensor> {
    let mut data = Vec::new();
    if matches!(dtype, DType::I4 | DType::U4) {
        let values = elements.iter().map(|text| text.parse().ok());
        return Tensor::from_i64s(dtype, dims, &values.collect::<Option<Vec<i64>>>()?);
    }
    for text in elements {
        data.extend(encoded(dtype, text)?);
    }
    Tensor::new(dtype, dims, data.into())
}

/// The number of elements, where so many can be made.
pub(super) fn count(dims: &[usize]) -> Option<usize> {
    let count = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
    (count <= LARGEST).then_some(count)
}

/// A tensor of one element all over. `None` for an element that is no number of the type, and for
/// too many of them.
pub(super) fn fill(dtype: DType, dims: &[usize], element: &str) -> Option<Tensor> {
    let count = count(dims)?;
    let one = encoded(dtype, element)?;
    Tensor::new(dtype, dims.to_vec(), one.repeat(count).into())
}

/// Seeded floats, uniform from -1 to 1. `None` for other types, and for too many.
pub(super) fn noise(dtype: DType, dims: &[usize], seed: u64) -> Option<Tensor> {
    let count = count(dims)?;
    let values = (0..count as u64).map(|i| drawn(seed, i));
    Tensor::from_floats(dtype, dims.to_vec(), values.collect())
}

/// Number `i` of a seed, by SplitMix64, of which the upper bits make an f32 without rounding.
fn drawn(seed: u64, i: u64) -> f32 {
    let mut z = (seed << 32 | i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ z >> 31) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// The bytes of a number as it is written.
fn encoded(dtype: DType, text: &str) -> Option<Vec<u8>> {
    macro_rules! bytes {
        ($t:ty) => {
            text.parse::<$t>().ok()?.to_le_bytes().to_vec()
        };
    }
    Some(match dtype {
        DType::F32 => bytes!(f32),
        DType::F64 => bytes!(f64),
        DType::F16 => f16::from_f32(text.parse().ok()?).to_le_bytes().to_vec(),
        DType::BF16 => bf16::from_f32(text.parse().ok()?).to_le_bytes().to_vec(),
        DType::U8 | DType::Bool => bytes!(u8),
        DType::I8 => bytes!(i8),
        DType::U16 => bytes!(u16),
        DType::I16 => bytes!(i16),
        DType::U32 => bytes!(u32),
        DType::I32 => bytes!(i32),
        DType::U64 => bytes!(u64),
        DType::I64 => bytes!(i64),
        _ => return None,
    })
}
