//! Contents of the curve: the points that have a figure, and its measure.

use super::axes::{Axis, X};
use super::format::{capital, decibels, exact, fixed, quantity, small};
use super::report::Report;
use sepconv::{CurvePoint, Series};
use sepconv_eval::ComparedOn;

/// Series whose points a line joins, the first drawn first.
const LINES: [Series; 8] = [
    Series::PaperEnergy,
    Series::PaperPwDw,
    Series::PaperDwPw,
    Series::Uniform,
    Series::Allocated,
    Series::Tuned,
    Series::Int8,
    Series::Both,
];

/// Range of a close-up in percentage points from the best, and the least span of the whole curve
/// that has one, as a multiple of that range.
const CLOSE: f64 = 10.0;
const FAR: f64 = 3.0;

/// A series' name in pages.
pub(super) fn series_name(series: Series) -> &'static str {
    match series {
        Series::Original => "original",
        Series::Result => "result",
        Series::Allocated => "one budget over all layers",
        Series::Tuned => "the same, tuned",
        Series::Int8 => "eight bits alone",
        Series::Both => "one budget, in eight bits",
        Series::Uniform => "uniform rank K",
        Series::PaperDwPw => "paper, rank K, DW→PW",
        Series::PaperPwDw => "paper, rank K, PW→DW",
        Series::PaperEnergy => "paper, same energy, DW→PW",
    }
}

/// A point with a figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Point {
    pub series: Series,
    /// Name within its series, such as `rank 2`.
    pub label: String,
    /// A fraction of the original's.
    pub x: f64,
    /// In the unit of the axis.
    pub y: f64,
    /// Standard error in the unit of `y`, where it is known and not zero.
    pub error: Option<f64>,
    /// Least and greatest possible `y`.
    pub range: (f64, f64),
}

impl Point {
    /// The ends of the error bar, within the possible range.
    pub fn whisker(&self) -> Option<(f64, f64)> {
        let (error, (least, most)) = (self.error?, self.range);
        Some(((self.y - error).max(least), (self.y + error).min(most)))
    }

    /// Name in pages, such as `rank 2` or `paper, rank K, DW→PW, rank 2`.
    pub fn name(&self) -> String {
        match self.series {
            Series::Original | Series::Result => series_name(self.series).to_owned(),
            Series::Uniform => self.label.clone(),
            other => format!("{}, {}", series_name(other), self.label),
        }
    }

    /// The uniform rank, where its label tells one.
    pub fn rank(&self) -> Option<usize> {
        self.label.strip_prefix("rank ")?.parse().ok()
    }
}

/// A curve that can be drawn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    pub axis: Axis,
    pub x: X,
    /// The inputs that signal-to-noise ratios are of.
    pub inputs: ComparedOn,
    /// By rising `x`; at least two.
    pub points: Vec<Point>,
    /// This is the part of a curve that is close to the best.
    pub close: bool,
}

impl Curve {
    /// The curve through the points of a report; a sentence on why there is none where fewer than two points
    /// have a figure. The primary measure where any point was evaluated, else SNR.
    pub fn of(report: &Report, x: X) -> Result<Self, String> {
        let axis = Axis::of_points(&report.curve);
        let point = |p: &CurvePoint| {
            let (y, error) = axis.of(p)?;
            Some(Point {
                series: p.series,
                label: p.label.clone(),
                x: x.of(p)?,
                y,
                error,
                range: axis.range(),
            })
        };
        let mut points: Vec<Point> = report.curve.iter().filter_map(point).collect();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        let curve = Self {
            axis,
            x,
            inputs: report.inputs,
            points,
            close: false,
        };
        match curve.points.as_slice() {
            [] => Err("There is no curve to draw: no point was measured.".into()),
            [only] => Err(format!(
                "There is no curve to draw: only one point was measured, {}.",
                curve.describe(only)
            )),
            _ => Ok(curve),
        }
    }

    /// The points close to the best, where the curve in percent reaches so far down that they
    /// can't be told apart, and at least four are left.
    pub fn close_up(&self) -> Option<Self> {
        if self.axis.unit() != "%" {
            return None;
        }
        let none = (f64::INFINITY, f64::NEG_INFINITY);
        let bounds = |(lo, hi): (f64, f64), p: &Point| (lo.min(p.y), hi.max(p.y));
        let (lo, hi) = self.points.iter().fold(none, bounds);
        let best = match self.axis.higher_is_better() {
            true => hi,
            false => lo,
        };
        let is_close = |p: &&Point| self.axis.gain(p.y, best) >= -CLOSE;
        let close = self.points.iter().filter(is_close);
        let points: Vec<Point> = close.cloned().collect();
        let useful = hi - lo >= FAR * CLOSE && points.len() >= 4;
        useful.then(|| Self {
            points,
            close: true,
            ..self.clone()
        })
    }

    /// The series that a line joins and that have points, in drawing order.
    pub fn lines(&self) -> Vec<(Series, Vec<&Point>)> {
        let of = |series: Series| {
            let points = self.points.iter().filter(move |p| p.series == series);
            (series, points.collect::<Vec<_>>())
        };
        let lines = LINES.iter().map(|s| of(*s));
        lines.filter(|(_, points)| !points.is_empty()).collect()
    }

    /// Title of the chart.
    pub fn title(&self) -> String {
        let what = capital(self.axis.name());
        let close = match (self.close, self.axis.higher_is_better()) {
            (true, true) => format!(", the upper {CLOSE} points"),
            (true, false) => format!(", the lower {CLOSE} points"),
            (false, _) => String::new(),
        };
        format!("{what} against {}{close}", self.x.name())
    }

