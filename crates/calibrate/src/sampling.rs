//! The part of the data that statistics are made of.

use sepconv_model::Loaded;
use sepconv_spec::Effort;

/// MACs of the passes over the samples that candidates are scored on, and samples at least and at most.
const WORK: u64 = 200_000_000_000;
const SAMPLES: (u64, u64) = (64, 512);
/// Samples at least where the time is limited.
const HURRIED: u64 = 16;

/// Positions that candidates are scored on: at most so many for every value of a patch, but not fewer
/// than the least. Targets of scores are the original's outputs for the same inputs, free of noise.
const PER_VALUE: usize = 4;
const LEAST: usize = 16_384;

/// Multiply-adds at most, where the time is short, of a covariance of patches, or of the products of all positions with
/// one another where these are fewer.
const PRODUCTS: f64 = 4e11;

/// The part of the data that statistics are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Samples at most, spread over the data.
    pub samples: usize,
    /// Positions at most for every value of a patch, where there are more than the least.
    per_value: usize,
    /// True where positions are bounded by the work that they make.
    in_haste: bool,
}

impl Sampling {
    /// All of the samples, and positions as the settings say.
    pub const WHOLE: Self = Self {
        samples: usize::MAX,
        per_value: usize::MAX,
        in_haste: false,
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
                per_value: PER_VALUE,
                in_haste: false,
            },
        }
    }

    /// Few samples, with all of their positions but for long patches, where the time is short.
    pub(crate) const FEW: Self = Self {
        samples: HURRIED as usize,
        per_value: usize::MAX,
        in_haste: true,
    };

    /// Positions at most for patches of `values` values, of those that the settings allow.
    pub(crate) fn positions(self, allowed: usize, values: usize) -> usize {
        let most = self.per_value.saturating_mul(values).max(LEAST);
        let quick = match self.in_haste {
            true => {
                let squares = PRODUCTS / values.max(1) as f64;
                squares.sqrt().max(squares / values.max(1) as f64) as usize
            }
            false => usize::MAX,
        };
        allowed.min(most).min(quick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_grow_with_the_patch_up_to_those_allowed() {
        let scores = Sampling {
            samples: 64,
            per_value: PER_VALUE,
            in_haste: false,
        };
        let of = |values| scores.positions(60_000, values);
        assert_eq!([of(27), of(4608), of(50_000)], [16_384, 18_432, 60_000]);
        assert_eq!(Sampling::WHOLE.positions(60_000, 27), 60_000);
        let few = |values| Sampling::FEW.positions(60_000, values);
        assert_eq!([few(2304), few(4608), few(18_432)], [60_000, 18_838, 4658]);
    }
}
