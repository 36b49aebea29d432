//! Errors of a layer's outputs by rounding.

use std::ops::AddAssign;

use sepconv_factor::linalg::dense;

use crate::moments::GroupMoments;

/// Relative squared errors of a layer's outputs by rounding, over the variance of the outputs, all channels together;
/// of the layer alone, whose inputs are the original's.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RoundingError {
    /// By the rounding of what it reads.
    pub inputs: f64,
    /// By the rounding of its weights.
    pub weights: f64,
}

/// Energies of outputs and of their errors, per position.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Energies {
    outputs: f64,
    by_inputs: f64,
    by_weights: f64,
}

impl Energies {
    /// Of a group of outputs `weights` `[m, d]`, which are rounded to `integers` `[m, d]` of steps of `scales` `[m]` and
    /// read patches of these moments. Errors of inputs are taken to be independent of one another.
    pub fn of_group(weights: &[f64], integers: &[i8], scales: &[f64], own: &GroupMoments) -> Self {
        let d = own.mean.len().max(1);
        let rounded = integers.chunks_exact(d).zip(scales);
        let rounded =
            rounded.flat_map(|(row, scale)| row.iter().map(move |q| scale * f64::from(*q)));
        let errors: Vec<f64> = weights.iter().zip(rounded).map(|(w, q)| w - q).collect();
        let energy = |rows: &[f64]| {
            let mut at = 0;
            let blocks = own.blocks.iter().map(|covariance| {
                let width = covariance.len().isqrt();
                let own = rows.chunks_exact(d).flat_map(|row| &row[at..at + width]);
                let own: Vec<f64> = own.copied().collect();
                at += width;
                energy(&own, covariance)
            });
            blocks.sum()
        };
        Self {
            outputs: energy(weights),
            by_inputs: own.noise * dense::dot(weights, weights),
            by_weights: energy(&errors),
        }
    }

    /// That of errors by rounded weights.
    pub fn by_weights(self) -> f64 {
        self.by_weights
    }

    /// The errors over the outputs; none of outputs that never change.
    pub fn relative(self) -> RoundingError {
        let over = |error: f64| match self.outputs > 0.0 {
            true => error / self.outputs,
            false => 0.0,
        };
        RoundingError {
            inputs: over(self.by_inputs),
            weights: over(self.by_weights),
        }
    }
}

/// `tr(X C X^T)` of rows `X`.
fn energy(rows: &[f64], covariance: &[f64]) -> f64 {
    let width = covariance.len().isqrt();
    let height = rows.len().checked_div(width).unwrap_or(0);
    let mut product = vec![0.0; rows.len()];
    dense::product(
        &mut product,
        false,
        dense::view(rows, height, width),
        dense::view(covariance, width, width),
    );
    dense::dot(rows, &product)
}

impl AddAssign for Energies {
    fn add_assign(&mut self, other: Self) {
        self.outputs += other.outputs;
        self.by_inputs += other.by_inputs;
        self.by_weights += other.by_weights;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_those_of_a_layer_that_is_computed_both_ways() {
        // Two inputs of variances 4 and 1, each rounded with a mean squared error of 0.01.
        let own = GroupMoments {
            mean: vec![0.0; 2],
            snapped: vec![0.0; 2],
            noise: 0.01,
            blocks: vec![vec![4.0, 0.0, 0.0, 1.0]],
            ..GroupMoments::default()
        };
        let mut energies = Energies::of_group(&[1.1, 2.0], &[1, 2], &[1.0], &own);
        let first = energies.relative();
        // 0.1² · 4 and 0.01 · (1.1² + 2²), over 1.1² · 4 + 2².
        assert!((first.weights - 0.04 / 8.84).abs() < 1e-12, "{first:?}");
        assert!((first.inputs - 0.0521 / 8.84).abs() < 1e-12, "{first:?}");
        let both = Energies::of_group(&[1.1, 2.0, 0.0, 2.0], &[1, 2, 0, 2], &[1.0; 2], &own);
        energies += Energies::of_group(&[0.0, 2.0], &[0, 2], &[1.0], &own);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        near(energies.outputs, both.outputs);
        near(energies.by_inputs, both.by_inputs);
        near(energies.by_weights, both.by_weights);
        assert!((energies.relative().weights - 0.04 / 12.84).abs() < 1e-12);
        assert_eq!(Energies::default().relative(), RoundingError::default());
    }
}
