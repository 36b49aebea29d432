//! Confidence limits: the ends of one-sided 95 % intervals.
//!
//! A standard error says nothing where all samples agree: 8 of 8 have one of 0. A limit says what
//! may still be true of samples that nobody looked at.

/// The share of intervals that hold the true value.
pub const CONFIDENCE: f64 = 0.95;
/// Quantile of the normal distribution at [`CONFIDENCE`].
const Z: f64 = 1.644_853_626_951_472_7;
/// Groups of samples that a jackknife leaves out at most.
const MOST_GROUPS: usize = 128;
/// Bisections of a limit in `[0, 1]`: to the last digit.
const HALVINGS: usize = 60;

/// Upper limit of a share of which `hits` of `n` were seen, in `[0, 1]`: that of Clopper and
/// Pearson 1934.
pub fn share_above(hits: usize, n: usize) -> f64 {
    if hits >= n {
        return 1.0;
    }
    // The limit is the share at which so few hits have a probability of 5 %.
    bisected(|p| few(hits, n, p) > 1.0 - CONFIDENCE)
}

/// Lower limit of such a share.
pub fn share_below(hits: usize, n: usize) -> f64 {
    1.0 - share_above(n.saturating_sub(hits), n)
}

/// Upper limit of `(lost - gained) / n` in pairs of which `lost` got worse and `gained` better:
/// that of Tango, Statistics in Medicine 17, 1998, which is Wilson's where none is gained.
pub fn drop_above(lost: usize, gained: usize, n: usize) -> f64 {
    if n == 0 {
        return 1.0;
    }
    let [lost, gained, n] = [lost, gained, n].map(|count| count as f64);
    let seen = (lost - gained) / n;
    bisected(|drop| {
        let (a, c) = (2.0 * n, -gained * drop * (1.0 - drop));
        let b = -lost - gained + (2.0 * n - lost + gained) * drop;
        let other = ((b * b - 4.0 * a * c).max(0.0).sqrt() - b) / (2.0 * a);
        let variance = n * (2.0 * other + drop * (1.0 - drop));
        drop <= seen || n * (drop - seen) <= Z * variance.max(0.0).sqrt()
    })
}

/// Samples of which all have to agree for an upper limit of `share`, above 0 and below 1, for the
/// rest: 299 for a hundredth.
pub fn needed(share: f64) -> usize {
    ((1.0 - CONFIDENCE).ln() / (1.0 - share).ln()).ceil() as usize
}

/// Pairs of which none may change for an upper limit of `share` for the drop.
pub fn needed_pairs(share: f64) -> usize {
    (Z * Z * (1.0 - share) / share).ceil() as usize
}

/// Quantile of Student's distribution at [`CONFIDENCE`] for `n` samples; infinite for one.
pub fn student(n: usize) -> f64 {
    let freedom = n.saturating_sub(1) as f64;
    match n {
        0 | 1 => f64::INFINITY,
        2 => 6.313_751_514_675_04,
        3 => 2.919_985_580_355_52,
        // Abramowitz and Stegun 1964, 26.7.5.
        _ => {
            let z = |power: i32| Z.powi(power);
            Z + (z(3) + z(1)) / (4.0 * freedom)
                + (5.0 * z(5) + 16.0 * z(3) + 3.0 * z(1)) / (96.0 * freedom.powi(2))
                + (3.0 * z(7) + 19.0 * z(5) + 17.0 * z(3) - 15.0 * z(1)) / (384.0 * freedom.powi(3))
        }
    }
}

/// A ratio of sums over samples in dB, with its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decibels {
    /// `10 log10(sum signal / sum noise)`.
    pub value: f64,
    /// By the delta method; `None` where there is none to estimate.
    pub stderr: Option<f64>,
    /// Samples that the sums are over.
    pub n: usize,
}

impl Decibels {
    /// The lower end of the one-sided 95 % interval; the value itself where nothing differs.
    pub fn limit(self) -> Option<f64> {
        match self.value == f64::INFINITY {
            true => Some(self.value),
            false => self.stderr.map(|e| self.value - student(self.n) * e),
        }
    }
}

/// The standard error of `10 log10(sum signal / sum noise)` over the pairs of signal and noise of
/// samples, by the delta method.
pub(crate) fn error_of_ratio(samples: &[[f64; 2]]) -> Option<f64> {
    let n = samples.len() as f64;
    let sum = |i: usize| samples.iter().map(|s| s[i]).sum::<f64>();
    let (signal, noise) = (sum(0), sum(1));
    // Their mean is 0.
    let residual = |s: &[f64; 2]| s[0] / signal - s[1] / noise;
    let squares: f64 = samples.iter().map(|s| residual(s).powi(2)).sum();
    let error = 10.0 / std::f64::consts::LN_10 * (squares * n / (n - 1.0)).sqrt();
    (samples.len() > 1 && error.is_finite()).then_some(error)
}

