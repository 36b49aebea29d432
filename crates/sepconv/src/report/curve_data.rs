//! What the curve shows: the points that have a figure, and of which measure.

use super::Report;
use super::format::{capital, decibels, described, exact, fixed, quantity, small};
use crate::evaluate::{Against, Measure, Metric};

/// What the y axis measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Axis {
    /// What models are judged by on the evaluation data.
    Primary {
        metric: Metric,
        against: Against,
        /// Number of samples.
        n: usize,
    },
    /// Signal-to-noise ratio of the worst output on synthetic inputs, in dB.
    Snr,
}

impl Axis {
    /// The figure that a measure has on this axis, with its standard error.
    fn of(self, measure: &Measure) -> Option<(f64, Option<f64>)> {
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
    fn unit(self) -> &'static str {
        match self {
            Self::Primary { metric, .. } => metric.unit(),
            Self::Snr => "dB",
        }
    }

    /// Name of the figures.
    fn name(self) -> &'static str {
        match self {
            Self::Primary {
                metric, against, ..
            } => described(metric, against),
            Self::Snr => "SNR of the worst output",
        }
    }

    /// The length that an axis has at least, where it has a range: one percent.
    pub fn least(self) -> Option<f64> {
        (self.unit() == "%").then_some(1.0)
    }
}

/// How a point was made.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// The same rank in every layer.
    Uniform(usize),
    /// Some other setting.
    Other(String),
    /// The model that was written.
    Result,
    /// The model that was read.
    Original,
}

/// A point with a figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub kind: Kind,
    /// MACs as a fraction of the original's.
    pub x: f64,
    /// In the unit of the axis.
    pub y: f64,
    /// Standard error in the unit of `y`, where it is known and not zero.
    pub error: Option<f64>,
    /// What `y` can be.
    pub range: (f64, f64),
}

impl Point {
    /// The ends of the error bar, which stay within what is possible.
    pub fn whisker(&self) -> Option<(f64, f64)> {
        let (error, (least, most)) = (self.error?, self.range);
        Some(((self.y - error).max(least), (self.y + error).min(most)))
    }

    /// What it is, such as `rank 2`.
    pub fn name(&self) -> String {
        match &self.kind {
            Kind::Uniform(rank) => format!("rank {rank}"),
            Kind::Other(label) => label.clone(),
            Kind::Result => "result".into(),
            Kind::Original => "original".into(),
        }
    }
}

/// A curve that can be drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    pub axis: Axis,
    /// By rising MACs; at least two.
    pub points: Vec<Point>,
}

impl Curve {
    /// The curve of a report; a sentence on why there is none where fewer than two points
    /// have a figure. What models are judged by where any point was evaluated, else SNR.
    pub fn of(report: &Report) -> Result<Self, String> {
        let evaluated = report.curve.iter().find_map(|p| p.evaluation.as_ref());
        let axis = match evaluated.map(|e| &e.primary) {
            Some(primary) => Axis::Primary {
                metric: primary.metric,
                against: primary.against,
                n: primary.n,
            },
            None => Axis::Snr,
        };
        let (least, most) = axis.range();
        let mut points: Vec<Point> = report
            .curve
            .iter()
            .filter_map(|p| {
                let (y, error) = match axis {
                    Axis::Primary { .. } => axis.of(&p.evaluation.as_ref()?.primary)?,
                    Axis::Snr => (p.snr_db?, None),
                };
                let possible = y.is_finite() && (least..=most).contains(&y);
                (possible && p.macs.is_finite() && p.macs >= 0.0).then(|| Point {
                    kind: kind(&p.label),
                    x: p.macs,
                    y,
                    error: error.filter(|e| e.is_finite() && *e > 0.0),
                    range: (least, most),
                })
            })
            .collect();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        let curve = Self { axis, points };
        match curve.points.as_slice() {
            [] => Err("There is no curve to draw: no point was measured.".into()),
            [only] => Err(format!(
                "There is no curve to draw: only one point was measured, {}.",
                curve.describe(only)
            )),
            _ => Ok(curve),
        }
    }

    /// Title of the chart.
    pub fn title(&self) -> String {
        format!("{} against compression", capital(self.axis.name()))
    }

    /// Label of the y axis.
    pub fn y_label(&self) -> String {
        match self.axis.unit() {
            "" => self.axis.name().to_owned(),
            unit => format!("{} ({unit})", self.axis.name()),
        }
    }

    /// A figure with its unit.
    pub fn figure(&self, y: f64) -> String {
        match self.axis {
            Axis::Primary { metric, .. } => quantity(metric, y),
            Axis::Snr => decibels(y),
        }
    }

