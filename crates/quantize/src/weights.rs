//! Weights of a layer in eight bits.

use sepconv_factor::{FactorError, channel_scale, round_compensated, rounded_plainly};

use crate::grid::Grid;
use crate::layers::Layer;
use crate::moments::{GroupMoments, Moments, width_of_blocks};
use crate::rounding_error::Energies;

/// Largest bias in steps: a corrected one still goes into 32 bits.
const LARGEST_BIAS: f64 = (1 << 28) as f64;

/// Weights of a layer in eight bits.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rounded {
    /// Integers `[Co, d]`, from -127 to 127.
    pub integers: Vec<i8>,
    /// Scales `[Co]`, positive; 1 where all weights of an output are zero.
    pub scales: Vec<f32>,
    /// The bias `[Co]`, in floats; `None` for a layer without.
    pub bias: Option<Vec<f64>>,
    /// Energies of the outputs and of their errors, by the statistics that the weights are rounded by.
    pub energies: Energies,
}

impl Rounded {
    /// Every weight at its nearest step, rows as wide as their largest weight.
    pub fn plainly(layer: &Layer) -> Self {
        let rows = layer.weights.chunks_exact(layer.width().max(1));
        let scales = rows.map(|row| {
            let largest = row.iter().fold(0.0_f64, |most, w| most.max(w.abs()));
            let scale = (largest / f64::from(i8::MAX)) as f32;
            if scale.is_normal() { scale } else { 1.0 }
        });
        let scales: Vec<f32> = scales.collect();
        let wide: Vec<f64> = scales.iter().map(|s| f64::from(*s)).collect();
        Self {
            integers: rounded_plainly(&layer.weights, &wide),
            bias: layer.bias.clone(),
            energies: Energies::default(),
            scales,
        }
    }
}

/// How weights are rounded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounding {
    /// The grid of the layer's input.
    pub input: Grid,
    /// Errors are made up for by other weights.
    pub compensate: bool,
    /// The bias takes up the mean error.
    pub correct_bias: bool,
}

impl Rounding {
    /// Rounds the weights of a layer in the metric of its inputs.
    pub fn round(self, layer: &Layer, moments: &Moments) -> Result<Rounded, FactorError> {
        let (outputs, d) = (layer.shape.out_channels, layer.width());
        let mut rounded = Rounded::default();
        let mut bias = layer.bias.clone().unwrap_or_else(|| vec![0.0; outputs]);
        let per_group = outputs / layer.shape.groups;
        let weights = layer.weights.chunks_exact(per_group * d);
        let groups = weights
            .zip(bias.chunks_exact_mut(per_group))
            .zip(&moments.groups);
        for ((weights, bias), own) in groups {
            let scales = self.scales(weights, bias, own);
            let trust = shrinkage(width_of_blocks(layer).min(d), moments.count);
            let integers = self.integers(weights, &scales, own, trust)?;
            if self.correct_bias {
                let rows = weights.chunks_exact(d).zip(integers.chunks_exact(d));
                for ((bias, (row, integers)), scale) in bias.iter_mut().zip(rows).zip(&scales) {
                    *bias += mean_loss(row, integers, *scale, own);
                }
            }
            rounded.energies += Energies::of_group(weights, &integers, &scales, own);
            rounded.integers.extend(integers);
            rounded.scales.extend(scales.iter().map(|s| *s as f32));
        }
        let biased = layer.bias.is_some() || (self.correct_bias && layer.takes_bias);
        Ok(Rounded {
            bias: Some(bias).filter(|_| biased),
            ..rounded
        })
    }

    /// Scales of the rows of a group. They are numbers of f32, as the file holds them, and large enough
    /// for the bias, which is stored in steps of a weight's and the input's.
    fn scales(self, weights: &[f64], bias: &[f64], own: &GroupMoments) -> Vec<f64> {
        let variances: Vec<f64> = own.blocks.iter().flat_map(|b| diagonal(b)).collect();
        let rows = weights.chunks_exact(variances.len().max(1)).zip(bias);
        let scale = |(row, bias): (&[f64], &f64)| {
            let least = bias.abs() / (f64::from(self.input.scale) * LARGEST_BIAS);
            let scale = channel_scale(row, &variances).max(least) as f32;
            if scale.is_normal() {
                f64::from(scale)
            } else {
                1.0
            }
        };
        rows.map(scale).collect()
    }

    /// Integers of the rows of a group, block by block.
    fn integers(
        self,
        weights: &[f64],
        scales: &[f64],
        own: &GroupMoments,
        trust: f64,
    ) -> Result<Vec<i8>, FactorError> {
        let d = own.mean.len();
        let mut integers = vec![0_i8; weights.len()];
        let mut at = 0;
        for covariance in &own.blocks {
            let width = covariance.len().isqrt();
            let columns = weights.chunks_exact(d).flat_map(|row| &row[at..at + width]);
            let columns: Vec<f64> = columns.copied().collect();
            let found = match self.compensate {
                true => round_compensated(&columns, covariance, scales, trust)?,
                false => rounded_plainly(&columns, scales),
            };
            for (row, found) in integers.chunks_exact_mut(d).zip(found.chunks_exact(width)) {
                row[at..at + width].copy_from_slice(found);
            }
            at += width;
        }
        Ok(integers)
    }
}

/// The loss of the mean of an output by rounded weights and inputs.
fn mean_loss(weights: &[f64], integers: &[i8], scale: f64, own: &GroupMoments) -> f64 {
    let inputs = own.mean.iter().zip(&own.snapped);
    let terms = weights.iter().zip(integers).zip(inputs);
    terms
        .map(|((w, q), (x, snapped))| w * x - scale * f64::from(*q) * snapped)
        .sum()
}

/// Share of the off-diagonal part of a covariance of `width` that `count` samples don't support.
fn shrinkage(width: usize, count: usize) -> f64 {
    (0.01 + 0.1 * width as f64 / count.max(1) as f64).min(1.0)
}

fn diagonal(matrix: &[f64]) -> impl Iterator<Item = f64> + '_ {
    let width = matrix.len().isqrt();
    (0..width).map(move |i| matrix[i * width + i])
}
