//! Linear scales and ticks at round numbers.

/// Maps a domain to a range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Linear {
    /// The values at the ends of the axis.
    pub domain: (f64, f64),
    /// The positions of the ends.
    pub range: (f64, f64),
}

impl Linear {
    /// The position of a value; the middle of the range where the domain is a point.
    pub fn at(&self, value: f64) -> f64 {
        let (lo, hi) = self.domain;
        let (a, b) = self.range;
        let share = if hi > lo {
            (value - lo) / (hi - lo)
        } else {
            0.5
        };
        a + share * (b - a)
    }
}

/// Round numbers along an axis.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ticks {
    /// The values, rising.
    pub values: Vec<f64>,
    /// Decimals that tell them apart.
    pub decimals: usize,
}

impl Ticks {
    /// The first and the last value.
    pub fn span(&self) -> (f64, f64) {
        match (self.values.first(), self.values.last()) {
            (Some(lo), Some(hi)) => (*lo, *hi),
            _ => (0.0, 1.0),
        }
    }
}

/// About `count` ticks at multiples of 1, 2 or 5 times a power of ten, around all of
/// `lo..=hi`. A domain of one value is widened by `least` first; values that are not finite
/// give the ticks of `0..=1`.
pub(super) fn ticks(lo: f64, hi: f64, least: f64, count: usize) -> Ticks {
    let (mut lo, mut hi) = if lo.is_finite() && hi.is_finite() && lo <= hi {
        (lo, hi)
    } else {
        (0.0, 1.0)
    };
    // A difference that floating point can't resolve counts as none.
    let least = least
        .max(lo.abs().max(hi.abs()) * 1e-9)
        .max(f64::MIN_POSITIVE);
    if hi - lo < least {
        let middle = f64::midpoint(lo, hi);
        (lo, hi) = (middle - least / 2.0, middle + least / 2.0);
    }
    let (digit, exponent) = step((hi - lo) / count.max(1) as f64);
    let step = shifted(digit, exponent);
    // A value that sits on a multiple but for rounding stays there.
    let first = (lo / step + 1e-9).floor();
    let last = (hi / step - 1e-9).ceil();
    let steps = (last - first).clamp(1.0, 100.0) as usize;
    Ticks {
        values: (0..=steps)
            .map(|i| shifted((first + i as f64) * digit, exponent))
            .collect(),
        decimals: usize::try_from(-exponent).unwrap_or(0),
    }
}

/// The round step nearest to `raw`: a digit and a power of ten.
fn step(raw: f64) -> (f64, i32) {
    let exponent = raw.log10().floor() as i32;
    match raw / 10f64.powi(exponent) {
        m if m < 1.5 => (1.0, exponent),
        m if m < 3.5 => (2.0, exponent),
        m if m < 7.5 => (5.0, exponent),
        _ => (1.0, exponent + 1),
    }
}

/// `value * 10^exponent`, as near to the decimal number as floating point gets.
fn shifted(value: f64, exponent: i32) -> f64 {
    if exponent < 0 {
        value / 10f64.powi(-exponent)
    } else {
        value * 10f64.powi(exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lo: f64, hi: f64, count: usize) -> Vec<String> {
        let ticks = ticks(lo, hi, 0.01, count);
        let shown = ticks
            .values
            .iter()
            .map(|v| format!("{v:.*}", ticks.decimals));
        shown.collect()
    }

    #[test]
    fn ticks_are_round_and_contain_the_data() {
        assert_eq!(
            shown(0.0, 1.0, 5),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(shown(0.3, 1.0, 3), ["0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(
            shown(91.2, 91.9, 4),
            ["91.2", "91.4", "91.6", "91.8", "92.0"]
        );
        assert_eq!(
            shown(-3.0, 41.0, 5),
            ["-10", "0", "10", "20", "30", "40", "50"]
        );
        for (lo, hi) in [(0.123, 0.128), (1.0, 1e6), (-7.3, -7.1), (5e-7, 0.9)] {
            let ticks = ticks(lo, hi, 1e-6, 5);
            let (first, last) = ticks.span();
            assert!(first <= lo && last >= hi, "{lo} {hi}: {ticks:?}");
            assert!(
                (3..=9).contains(&ticks.values.len()),
                "{lo} {hi}: {ticks:?}"
            );
        }
    }

    #[test]
    fn degenerate_domains_have_ticks_that_differ() {
        let cases = [
            (50.0, 50.0),
            (0.0, 0.0),
            (1e300, 1e300),
            (f64::NAN, 1.0),
            (f64::NEG_INFINITY, f64::INFINITY),
            (2.0, 1.0),
            (1.0, 1.0 + f64::EPSILON),
        ];
        for (lo, hi) in cases {
            let ticks = ticks(lo, hi, 0.5, 5);
            assert!(
                (2..=101).contains(&ticks.values.len()),
                "{lo} {hi}: {ticks:?}"
            );
            assert!(
                ticks.values.windows(2).all(|w| w[0] < w[1]),
                "{lo} {hi}: {ticks:?}"
            );
            assert!(ticks.values.iter().all(|v| v.is_finite()));
        }
    }

    #[test]
    fn positions() {
        let scale = Linear {
            domain: (0.0, 10.0),
            range: (100.0, 0.0),
        };
        assert_eq!((scale.at(0.0), scale.at(2.5)), (100.0, 75.0));
        let point = Linear {
            domain: (3.0, 3.0),
            range: (0.0, 8.0),
        };
        assert_eq!(point.at(3.0), 4.0);
    }
}
