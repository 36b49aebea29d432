//! SOAP (Vyas et al. 2024, arXiv 2409.11321, algorithm 3): Adam (Kingma and Ba 2015, arXiv
//! 1412.6980) in the eigenbasis of the gradients' second moments, for each of a weight's two
//! sides. Channels are strongly correlated, so that a step along one of them spoils the others;
//! in that basis they are not.
//!
//! Steps are relative to the size of the weights (Shazeer and Stern 2018, arXiv 1804.04235,
//! section 8): the factors of a decomposition are of very different sizes.

use candle_core::Tensor;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rayon::prelude::*;
use sepconv_factor::linalg::eigen::eigenbasis;

use crate::error::TuneError;
use crate::parameter::Parameter;

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.99;
const EPSILON: f64 = 1e-12;
/// Root mean square below which a parameter counts as one of that size.
const LEAST: f64 = 1e-3;
/// Steps after which eigenbases are renewed, and first steps which renew them each.
const EVERY: usize = 10;
const FIRST: usize = 5;
/// Sides longer than this stay in their own basis: eigenvectors take time cubic in it.
const WIDEST: usize = 512;

/// The moments of all parameters.
pub(crate) struct Soap {
    pub moments: Vec<Moments>,
    pub steps: usize,
}

/// The moments of one parameter's gradients, a matrix `[rows, columns]`: the first axis, and
/// all others.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moments {
    /// Mean, in the parameter's own basis.
    first: Vec<f64>,
    /// Mean square, in the eigenbasis.
    second: Vec<f64>,
    left: Option<Side>,
    right: Option<Side>,
}

/// One side of a matrix.
#[derive(Debug, Clone, PartialEq)]
struct Side {
    /// Mean of `G G^T`, or of `G^T G`, `[n, n]`.
    covariance: Vec<f64>,
    /// Its eigenvectors, `[n, n]`, in columns.
    basis: Vec<f64>,
}

impl Soap {
    pub fn new(parameters: &[Parameter]) -> Self {
        Self {
            moments: parameters.iter().map(Moments::new).collect(),
            steps: 0,
        }
    }

    /// Moves the parameters against their gradients, of which the norm over all is clipped to
    /// `clip`.
    pub fn step(
        &mut self,
        parameters: &[Parameter],
        gradients: &[Tensor],
        rate: f64,
        clip: f64,
    ) -> Result<(), TuneError> {
        let mut square = 0.0;
        for gradient in gradients {
            square += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        let factor = (clip / square.sqrt().max(1e-30)).min(1.0);
        self.steps += 1;
        let steps = self.steps;
        let each = self.moments.par_iter_mut().zip(parameters).zip(gradients);
        each.try_for_each(|((moments, parameter), gradient)| {
            let mut gradient = numbers(gradient)?;
            gradient.iter_mut().for_each(|g| *g *= factor);
            let direction = moments.direction(parameter, &gradient, steps);
            let now = numbers(&parameter.var.as_detached_tensor())?;
            let size = now.iter().map(|p| p * p).sum::<f64>() / now.len().max(1) as f64;
            let length = rate * size.sqrt().max(LEAST);
            let moved = now.iter().zip(&direction);
            let moved: Vec<f32> = moved.map(|(p, d)| (p - length * d) as f32).collect();
            let moved = Tensor::from_vec(moved, parameter.dims(), parameter.var.device())?;
            Ok(parameter.var.set(&moved)?)
        })
    }
}

/// Rows and columns that a parameter is a matrix of.
fn matrix(parameter: &Parameter) -> (usize, usize) {
    let dims = parameter.dims();
    let rows = dims.first().copied().unwrap_or(1);
    (rows, dims.iter().skip(1).product())
}

fn numbers(tensor: &Tensor) -> Result<Vec<f64>, TuneError> {
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.into_iter().map(f64::from).collect())
}

impl Moments {
    fn new(parameter: &Parameter) -> Self {
        let (rows, columns) = matrix(parameter);
        let side = |n: usize| {
            (rows > 1 && columns > 1 && n <= WIDEST).then(|| Side {
                covariance: vec![0.0; n * n],
                basis: identity(n),
            })
        };
        Self {
            first: vec![0.0; rows * columns],
            second: vec![0.0; rows * columns],
            left: side(rows),
            right: side(columns),
        }
    }

    /// The direction to move against, each element about 1 in size in the eigenbasis.
    fn direction(&mut self, parameter: &Parameter, gradient: &[f64], step: usize) -> Vec<f64> {
        let (rows, columns) = matrix(parameter);
        let g = MatRef::from_row_major_slice(gradient, rows, columns);
        let renew = step <= FIRST || step.is_multiple_of(EVERY);
        if let Some(left) = &mut self.left {
            left.add(g, g.transpose(), renew);
        }
        if let Some(right) = &mut self.right {
            right.add(g.transpose(), g, renew);
        }
        let unbiased = |beta: f64| 1.0 - beta.powi(i32::try_from(step).unwrap_or(i32::MAX));
        let (c1, c2) = (unbiased(BETA1), unbiased(BETA2));
        for (mean, g) in self.first.iter_mut().zip(gradient) {
            *mean += (g - *mean) * (1.0 - BETA1);
        }
        let turned = self.turn(gradient, rows, columns, true);
        let mut direction = self.turn(&self.first, rows, columns, true);
        let squares = self.second.iter_mut().zip(turned);
        for (d, (square, g)) in direction.iter_mut().zip(squares) {
            *square += (g * g - *square) * (1.0 - BETA2);
            *d = *d / c1 / ((*square / c2).sqrt() + EPSILON);
        }
        self.turn(&direction, rows, columns, false)
    }

