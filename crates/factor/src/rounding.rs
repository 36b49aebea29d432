//! Weights rounded to eight bits in the metric of the inputs' covariance.
//!
//! A row of weights `w` becomes `s q` with integers `q` of [`WeightBits`] and a scale `s`. The output
//! then errs by `e C e^T` with `e = w - s q` and `C` the covariance of the inputs. One weight after
//! another is rounded, and its error is made up for by those that are not rounded yet (Optimal
//! Brain Compression, arXiv 2208.11580; GPTQ, arXiv 2210.17323). With `C = R^T R` that is the nearest
//! plane algorithm from the last column to the first (arXiv 2507.18553), for which no inverse is
//! formed.

use rayon::prelude::*;

use crate::error::FactorError;
use crate::linalg::cholesky::Cholesky;

/// Shares of the largest weight that a scale is tried for.
const SHARES: usize = 40;
/// Least share of the largest weight that a scale covers.
const LEAST_SHARE: f64 = 0.4;
/// Share of the mean variance that every input is taken to vary by.
const LEAST_VARIANCE: f64 = 1e-4;
/// Sweeps over the integers of a row after the first rounding, at most.
const SWEEPS: usize = 4;

/// The integers that weights are rounded to, symmetric about 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightBits {
    /// From -64 to 64. Sums of two products with integers from 0 to 255 then fit 16 bits with their sign, where
    /// processors without instructions for products of eight bits accumulate (`vpmaddubsw` of AVX2).
    Seven,
    /// From -127 to 127.
    #[default]
    Eight,
}

impl WeightBits {
    /// Bits of the integers.
    pub fn count(self) -> u8 {
        match self {
            Self::Seven => 7,
            Self::Eight => 8,
        }
    }

    /// The largest integer.
    pub fn largest(self) -> i8 {
        match self {
            Self::Seven => 64,
            Self::Eight => i8::MAX,
        }
    }

    /// The integer nearest to `weight / scale`; 0 where `scale` is.
    fn nearest(self, weight: f64, scale: f64) -> f64 {
        let largest = f64::from(self.largest());
        match scale > 0.0 {
            true => (weight / scale).round().clamp(-largest, largest),
            false => 0.0,
        }
    }
}

/// The scale of a row of weights with the least plain rounding error, inputs weighed by `variances`;
/// 0 for a row of zeros.
pub fn channel_scale(weights: &[f64], variances: &[f64], bits: WeightBits) -> f64 {
    let largest = weights.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
    // Inputs that never vary count a little: other data may move them.
    let mean = variances.iter().sum::<f64>() / variances.len().max(1) as f64;
    let floor = if mean > 0.0 { 1e-3 * mean } else { 1.0 };
    let error = |scale: f64| -> f64 {
        let pairs = weights.iter().zip(variances);
        pairs
            .map(|(w, v)| (w - scale * bits.nearest(*w, scale)).powi(2) * (v + floor))
            .sum()
    };
    let share = |i: usize| 1.0 - (1.0 - LEAST_SHARE) * i as f64 / SHARES as f64;
    let scales = (0..SHARES).map(|i| largest * share(i) / f64::from(bits.largest()));
    let scored = scales.map(|scale| (error(scale), scale));
    let best = scored.min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or(0.0, |(_, scale)| scale)
}

