//! Signal-to-noise ratio and cosine: measures of any output.

use super::measure::{Against, Measure, Metric, error_of_mean};

/// Sums over one sample of a reference `a` and an output `b`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Moments {
    /// `sum a^2`
    signal: f64,
    /// `sum b^2`
    power: f64,
    /// `sum (a - b)^2`
    noise: f64,
    /// `sum a b`
    dot: f64,
}

impl Moments {
    /// Sums of outputs that can't be compared.
    pub const UNDEFINED: Self = Self {
        signal: f64::NAN,
        power: f64::NAN,
        noise: f64::NAN,
        dot: f64::NAN,
    };

    /// The sums of a sample; undefined where the lengths differ.
    pub fn of(a: &[f64], b: &[f64]) -> Self {
        if a.len() != b.len() {
            return Self::UNDEFINED;
        }
        let mut sums = Self::default();
        for (a, b) in a.iter().zip(b) {
            sums.signal += a * a;
            sums.power += b * b;
            sums.noise += (a - b) * (a - b);
            sums.dot += a * b;
        }
        sums
    }
}

/// SNR and cosine of all samples together. Their standard errors come from the linearised
/// ratios of means (the delta method).
pub(super) fn measures(output: &str, against: Against, samples: &[Moments]) -> [Measure; 2] {
    let n = samples.len();
    let total = |f: fn(&Moments) -> f64| samples.iter().map(f).sum::<f64>();
    let signal = total(|m| m.signal);
    let power = total(|m| m.power);
    let noise = total(|m| m.noise);
    let dot = total(|m| m.dot);
    let measure = |metric, value: f64, stderr: Option<f64>| {
        let figure = Measure {
            value,
            n,
            ..Measure::blank(metric, against, output)
        };
        figure.with_error(stderr.filter(|e| value.is_finite() && e.is_finite()))
    };
    // 0 of 0 is no difference.
    let snr = match (signal, noise) {
        (s, 0.0) if s.is_finite() => f64::INFINITY,
        _ => 10.0 * (signal / noise).log10(),
    };
    // Means are sums over n, which cancels but for this factor.
    let count = n as f64;
    let residual = |f: &dyn Fn(&Moments) -> f64| {
        let values: Vec<f64> = samples.iter().map(|m| count * f(m)).collect();
        error_of_mean(&values)
    };
    let decibels = 10.0 / std::f64::consts::LN_10;
    let snr_error = residual(&|m| decibels * (m.signal / signal - m.noise / noise));
    let cosine = match (signal, power) {
        (0.0, 0.0) => 1.0,
        _ => (dot / (signal * power).sqrt()).clamp(-1.0, 1.0),
    };
    let cosine_error = residual(&|m| {
        let halves = m.signal / signal + m.power / power;
        m.dot / (signal * power).sqrt() - cosine * halves / 2.0
    });
    [
        measure(Metric::Snr, snr, snr_error),
        measure(Metric::Cosine, cosine, cosine_error),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn figures_of_a_known_pair() {
        let seen = measures(
            "y",
            Against::Original,
            &[Moments::of(&[3.0, 4.0], &[3.0, 3.5])],
        );
        assert!((seen[0].value - 20.0).abs() < 1e-12);
        assert!((seen[1].value - 23.0 / (25.0f64 * 21.25).sqrt()).abs() < 1e-12);
        assert_eq!((seen[0].stderr, seen[0].n), (None, 1));
    }

    #[test]
    fn no_difference_and_no_number() {
        let same = measures("y", Against::Original, &[Moments::of(&[1.0], &[1.0]); 2]);
        assert_eq!((same[0].value, same[0].stderr), (f64::INFINITY, None));
        assert_eq!(same[1].value, 1.0);
        let zeros = measures("y", Against::Original, &[Moments::of(&[0.0], &[0.0])]);
        assert_eq!((zeros[0].value, zeros[1].value), (f64::INFINITY, 1.0));
        for odd in [
            Moments::of(&[1.0], &[f64::NAN]),
            Moments::of(&[1.0], &[1.0, 2.0]),
            Moments::of(&[f64::INFINITY], &[f64::INFINITY]),
        ] {
            let seen = measures("y", Against::Original, &[odd, Moments::default()]);
            assert!(seen[0].value.is_nan() && seen[1].value.is_nan(), "{seen:?}");
            assert_eq!((seen[0].stderr, seen[1].stderr), (None, None));
        }
    }

    /// The error is that of leaving one sample out at a time (the jackknife), which needs no
    /// derivatives.
    #[test]
    fn standard_errors_are_those_of_the_jackknife() {
        let samples: Vec<Moments> = (0..200)
            .map(|i| {
                let noise = |k: i32| f64::from((i * 7919 + k * 104_729) % 1000) / 1000.0 - 0.5;
                let a = [1.0 + noise(1), 2.0 * noise(2), noise(3)];
                Moments::of(&a, &[a[0] + 0.1 * noise(4), a[1] + 0.3 * noise(5), a[2]])
            })
            .collect();
        let n = samples.len() as f64;
        let whole = measures("y", Against::Original, &samples);
        for (metric, whole) in whole.iter().enumerate() {
            let without = |i: usize| {
                let mut some = samples.clone();
                some.remove(i);
                measures("y", Against::Original, &some)[metric].value
            };
            let values: Vec<f64> = (0..samples.len()).map(without).collect();
            let mean = values.iter().sum::<f64>() / n;
            let spread: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
            let jackknife = ((n - 1.0) / n * spread).sqrt();
            let seen = whole.stderr.unwrap();
            assert!((seen / jackknife - 1.0).abs() < 0.03, "{seen} {jackknife}");
        }
    }
}
