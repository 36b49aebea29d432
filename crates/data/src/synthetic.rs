//! Seeded random inputs.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use sepconv_ir::{DType, Tensor};

use crate::convert;
use crate::dense::{count, dense, width};
use crate::draw::below;
use crate::error::DataError;
use crate::planes::Planes;
use crate::request::InputSpec;

/// The range of random integers: 0 to one less.
pub const INT_RANGE: u64 = 8;

/// The amplitude of synthetic floats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyntheticKind {
    /// Zero mean and unit variance.
    #[default]
    Normal,
    /// 0 to 1: a half plus a quarter of the normal value, clipped.
    Unit,
    /// 0 to 255 in whole numbers, as in 8-bit pictures: 255 times the unit value, rounded.
    Byte,
}

impl SyntheticKind {
    fn amplitude(self, x: f64) -> f64 {
        let unit = || (0.5 + 0.25 * x).clamp(0.0, 1.0);
        match self {
            SyntheticKind::Normal => x,
            SyntheticKind::Unit => unit(),
            SyntheticKind::Byte => (255.0 * unit()).round(),
        }
    }
}

/// Random inputs for a model, one array [samples, dims[1..]] per input.
///
/// Floats of rank 4 are picture-like: per channel an independent field that
/// sums octaves of white noise (cells of 1, 2, 4, ... pixels up to the larger
/// side, bilinearly upsampled) with equal weights, an approximate 1/f
/// amplitude spectrum; each pixel is standard normal before the amplitude of
/// `kind`. u8 of rank 4 is such a field with [`SyntheticKind::Byte`]. Other
/// floats are white Gaussian noise with the amplitude of `kind`. Other
/// integers are uniform in `0..INT_RANGE`, bools are fair coins. Indices stay
/// within [`InputSpec::indices`] too.
///
/// Every sample of every input has a ChaCha8 stream of its own and only basic
/// IEEE arithmetic is used: the bytes depend on the specs and the seed alone,
/// not on threads, platform or the number of samples.
///
/// # Errors
/// [`DataError::Input`] when an axis other than the first is free, an input is
/// a scalar, or the array would not fit in memory.
pub fn synthetic(
    specs: &[InputSpec],
    samples: usize,
    seed: u64,
    kind: SyntheticKind,
) -> Result<Vec<Tensor>, DataError> {
    let inputs = specs.iter().enumerate();
    inputs
        .map(|(index, spec)| one_input(index as u64, spec, samples, seed, kind))
        .collect()
}

fn one_input(
    index: u64,
    spec: &InputSpec,
    samples: usize,
    seed: u64,
    kind: SyntheticKind,
) -> Result<Tensor, DataError> {
    let wrong = |expected: &str| DataError::input(&spec.name, expected, spec.shape_text());
    let axes = spec
        .dims
        .get(1..)
        .ok_or_else(|| wrong("a first axis for the batch"))?;
    spec.check_dtype()?;
    let mut shape = vec![samples];
    for axis in axes {
        shape.push(axis.ok_or_else(|| wrong("fixed axes after the first"))?);
    }
    let size = count(&shape[1..]).ok_or_else(|| wrong("a sample that fits in memory"))?;
    let total = count(&shape).ok_or_else(|| wrong("samples that fit in memory"))?;
    let mut bytes: Vec<u8> = Vec::new();
    bytes
        .try_reserve_exact(total * width(spec.dtype))
        .map_err(|_| wrong("samples that fit in memory"))?;
    bytes.resize(total * width(spec.dtype), 0);
    let row = size * width(spec.dtype);
    bytes
        .par_chunks_exact_mut(row.max(1))
        .enumerate()
        .for_each(|(sample, out)| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream((index << 40) + sample as u64);
            out.copy_from_slice(&one_sample(&mut rng, spec, &shape[1..], kind));
        });
    dense(spec.dtype, shape, bytes)
}