/// Integers `[m, d]` for the weights `[m, d]` with a scale per row, such that no row's
/// [`rounded_error`] in `covariance` `[d, d]` is above that of plain rounding. `shrinkage` is the
/// share of the covariance's off-diagonal part that is not trusted, from 0 to 1.
///
/// # Errors
/// [`FactorError::Statistics`] where the lengths do not fit, [`FactorError::Singular`] where the
/// covariance is not one.
pub fn round_compensated(
    weights: &[f64],
    covariance: &[f64],
    scales: &[f64],
    shrinkage: f64,
    bits: WeightBits,
) -> Result<Vec<i8>, FactorError> {
    let d = weights.len().checked_div(scales.len()).unwrap_or(0);
    if weights.len() != d * scales.len() || covariance.len() != d * d {
        return Err(FactorError::Statistics("a covariance of another width"));
    }
    if d == 0 {
        return Ok(Vec::new());
    }
    let kept = 1.0 - shrinkage.clamp(0.0, 1.0);
    if kept == 0.0 {
        return Ok(rounded_plainly(weights, scales, bits));
    }
    let mean = (0..d).map(|i| covariance[i * d + i]).sum::<f64>() / d as f64;
    let mut trusted: Vec<f64> = covariance.iter().map(|v| v * kept).collect();
    for i in 0..d {
        trusted[i * d + i] = covariance[i * d + i] + LEAST_VARIANCE * mean;
    }
    let order = by_variance(&trusted, d);
    let mut sorted = vec![0.0; d * d];
    for (row, i) in sorted.chunks_exact_mut(d).zip(&order) {
        let values = row.iter_mut().zip(&order);
        values.for_each(|(value, j)| *value = trusted[i * d + j]);
    }
    let factor = Cholesky::regularised(&sorted, d)?;
    let mut rounded = vec![0_i8; weights.len()];
    let rows = rounded
        .par_chunks_mut(d)
        .zip(weights.par_chunks(d))
        .zip(scales);
    rows.for_each(|((out, row), scale)| {
        let steps = Steps {
            bits,
            scale: *scale,
        };
        let mut found = steps.nearest_plane(row, &order, &factor);
        steps.descend(row, &mut found, &trusted);
        let plain = rounded_plainly(row, &[*scale], bits);
        let error = |q: &[i8]| rounded_error(row, q, *scale, covariance);
        let better = error(&found) <= error(&plain);
        out.copy_from_slice(if better { &found } else { &plain });
    });
    Ok(rounded)
}

/// `e C e^T` of a row of weights and its integers, `e` their difference.
pub fn rounded_error(weights: &[f64], integers: &[i8], scale: f64, covariance: &[f64]) -> f64 {
    let pairs = weights.iter().zip(integers);
    let e: Vec<f64> = pairs.map(|(w, q)| w - scale * f64::from(*q)).collect();
    let rows = covariance.chunks_exact(e.len().max(1)).zip(&e);
    rows.map(|(row, x)| x * crate::linalg::dense::dot(row, &e))
        .sum()
}

/// Integers `[m, d]` nearest to the weights `[m, d]` over their row's scale.
pub fn rounded_plainly(weights: &[f64], scales: &[f64], bits: WeightBits) -> Vec<i8> {
    let d = weights.len() / scales.len().max(1);
    let rows = weights.chunks_exact(d.max(1)).zip(scales);
    rows.flat_map(|(row, scale)| row.iter().map(|w| bits.nearest(*w, *scale) as i8))
        .collect()
}

/// Columns by rising variance: the last, which is rounded first, errs least in units of its input.
fn by_variance(covariance: &[f64], d: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..d).collect();
    order.sort_by(|a, b| covariance[a * d + a].total_cmp(&covariance[b * d + b]));
    order
}

/// The integers of one row.
#[derive(Debug, Clone, Copy)]
struct Steps {
    bits: WeightBits,
    scale: f64,
}

impl Steps {
    /// Every weight at its nearest step, with the errors of those before it made up for.
    fn nearest_plane(self, weights: &[f64], order: &[usize], factor: &Cholesky) -> Vec<i8> {
        let Self { bits, scale } = self;
        let d = weights.len();
        let mut rounded = vec![0_i8; d];
        let mut errors = vec![0.0; d];
        for j in (0..d).rev() {
            let row = factor.row(j);
            let behind = crate::linalg::dense::dot(&row[1..], &errors[j + 1..]);
            let weight = weights[order[j]];
            let integer = bits.nearest(weight + behind / row[0], scale);
            rounded[order[j]] = integer as i8;
            errors[j] = weight - scale * integer;
        }
        rounded
    }

