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
    let first = first(tensor)?;
    let one = elements(&first)?.pop()?;
    if fill(tensor.dtype(), tensor.dims(), &one).as_ref() == Some(tensor) {
        return Some(format!("fill({one})"));
    }
    let floats = tensor.dtype().is_float();
    let seeds = (0..SEEDS).filter(|_| floats);
    let mut seeds = seeds.filter(|s| noise(tensor.dtype(), &[1], *s).as_ref() == Some(&first));
    let seed = seeds.find(|s| noise(tensor.dtype(), tensor.dims(), *s).as_ref() == Some(tensor));
    Some(format!("noise({})", seed?))
}

/// The first element, as a tensor of one.
fn first(tensor: &Tensor) -> Option<Tensor> {
    let data = tensor.data()?;
    let size = tensor.dtype().size()?;
    Tensor::new(tensor.dtype(), vec![1], data.slice(..size))
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
    let values = (0..count as u64).map(|i| {
        // SplitMix64, of which the upper bits make an f32 without rounding.
        let mut z = (seed << 32 | i).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) >> 40) as f32 / (1 << 23) as f32 - 1.0
    });
    Tensor::from_floats(dtype, dims.to_vec(), values.collect())
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