    /// A point in words.
    pub fn describe(&self, point: &Point) -> String {
        let error = point
            .error
            .map_or(String::new(), |e| format!(" ± {}", fixed(e, 2)));
        format!(
            "{}: {}{error} at {} of the MACs",
            point.name(),
            self.figure(point.y),
            small(point.x)
        )
    }

    /// The chart in words.
    pub fn summary(&self) -> String {
        let unit = match self.axis.unit() {
            "" => String::new(),
            "%" => " in percent".into(),
            unit => format!(" in {unit}"),
        };
        let on = match self.axis {
            Axis::Primary { n, .. } => format!(" on {} samples", exact(n as u64)),
            Axis::Snr => " on synthetic inputs".into(),
        };
        let what = format!("{}{unit}{on}", self.axis.name());
        let ends = self
            .points
            .iter()
            .filter(|p| matches!(p.kind, Kind::Result | Kind::Original));
        let ends: Vec<String> = ends.map(|p| self.describe(p)).collect();
        let ends = match ends.as_slice() {
            [] => String::new(),
            ends => format!(" {}.", ends.join("; ")),
        };
        format!(
            "{} points of {what} against MACs as a fraction of the original's.{ends}",
            self.points.len()
        )
    }
}

fn kind(label: &str) -> Kind {
    let rank = label.strip_prefix("rank ").and_then(|k| k.parse().ok());
    match (label, rank) {
        (_, Some(rank)) => Kind::Uniform(rank),
        ("result", _) => Kind::Result,
        ("original", _) => Kind::Original,
        _ => Kind::Other(label.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::fixtures::{evaluated, point, restored, snr_only};
    use super::*;

    #[test]
    fn points_without_a_figure_are_left_out() {
        let mut report = evaluated();
        let all = Curve::of(&report).unwrap().points.len();
        assert_eq!(all, report.curve.len());
        report.curve[1].evaluation = None;
        let evaluation = report.curve[2].evaluation.as_mut().unwrap();
        evaluation.primary.value = f64::NAN;
        report.curve[3].macs = f64::INFINITY;
        let curve = Curve::of(&report).unwrap();
        assert_eq!(curve.points.len(), all - 3);
        assert!(curve.points.is_sorted_by(|a, b| a.x <= b.x));
    }

    #[test]
    fn without_labels_it_is_the_snr() {
        let curve = Curve::of(&snr_only()).unwrap();
        assert_eq!(curve.axis, Axis::Snr);
        // The original has none.
        assert!(
            curve
                .points
                .iter()
                .all(|p| p.kind != Kind::Original && p.error.is_none())
        );
    }

    #[test]
    fn fewer_than_two_points_are_a_sentence() {
        let mut report = snr_only();
        report.curve = vec![
            point("rank 1", 0.3, Some(12.0), None),
            point("x", 0.5, None, None),
        ];
        let why = Curve::of(&report).unwrap_err();
        assert!(
            why.contains("only one point") && why.contains("12.0\u{a0}dB"),
            "{why}"
        );
        report.curve.clear();
        assert!(Curve::of(&report).unwrap_err().contains("no point"));
    }

    #[test]
    fn the_axis_is_what_models_are_judged_by() {
        let curve = Curve::of(&evaluated()).unwrap();
        assert_eq!(curve.y_label(), "top-1 accuracy (%)");
        assert_eq!(curve.title(), "Top-1 accuracy against compression");
        let curve = Curve::of(&restored()).unwrap();
        assert_eq!(curve.y_label(), "PSNR (dB)");
        assert_eq!(curve.title(), "PSNR against compression");
        let result = curve.points.iter().find(|p| p.kind == Kind::Result);
        let result = result.unwrap();
        assert_eq!(curve.figure(result.y), "29.91\u{a0}dB");
        assert_eq!(result.whisker(), Some((29.61, 30.21)));
        // Error bars of decibels go below 0.
        let low = Point {
            y: 0.1,
            ..result.clone()
        };
        assert!(low.whisker().unwrap().0 < 0.0);
    }

    #[test]
    fn what_differs_in_metric_is_left_out() {
        let mut report = evaluated();
        let all = report.curve.len();
        report.curve[3].evaluation.as_mut().unwrap().primary.metric = Metric::Agreement;
        assert_eq!(Curve::of(&report).unwrap().points.len(), all - 1);
    }

    #[test]
    fn error_bars_stay_within_percent() {
        let point = |y, error| Point {
            kind: Kind::Result,
            x: 0.5,
            y,
            error,
            range: (0.0, 100.0),
        };
        assert_eq!(point(99.0, Some(3.0)).whisker(), Some((96.0, 100.0)));
        assert_eq!(point(1.0, Some(3.0)).whisker(), Some((0.0, 4.0)));
        assert_eq!(point(1.0, None).whisker(), None);
    }
}