fn one_sample(
    rng: &mut ChaCha8Rng,
    spec: &InputSpec,
    shape: &[usize],
    kind: SyntheticKind,
) -> Vec<u8> {
    let (size, dtype) = (shape.iter().product::<usize>(), spec.dtype);
    let mut normal = Normal::default();
    if let (true, Some(indices)) = (dtype.is_int(), &spec.indices) {
        // From 0 where that is an index.
        let start = indices.start.max(0).min(indices.end - 1);
        let count = (indices.end - start).unsigned_abs().clamp(1, INT_RANGE);
        let values: Vec<f32> = (0..size)
            .map(|_| start as f32 + below(rng, count) as f32)
            .collect();
        return convert::from_f32(dtype, &values);
    }
    let layout = spec.layout_or(None);
    match (dtype, layout.planar(shape)) {
        (
            DType::F32 | DType::F64 | DType::F16 | DType::BF16 | DType::U8,
            Some([channels, h, w]),
        ) => {
            let kind = match dtype {
                DType::U8 => SyntheticKind::Byte,
                _ => kind,
            };
            let planes = Planes {
                channels,
                height: h,
                width: w,
                data: (0..channels)
                    .flat_map(|_| field(rng, &mut normal, h, w))
                    .map(|x| kind.amplitude(x) as f32)
                    .collect(),
            };
            planes.bytes(dtype, layout)
        }
        _ => {
            let mut value = || match dtype {
                _ if dtype.is_float() => kind.amplitude(normal.next(rng)) as f32,
                DType::Bool => below(rng, 2) as f32,
                _ => below(rng, INT_RANGE) as f32,
            };
            let values: Vec<f32> = (0..size).map(|_| value()).collect();
            convert::from_f32(dtype, &values)
        }
    }
}

/// Standard normal numbers by the polar method, two at a time.
#[derive(Default)]
struct Normal {
    spare: Option<f64>,
}

impl Normal {
    fn next(&mut self, rng: &mut ChaCha8Rng) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let mut uniform = || (rng.next_u64() >> 11) as f64 * (2.0 / (1u64 << 53) as f64) - 1.0;
        loop {
            let (u, v) = (uniform(), uniform());
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                let factor = (-2.0 * ln(s) / s).sqrt();
                self.spare = Some(v * factor);
                return u * factor;
            }
        }
    }
}

/// The natural logarithm of a positive normal number from basic arithmetic
/// alone: the system's own differs in the last bit between platforms.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mut m = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    if m > std::f64::consts::SQRT_2 {
        m /= 2.0;
        exponent += 1;
    }
    let s = (m - 1.0) / (m + 1.0);
    let (mut sum, mut power) = (0.0, s);
    for k in 0..14 {
        sum += power / f64::from(2 * k + 1);
        power *= s * s;
    }
    2.0 * sum + exponent as f64 * std::f64::consts::LN_2
}

