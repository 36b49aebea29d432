//! Weights of a layer in eight bits.

use sepconv_factor::{FactorError, channel_scale, round_compensated};

use crate::grid::Grid;
use crate::layers::Layer;
use crate::moments::{Moments, width_of_blocks};

/// Largest bias in steps: a corrected one still goes into 32 bits.
const LARGEST_BIAS: f64 = (1 << 28) as f64;

/// Weights of a layer in eight bits, and what they do to its mean output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rounded {
    /// Integers `[Co, d]`, from -127 to 127.
    pub integers: Vec<i8>,
    /// Scales `[Co]`, positive; 1 where all weights of an output are zero.
    pub scales: Vec<f32>,
    /// Mean of what the layer's outputs lose `[Co]`, by rounded weights and inputs.
    pub mean_loss: Vec<f64>,
}

impl Rounded {
    /// Rounds the weights of a layer; with `compensate` in the metric of its inputs.
    /// The bias goes into 32 bits in steps of a weight's and of `input`'s, which scales are kept large
    /// enough for.
    pub fn of(
        layer: &Layer,
        moments: &Moments,
        input: Grid,
        compensate: bool,
    ) -> Result<Self, FactorError> {
        let (outputs, d) = (layer.shape.out_channels, layer.width());
        let per_group = outputs / layer.shape.groups;
        let mut integers = vec![0_i8; outputs * d];
        let mut scales = Vec::with_capacity(outputs);
        let mut mean_loss = Vec::with_capacity(outputs);
        for (group, own) in moments.groups.iter().enumerate() {
            let first = group * per_group;
            let weights = &layer.weights[first * d..][..per_group * d];
            let variances: Vec<f64> = own.blocks.iter().flat_map(|b| diagonal(b)).collect();
            let rows = weights.chunks_exact(d).enumerate();
            let own_scales: Vec<f64> = rows
                .map(|(row, w)| {
                    let bias = layer.bias.as_ref().map_or(0.0, |b| b[first + row].abs());
                    let least = bias / (f64::from(input.scale) * LARGEST_BIAS);
                    // The file holds f32: what is scored is what is written.
                    let scale = channel_scale(w, &variances).max(least) as f32;
                    if scale.is_normal() {
                        f64::from(scale)
                    } else {
                        1.0
                    }
                })
                .collect();
            let into = &mut integers[first * d..][..per_group * d];
            let block_width = width_of_blocks(layer);
            for (block, covariance) in own.blocks.iter().enumerate() {
                let width = covariance.len().isqrt();
                let at = block * block_width;
                let columns = weights.chunks_exact(d).flat_map(|row| &row[at..at + width]);
                let columns: Vec<f64> = columns.copied().collect();
                let trust = shrinkage(width, moments.count);
                let found = match compensate {
                    true => round_compensated(&columns, covariance, &own_scales, trust)?,
                    false => plain(&columns, &own_scales),
                };
                for (row, found) in into.chunks_exact_mut(d).zip(found.chunks_exact(width)) {
                    row[at..at + width].copy_from_slice(found);
                }
            }
            let rows = weights
                .chunks_exact(d)
                .zip(into.chunks_exact(d))
                .zip(&own_scales);
            mean_loss.extend(rows.map(|((row, rounded), scale)| {
                let terms = row
                    .iter()
                    .zip(rounded)
                    .zip(own.mean.iter().zip(&own.snapped));
                terms
                    .map(|((w, q), (x, snapped))| w * x - scale * f64::from(*q) * snapped)
                    .sum::<f64>()
            }));
            scales.extend(own_scales.iter().map(|s| *s as f32));
        }
        Ok(Self {
            integers,
            scales,
            mean_loss,
        })
    }
}

/// Share of the off-diagonal part of a covariance of `width` that `count` samples don't support.
fn shrinkage(width: usize, count: usize) -> f64 {
    (0.01 + 0.1 * width as f64 / count.max(1) as f64).min(1.0)
}

fn diagonal(matrix: &[f64]) -> impl Iterator<Item = f64> + '_ {
    let width = matrix.len().isqrt();
    (0..width).map(move |i| matrix[i * width + i])
}

fn plain(weights: &[f64], scales: &[f64]) -> Vec<i8> {
    let d = weights.len() / scales.len().max(1);
    let rows = weights.chunks_exact(d.max(1)).zip(scales);
    rows.flat_map(|(row, s)| {
        row.iter()
            .map(move |w| (w / s).round().clamp(-127.0, 127.0) as i8)
    })
    .collect()
}
