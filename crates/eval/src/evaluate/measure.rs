//! Figures, their metrics and comparisons.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::own::OwnMetric;

/// Formula of a figure. `docs/metrics.md` has the formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Share of samples whose greatest class is the label, in percent.
    TopOne,
    /// Share of samples with the label among the five greatest classes, in percent.
    TopFive,
    /// Share of samples whose greatest class is the original's, in percent.
    Agreement,
    /// Kullback-Leibler divergence of the model's class probabilities from the original's,
    /// mean over samples, in nats.
    Kl,
    /// Peak signal-to-noise ratio, mean over pictures, in dB.
    Psnr,
    /// Structural similarity, mean over pictures; at most 1.
    Ssim,
    /// Signal-to-noise ratio over all samples, in dB.
    Snr,
    /// Signal-to-noise ratio of the channel with the largest error over its own spread, over all
    /// samples, in dB.
    ChannelSnr,
    /// Cosine of the angle between all samples as vectors; at most 1.
    Cosine,
    /// An [`OwnMetric`], mean over samples.
    Own(Described),
}

/// Names and properties of an [`OwnMetric`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Described {
    name: &'static str,
    label: &'static str,
    unit: &'static str,
    higher_is_better: bool,
    decimals: usize,
}

impl From<&dyn OwnMetric> for Metric {
    fn from(own: &dyn OwnMetric) -> Self {
        Self::Own(Described {
            name: own.name(),
            label: own.label(),
            unit: own.unit(),
            higher_is_better: own.higher_is_better(),
            decimals: own.decimals(),
        })
    }
}

impl Serialize for Metric {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Metric {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::TopOne => "top-1",
            Self::TopFive => "top-5",
            Self::Agreement => "agreement",
            Self::Kl => "kl",
            Self::Psnr => "psnr",
            Self::Ssim => "ssim",
            Self::Snr => "snr",
            Self::ChannelSnr => "channel-snr",
            Self::Cosine => "cosine",
            Self::Own(own) => own.name,
        }
    }

    /// Its name in reports.
    pub fn label(self) -> &'static str {
        match self {
            Self::TopOne => "top-1 accuracy",
            Self::TopFive => "top-5 accuracy",
            Self::Agreement => "agreement",
            Self::Kl => "KL divergence",
            Self::Psnr => "PSNR",
            Self::Ssim => "SSIM",
            Self::Snr => "SNR",
            Self::ChannelSnr => "SNR of the worst channel",
            Self::Cosine => "cosine",
            Self::Own(own) => own.label,
        }
    }

    /// Unit of the value and of its standard error; empty where it has none.
    pub fn unit(self) -> &'static str {
        match self {
            Self::TopOne | Self::TopFive | Self::Agreement => "%",
            Self::Kl => "nats",
            Self::Psnr | Self::Snr | Self::ChannelSnr => "dB",
            Self::Ssim | Self::Cosine => "",
            Self::Own(own) => own.unit,
        }
    }

    /// True where a greater value is a better one.
    pub fn higher_is_better(self) -> bool {
        match self {
            Self::Kl => false,
            Self::Own(own) => own.higher_is_better,
            _ => true,
        }
    }

    /// The least and the greatest value that it can have, in its unit.
    pub fn range(self) -> (f64, f64) {
        match self {
            Self::TopOne | Self::TopFive | Self::Agreement => (0.0, 100.0),
            Self::Kl => (0.0, f64::INFINITY),
            Self::Psnr | Self::Snr | Self::ChannelSnr | Self::Own(_) => {
                (f64::NEG_INFINITY, f64::INFINITY)
            }
            Self::Ssim | Self::Cosine => (-1.0, 1.0),
        }
    }

    /// Decimals that are worth showing.
    pub fn decimals(self) -> usize {
        match self {
            Self::TopOne
            | Self::TopFive
            | Self::Agreement
            | Self::Psnr
            | Self::Snr
            | Self::ChannelSnr => 2,
            Self::Ssim => 4,
            Self::Kl => 5,
            Self::Cosine => 6,
            Self::Own(own) => own.decimals,
        }
    }
}

/// The other side of a comparison with a model's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Against {
    /// The labels of the data set.
    Labels,
    /// The wanted outputs of the data set.
    Target,
    /// The outputs of the original model.
    Original,
}

impl Against {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Target => "target",
            Self::Original => "original",
        }
    }
}

