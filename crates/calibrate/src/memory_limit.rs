//! The memory of calibration, and the form of a layer's fit within it.
//!
//! Statistics and fits of one layer at a time have half of the limit, or so many layers as go
//! into that together. Values that are kept between passes have the rest.
//!
//! A layer's statistics are the covariance of its patches, `8 d^2` bytes a group, and fits take
//! several of that size. Where there is no room for them, or patches of more than [`WIDE`] values
//! are no more than `d`, the patches themselves are kept, and no more of them than there is room
//! for: fits and scores are then the same, of those positions.

use sepconv_factor::KernelShape;
use sepconv_passes::Kept;

/// Length of a patch up to which covariances are formed however few positions there are, where
/// there is room for them.
const WIDE: usize = 4608;

/// Matrices of the size of a covariance that are held at most while a layer is fitted: those of the
/// positions to fit to and held out, that of both, its factor, its arrangements by tap and by column, the
/// copies of these in single precision, and one to spare.
const COVARIANCES: u64 = 8;

/// Matrices of the size of the weight, in f64, the same: kernels, targets, optima, products.
const WEIGHTS: u64 = 10;

/// Bytes for every value of a patch that is kept: as it is, and of a stage's outputs for it.
const PER_VALUE: u64 = 10;

/// Bytes for every pair of positions: their products, a factor, and the matrices of features that
/// are no more than they are.
const PER_PAIR: u64 = 24;

/// Values of patches that are kept at most: a product with all of them takes so many
/// multiply-adds, whatever the layer.
const VALUES: u64 = 1 << 27;

/// Positions that are worth a fit, where there are so many.
const LEAST: u64 = 64;

/// The memory of calibration.
#[derive(Debug, Clone, Copy)]
pub struct MemoryLimit {
    allowed: u64,
}

/// Form of a layer's statistics, and the memory that they and a fit take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Need {
    /// Positions whose patches are kept, at most; `None`: their covariance is, of any number.
    pub patches: Option<usize>,
    /// Bytes of the statistics.
    pub statistics: u64,
    /// Bytes while it is fitted, the statistics among them.
    pub fitting: u64,
}

impl MemoryLimit {
    /// Of so many bytes in all.
    pub fn new(allowed: u64) -> Self {
        Self { allowed }
    }

    /// For statistics and fits.
    pub fn fits(self) -> u64 {
        self.allowed / 2
    }

    /// For the values that the rest of a network is run from.
    pub fn checkpoint(self) -> usize {
        at_most(2 << 30, self.allowed / 6)
    }

    /// For outputs of the original.
    pub fn targets(self) -> usize {
        at_most(1 << 30, self.allowed / 8)
    }

    /// For the inputs of the network.
    pub fn inputs(self) -> usize {
        at_most(512 << 20, self.allowed / 8)
    }

    /// For patches between two accumulations.
    pub fn patches(self) -> usize {
        at_most(256 << 20, self.allowed / 32)
    }

    /// For positions that are kept beside their covariance.
    pub fn kept(self) -> usize {
        at_most(256 << 20, self.allowed / 8)
    }

    /// Statistics and memory of a convolution with so many positions in the data.
    ///
    /// # Errors
    /// [`Kept::Memory`] where there is no room for the fewest positions that are worth a fit.
    pub(crate) fn need(self, kernel: &KernelShape, positions: usize) -> Result<Need, Kept> {
        let groups = kernel.groups as u64;
        let patch = (kernel.group_in() as u64).saturating_mul(kernel.taps() as u64);
        let positions = positions as u64;
        let weight = patch.saturating_mul(8 * kernel.out_channels as u64);
        let dense = patch.saturating_mul(patch).saturating_mul(8 * groups);
        let fitting = dense
            .saturating_mul(COVARIANCES)
            .saturating_add(weight.saturating_mul(WEIGHTS));
        let few = patch > WIDE as u64 && positions <= patch;
        if fitting <= self.fits() && !few {
            return Ok(Need {
                patches: None,
                statistics: 2 * (dense + weight),
                fitting,
            });
        }
        let values = patch.saturating_mul(groups);
        let cost = |n: u64| {
            let rows = n.saturating_mul(values).saturating_mul(PER_VALUE);
            let pairs = n.saturating_mul(n).saturating_mul(PER_PAIR * groups);
            let weights = weight.saturating_mul(WEIGHTS);
            rows.saturating_add(pairs).saturating_add(weights)
        };
        let (mut low, mut high) = (0, positions.min(VALUES / values.max(1)).max(1));
        while low < high {
            let middle = (low + high).div_ceil(2);
            match cost(middle) <= self.fits() {
                true => low = middle,
                false => high = middle - 1,
            }
        }
        let least = LEAST.min(positions);
        if low < least || low == 0 {
            return Err(Kept::Memory {
                needed: cost(least.max(1)).saturating_mul(2),
                allowed: self.allowed,
            });
        }
        Ok(Need {
            patches: Some(low as usize),
            statistics: 4 * low * values + 2 * weight,
            fitting: cost(low),
        })
    }