/// The standard error of a figure by its values without one sample each (Tukey 1958); `None` of fewer
/// than two samples, or where one is not finite.
pub(crate) fn jackknife(without: &[f64]) -> Option<f64> {
    let n = without.len() as f64;
    let mean = without.iter().sum::<f64>() / n;
    let squares: f64 = without.iter().map(|v| (v - mean).powi(2)).sum();
    let error = ((n - 1.0) / n * squares).sqrt();
    (without.len() > 1 && error.is_finite()).then_some(error)
}

/// Groups of samples that are left out one at a time: the samples themselves, or so many where there are
/// more. Sample `i` is in group `i` modulo their number.
pub(crate) fn groups(n: usize) -> usize {
    n.min(MOST_GROUPS)
}

/// Pseudo-values of a figure, whose mean has its bias and whose spread its error (Tukey 1958): `n` times
/// the figure less `n - 1` times that without one sample each. Differences of two models' are
/// those of pairs.
pub(crate) fn pseudo_values(whole: f64, without: &[f64]) -> Vec<f64> {
    let n = without.len() as f64;
    let values = without.iter().map(|v| n * whole - (n - 1.0) * v);
    values.collect()
}

/// The greatest number of `[0, 1]` for which `holds`, which holds up to there.
fn bisected(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = 0.5 * (low + high);
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// Probability of at most `hits` of `n` at a share of `p` in `(0, 1)`.
fn few(hits: usize, n: usize, p: f64) -> f64 {
    let n = n as f64;
    let odds = p.ln() - (-p).ln_1p();
    // Logarithms: of many samples the first terms vanish.
    let mut term = n * (-p).ln_1p();
    let mut terms = vec![term];
    for k in 0..hits {
        let k = k as f64;
        term += ((n - k) / (k + 1.0)).ln() + odds;
        terms.push(term);
    }
    let peak = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = terms.iter().map(|t| (t - peak).exp()).sum();
    (peak + sum.ln()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_near(seen: f64, expected: f64) {
        assert!((seen - expected).abs() < 1e-6, "{seen} {expected}");
    }

    /// The constants are roots of sums of the binomial distribution, from Python's `math.lgamma`.
    #[test]
    fn limits_of_shares_are_those_of_clopper_and_pearson() {
        is_near(share_above(0, 8), 1.0 - 0.05f64.powf(1.0 / 8.0));
        is_near(share_above(3, 100), 0.075_710_79);
        is_near(share_above(100, 1000), 0.116_991_53);
        is_near(share_below(97, 100), 1.0 - 0.075_710_79);
        assert_eq!((share_above(5, 5), share_below(0, 5)), (1.0, 0.0));
        assert_eq!(share_above(0, 0), 1.0);
        assert!(share_above(40_000, 100_000) < 0.403);
    }

    #[test]
    fn limits_of_drops_are_those_of_wilson_where_none_is_gained() {
        let wilson = |hits: f64, n: f64| {
            let p = hits / n;
            let root = (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
            (p + Z * Z / (2.0 * n) + Z * root) / (1.0 + Z * Z / n)
        };
        is_near(drop_above(0, 0, 100), wilson(0.0, 100.0));
        is_near(drop_above(7, 0, 100), wilson(7.0, 100.0));
        // Changes both ways are less certain than none.
        assert!(drop_above(10, 10, 100) > drop_above(0, 0, 100));
        // Many pairs: the normal interval.
        let (lost, gained, n) = (600.0, 500.0, 10_000.0);
        let drop = (lost - gained) / n;
        let error = ((lost + gained) / n - drop * drop) / n;
        let seen = drop_above(600, 500, 10_000);
        assert!((seen - drop - Z * error.sqrt()).abs() < 1e-4, "{seen}");
    }

    #[test]
    fn a_point_takes_299_samples() {
        assert_eq!(needed(0.01), 299);
        assert!(share_above(0, 299) <= 0.01 && share_above(0, 298) > 0.01);
        let pairs = needed_pairs(0.01);
        assert!(drop_above(0, 0, pairs) <= 0.01 + 1e-12);
        assert!(drop_above(0, 0, pairs - 1) > 0.01);
    }

    /// Of a mean they are the samples.
    #[test]
    fn pseudo_values_of_a_mean_are_the_samples() {
        let samples = [3.0, 5.0, 10.0, 0.5];
        let sum: f64 = samples.iter().sum();
        let without = samples.map(|s| (sum - s) / 3.0);
        for (seen, expected) in pseudo_values(sum / 4.0, &without).iter().zip(samples) {
            is_near(*seen, expected);
        }
        assert_eq!([0, 5, 1000].map(groups), [0, 5, 128]);
    }

    /// As tables have them.
    #[test]
    fn quantiles_are_those_of_student() {
        for (n, expected) in [
            (2, 6.3138),
            (3, 2.9200),
            (4, 2.3534),
            (9, 1.8595),
            (100, 1.6604),
        ] {
            let seen = student(n);
            assert!((seen / expected - 1.0).abs() < 0.005, "{n}: {seen}");
        }
        assert_eq!(student(1), f64::INFINITY);
    }
}