    /// A matrix in the eigenbasis of both sides, or back from there.
    fn turn(&self, matrix: &[f64], rows: usize, columns: usize, into: bool) -> Vec<f64> {
        let mut now = matrix.to_vec();
        let mut next = vec![0.0; now.len()];
        let mut product = |now: &mut Vec<f64>, side: &Side, left: bool| {
            let n = if left { rows } else { columns };
            let basis = MatRef::from_row_major_slice(&side.basis, n, n);
            let m = MatRef::from_row_major_slice(now, rows, columns);
            let y = MatMut::from_row_major_slice_mut(&mut next, rows, columns);
            // Into the basis: Q^T M on the left, M Q on the right.
            let basis = if left == into {
                basis.transpose()
            } else {
                basis
            };
            let (a, b) = if left { (basis, m) } else { (m, basis) };
            matmul(y, Accum::Replace, a, b, 1.0, Par::Seq);
            std::mem::swap(now, &mut next);
        };
        if let Some(left) = &self.left {
            product(&mut now, left, true);
        }
        if let Some(right) = &self.right {
            product(&mut now, right, false);
        }
        now
    }

    /// All numbers, for a file.
    pub fn numbers(&self) -> Vec<f64> {
        let mut all = [self.first.as_slice(), &self.second].concat();
        for side in self.left.iter().chain(&self.right) {
            all.extend(&side.covariance);
            all.extend(&side.basis);
        }
        all
    }

    /// The moments of a parameter from such numbers; `None` where they are not as many.
    pub fn of(parameter: &Parameter, numbers: &[f64]) -> Option<Self> {
        let mut moments = Self::new(parameter);
        let mut rest = numbers;
        let mut fill = |values: &mut Vec<f64>| -> Option<()> {
            let (own, others) = rest.split_at_checked(values.len())?;
            values.copy_from_slice(own);
            rest = others;
            Some(())
        };
        fill(&mut moments.first)?;
        fill(&mut moments.second)?;
        for side in [&mut moments.left, &mut moments.right]
            .into_iter()
            .flatten()
        {
            fill(&mut side.covariance)?;
            fill(&mut side.basis)?;
        }
        rest.is_empty().then_some(moments)
    }
}

impl Side {
    /// Takes a gradient in; where it is time, and they can be found, renews the eigenvectors.
    fn add(&mut self, a: MatRef<'_, f64>, b: MatRef<'_, f64>, renew: bool) {
        let n = a.nrows();
        self.covariance.iter_mut().for_each(|c| *c *= BETA2);
        let sum = MatMut::from_row_major_slice_mut(&mut self.covariance, n, n);
        matmul(sum, Accum::Add, a, b, 1.0 - BETA2, Par::Seq);
        if renew && let Some(basis) = eigenvectors(&self.covariance, n) {
            self.basis = basis;
        }
    }
}

fn identity(n: usize) -> Vec<f64> {
    (0..n * n)
        .map(|i| f64::from(u8::from(i % (n + 1) == 0)))
        .collect()
}

/// [`eigenbasis`] of a matrix `[n, n]`; `None` as well where a value is not finite.
fn eigenvectors(matrix: &[f64], n: usize) -> Option<Vec<f64>> {
    if matrix.iter().any(|m| !m.is_finite()) {
        return None;
    }
    let vectors = eigenbasis(matrix, n)?;
    vectors.iter().all(|v| v.is_finite()).then_some(vectors)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn eigenvectors_diagonalise() {
        let m = [2.0, 1.0, 0.0, 1.0, 3.0, 1.0, 0.0, 1.0, 4.0];
        let v = eigenvectors(&m, 3).unwrap();
        let (m, v) = (
            MatRef::from_row_major_slice(&m, 3, 3),
            MatRef::from_row_major_slice(&v, 3, 3),
        );
        let d = v.transpose() * m * v;
        for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
            assert!(i == j || d[(i, j)].abs() < 1e-12, "{d:?}");
        }
        assert_eq!(eigenvectors(&[f64::NAN], 1), None);
    }

    #[test]
    fn there_and_back_is_where_it_was() {
        let side = |n: usize| Side {
            covariance: vec![0.0; n * n],
            basis: eigenvectors(
                &(0..n * n)
                    .map(|i| ((i % n + i / n) * 7 % 5) as f64)
                    .collect::<Vec<_>>(),
                n,
            )
            .unwrap(),
        };
        let moments = Moments {
            first: Vec::new(),
            second: Vec::new(),
            left: Some(side(3)),
            right: Some(side(4)),
        };
        let m: Vec<f64> = (0..12).map(f64::from).collect();
        let turned = moments.turn(&m, 3, 4, true);
        assert!(m.iter().zip(&turned).any(|(a, b)| (a - b).abs() > 0.1));
        let back = moments.turn(&turned, 3, 4, false);
        assert!(m.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-9));
    }
}