/// A field of `h` by `w` pixels, each standard normal, correlated in space.
fn field(rng: &mut ChaCha8Rng, normal: &mut Normal, h: usize, w: usize) -> Vec<f64> {
    let mut sum = vec![0.0; h * w];
    let (mut cell, mut octaves) = (1usize, 0u32);
    while cell <= h.max(w) {
        let (rows, columns) = ((h - 1) / cell + 2, (w - 1) / cell + 2);
        let grid: Vec<f64> = (0..rows * columns).map(|_| normal.next(rng)).collect();
        for y in 0..h {
            let (top, fy) = (y / cell, (y % cell) as f64 / cell as f64);
            for x in 0..w {
                let (left, fx) = (x / cell, (x % cell) as f64 / cell as f64);
                let at = |i: usize, j: usize| grid[(top + i) * columns + left + j];
                let upper = (1.0 - fx) * at(0, 0) + fx * at(0, 1);
                let lower = (1.0 - fx) * at(1, 0) + fx * at(1, 1);
                let variance = |f: f64| (1.0 - f) * (1.0 - f) + f * f;
                sum[y * w + x] +=
                    ((1.0 - fy) * upper + fy * lower) / (variance(fy) * variance(fx)).sqrt();
            }
        }
        cell *= 2;
        octaves += 1;
    }
    let norm = f64::from(octaves.max(1)).sqrt();
    sum.iter_mut().for_each(|x| *x /= norm);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(dtype: DType, dims: &[usize]) -> InputSpec {
        let mut dims: Vec<Option<usize>> = dims.iter().map(|&d| Some(d)).collect();
        dims.insert(0, None);
        InputSpec::new("x", dtype, dims)
    }

    fn draw(dtype: DType, dims: &[usize], samples: usize, kind: SyntheticKind) -> Tensor {
        synthetic(&[spec(dtype, dims)], samples, 5, kind)
            .unwrap()
            .remove(0)
    }

    /// Mean and variance.
    fn moments(x: &[f32]) -> (f64, f64) {
        let n = x.len() as f64;
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
        let square = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n;
        (mean, square - mean * mean)
    }

    #[test]
    fn own_logarithm() {
        for x in [1e-300, 1e-9, 0.3, 0.5, 0.71, 0.99999, 1.0, 1.5, 7.0] {
            let error = (ln(x) - f64::ln(x)).abs();
            assert!(error <= 1e-15 * f64::ln(x).abs().max(1e-1), "{x}: {error}");
        }
    }

    #[test]
    fn pictures_are_standard_and_smooth() {
        let array = draw(DType::F32, &[3, 32, 24], 200, SyntheticKind::Normal);
        let x = array.to_f32().unwrap();
        let (mean, variance) = moments(&x);
        assert!(
            mean.abs() < 0.05 && (variance - 1.0).abs() < 0.08,
            "{mean} {variance}"
        );
        let lag = |d: usize| {
            let rows = x.chunks_exact(24);
            let pairs: Vec<f64> = rows
                .flat_map(|r| (0..24 - d).map(|i| f64::from(r[i]) * f64::from(r[i + d])))
                .collect();
            pairs.iter().sum::<f64>() / pairs.len() as f64
        };
        assert!(lag(1) > 0.6 && lag(1) < 0.9, "{}", lag(1));
        assert!(lag(8) > 0.1 && lag(8) < lag(2), "{}", lag(8));
    }

    #[test]
    fn the_rest_is_white_or_uniform() {
        let array = draw(DType::F32, &[50], 400, SyntheticKind::Normal);
        let x = array.to_f32().unwrap();
        let (mean, variance) = moments(&x);
        assert!(
            mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05,
            "{mean} {variance}"
        );
        let lag = x.windows(2).map(|p| f64::from(p[0] * p[1])).sum::<f64>() / x.len() as f64;
        assert!(lag.abs() < 0.03, "{lag}");
        let ints = draw(DType::I64, &[50], 40, SyntheticKind::Normal)
            .to_i64()
            .unwrap();
        assert!((0..8).all(|v| ints.contains(&v)) && ints.iter().all(|v| (0..8).contains(v)));
        let coins = draw(DType::Bool, &[100], 1, SyntheticKind::Unit)
            .to_i64()
            .unwrap();
        assert!(coins.contains(&1) && coins.contains(&0));
    }

    #[test]
    fn amplitudes() {
        let unit = draw(DType::F32, &[1, 16, 16], 8, SyntheticKind::Unit);
        let (mean, variance) = moments(&unit.to_f32().unwrap());
        assert!(
            unit.to_f32()
                .unwrap()
                .iter()
                .all(|v| (0.0..=1.0).contains(v))
        );
        assert!(
            (mean - 0.5).abs() < 0.15 && variance > 0.02,
            "{mean} {variance}"
        );
        for dtype in [DType::F32, DType::U8] {
            let bytes = draw(dtype, &[1, 16, 16], 8, SyntheticKind::Byte);
            let x = convert::to_f32(&bytes).unwrap();
            assert!(
                x.iter()
                    .all(|v| v.fract() == 0.0 && (0.0..=255.0).contains(v))
            );
            assert!(x.iter().any(|&v| v > 140.0) && x.iter().any(|&v| v < 110.0));
        }
    }

    #[test]
    fn bytes_depend_on_the_seed_alone() {
        let specs = [spec(DType::F32, &[2, 5, 7]), spec(DType::F32, &[2, 5, 7])];
        let make = |samples, seed| synthetic(&specs, samples, seed, SyntheticKind::Normal).unwrap();
        let one_thread = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap()
            .install(|| make(9, 1));
        assert_eq!(one_thread, make(9, 1));
        assert_ne!(one_thread, make(9, 2));
        assert_ne!(one_thread[0], one_thread[1]);
        assert_eq!(one_thread[0].rows(0..4).unwrap(), make(4, 1)[0]);
    }

    #[test]
    fn bytes_are_pinned() {
        let bits = |dims: &[usize]| -> Vec<u32> {
            let array = draw(DType::F32, dims, 1, SyntheticKind::Normal);
            array
                .to_f32()
                .unwrap()
                .iter()
                .map(|x| x.to_bits())
                .collect()
        };
        assert_eq!(
            bits(&[1, 2, 2]),
            [3208795736, 3172524576, 1045161915, 3205638699]
        );
        assert_eq!(bits(&[3]), [3211122018, 1059424956, 1047158382]);
    }

    #[test]
    fn free_axes_are_refused() {
        let free = InputSpec::new("x", DType::F32, vec![None, None]);
        let error = synthetic(&[free], 1, 0, SyntheticKind::Normal).unwrap_err();
        assert_eq!(
            error.to_string(),
            "model input 'x': expected fixed axes after the first, found [?,?]"
        );
        let huge = spec(DType::F32, &[1 << 30, 1 << 30]);
        assert!(synthetic(&[huge], 1 << 20, 0, SyntheticKind::Normal).is_err());
    }
}
