//! Quantities on the axes of the curve.

use super::format::described;
use sepconv::CurvePoint;
use sepconv_eval::{Against, Measure, Metric};

/// Quantity on the x axis, as a fraction of the original's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum X {
    Macs,
    Params,
    /// Measured time per run.
    Time,
}

/// All x axes.
pub(super) const XS: [X; 3] = [X::Macs, X::Params, X::Time];

impl X {
    /// The figure of a point, where it has one.
    pub fn of(self, point: &CurvePoint) -> Option<f64> {
        let value = match self {
            Self::Macs => Some(point.macs),
            Self::Params => Some(point.params),
            Self::Time => point.time,
        };
        value.filter(|v| v.is_finite() && *v >= 0.0)
    }

    /// Name in ids.
    pub fn id(self) -> &'static str {
        match self {
            Self::Macs => "macs",
            Self::Params => "params",
            Self::Time => "time",
        }
    }

    /// Name in sentences.
    pub fn name(self) -> &'static str {
        match self {
            Self::Macs => "MACs",
            Self::Params => "parameters",
            Self::Time => "measured time",
        }
    }
}

/// Quantity on the y axis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Axis {
    /// The primary measure on the evaluation data.
    Primary {
        metric: Metric,
        against: Against,
        /// Number of samples.
        n: usize,
    },
    /// Signal-to-noise ratio of the worst output, in dB.
    Snr,
}

impl Axis {
    /// The primary measure of the first point that has one, else SNR.
    pub fn of_points(points: &[CurvePoint]) -> Self {
        let evaluated = points.iter().find_map(|p| p.evaluation.as_ref());
        match evaluated.map(|e| &e.primary) {
            Some(primary) => Self::Primary {
                metric: primary.metric,
                against: primary.against,
                n: primary.n,
            },
            None => Self::Snr,
        }
    }

    /// The figure that a point has on this axis, with its standard error, where that is
    /// possible at all.
    pub fn of(self, point: &CurvePoint) -> Option<(f64, Option<f64>)> {
        let (y, error) = match self {
            Self::Primary { .. } => self.of_measure(&point.evaluation.as_ref()?.primary)?,
            Self::Snr => (point.snr_db?, None),
        };
        let (least, most) = self.range();
        let error = error.filter(|e| e.is_finite() && *e > 0.0);
        (y.is_finite() && (least..=most).contains(&y)).then_some((y, error))
    }

    fn of_measure(self, measure: &Measure) -> Option<(f64, Option<f64>)> {
        let fits = match self {
            Self::Primary {
                metric, against, ..
            } => (metric, against) == (measure.metric, measure.against),
            Self::Snr => false,
        };
        fits.then_some((measure.value, measure.stderr))
    }

    /// The least and the greatest value that a figure can have.
    pub fn range(self) -> (f64, f64) {
        match self {
            Self::Primary { metric, .. } => metric.range(),
            Self::Snr => (f64::NEG_INFINITY, f64::INFINITY),
        }
    }

    /// Unit of the figures.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Primary { metric, .. } => metric.unit(),
            Self::Snr => "dB",
        }
    }

    /// Name of the figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary {
                metric, against, ..
            } => described(metric, against),
            Self::Snr => "SNR of the worst channel",
        }
    }

    /// True where a greater figure is a better one.
    pub fn higher_is_better(self) -> bool {
        match self {
            Self::Primary { metric, .. } => metric.higher_is_better(),
            Self::Snr => true,
        }
    }

    /// How much better `y` is than `other`.
    pub fn gain(self, y: f64, other: f64) -> f64 {
        match self.higher_is_better() {
            true => y - other,
            false => other - y,
        }
    }

    /// The length that an axis has at least, where it has a range: one percent.
    pub fn least(self) -> Option<f64> {
        (self.unit() == "%").then_some(1.0)
    }
}
