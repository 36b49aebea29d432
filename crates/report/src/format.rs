//! Numbers for people.

use sepconv_eval::{Against, Measure, Metric};

/// Non-breaking space: a number and its unit stay on one line.
const NBSP: char = '\u{a0}';

/// With three digits and an SI prefix: `40.6 M`, `512`.
pub(super) fn si(value: u64) -> String {
    let (text, prefix) = scaled(value);
    match prefix {
        "" => text,
        prefix => format!("{text}{NBSP}{prefix}"),
    }
}

/// As [`si`], in bytes: `1.08 MB`, `512 B`.
pub(super) fn bytes(value: usize) -> String {
    let (text, prefix) = scaled(value as u64);
    format!("{text}{NBSP}{prefix}B")
}

fn scaled(value: u64) -> (String, &'static str) {
    if value < 1000 {
        return (value.to_string(), "");
    }
    let mut scaled = value as f64;
    let mut prefix = "";
    for next in ["k", "M", "G", "T", "P", "E"] {
        // 999.5 would be shown as 1000.
        if scaled < 999.5 {
            break;
        }
        scaled /= 1000.0;
        prefix = next;
    }
    (digits3(scaled), prefix)
}

/// All digits, in groups of three: `40,551,040`.
pub(super) fn exact(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(c);
    }
    text
}

/// `after / before` as `0.446×`; `None` of nothing.
pub(super) fn ratio(after: u64, before: u64) -> Option<String> {
    (before > 0).then(|| format!("{}×", small(after as f64 / before as f64)))
}

/// A fraction as a percentage: `12.3 %`.
pub(super) fn percent(fraction: f64) -> String {
    match fraction {
        f if !f.is_finite() => "–".into(),
        f if f != 0.0 && f.abs() < 1e-4 => format!("{}{NBSP}%", small(f * 100.0)),
        f => format!("{}{NBSP}%", fixed(f * 100.0, 2)),
    }
}

/// Decibels: `21.3 dB`.
pub(super) fn decibels(value: f64) -> String {
    format!("{}{NBSP}dB", fixed(value, 1))
}

/// A time with three digits: `1.25 ms`, `12.5 µs`.
pub(super) fn seconds(value: f64) -> String {
    let (scaled, unit) = match value {
        v if !v.is_finite() => return "–".into(),
        v if v >= 0.9995 => (v, "s"),
        v if v >= 0.9995e-3 => (1e3 * v, "ms"),
        v => (1e6 * v, "µs"),
    };
    let shown = match scaled {
        v if v >= 1.0 => digits3(v),
        v => fixed(v, 2),
    };
    format!("{shown}{NBSP}{unit}")
}

/// A value of a metric with its unit: `91.73 %`.
pub(super) fn quantity(metric: Metric, value: f64) -> String {
    let number = match value {
        v if v.is_nan() => return "–".into(),
        v if v.is_infinite() && v > 0.0 => "∞".into(),
        v if v.is_infinite() => "\u{2212}∞".into(),
        v => fixed(v, metric.decimals()),
    };
    match metric.unit() {
        "" => number,
        unit => format!("{number}{NBSP}{unit}"),
    }
}

/// A measured value with its standard error: `91.73 % ± 0.28`.
pub(super) fn measured(measure: &Measure) -> String {
    let value = quantity(measure.metric, measure.value);
    match measure.stderr {
        Some(error) => format!("{value} ±{NBSP}{}", fixed(error, measure.metric.decimals())),
        None => value,
    }
}

/// Name in pages of a metric and its comparison.
pub(super) fn described(metric: Metric, against: Against) -> &'static str {
    match (metric, against) {
        (Metric::Agreement, _) => "agreement with the original",
        (Metric::Snr, _) => "SNR of the worst output",
        (Metric::ChannelSnr, _) => "SNR of the worst channel",
        _ => metric.label(),
    }
}

