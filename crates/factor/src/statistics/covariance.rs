//! The covariance of a group's patches in either of its two forms.

use std::borrow::Cow;
use std::sync::Arc;

use crate::error::FactorError;
use crate::linalg::dense;
use crate::patch_matrix::PatchMatrix;

/// `C = cov(x)` of patches of `d` values. Cloning shares the data.
#[derive(Debug, Clone)]
pub(crate) enum Covariance {
    /// `C`, row-major `[d, d]`, symmetric.
    Dense(Arc<Vec<f64>>),
    /// The patches that it is the covariance of, in parts of whole rows `[n of the part, d]`.
    Patches(Vec<Arc<Vec<f32>>>),
}

/// Equal values are equal, whatever the parts that patches are cut into.
impl PartialEq for Covariance {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dense(a), Self::Dense(b)) => a == b,
            (Self::Patches(a), Self::Patches(b)) => {
                let values = |parts: &[Arc<Vec<f32>>]| -> Vec<u32> {
                    let all = parts.iter().flat_map(|p| p.iter());
                    all.map(|v| v.to_bits()).collect()
                };
                values(a) == values(b)
            }
            _ => false,
        }
    }
}

impl Covariance {
    /// Of no patch.
    pub fn empty() -> Self {
        Self::Patches(Vec::new())
    }

    /// `C` `[d, d]`, made where only patches are kept; `mean` is theirs.
    pub fn dense(&self, mean: &[f64]) -> Result<Cow<'_, [f64]>, FactorError> {
        match self {
            Self::Dense(matrix) => Ok(Cow::Borrowed(matrix)),
            Self::Patches(parts) => Ok(Cow::Owned(PatchMatrix::seen(parts, mean).covariance()?)),
        }
    }

    /// The patches less their mean, where they are kept.
    pub fn rows(&self, mean: &[f64]) -> Option<PatchMatrix> {
        match self {
            Self::Dense(_) => None,
            Self::Patches(parts) => Some(PatchMatrix::seen(parts, mean)),
        }
    }

    pub fn is_finite(&self) -> bool {
        match self {
            Self::Dense(matrix) => matrix.iter().all(|v| v.is_finite()),
            Self::Patches(parts) => parts.iter().all(|p| p.iter().all(|v| v.is_finite())),
        }
    }

    /// The covariance of two sets of patches with the means `mean` and `others`: a mixture by `share`
    /// of the second, and the scatter between the means.
    pub fn mixed(
        &self,
        other: &Self,
        mean: &[f64],
        others: &[f64],
        share: f64,
    ) -> Result<Self, FactorError> {
        if let (Self::Patches(a), Self::Patches(b)) = (self, other) {
            return Ok(Self::Patches(a.iter().chain(b).cloned().collect()));
        }
        let between = share * (1.0 - share);
        let mut mixed = self.dense(mean)?.into_owned();
        let other = other.dense(others)?;
        let mix = |(a, b): (&mut f64, &f64)| *a += share * (b - *a);
        mixed.iter_mut().zip(other.iter()).for_each(mix);
        let dx: Vec<f64> = mean.iter().zip(others).map(|(a, b)| b - a).collect();
        for (row, x) in mixed.chunks_exact_mut(dx.len()).zip(&dx) {
            dense::axpy(row, between * x, &dx);
        }
        Ok(Self::Dense(Arc::new(mixed)))
    }
}
