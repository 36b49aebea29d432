//! Histograms of floats, and the ranges of eight bits that lose least of them.

use crate::behind::Behind;

/// Bins: floats by their upper 16 bits, sign, exponent and seven bits of the fraction, so that a bin
/// is less than a hundredth of its values wide and nothing has to be known of the range beforehand.
const BINS: usize = 1 << 16;
/// Weight of errors beyond a range: neighbours are cut together, so that their errors add up in the
/// layer behind, where those of rounding cancel. Measured: docs/decisions/0017.
const CLIPPED: f64 = 3.0;
/// Ends of a range that are tried on a side.
const ENDS: usize = 100;
/// Rounds over the two sides of a range.
const ROUNDS: usize = 3;
/// Steps of a grid of eight bits.
const STEPS: f64 = 255.0;

/// How often values were seen. Sums of integers: the order of additions does not matter.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    low: f32,
    high: f32,
    /// Values that are no finite numbers.
    odd: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; BINS],
            low: f32::INFINITY,
            high: f32::NEG_INFINITY,
            odd: 0,
        }
    }
}

/// The filled bins of a histogram: value and count, by rising value.
#[derive(Debug)]
pub(crate) struct Spectrum {
    bins: Vec<(f64, f64)>,
    low: f64,
    high: f64,
}

impl Histogram {
    /// Counts values.
    pub fn add(&mut self, values: &[f32]) {
        for value in values {
            if !value.is_finite() {
                self.odd += 1;
                continue;
            }
            self.counts[(value.to_bits() >> 16) as usize] += 1;
            self.low = self.low.min(*value);
            self.high = self.high.max(*value);
        }
    }

    /// True without a finite value.
    pub fn is_empty(&self) -> bool {
        self.low > self.high
    }

    /// True where a value was no finite number.
    pub fn is_odd(&self) -> bool {
        self.odd > 0
    }

    pub(crate) fn spectrum(&self) -> Spectrum {
        let filled = self.counts.iter().enumerate().filter(|(_, n)| **n > 0);
        let mut bins: Vec<(f64, f64)> = filled
            .map(|(bin, n)| {
                // The middle of the bin; zeros are exact.
                let middle = if bin & 0x7fff == 0 { 0 } else { 0x8000 };
                let value = f32::from_bits((bin as u32) << 16 | middle);
                (f64::from(value.clamp(self.low, self.high)), *n as f64)
            })
            .collect();
        bins.sort_by(|a, b| a.0.total_cmp(&b.0));
        Spectrum {
            bins,
            low: f64::from(self.low.min(0.0)),
            high: f64::from(self.high.max(0.0)),
        }
    }
}

impl Spectrum {
    /// The least range that holds all values, and zero.
    pub fn full(&self) -> (f64, f64) {
        if self.bins.is_empty() {
            (0.0, 0.0)
        } else {
            (self.low, self.high)
        }
    }

    /// Sum of the squared errors behind `behind` of a grid of eight bits over a range: its step over 12 for
    /// what is within, all of it for what is next to zero, the distance, weighed, for what is beyond.
    pub fn error(&self, (low, high): (f64, f64), behind: Behind) -> f64 {
        let step = (high - low) / STEPS;
        let within = step * step / 12.0;
        let one = |value: f64| match value {
            v if v < low => CLIPPED * behind.distance(low, v).powi(2),
            v if v > high => CLIPPED * behind.distance(high, v).powi(2),
            v if v.abs() < 0.5 * step => behind.distance(0.0, v).powi(2),
            v => within * behind.slope(v).powi(2),
        };
        self.bins.iter().map(|(value, n)| n * one(*value)).sum()
    }

    /// The range of least error.
    pub fn best(&self, behind: Behind) -> (f64, f64) {
        let full = self.full();
        let mut best = full;
        let mut least = self.error(full, behind);
        for _ in 0..ROUNDS {
            let before = best;
            for side in [0, 1] {
                for i in 1..=ENDS {
                    let share = i as f64 / ENDS as f64;
                    let tried = match side {
                        0 => (share * full.0, best.1),
                        _ => (best.0, share * full.1),
                    };
                    let error = self.error(tried, behind);
                    if error < least {
                        (best, least) = (tried, error);
                    }
                }
            }
            if best == before {
                break;
            }
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> Spectrum {
        let mut histogram = Histogram::default();
        histogram.add(values);
        histogram.spectrum()
    }

    #[test]
    fn an_outlier_is_cut_and_a_wide_spread_is_not() {
        let mut values: Vec<f32> = (0..1_000_000).map(|i| (i % 1000) as f32 / 1000.0).collect();
        assert!(of(&values).best(Behind::Nothing).1 > 0.9);
        values.push(4.0);
        let spectrum = of(&values);
        let best = spectrum.best(Behind::Nothing);
        assert!(best.1 < 3.9 && best.1 >= 0.9, "{best:?}");
        assert!(
            spectrum.error(best, Behind::Nothing)
                < spectrum.error(spectrum.full(), Behind::Nothing)
        );
    }

    #[test]
    fn the_order_of_additions_does_not_matter() {
        let values: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin() * 3.0).collect();
        let mut parts = Histogram::default();
        parts.add(&values[500..]);
        parts.add(&values[..500]);
        assert_eq!(
            parts.spectrum().best(Behind::Nothing),
            of(&values).best(Behind::Nothing)
        );
        assert_eq!(parts.spectrum().full(), of(&values).full());
    }

    #[test]
    fn nothing_and_no_numbers() {
        let mut histogram = Histogram::default();
        histogram.add(&[f32::NAN]);
        assert!(histogram.is_empty() && histogram.is_odd());
        assert_eq!(histogram.spectrum().best(Behind::Nothing), (0.0, 0.0));
        assert_eq!(of(&[0.0, 0.0]).best(Behind::Nothing), (0.0, 0.0));
        assert_eq!(of(&[3.0]).full(), (0.0, 3.0));
    }
}
