//! The approximation error of a decomposition at every rank, known after one factorisation.

use serde::{Deserialize, Serialize};

use crate::error::FactorError;

/// Energy of each rank component of a decomposition, pooled over all slices of the kernel.
///
/// Component `r` holds `sum over slices of sigma_r^2`. By Eckart-Young, and because the slices
/// are disjoint parts of `W`, keeping the first `K` components leaves
/// `|W - W_K|_F^2 = sum over r >= K of component(r)`.
/// Serialises as `{"components": [...]}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Components", into = "Components")]
pub struct Spectrum {
    components: Vec<f64>,
    /// `tails[k]` = sum of `components[k..]`, summed from the small end; one entry longer.
    tails: Vec<f64>,
}

/// The stored part of a [`Spectrum`].
#[derive(Serialize, Deserialize)]
struct Components {
    components: Vec<f64>,
}

impl Spectrum {
    /// A spectrum from its pooled energies `sigma^2`, first component first.
    ///
    /// # Errors
    /// [`FactorError::Spectrum`] where an energy is negative or not finite.
    pub fn new(components: Vec<f64>) -> Result<Self, FactorError> {
        if let Some(index) = components.iter().position(|e| !e.is_finite() || *e < 0.0) {
            return Err(FactorError::Spectrum { index });
        }
        let mut tails = vec![0.0; components.len() + 1];
        for rank in (0..components.len()).rev() {
            tails[rank] = tails[rank + 1] + components[rank];
        }
        Ok(Self { components, tails })
    }

    /// The full rank.
    pub fn len(&self) -> usize {
        self.components.len()
    }

    /// True where there is no component; false for every spectrum that a family returns.
    pub fn is_empty(&self) -> bool {
        self.components.is_empty()
    }

    /// Pooled energies `sigma^2` in units of squared weight, one per rank component.
    pub fn components(&self) -> &[f64] {
        &self.components
    }

    /// Share of the energy kept at `rank`, `1 - |W - W_K|_F^2 / |W|_F^2`, in `[0, 1]`.
    /// Ranks above the full rank count as the full rank; a zero kernel has energy 1.
    pub fn energy(&self, rank: usize) -> f64 {
        1.0 - self.lost(rank)
    }

    /// Relative Frobenius error at `rank`, `|W - W_K|_F / |W|_F`, in `[0, 1]`; never rises with
    /// the rank, and is 0 from the full rank on and for a zero kernel.
    pub fn error(&self, rank: usize) -> f64 {
        self.lost(rank).sqrt()
    }

    /// Smallest rank that keeps at least `energy` of the energy (the paper's criterion), at least
    /// 1; the full rank where `energy` is 1 or more.
    pub fn rank_for_energy(&self, energy: f64) -> usize {
        let full = self.len().max(1);
        (1..full)
            .find(|&rank| self.energy(rank) >= energy && energy < 1.0)
            .unwrap_or(full)
    }

    fn lost(&self, rank: usize) -> f64 {
        let total = self.tails[0];
        if total > 0.0 {
            self.tails[rank.min(self.len())] / total
        } else {
            0.0
        }
    }
}

impl TryFrom<Components> for Spectrum {
    type Error = FactorError;

    fn try_from(stored: Components) -> Result<Self, FactorError> {
        Self::new(stored.components)
    }
}

impl From<Spectrum> for Components {
    fn from(spectrum: Spectrum) -> Self {
        Self {
            components: spectrum.components,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn energies_and_errors() {
        let spectrum = Spectrum::new(vec![12.0, 3.0, 1.0]).unwrap();
        assert_eq!(spectrum.len(), 3);
        assert_eq!(spectrum.energy(0), 0.0);
        assert_eq!(spectrum.energy(1), 0.75);
        assert_eq!(spectrum.error(1), 0.5);
        assert_eq!(spectrum.error(2), 0.25);
        assert_eq!((spectrum.energy(3), spectrum.error(3)), (1.0, 0.0));
        assert_eq!(spectrum.error(99), 0.0);
    }

    #[test]
    fn rank_for_energy_is_the_smallest() {
        let spectrum = Spectrum::new(vec![12.0, 3.0, 1.0]).unwrap();
        let ranks = [0.0, 0.75, 0.76, 0.9375, 0.94, 1.0, 2.0];
        assert_eq!(
            ranks.map(|energy| spectrum.rank_for_energy(energy)),
            [1, 1, 2, 2, 3, 3, 3]
        );
    }

    #[test]
    fn a_zero_kernel_keeps_all_its_energy() {
        let spectrum = Spectrum::new(vec![0.0; 4]).unwrap();
        assert_eq!((spectrum.energy(1), spectrum.error(1)), (1.0, 0.0));
    }

    #[test]
    fn serialises_the_components_and_checks_them() {
        let spectrum = Spectrum::new(vec![12.0, 3.0]).unwrap();
        let text = serde_json::to_string(&spectrum).unwrap();
        assert_eq!(text, r#"{"components":[12.0,3.0]}"#);
        assert_eq!(serde_json::from_str::<Spectrum>(&text).unwrap(), spectrum);
        assert!(serde_json::from_str::<Spectrum>(r#"{"components":[-1.0]}"#).is_err());
        assert!(Spectrum::new(vec![1.0, f64::NAN]).is_err());
    }
}