/// A figure of a model on a data set.
///
/// In JSON an object of `metric`, `against`, `output`, `value`, `stderr`, `unit`,
/// `higher_is_better` and `n`. A value that is not finite is `null`: a PSNR or an SNR without
/// any difference (SSIM and cosine are then 1), or anything of outputs that are not numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// Its metric.
    pub metric: Metric,
    /// The other side of the comparison.
    pub against: Against,
    /// Name of the graph output.
    pub output: String,
    /// The figure in the metric's unit; infinite for a PSNR or SNR without any difference, NaN
    /// where it is not defined.
    pub value: f64,
    /// Standard error in the metric's unit; `None` where there is none to estimate: a single
    /// sample, or a value that is not finite.
    pub stderr: Option<f64>,
    /// Number of samples.
    pub n: usize,
}

impl Measure {
    /// A share of `hits` in `n` samples, in percent, with the binomial standard error
    /// `sqrt(p (1 - p) / n)`.
    pub fn share(metric: Metric, against: Against, output: &str, hits: usize, n: usize) -> Self {
        let p = hits as f64 / n.max(1) as f64;
        let stderr = (n > 0).then(|| 100.0 * (p * (1.0 - p) / n as f64).sqrt());
        Self {
            metric,
            against,
            output: output.to_owned(),
            value: 100.0 * p,
            stderr,
            n,
        }
    }

    /// The mean of one value per sample, with the standard error `s / sqrt(n)` of the sample
    /// standard deviation `s`.
    pub fn mean(metric: Metric, against: Against, output: &str, values: &[f64]) -> Self {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n.max(1) as f64;
        Self {
            metric,
            against,
            output: output.to_owned(),
            value: if n == 0 { f64::NAN } else { mean },
            stderr: error_of_mean(values),
            n,
        }
    }
}

/// The standard error of the mean of `values`; `None` for fewer than two or where one is not
/// finite.
pub(super) fn error_of_mean(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    if values.len() < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let error = (squares / (n - 1.0) / n).sqrt();
    error.is_finite().then_some(error)
}

impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut s = serializer.serialize_struct("Measure", 8)?;
        s.serialize_field("metric", &self.metric)?;
        s.serialize_field("against", &self.against)?;
        s.serialize_field("output", &self.output)?;
        s.serialize_field("value", &Some(self.value).filter(|v| v.is_finite()))?;
        s.serialize_field("stderr", &self.stderr)?;
        s.serialize_field("unit", self.metric.unit())?;
        s.serialize_field("higher_is_better", &self.metric.higher_is_better())?;
        s.serialize_field("n", &self.n)?;
        s.end()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_share_has_the_binomial_error() {
        let m = Measure::share(Metric::TopOne, Against::Labels, "y", 776, 846);
        assert!((m.value - 91.725_768).abs() < 1e-6);
        assert!((m.stderr.unwrap() - 0.947_162).abs() < 1e-6, "{m:?}");
    }

    #[test]
    fn a_mean_has_the_error_of_the_sample() {
        // Of 1, 2, 3, 6: mean 3, s = sqrt(14 / 3), standard error s / 2.
        let m = Measure::mean(Metric::Psnr, Against::Target, "y", &[1.0, 2.0, 3.0, 6.0]);
        assert_eq!((m.value, m.n), (3.0, 4));
        assert!((m.stderr.unwrap() - (14.0f64 / 3.0).sqrt() / 2.0).abs() < 1e-12);
        let one = Measure::mean(Metric::Psnr, Against::Target, "y", &[1.0]);
        assert_eq!((one.value, one.stderr), (1.0, None));
        let endless = Measure::mean(Metric::Psnr, Against::Target, "y", &[1.0, f64::INFINITY]);
        assert_eq!((endless.value, endless.stderr), (f64::INFINITY, None));
        let none = Measure::mean(Metric::Psnr, Against::Target, "y", &[]);
        assert!(none.value.is_nan());
    }

    #[test]
    fn json_is_flat_and_says_null_for_what_is_not_finite() {
        let m = Measure::mean(
            Metric::Kl,
            Against::Original,
            "logits",
            &[f64::NAN, f64::NAN],
        );
        assert_eq!(
            serde_json::to_string(&m).unwrap(),
            concat!(
                r#"{"metric":"kl","against":"original","output":"logits","value":null,"#,
                r#""stderr":null,"unit":"nats","higher_is_better":false,"n":2}"#
            )
        );
        let all = [
            Metric::TopOne,
            Metric::TopFive,
            Metric::Agreement,
            Metric::Kl,
            Metric::Psnr,
            Metric::Ssim,
            Metric::Snr,
            Metric::ChannelSnr,
            Metric::Cosine,
        ];
        for metric in all {
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
        }
    }
}
