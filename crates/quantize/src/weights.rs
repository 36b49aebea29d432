//! Weights of a layer in eight bits.

use sepconv_factor::{FactorError, WeightBits, channel_scale, round_compensated, rounded_plainly};

use crate::grid::Grid;
use crate::layers::Layer;
use crate::moments::{GroupMoments, Moments, width_of_blocks};
use crate::rounding_error::Energies;

/// Largest bias in steps: a corrected one still goes into 32 bits.
const LARGEST_BIAS: f64 = (1 << 28) as f64;

/// Weights of a layer in eight bits.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rounded {
    /// The bits of the integers.
    pub bits: WeightBits,
    /// Integers `[Co, d]`.
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
    pub fn plainly(layer: &Layer, bits: WeightBits) -> Self {
        let rows = layer.weights.chunks_exact(layer.width().max(1));
        let scales = rows.map(|row| {
            let largest = row.iter().fold(0.0_f64, |most, w| most.max(w.abs()));
            let scale = (largest / f64::from(bits.largest())) as f32;
            if scale.is_normal() { scale } else { 1.0 }
        });
        let scales: Vec<f32> = scales.collect();
        let wide: Vec<f64> = scales.iter().map(|s| f64::from(*s)).collect();
        Self {
            bits,
            integers: rounded_plainly(&layer.weights, &wide, bits),
            bias: layer.bias.clone(),
            energies: Energies::default(),
            scales,
        }
    }
}

/// A layer, the grid of its input and the moments of what it reads.
pub(crate) struct Reader<'a> {
    pub layer: &'a Layer,
    pub input: Grid,
    pub moments: &'a Moments,
}

/// How weights are rounded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounding {
    /// The integers.
    pub bits: WeightBits,
    /// Errors are made up for by other weights.
    pub compensate: bool,
    /// The bias takes up the mean error.
    pub correct_bias: bool,
}

impl Rounding {
    /// Rounds the weights that all `readers` share, once, in the metric of all that these read. The biases and
    /// energies are each reader's own.
    pub fn round(self, readers: &[Reader<'_>]) -> Result<Vec<Rounded>, FactorError> {
        let Some(first) = readers.first() else {
            return Ok(Vec::new());
        };
        let moments: Vec<&Moments> = readers.iter().map(|reader| reader.moments).collect();
        let all = Moments::pooled(&moments);
        let layer = first.layer;
        let (outputs, d) = (layer.shape.out_channels, layer.width());
        let per_group = outputs / layer.shape.groups;
        let trust = shrinkage(width_of_blocks(layer).min(d), all.count);
        let empty = || Rounded {
            bits: self.bits,
            ..Rounded::default()
        };
        let mut rounded: Vec<Rounded> = readers.iter().map(|_| empty()).collect();
        let mut biases: Vec<Vec<f64>> = readers
            .iter()
            .map(|own| own.layer.bias.clone().unwrap_or_else(|| vec![0.0; outputs]))
            .collect();
        let groups = layer.weights.chunks_exact(per_group * d);
        for (group, (weights, pooled)) in groups.zip(&all.groups).enumerate() {
            let rows = group * per_group..(group + 1) * per_group;
            let least: Vec<f64> = rows.clone().map(|o| least_scale(readers, o)).collect();
            let scales = self.scales(weights, &least, pooled);
            let integers = self.integers(weights, &scales, pooled, trust)?;
            for ((rounded, biases), reader) in rounded.iter_mut().zip(&mut biases).zip(readers) {
                let own = &reader.moments.groups[group];
                if self.correct_bias {
                    let pairs = weights.chunks_exact(d).zip(integers.chunks_exact(d));
                    let biases = biases[rows.clone()].iter_mut();
                    for ((bias, (row, integers)), scale) in biases.zip(pairs).zip(&scales) {
                        *bias += mean_loss(row, integers, *scale, own);
                    }
                }
                rounded.energies += Energies::of_group(weights, &integers, &scales, own);
                rounded.integers.extend(&integers);
                rounded.scales.extend(scales.iter().map(|s| *s as f32));
            }
        }
        for ((rounded, bias), reader) in rounded.iter_mut().zip(biases).zip(readers) {
            let layer = reader.layer;
            let biased = layer.bias.is_some() || (self.correct_bias && layer.takes_bias);
            rounded.bias = Some(bias).filter(|_| biased);
        }
        Ok(rounded)
    }

    /// Scales of the rows of a group, each no less than its `least`. They are numbers of f32, as the file holds them.
    fn scales(self, weights: &[f64], least: &[f64], own: &GroupMoments) -> Vec<f64> {
        let variances: Vec<f64> = own.blocks.iter().flat_map(|b| diagonal(b)).collect();
        let rows = weights.chunks_exact(variances.len().max(1)).zip(least);
        let scale = |(row, least): (&[f64], &f64)| {
            let scale = channel_scale(row, &variances, self.bits).max(*least) as f32;
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
                true => round_compensated(&columns, covariance, scales, trust, self.bits),
                false => Ok(rounded_plainly(&columns, scales, self.bits)),
            };
            let found = match found {
                // Inputs that never change leave nothing but rounding.
                Err(FactorError::Singular { .. }) => rounded_plainly(&columns, scales, self.bits),
                other => other?,
            };
            for (row, found) in integers.chunks_exact_mut(d).zip(found.chunks_exact(width)) {
                row[at..at + width].copy_from_slice(found);
            }
            at += width;
        }
        Ok(integers)
    }
}

/// The least scale of an output's weights by which the biases of all `readers` can be stored, in steps of a weight's
/// and the input's.
fn least_scale(readers: &[Reader<'_>], output: usize) -> f64 {
    let least = readers.iter().map(|reader| {
        let bias = reader.layer.bias.as_ref().map_or(0.0, |bias| bias[output]);
        bias.abs() / (f64::from(reader.input.scale) * LARGEST_BIAS)
    });
    least.fold(0.0, f64::max)
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
