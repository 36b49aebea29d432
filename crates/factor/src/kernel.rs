//! A convolution weight with its geometry.

use std::sync::Arc;

use crate::error::FactorError;
use crate::shape::KernelShape;

/// The weight of a convolution: ONNX `Conv`, input `W`, row-major
/// `[Co, Ci / groups, spatial...]`, all values finite, in f64 whatever the model's type. Cloning
/// shares the data.
#[derive(Debug, Clone, PartialEq)]
pub struct Kernel {
    shape: KernelShape,
    data: Arc<[f64]>,
}

/// Multiplies the rows of a matrix of `factors.len()` rows.
pub(crate) fn scale_rows(data: &mut [f64], factors: &[f64]) {
    let width = data.len() / factors.len().max(1);
    let rows = data.chunks_exact_mut(width.max(1)).zip(factors);
    rows.for_each(|(row, factor)| row.iter_mut().for_each(|w| *w *= factor));
}

impl Kernel {
    /// Joins a shape and its row-major weights, f32 or f64.
    ///
    /// # Errors
    /// [`FactorError::Shape`], [`FactorError::Length`] or [`FactorError::NonFinite`].
    pub fn new<W: Copy + Into<f64>>(
        shape: KernelShape,
        data: impl AsRef<[W]>,
    ) -> Result<Self, FactorError> {
        shape.validate()?;
        let data: Arc<[f64]> = data.as_ref().iter().map(|w| (*w).into()).collect();
        if data.len() != shape.len() {
            return Err(FactorError::Length {
                shape: shape.to_string(),
                expected: shape.len(),
                found: data.len(),
            });
        }
        if let Some(index) = data.iter().position(|w| !w.is_finite()) {
            return Err(FactorError::NonFinite { index });
        }
        Ok(Self { shape, data })
    }

    /// The geometry.
    pub fn shape(&self) -> &KernelShape {
        &self.shape
    }

    /// The weights, row-major `[Co, Ci / groups, spatial...]`.
    pub fn data(&self) -> &[f64] {
        &self.data
    }

    /// The kernel whose output channel `o` is `factors[o]` times this one's.
    ///
    /// # Errors
    /// [`FactorError::Length`] where there is not one factor per output channel,
    /// [`FactorError::NonFinite`].
    pub fn with_outputs_scaled(&self, factors: &[f64]) -> Result<Self, FactorError> {
        let outputs = self.shape.out_channels;
        if factors.len() != outputs {
            return Err(FactorError::Length {
                shape: self.shape.to_string(),
                expected: outputs,
                found: factors.len(),
            });
        }
        let mut data = self.data.to_vec();
        scale_rows(&mut data, factors);
        Self::new(self.shape.clone(), data)
    }

    /// Frobenius norm `|W|`.
    pub fn norm(&self) -> f64 {
        self.data.iter().map(|&w| w * w).sum::<f64>().sqrt()
    }

    /// Relative Frobenius distance `|W - other| / |W|`; the absolute one where `W` is zero.
    ///
    /// # Errors
    /// [`FactorError::Length`] where the shapes differ.
    pub fn relative_error(&self, other: &Self) -> Result<f64, FactorError> {
        if self.shape != other.shape {
            return Err(FactorError::Length {
                shape: self.shape.to_string(),
                expected: self.shape.len(),
                found: other.shape.len(),
            });
        }
        let distance = self
            .data
            .iter()
            .zip(other.data.iter())
            .map(|(&a, &b)| (a - b).powi(2))
            .sum::<f64>()
            .sqrt();
        let norm = self.norm();
        Ok(if norm > 0.0 {
            distance / norm
        } else {
            distance
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shape() -> KernelShape {
        KernelShape::new(2, 1, 1, [2]).unwrap()
    }

    #[test]
    fn refuses_bad_data() {
        assert_eq!(
            Kernel::new(shape(), vec![0.0; 3]).unwrap_err().to_string(),
            "a kernel of shape 2x1x2 has 4 weights, not 3"
        );
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(
                Kernel::new(shape(), vec![0.0, 1.0, bad, 0.0]),
                Err(FactorError::NonFinite { index: 2 })
            );
        }
    }

    #[test]
    fn relative_error_is_relative() {
        let kernel = Kernel::new(shape(), vec![3.0, 0.0, 4.0, 0.0]).unwrap();
        let other = Kernel::new(shape(), vec![3.0, 0.0, 4.0, 1.0]).unwrap();
        assert_eq!(kernel.norm(), 5.0);
        assert_eq!(kernel.relative_error(&other), Ok(0.2));
        let longer = KernelShape::new(2, 1, 1, [3]).unwrap();
        let longer = Kernel::new(longer, vec![0.0; 6]).unwrap();
        assert!(kernel.relative_error(&longer).is_err());
    }
}