    /// Label of the x axis.
    pub fn x_label(&self) -> String {
        format!("{} (fraction of the original's)", self.x.name())
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
            "{}: {}{error} at {} of the {}",
            point.name(),
            self.figure(point.y),
            small(point.x),
            self.x.name()
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
            Axis::Snr => format!(" on {}", self.inputs.label()),
        };
        let what = format!("{}{unit}{on}", self.axis.name());
        let ends = self
            .points
            .iter()
            .filter(|p| matches!(p.series, Series::Result | Series::Original));
        let ends: Vec<String> = ends.map(|p| self.describe(p)).collect();
        let ends = match ends.as_slice() {
            [] => String::new(),
            ends => format!(" {}.", ends.join("; ")),
        };
        format!(
            "{} points of {what} against {} as a fraction of the original's.{ends}",
            self.points.len(),
            self.x.name()
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::fixtures::{evaluated, point, regressed, restored, snr_only, swept};
    use super::*;
    use sepconv_eval::Metric;

    #[test]
    fn points_without_a_figure_are_left_out() {
        let mut report = evaluated();
        let all = Curve::of(&report, X::Macs).unwrap().points.len();
        assert_eq!(all, report.curve.len());
        report.curve[1].evaluation = None;
        let evaluation = report.curve[2].evaluation.as_mut().unwrap();
        evaluation.primary.value = f64::NAN;
        report.curve[3].macs = f64::INFINITY;
        let curve = Curve::of(&report, X::Macs).unwrap();
        assert_eq!(curve.points.len(), all - 3);
        assert!(curve.points.is_sorted_by(|a, b| a.x <= b.x));
    }

    #[test]
    fn without_labels_it_is_the_snr() {
        let curve = Curve::of(&snr_only(), X::Macs).unwrap();
        assert_eq!(curve.axis, Axis::Snr);
        // The original has none.
        assert!(
            curve
                .points
                .iter()
                .all(|p| p.series != Series::Original && p.error.is_none())
        );
    }

    #[test]
    fn the_chart_says_what_inputs_it_is_of() {
        let mut report = snr_only();
        for (inputs, told) in [
            (
                ComparedOn::Test,
                "in dB on held-out calibration samples against",
            ),
            (ComparedOn::Random, "in dB on synthetic inputs against"),
        ] {
            report.inputs = inputs;
            let summary = Curve::of(&report, X::Macs).unwrap().summary();
            assert!(summary.contains(told), "{summary}");
        }
    }

    #[test]
    fn fewer_than_two_points_are_a_sentence() {
        let mut report = snr_only();
        report.curve = vec![
            point("rank 1", 0.3, Some(12.0), None),
            point("x", 0.5, None, None),
        ];
        let why = Curve::of(&report, X::Macs).unwrap_err();
        assert!(
            why.contains("only one point") && why.contains("12.0\u{a0}dB"),
            "{why}"
        );
        report.curve.clear();
        assert!(
            Curve::of(&report, X::Macs)
                .unwrap_err()
                .contains("no point")
        );
    }

    #[test]
    fn the_axis_is_what_models_are_judged_by() {
        let curve = Curve::of(&evaluated(), X::Macs).unwrap();
        assert_eq!(curve.y_label(), "top-1 accuracy (%)");
        assert_eq!(curve.title(), "Top-1 accuracy against MACs");
        let curve = Curve::of(&restored(), X::Macs).unwrap();
        assert_eq!(curve.y_label(), "PSNR (dB)");
        assert_eq!(curve.title(), "PSNR against MACs");
        let result = curve.points.iter().find(|p| p.series == Series::Result);
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
    fn lines_go_through_series_by_rising_x() {
        let report = swept();
        let curve = Curve::of(&report, X::Params).unwrap();
        let lines = curve.lines();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines.last().unwrap().0, Series::Allocated);
        for (series, points) in lines {
            assert!(points.iter().all(|p| p.series == series));
            assert!(points.is_sorted_by(|a, b| a.x <= b.x));
        }
        // Only some points were timed.
        let timed = Curve::of(&report, X::Time).unwrap();
        assert!(timed.points.len() < curve.points.len());
        assert_eq!(
            timed.x_label(),
            "measured time (fraction of the original's)"
        );
        assert!(Curve::of(&evaluated(), X::Time).is_err());
    }

    #[test]
    fn a_close_up_where_baselines_collapse() {
        let curve = Curve::of(&swept(), X::Macs).unwrap();
        let close = curve.close_up().unwrap();
        assert!(close.points.len() < curve.points.len());
        assert!(close.points.iter().all(|p| p.y >= 81.0));
        assert!(close.title().ends_with("the upper 10 points"));
        assert_eq!(close.close_up(), None);
        let decibels = Curve::of(&restored(), X::Macs).unwrap();
        assert_eq!(decibels.close_up(), None);
    }

    #[test]
    fn a_close_up_of_errors_is_of_the_least() {
        let curve = Curve::of(&regressed(), X::Macs).unwrap();
        let close = curve.close_up().unwrap();
        assert!(close.points.iter().all(|p| p.y <= 10.0));
        let is_original = |p: &Point| p.series == Series::Original;
        assert!(close.points.iter().any(is_original));
        assert!(close.title().ends_with("the lower 10 points"));
    }

    #[test]
    fn what_differs_in_metric_is_left_out() {
        let mut report = evaluated();
        let all = report.curve.len();
        report.curve[3].evaluation.as_mut().unwrap().primary.metric = Metric::Agreement;
        assert_eq!(Curve::of(&report, X::Macs).unwrap().points.len(), all - 1);
    }

    #[test]
    fn error_bars_stay_within_percent() {
        let point = |y, error| Point {
            series: Series::Result,
            label: String::new(),
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
