//! The curve of accuracy against compression as SVG.

use std::fmt::Write as _;

use super::curve_data::{Curve, Point};
use super::escape::{escape, shorten};
use super::marks::{CHARACTER, class, legend, mark, whisker};
use super::place::{Placer, Rect};
use super::scale::{Linear, Ticks, ticks};
use sepconv::Series;

/// Size of a drawing. Text does not scale with the page, so that a narrow page has a drawing
/// of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    /// Name in classes and ids.
    pub name: &'static str,
    width: f64,
    height: f64,
    font: f64,
    ticks: usize,
    /// Radius of marks.
    mark: f64,
}

/// For pages as wide as a desk's.
pub(super) const WIDE: Frame = Frame {
    name: "wide",
    width: 720.0,
    height: 420.0,
    font: 13.0,
    ticks: 6,
    mark: 5.0,
};
/// For phones.
pub(super) const NARROW: Frame = Frame {
    name: "narrow",
    width: 328.0,
    height: 340.0,
    font: 12.0,
    ticks: 4,
    mark: 4.5,
};

/// The chart. `style` goes into a drawing that stands alone.
pub(super) fn draw(curve: &Curve, frame: Frame, style: Option<&str>) -> String {
    let legend = legend(curve, frame.width, frame.font);
    let plot = Plot::new(curve, frame, legend.bottom);
    // The page around a drawing has margins; one that stands alone brings its own.
    let margin = if style.is_some() { 12.0 } else { 0.0 };
    let (w, h) = (frame.width + 2.0 * margin, frame.height + 2.0 * margin);
    let part = if curve.close { "-close" } else { "" };
    let id = format!("curve-{}{part}-{}", curve.x.id(), frame.name);
    let size = style.map_or(String::new(), |_| format!(r#" width="{w}" height="{h}""#));
    let mut svg = format!(
        concat!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" class="chart curve {name}" "#,
            r#"viewBox="{from} {from} {w} {h}"{size} font-size="{font}" role="img" "#,
            r#"aria-labelledby="{id}-title {id}-desc">"#,
            r#"<title id="{id}-title">{title}</title>"#,
            r#"<desc id="{id}-desc">{desc}</desc>"#,
        ),
        name = frame.name,
        id = id,
        from = 0.0 - margin,
        w = w,
        h = h,
        size = size,
        font = frame.font,
        title = escape(&curve.title()),
        desc = escape(&curve.summary())
    );
    if let Some(style) = style {
        let _ = write!(
            svg,
            concat!(
                "<style>{}</style>",
                r#"<rect class="paper" x="{}" y="{}" width="{}" height="{}"/>"#
            ),
            style, -margin, -margin, w, h
        );
    }
    svg.push_str(&legend.svg);
    plot.axes(&mut svg, curve);
    plot.points(&mut svg, curve);
    plot.labels(&mut svg, curve);
    svg.push_str("</svg>\n");
    svg
}

struct Plot {
    frame: Frame,
    x: Linear,
    y: Linear,
    x_ticks: Ticks,
    y_ticks: Ticks,
}

impl Plot {
    fn new(curve: &Curve, frame: Frame, top: f64) -> Self {
        let (lo, hi) = bounds(curve.points.iter().map(|p| p.x));
        let x_ticks = ticks(lo, hi, 0.05, frame.ticks);
        let (lo, hi) = bounds(curve.points.iter().flat_map(|p| {
            let (a, b) = p.whisker().unwrap_or((p.y, p.y));
            [a, b]
        }));
        let y_ticks = match curve.axis.least() {
            // At least that long, and within the possible range.
            Some(least) if hi - lo < least => {
                let range = curve.axis.range();
                let lo = f64::midpoint(lo, hi) - least / 2.0;
                let lo = lo.max(range.0).min(range.1 - least);
                ticks(lo, lo + least, least, frame.ticks)
            }
            _ => ticks(lo, hi, 1.0, frame.ticks),
        };
        let font = frame.font;
        let shown = y_ticks
            .values
            .iter()
            .map(|v| tick(*v, &y_ticks).chars().count());
        let left = shown.max().unwrap_or(1) as f64 * font * CHARACTER + 14.0;
        let range = (left, frame.width - font * 1.4);
        let x = Linear {
            domain: x_ticks.span(),
            range,
        };
        let range = (frame.height - font * 3.6, top + font * 2.2);
        let y = Linear {
            domain: y_ticks.span(),
            range,
        };
        Self {
            frame,
            x,
            y,
            x_ticks,
            y_ticks,
        }
    }

    fn axes(&self, svg: &mut String, curve: &Curve) {
        let font = self.frame.font;
        let ((left, right), (bottom, top)) = (self.x.range, self.y.range);
        for value in &self.y_ticks.values {
            let y = self.y.at(*value);
            let _ = write!(
                svg,
                concat!(
                    r#"<path class="grid" d="M{:.1} {:.1}H{:.1}"/>"#,
                    r#"<text class="muted" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                ),
                left,
                y,
                right,
                left - 7.0,
                y + font * 0.35,
                tick(*value, &self.y_ticks)
            );
        }
        for value in &self.x_ticks.values {
            let x = self.x.at(*value);
            let _ = write!(
                svg,
                concat!(
                    r#"<path class="grid" d="M{:.1} {:.1}V{:.1}"/>"#,
                    r#"<text class="muted" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                ),
                x,
                bottom,
                top,
                x,
                bottom + font * 1.4,
                tick(*value, &self.x_ticks)
            );
        }
        let _ = write!(
            svg,
            concat!(
                r#"<path class="axis" d="M{:.1} {:.1}H{:.1}"/>"#,
                r#"<text x="6" y="{:.1}">{}</text>"#,
                r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            ),
            left,
            bottom,
            right,
            top - font * 0.9,
            escape(&curve.y_label()),
            f64::midpoint(left, right),
            bottom + font * 3.0,
            escape(&curve.x_label())
        );
    }

    fn at(&self, point: &Point) -> (f64, f64) {
        (self.x.at(point.x), self.y.at(point.y))
    }

    fn points(&self, svg: &mut String, curve: &Curve) {
        for (series, line) in curve.lines().iter().filter(|(_, l)| l.len() > 1) {
            let places = line.iter().map(|p| {
                let (x, y) = self.at(p);
                format!("{x:.1},{y:.1}")
            });
            let places: Vec<String> = places.collect();
            let _ = write!(
                svg,
                r#"<polyline class="line {}" points="{}"/>"#,
                class(*series),
                places.join(" ")
            );
        }
        // In the order of the lines; the original and the result lie on top.
        let lined = curve.lines().into_iter().flat_map(|(_, points)| points);
        let of = |series: Series| curve.points.iter().filter(move |p| p.series == series);
        for point in lined.chain(of(Series::Original)).chain(of(Series::Result)) {
            let (x, y) = self.at(point);
            let _ = write!(svg, "<g><title>{}</title>", escape(&curve.describe(point)));
            if let Some((lo, hi)) = point.whisker() {
                let class = class(point.series);
                svg.push_str(&whisker(class, x, self.y.at(hi), self.y.at(lo)));
            }
            let _ = write!(svg, "{}</g>", mark(point.series, x, y, self.frame.mark));
        }
    }

    fn labels(&self, svg: &mut String, curve: &Curve) {
        let (font, (left, right), (bottom, top)) = (self.frame.font, self.x.range, self.y.range);
        let mut placer = Placer::new(Rect {
            x: left + 1.0,
            y: top - font * 0.6,
            w: right - left + font * 1.2,
            h: bottom - top + font * 0.4,
        });
        for point in &curve.points {
            let (x, y) = self.at(point);
            placer.mark((x, y), 6.0);
            if let Some((lo, hi)) = point.whisker() {
                placer.avoid_line((x, self.y.at(lo)), (x, self.y.at(hi)));
            }
        }
        for (_, line) in curve.lines() {
            for pair in line.windows(2) {
                placer.avoid_line(self.at(pair[0]), self.at(pair[1]));
            }
        }
        for (text, point) in wanted(curve) {
            // Short labels of wide characters (`K=9`) need more than the average.
            let width = (text.chars().count() as f64 + 0.8) * font * CHARACTER;
            // A rank goes without rather than with a label that is far off or hard to read.
            let (gaps, limit): (&[f64], usize) = match point.series {
                Series::Original | Series::Result => (&[9.0, 16.0, 23.0], 100),
                _ => (&[9.0], 5),
            };
            let size = (width, font * 1.15);
            let Some(spot) = placer.place(self.at(point), size, gaps, limit) else {
                continue;
            };
            let _ = write!(
                svg,
                r#"<text class="halo" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                spot.x + spot.w / 2.0,
                spot.y + font * 0.92,
                escape(&text)
            );
        }
    }
}

/// Labels in the order in which they get a place: both ends of the line before its middle.
/// Points of several lines are too many to have labels of their own.
fn wanted(curve: &Curve) -> Vec<(String, &Point)> {
    let of = |series: Series| {
        let points = curve.points.iter().filter(move |p| p.series == series);
        points.map(|p| (format!("{} {}", p.name(), curve.figure(p.y)), p))
    };
    let ends = of(Series::Result).chain(of(Series::Original));
    let mut labels: Vec<(String, &Point)> = ends.collect();
    let lines = curve.lines();
    let [(_, line)] = lines.as_slice() else {
        return labels;
    };
    let last = line.len().saturating_sub(1);
    let (ends, middle): (Vec<_>, Vec<_>) = line
        .iter()
        .enumerate()
        .partition(|(i, _)| *i == 0 || *i == last);
    labels.extend(ends.into_iter().chain(middle).map(|(_, p)| {
        let rank = p.rank().map(|rank| format!("K={rank}"));
        (rank.unwrap_or_else(|| shorten(&p.label, 20)), *p)
    }));
    labels
}

fn tick(value: f64, ticks: &Ticks) -> String {
    super::format::fixed(value, ticks.decimals)
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let none = (f64::INFINITY, f64::NEG_INFINITY);
    values.fold(none, |(lo, hi), v| (lo.min(v), hi.max(v)))
}