/// With a capital first letter; a name that has a capital behind it, such as mAP, stays what it is.
pub(super) fn capital(word: &str) -> String {
    let mut chars = word.chars();
    match chars.next() {
        Some(first) if chars.clone().next().is_some_and(char::is_uppercase) => {
            [first].into_iter().chain(chars).collect()
        }
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// With `decimals` decimals and a true minus sign.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let is_zero = text.bytes().all(|b| matches!(b, b'-' | b'0' | b'.'));
    match text.strip_prefix('-') {
        Some(positive) if is_zero => positive.to_owned(),
        Some(positive) => format!("\u{2212}{positive}"),
        None => text,
    }
}

/// Three digits, as a power of ten where it is very small or large: `0.0123`, `1.2×10⁻⁷`.
pub(super) fn small(value: f64) -> String {
    match value.abs() {
        a if !a.is_finite() => "–".into(),
        0.0 => "0".into(),
        a if (1e-3..1e5).contains(&a) => {
            let whole_digits = a.log10().floor() as i32 + 1;
            fixed(value, usize::try_from(3 - whole_digits).unwrap_or(0))
        }
        _ => power(value),
    }
}

/// A cosine near one, with the digits in which it differs.
pub(super) fn cosine(value: f64) -> String {
    let gap = 1.0 - value;
    if gap > 0.0 && gap < 1e-5 {
        format!("1{NBSP}\u{2212}{NBSP}{}", small(gap))
    } else {
        fixed(value, 5)
    }
}

/// Three digits of a number in `[1, 1000)`.
fn digits3(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

fn power(value: f64) -> String {
    let text = format!("{value:.1e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let raised: String = exponent
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            '0' | '4'..='9' => char::from_u32(0x2070 + (c as u32 - '0' as u32)).unwrap_or(c),
            other => other,
        })
        .collect();
    format!("{}×10{raised}", mantissa.replace('-', "\u{2212}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitals_begin_words_but_not_names() {
        let seen = ["agreement", "mAP at an IoU of 0.5", "SNR", "a", ""].map(capital);
        assert_eq!(seen, ["Agreement", "mAP at an IoU of 0.5", "SNR", "A", ""]);
    }

    #[test]
    fn prefixes() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1.00\u{a0}k"),
            (40_551_040, "40.6\u{a0}M"),
            (999_499, "999\u{a0}k"),
            (999_500, "1.00\u{a0}M"),
            (9_996, "10.0\u{a0}k"),
            (u64::MAX, "18.4\u{a0}E"),
        ];
        for (value, shown) in cases {
            assert_eq!(si(value), shown);
        }
        assert_eq!(
            (bytes(12), bytes(1_082_000)),
            ("12\u{a0}B".into(), "1.08\u{a0}MB".into())
        );
        assert_eq!(exact(40_551_040), "40,551,040");
        assert_eq!((exact(100), exact(1000)), ("100".into(), "1,000".into()));
    }

    #[test]
    fn fractions() {
        assert_eq!(ratio(446, 1000), Some("0.446×".into()));
        assert_eq!((ratio(1, 0), ratio(0, 5)), (None, Some("0×".into())));
        assert_eq!(percent(0.12345), "12.35\u{a0}%");
        assert_eq!(
            (percent(0.0), percent(f64::NAN)),
            ("0.00\u{a0}%".into(), "–".into())
        );
        assert_eq!(percent(1.2e-9), "1.2×10⁻⁷\u{a0}%");
        assert_eq!(decibels(-3.25), "\u{2212}3.2\u{a0}dB");
        assert_eq!(fixed(-0.001, 2), "0.00");
    }

    #[test]
    fn times_have_three_digits() {
        let shown = [12.34, 0.9996, 1.25e-3, 123.4e-6, 2e-7].map(seconds);
        let expected = ["12.3 s", "1.00 s", "1.25 ms", "123 µs", "0.20 µs"];
        assert_eq!(shown, expected.map(|t| t.replace(' ', "\u{a0}")));
        assert_eq!(seconds(f64::NAN), "–");
    }

    #[test]
    fn quantities_have_their_unit_and_decimals() {
        assert_eq!(quantity(Metric::Psnr, -3.256), "\u{2212}3.26\u{a0}dB");
        assert_eq!(quantity(Metric::Snr, f64::INFINITY), "∞\u{a0}dB");
        assert_eq!(quantity(Metric::Cosine, 0.5), "0.500000");
        assert_eq!(quantity(Metric::Kl, f64::NAN), "–");
        let one = Measure::share(Metric::TopOne, Against::Labels, "y", 1, 2);
        assert_eq!(measured(&one), "50.00\u{a0}% ±\u{a0}35.36");
    }

    #[test]
    fn small_and_large() {
        assert_eq!(small(0.012_345), "0.0123");
        assert_eq!(small(123.4), "123");
        assert_eq!(small(-4.56e-10), "\u{2212}4.6×10⁻¹⁰");
        assert_eq!(small(f64::INFINITY), "–");
        assert_eq!(cosine(1.0), "1.00000");
        assert_eq!(cosine(0.98765), "0.98765");
        assert_eq!(cosine(1.0 - 2e-8), "1\u{a0}\u{2212}\u{a0}2.0×10⁻⁸");
    }
}
