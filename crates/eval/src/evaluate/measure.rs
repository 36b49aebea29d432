//! Figures, their metrics and comparisons.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::own::OwnMetric;
use crate::limits::{drop_above, needed, needed_pairs, share_below, student};

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
    /// Harmonic mean of recall and precision of detections, in percent.
    DetectionF1,
    /// Share of the original's detections that the model has, in percent.
    Recall,
    /// Share of the model's detections that the original has, in percent.
    Precision,
    /// Average precision of detections, mean over classes and over thresholds of the IoU of 0.50 to
    /// 0.95, in percent.
    MeanAveragePrecision,
    /// The same at a threshold of 0.50.
    AveragePrecision50,
    /// Intersection over union of masks, mean over classes, in percent.
    MeanIou,
    /// Share of samples whose sequence of classes is the original's, repeats merged, in percent.
    Sequences,
    /// Share of steps with the original's class, mean over samples, in percent.
    Steps,
    /// Harmonic mean of recall and precision of labels, in percent.
    LabelF1,
    /// Share of the original's labels that the model has, in percent.
    LabelRecall,
    /// Share of the model's labels that the original has, in percent.
    LabelPrecision,
    /// Share of samples with the original's nearest other sample, in percent.
    Nearest,
    /// Cosine of the angle between the vectors of a sample, mean over samples; at most 1.
    MeanCosine,
    /// Error of the worst channel over its own spread, in percent.
    RelativeError,
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
            Self::DetectionF1 => "f1",
            Self::Recall => "recall",
            Self::Precision => "precision",
            Self::MeanAveragePrecision => "map",
            Self::AveragePrecision50 => "map-50",
            Self::MeanIou => "iou",
            Self::Sequences => "sequences",
            Self::Steps => "steps",
            Self::LabelF1 => "label-f1",
            Self::LabelRecall => "label-recall",
            Self::LabelPrecision => "label-precision",
            Self::Nearest => "nearest",
            Self::MeanCosine => "mean-cosine",
            Self::RelativeError => "relative-error",
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
            Self::DetectionF1 => "F1 of detections",
            Self::Recall => "recall of detections",
            Self::Precision => "precision of detections",
            Self::MeanAveragePrecision => "mAP",
            Self::AveragePrecision50 => "mAP at an IoU of 0.5",
            Self::MeanIou => "IoU of masks",
            Self::Sequences => "agreement of sequences",
            Self::Steps => "agreement of steps",
            Self::LabelF1 => "F1 of labels",
            Self::LabelRecall => "recall of labels",
            Self::LabelPrecision => "precision of labels",
            Self::Nearest => "agreement of nearest neighbours",
            Self::MeanCosine => "mean cosine",
            Self::RelativeError => "relative error of the worst channel",
            Self::Own(own) => own.label,
        }
    }

    /// Unit of the value and of its standard error; empty where it has none.
    pub fn unit(self) -> &'static str {
        match self {
            _ if self.is_percentage() => "%",
            Self::Kl => "nats",
            Self::Psnr | Self::Snr | Self::ChannelSnr => "dB",
            Self::Own(own) => own.unit,
            _ => "",
        }
    }

    /// True where a greater value is a better one.
    pub fn higher_is_better(self) -> bool {
        match self {
            Self::Kl | Self::RelativeError => false,
            Self::Own(own) => own.higher_is_better,
            _ => true,
        }
    }

    /// The least and the greatest value that it can have, in its unit.
    pub fn range(self) -> (f64, f64) {
        match self {
            Self::Kl | Self::RelativeError => (0.0, f64::INFINITY),
            _ if self.is_percentage() => (0.0, 100.0),
            Self::Ssim | Self::Cosine | Self::MeanCosine => (-1.0, 1.0),
            _ => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }

    /// True where the value is a share of samples, each of which counts or does not.
    pub fn is_share(self) -> bool {
        matches!(
            self,
            Self::TopOne | Self::TopFive | Self::Agreement | Self::Sequences | Self::Nearest
        )
    }

    /// True for those that a task brings.
    pub fn is_of_task(self) -> bool {
        let others = [
            Self::Sequences,
            Self::Nearest,
            Self::MeanCosine,
            Self::RelativeError,
        ];
        self.is_of_parts() || others.contains(&self)
    }

    /// True for percentages.
    pub fn is_percentage(self) -> bool {
        self.is_share() || self.is_of_parts() || self == Self::RelativeError
    }

    /// True for shares of parts of samples, of which there are several to a sample.
    fn is_of_parts(self) -> bool {
        matches!(
            self,
            Self::DetectionF1
                | Self::Recall
                | Self::Precision
                | Self::MeanAveragePrecision
                | Self::AveragePrecision50
                | Self::MeanIou
                | Self::Steps
                | Self::LabelF1
                | Self::LabelRecall
                | Self::LabelPrecision
        )
    }

    /// Decimals that are worth showing.
    pub fn decimals(self) -> usize {
        match self {
            Self::Ssim => 4,
            Self::Kl => 5,
            Self::Cosine | Self::MeanCosine => 6,
            Self::Own(own) => own.decimals,
            _ => 2,
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
/// In JSON an object of `metric`, `against`, `output`, `value`, `stderr`, `limit`, `unit`,
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
    /// The worst value that samples which nobody looked at may have, in the metric's unit: the end
    /// of the one-sided 95 % interval. `None` where there is none to estimate.
    pub limit: Option<f64>,
    /// Number of samples.
    pub n: usize,
    /// The value of every sample, where the figure is their mean, or its pseudo-values of the jackknife:
    /// two models on the same samples are then held against one another pair by pair. Not in JSON.
    pub samples: Vec<f64>,
}

/// How much worse a model is than another, in the metric's unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drop {
    /// The measured drop; below 0 where the model is better.
    pub value: f64,
    /// The most that it may be: the upper end of the one-sided 95 % interval. `None` where there is none to
    /// estimate.
    pub limit: Option<f64>,
}

impl Drop {
    /// From `before` to `after`, measures of the same. Where both have the values of the samples
    /// they are taken in pairs. A measure against the original, which agrees with itself, has the errors
    /// of `after` alone.
    pub fn between(before: &Measure, after: &Measure) -> Self {
        let metric = after.metric;
        let sign = if metric.higher_is_better() { 1.0 } else { -1.0 };
        let pairs = before.samples.iter().zip(&after.samples);
        let drops: Vec<f64> = pairs.map(|(a, b)| sign * (a - b)).collect();
        let paired = before.samples.len() == after.samples.len() && !drops.is_empty();
        let value = sign * (before.value - after.value);
        let by_original = after.against == Against::Original && !matches!(metric, Metric::Own(_));
        let limit = match (paired && !by_original, metric.is_share()) {
            (true, true) => {
                let count = |f: fn(&&f64) -> bool| drops.iter().filter(f).count();
                let changed = (count(|d| **d > 0.0), count(|d| **d < 0.0));
                Some(100.0 * drop_above(changed.0, changed.1, drops.len()))
            }
            // That none changes does not make it certain that none does.
            (true, false) if metric.is_of_parts() && drops.iter().all(|d| *d == 0.0) => {
                Some(100.0 * drop_above(0, 0, after.n))
            }
            (true, false) => error_of_mean(&drops).map(|e| value + student(drops.len()) * e),
            (false, _) if by_original => after.limit.map(|limit| sign * (before.value - limit)),
            (false, _) => before
                .stderr
                .zip(after.stderr)
                .map(|(a, b)| value + student(before.n.min(after.n)) * (a * a + b * b).sqrt()),
        };
        Self { value, limit }
    }

    /// Samples that are needed to show that a drop is at most `most`, where not one of them
    /// gets worse.
    pub fn samples_to_show(metric: Metric, against: Against, most: f64) -> usize {
        let share = (most / 100.0).clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON);
        match (metric.is_share() || metric.is_of_parts(), against) {
            (true, Against::Original) => needed(share),
            (true, _) => needed_pairs(share),
            // A spread takes two.
            (false, _) => 2,
        }
    }
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
            limit: (n > 0).then(|| 100.0 * share_below(hits, n)),
            n,
            samples: Vec::new(),
        }
    }

    /// A figure that is not known yet.
    pub(crate) fn blank(metric: Metric, against: Against, output: &str) -> Self {
        Self {
            metric,
            against,
            output: output.to_owned(),
            value: f64::NAN,
            stderr: None,
            limit: None,
            n: 0,
            samples: Vec::new(),
        }
    }

    /// With a limit that is no better than that of as many samples that all agree, where none
    /// differs: that they have no spread does not make them certain.
    #[must_use]
    pub(crate) fn doubted(mut self) -> Self {
        if self.stderr == Some(0.0) && self.value == 100.0 {
            self.limit = Some(100.0 * share_below(self.n, self.n));
        }
        self
    }

    /// A share of samples, `hits` of which say which count.
    pub fn share_of(metric: Metric, against: Against, output: &str, hits: &[bool]) -> Self {
        let count = hits.iter().filter(|hit| **hit).count();
        Self {
            samples: hits.iter().map(|hit| f64::from(u8::from(*hit))).collect(),
            ..Self::share(metric, against, output, count, hits.len())
        }
    }

    /// The mean of one value per sample, with the standard error `s / sqrt(n)` of the sample
    /// standard deviation `s`.
    pub fn mean(metric: Metric, against: Against, output: &str, values: &[f64]) -> Self {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n.max(1) as f64;
        let figure = Self {
            metric,
            against,
            output: output.to_owned(),
            value: if n == 0 { f64::NAN } else { mean },
            stderr: None,
            limit: None,
            n,
            samples: values.to_vec(),
        };
        figure.with_error(error_of_mean(values))
    }

    /// With a standard error, and the limit that follows from it.
    #[must_use]
    pub fn with_error(self, stderr: Option<f64>) -> Self {
        let sign = if self.metric.higher_is_better() {
            -1.0
        } else {
            1.0
        };
        let (low, high) = self.metric.range();
        let limit = stderr.map(|e| (self.value + sign * student(self.n) * e).clamp(low, high));
        Self {
            stderr,
            limit: limit.filter(|l| l.is_finite()),
            ..self
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
        let mut s = serializer.serialize_struct("Measure", 9)?;
        s.serialize_field("metric", &self.metric)?;
        s.serialize_field("against", &self.against)?;
        s.serialize_field("output", &self.output)?;
        s.serialize_field("value", &Some(self.value).filter(|v| v.is_finite()))?;
        s.serialize_field("stderr", &self.stderr)?;
        s.serialize_field("limit", &self.limit)?;
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
    fn eight_of_eight_may_be_fewer() {
        let m = Measure::share(Metric::Agreement, Against::Original, "y", 8, 8);
        assert_eq!((m.value, m.stderr), (100.0, Some(0.0)));
        assert!((m.limit.unwrap() - 68.765_6).abs() < 1e-3, "{m:?}");
        let one = Measure::mean(Metric::Psnr, Against::Target, "y", &[1.0]);
        assert_eq!(one.limit, None);
    }

    #[test]
    fn drops_are_of_pairs_where_the_samples_are_known() {
        let share = |hits: &[bool]| Measure::share_of(Metric::TopOne, Against::Labels, "y", hits);
        let (all, some) = (vec![true; 300], [vec![false; 3], vec![true; 297]].concat());
        let drop = Drop::between(&share(&all), &share(&some));
        assert!((drop.value - 1.0).abs() < 1e-9, "{drop:?}");
        assert_eq!(drop.limit, Some(100.0 * drop_above(3, 0, 300)));
        // A shift that is the same for all samples is certain, whatever they are.
        let psnr = |shift: f64| {
            let values = [30.0, 20.0, 40.0].map(|v| v - shift);
            Measure::mean(Metric::Psnr, Against::Target, "y", &values)
        };
        let drop = Drop::between(&psnr(0.0), &psnr(0.5));
        assert!((drop.limit.unwrap() - 0.5).abs() < 1e-9, "{drop:?}");
        // Agreement has an original that agrees with itself.
        let agreement = |hits| Measure::share(Metric::Agreement, Against::Original, "y", hits, 50);
        let drop = Drop::between(&agreement(50), &agreement(49));
        assert!(
            (drop.value - 2.0).abs() < 1e-9 && drop.limit.unwrap() > 9.0,
            "{drop:?}"
        );
        let to_show = |metric, against| Drop::samples_to_show(metric, against, 1.0);
        assert_eq!(to_show(Metric::Agreement, Against::Original), 299);
        assert_eq!(to_show(Metric::TopOne, Against::Labels), 268);
        assert_eq!(to_show(Metric::Psnr, Against::Target), 2);
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
                r#""stderr":null,"limit":null,"unit":"nats","higher_is_better":false,"n":2}"#
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
            Metric::DetectionF1,
            Metric::MeanAveragePrecision,
            Metric::AveragePrecision50,
            Metric::MeanIou,
            Metric::LabelF1,
        ];
        for metric in all {
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
        }
    }
}
