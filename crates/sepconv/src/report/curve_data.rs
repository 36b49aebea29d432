//! What the curve shows: the points that have a figure, and of which measure.

use super::Report;
use super::format::{decibels, exact, fixed, small};

/// What the y axis measures.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Measure {
    /// Percent of a metric over a number of samples.
    Accuracy { metric: &'static str, n: usize },
    /// Signal-to-noise ratio of the worst output in dB.
    Snr,
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
    /// In percent or dB.
    pub y: f64,
    /// Standard error in the unit of `y`, where it is known and not zero.
    pub error: Option<f64>,
}

impl Point {
    /// The ends of the error bar, which stay within 0 and 100 %.
    pub fn whisker(&self) -> Option<(f64, f64)> {
        let error = self.error?;
        Some(((self.y - error).max(0.0), (self.y + error).min(100.0)))
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
    pub measure: Measure,
    /// By rising MACs; at least two.
    pub points: Vec<Point>,
}

impl Curve {
    /// The curve of a report; a sentence on why there is none where fewer than two points
    /// have a figure. Accuracy where any point has one, else SNR.
    pub fn of(report: &Report) -> Result<Self, String> {
        let evaluated = report.curve.iter().find_map(|p| p.evaluation.as_ref());
        let measure = match evaluated {
            Some(e) => Measure::Accuracy {
                metric: e.metric,
                n: e.n,
            },
            None => Measure::Snr,
        };
        let mut points: Vec<Point> = report
            .curve
            .iter()
            .filter_map(|p| {
                let (y, error) = match (&measure, &p.evaluation) {
                    (Measure::Accuracy { .. }, Some(e)) => (e.value, Some(e.stderr)),
                    (Measure::Accuracy { .. }, None) => return None,
                    (Measure::Snr, _) => (p.snr_db?, None),
                };
                let possible = match measure {
                    Measure::Accuracy { .. } => (0.0..=100.0).contains(&y),
                    Measure::Snr => y.is_finite(),
                };
                (possible && p.macs.is_finite() && p.macs >= 0.0).then(|| Point {
                    kind: kind(&p.label),
                    x: p.macs,
                    y,
                    error: error.filter(|e| e.is_finite() && *e > 0.0),
                })
            })
            .collect();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        let curve = Self { measure, points };
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
    pub fn title(&self) -> &'static str {
        match self.measure {
            Measure::Accuracy { .. } => "Accuracy against compression",
            Measure::Snr => "Output SNR against compression",
        }
    }

    /// Label of the y axis.
    pub fn y_label(&self) -> String {
        match &self.measure {
            Measure::Accuracy { metric, .. } => format!("{metric} accuracy (%)"),
            Measure::Snr => "SNR of the worst output (dB)".into(),
        }
    }

    /// A figure with its unit.
    pub fn figure(&self, y: f64) -> String {
        match self.measure {
            Measure::Accuracy { .. } => format!("{}\u{a0}%", fixed(y, 2)),
            Measure::Snr => decibels(y),
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
        let what = match &self.measure {
            Measure::Accuracy { metric, n } => {
                format!(
                    "{metric} accuracy in percent on {} samples",
                    exact(*n as u64)
                )
            }
            Measure::Snr => "signal-to-noise ratio of the worst output in dB".into(),
        };
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
    use super::super::fixtures::{evaluated, point, snr_only};
    use super::*;

    #[test]
    fn points_without_a_figure_are_left_out() {
        let mut report = evaluated();
        let all = Curve::of(&report).unwrap().points.len();
        assert_eq!(all, report.curve.len());
        report.curve[1].evaluation = None;
        report.curve[2].evaluation.as_mut().unwrap().value = f64::NAN;
        report.curve[3].macs = f64::INFINITY;
        let curve = Curve::of(&report).unwrap();
        assert_eq!(curve.points.len(), all - 3);
        assert!(curve.points.is_sorted_by(|a, b| a.x <= b.x));
    }

    #[test]
    fn without_labels_it_is_the_snr() {
        let curve = Curve::of(&snr_only()).unwrap();
        assert_eq!(curve.measure, Measure::Snr);
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
    fn error_bars_stay_within_percent() {
        let point = |y, error| Point {
            kind: Kind::Result,
            x: 0.5,
            y,
            error,
        };
        assert_eq!(point(99.0, Some(3.0)).whisker(), Some((96.0, 100.0)));
        assert_eq!(point(1.0, Some(3.0)).whisker(), Some((0.0, 4.0)));
        assert_eq!(point(1.0, None).whisker(), None);
    }
}