    /// Number of the first layers whose statistics go into the memory together, with the fit of
    /// one of them; at least one.
    pub(crate) fn together(self, needs: &[Result<Need, Kept>]) -> usize {
        let (mut statistics, mut fit) = (0_u64, 0_u64);
        let fitting = needs.iter().take_while(|need| {
            let Ok(need) = need else { return true };
            statistics = statistics.saturating_add(need.statistics);
            fit = fit.max(need.fitting.saturating_sub(need.statistics));
            statistics.saturating_add(fit) <= self.fits()
        });
        fitting.count().max(1)
    }

    /// Number of the first layers that can be fitted at a time, beside `held` bytes of the
    /// statistics of all; at least one.
    pub(crate) fn at_once(self, needs: &[Result<Need, Kept>], held: u64) -> usize {
        let mut sum = held;
        let fitting = needs.iter().take_while(|need| {
            let Ok(need) = need else { return true };
            sum = sum.saturating_add(need.fitting.saturating_sub(need.statistics));
            sum <= self.fits()
        });
        fitting.count().max(1)
    }
}

fn at_most(most: u64, share: u64) -> usize {
    usize::try_from(most.min(share)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GIB: u64 = 1 << 30;

    fn shape(co: usize, ci: usize, groups: usize, spatial: &[usize]) -> KernelShape {
        KernelShape::new(co, ci, groups, spatial).unwrap()
    }

    #[test]
    fn what_fits_is_a_covariance_whatever_the_number_of_positions() {
        for allowed in [2 * GIB, 16 * GIB, u64::MAX] {
            for kernel in [shape(64, 64, 1, &[3, 3]), shape(256, 256, 1, &[3, 3])] {
                let need = MemoryLimit::new(allowed).need(&kernel, 100).unwrap();
                assert_eq!(need.patches, None);
                assert!(need.statistics < need.fitting);
            }
        }
        let wide = shape(512, 512, 1, &[3, 3]);
        assert_eq!(
            MemoryLimit::new(8 * GIB).need(&wide, 49).unwrap().patches,
            None
        );
    }

    #[test]
    fn wide_patches_are_kept_where_they_are_few_or_their_covariance_too_large() {
        let pitch = shape(128, 1024, 1, &[64]);
        let need = MemoryLimit::new(16 * GIB).need(&pitch, 512).unwrap();
        assert_eq!(need.patches, Some(512));
        let narrow = MemoryLimit::new(2 * GIB).need(&pitch, 60_000).unwrap();
        assert!((300..1200).contains(&narrow.patches.unwrap()), "{narrow:?}");
        assert!(narrow.fitting <= GIB);
        let wider = MemoryLimit::new(64 * GIB).need(&pitch, 60_000).unwrap();
        assert_eq!(wider.patches, Some(2048));
        // Of many positions, the covariance where there is room for it.
        let deep = shape(1024, 1024, 1, &[3, 3]);
        assert_eq!(
            MemoryLimit::new(32 * GIB)
                .need(&deep, 60_000)
                .unwrap()
                .patches,
            None
        );
        assert!(
            MemoryLimit::new(4 * GIB)
                .need(&deep, 60_000)
                .unwrap()
                .patches
                .is_some()
        );
    }

    #[test]
    fn no_room_and_no_number_is_a_reason_with_the_bytes() {
        let Err(Kept::Memory { needed, allowed }) =
            MemoryLimit::new(256 << 20).need(&shape(128, 1024, 1, &[64]), 60_000)
        else {
            panic!("there is no room");
        };
        assert!(needed > allowed && allowed == 256 << 20);
        let huge = shape(1 << 20, 1 << 20, 1, &[1 << 16]);
        assert!(MemoryLimit::new(u64::MAX / 4).need(&huge, 9).is_err());
    }

    #[test]
    fn as_many_layers_together_as_there_is_room_for() {
        let need = |statistics, fitting| -> Result<Need, Kept> {
            Ok(Need {
                patches: None,
                statistics,
                fitting,
            })
        };
        let needs = [need(10, 30), need(10, 20), need(10, 40), need(50, 90)];
        let room = |bytes: u64| MemoryLimit::new(2 * bytes);
        assert_eq!(room(1000).together(&needs), 4);
        assert_eq!(room(60).together(&needs), 3);
        assert_eq!(room(59).together(&needs), 2);
        assert_eq!(room(1).together(&needs), 1);
        assert_eq!(room(60).at_once(&needs, 30), 2);
        assert_eq!(room(1).at_once(&needs, 30), 1);
    }
}
