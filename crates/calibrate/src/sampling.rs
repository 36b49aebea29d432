//! The part of the data that statistics are made of.

use sepconv_model::Loaded;
use sepconv_spec::Effort;

/// MACs of a pass over the samples of fits where the time is short.
const HASTY_WORK: u64 = 600_000_000_000;
/// MACs of the passes over the samples that candidates are scored on, and samples at least and at most.
const WORK: u64 = 200_000_000_000;
const SAMPLES: (u64, u64) = (64, 512);
/// Samples at least where the time is limited, and of fits where it is short.
const HURRIED: u64 = 16;
const FEWEST: u64 = 8;

/// Positions that candidates are scored on, and those of fits of long patches: at most so many for every value of a patch,
/// but not fewer than the least. Targets are the original's outputs, free of noise.
const PER_VALUE: usize = 4;
const LEAST: usize = 16_384;
/// Multiply-adds of a covariance of patches up to which fits see all positions that the usual settings allow.
const COVARIANCE: f64 = 8e10;

/// Multiply-adds at most, where the time is short, of a covariance of patches, or of the products of all positions with
/// one another where these are fewer.
const PRODUCTS: f64 = 4e11;

/// The part of the data that statistics are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Samples at most, spread over the data.
    pub samples: usize,
    purpose: Purpose,
}

/// The purpose of the positions that are looked at, which bounds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Scores,
    Fits,
    /// Fits where the time is short.
    HastyFits,
}

impl Sampling {
    /// All of the samples, and positions as the settings say, of long patches fewer.
    pub const WHOLE: Self = Self {
        samples: usize::MAX,
        purpose: Purpose::Fits,
    };

    /// The part that candidates of `model` are scored on. Where the time is `limited`, fewer samples do for networks
    /// of much work.
    pub(crate) fn of_scores(model: &Loaded, effort: Effort, limited: bool) -> Self {
        let least = if limited { HURRIED } else { SAMPLES.0 };
        let samples = (WORK / model.cost.macs.max(1)).clamp(least, SAMPLES.1);
        match effort {
            Effort::Thorough => Self::WHOLE,
            Effort::Normal | Effort::Quick => Self {
                samples: samples as usize,
                purpose: Purpose::Scores,
            },
        }
    }

    /// Few samples for fits of `model`, with all of their positions but for long patches, where the time is short.
    pub(crate) fn few(model: &Loaded) -> Self {
        let samples = (HASTY_WORK / model.cost.macs.max(1)).clamp(FEWEST, HURRIED);
        Self {
            samples: samples as usize,
            purpose: Purpose::HastyFits,
        }
    }

    /// Positions at most for patches of `values` values, of those that the settings allow.
    pub(crate) fn positions(self, allowed: usize, values: usize) -> usize {
        let by_values = PER_VALUE.saturating_mul(values).max(LEAST);
        let by_products = |products: f64| (products / (values.max(1) as f64).powi(2)) as usize;
        // Of more positions than usual, more of long patches.
        let more = (allowed as f64 / Effort::Normal.positions() as f64).max(1.0);
        let fits = (by_values.max(by_products(COVARIANCE)) as f64 * more) as usize;
        let most = match self.purpose {
            Purpose::Scores => by_values,
            Purpose::Fits => fits,
            Purpose::HastyFits => {
                let squares = PRODUCTS / values.max(1) as f64;
                fits.min(by_products(PRODUCTS).max(squares.sqrt() as usize))
            }
        };
        allowed.min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_grow_with_the_patch_up_to_those_allowed() {
        let scores = Sampling {
            samples: 64,
            purpose: Purpose::Scores,
        };
        let of = |values| scores.positions(60_000, values);
        assert_eq!([of(27), of(4608), of(50_000)], [16_384, 18_432, 60_000]);
        let fits = |allowed, values| Sampling::WHOLE.positions(allowed, values);
        assert_eq!([27, 1152].map(|v| fits(60_000, v)), [60_000; 2]);
        assert_eq!([2304, 4608].map(|v| fits(60_000, v)), [16_384, 18_432]);
        assert_eq!(fits(60_000, 50_000), 60_000);
        // Who asks for more has more.
        assert_eq!([fits(180_000, 4608), fits(10_000, 4608)], [55_296, 10_000]);
        assert_eq!(fits(70_000, 4608), 21_504);
        let hasty = Sampling {
            samples: 16,
            purpose: Purpose::HastyFits,
        };
        let few = |values| hasty.positions(60_000, values);
        assert_eq!([few(2304), few(4608), few(18_432)], [16_384, 18_432, 4658]);
        assert!([27, 1152, 9216].iter().all(|v| few(*v) <= fits(60_000, *v)));
    }
}