    /// Moves single integers by one as long as that lowers the error.
    fn descend(self, weights: &[f64], integers: &mut [i8], covariance: &[f64]) {
        let Self { bits, scale } = self;
        let largest = f64::from(bits.largest());
        let d = weights.len();
        let pairs = weights.iter().zip(&*integers);
        let e: Vec<f64> = pairs.map(|(w, q)| w - scale * f64::from(*q)).collect();
        let rows = covariance.chunks_exact(d);
        let mut slope: Vec<f64> = rows.map(|row| crate::linalg::dense::dot(row, &e)).collect();
        for _ in 0..SWEEPS {
            let mut moved = false;
            for j in 0..d {
                let variance = covariance[j * d + j];
                // A step of `t` in `e_j` changes the error by `2 t slope_j + t^2 C_jj`.
                let step = -scale * slope[j].signum();
                let integer = f64::from(integers[j]) - step / scale;
                let gain = -(2.0 * step * slope[j] + step * step * variance);
                if !(scale > 0.0 && gain > 0.0 && integer.abs() <= largest) {
                    continue;
                }
                integers[j] = integer as i8;
                crate::linalg::dense::axpy(&mut slope, step, &covariance[j * d..][..d]);
                moved = true;
            }
            if !moved {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::linalg::gram;

    /// A covariance of `n` samples that go together, and rows of weights.
    fn problem(seed: u64, d: usize, n: usize) -> (Vec<f64>, Vec<f64>) {
        let mut at = 0;
        let mut next = || {
            at += 1;
            crate::random::mix(seed ^ at) as f64 / u64::MAX as f64 - 0.5
        };
        let mut covariance = vec![0.0; d * d];
        for _ in 0..n {
            let common = next();
            let x: Vec<f64> = (0..d).map(|_| common + 0.3 * next()).collect();
            gram::accumulate(&mut covariance, &x, d);
        }
        gram::mirror(&mut covariance, d);
        (covariance, (0..3 * d).map(|_| next()).collect())
    }

    fn scales(weights: &[f64], covariance: &[f64], bits: WeightBits) -> Vec<f64> {
        let d = covariance.len().isqrt();
        let variances: Vec<f64> = (0..d).map(|i| covariance[i * d + i]).collect();
        let rows = weights.chunks_exact(d);
        rows.map(|row| channel_scale(row, &variances, bits))
            .collect()
    }

    proptest! {
        #[test]
        fn no_row_errs_more_than_plainly_rounded(seed: u64, d in 1..30_usize, n in 1..60_usize, trust in 0.0..1.0, seven: bool) {
            let bits = if seven { WeightBits::Seven } else { WeightBits::Eight };
            let (covariance, weights) = problem(seed, d, n);
            let scales = scales(&weights, &covariance, bits);
            let found = round_compensated(&weights, &covariance, &scales, trust, bits).unwrap();
            for ((row, q), scale) in weights.chunks_exact(d).zip(found.chunks_exact(d)).zip(&scales) {
                let plain = rounded_plainly(row, &[*scale], bits);
                let error = |q: &[i8]| rounded_error(row, q, *scale, &covariance);
                prop_assert!(error(q) <= error(&plain) * (1.0 + 1e-9));
                prop_assert!(q.iter().all(|v| (-bits.largest()..=bits.largest()).contains(v)));
            }
        }
    }

    #[test]
    fn inputs_that_go_together_let_weights_make_up_for_one_another() {
        let d = 24;
        let (covariance, weights) = problem(7, d, 200);
        let bits = WeightBits::Eight;
        let scales = scales(&weights, &covariance, bits);
        let found = round_compensated(&weights, &covariance, &scales, 0.01, bits).unwrap();
        let total = |integers: &[i8]| -> f64 {
            let rows = weights.chunks_exact(d).zip(integers.chunks_exact(d));
            rows.zip(&scales)
                .map(|((row, q), s)| rounded_error(row, q, *s, &covariance))
                .sum()
        };
        let plain = rounded_plainly(&weights, &scales, bits);
        assert!(total(&found) < 0.5 * total(&plain));
    }

    #[test]
    fn zeros_and_misfits() {
        let round = |weights: &[f64], covariance: &[f64], scales: &[f64]| {
            round_compensated(weights, covariance, scales, 0.0, WeightBits::Eight)
        };
        let zero = round(&[0.0; 4], &[1.0, 0.0, 0.0, 1.0], &[0.0; 2]).unwrap();
        assert_eq!(zero, [0; 4]);
        assert_eq!(channel_scale(&[0.0; 2], &[1.0; 2], WeightBits::Seven), 0.0);
        assert!(round(&[0.0; 4], &[1.0; 3], &[1.0; 2]).is_err());
        assert!(round(&[], &[], &[]).unwrap().is_empty());
    }
}
