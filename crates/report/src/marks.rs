//! Marks of the curve's points and their legend.

use std::fmt::Write as _;

use super::csv;
use super::curve_data::{Curve, series_name};
use sepconv::Series;

/// Width of a character over the font's size, on the safe side.
pub(super) const CHARACTER: f64 = 0.58;

/// The order of a legend.
const ORDER: [Series; 10] = [
    Series::Original,
    Series::Result,
    Series::Allocated,
    Series::Tuned,
    Series::Int8,
    Series::Both,
    Series::Uniform,
    Series::PaperDwPw,
    Series::PaperPwDw,
    Series::PaperEnergy,
];

/// A legend.
pub(super) struct Legend {
    pub svg: String,
    /// Its lower edge, in pixels of the drawing.
    pub bottom: f64,
}

/// The legend of a curve, in as many rows as the width asks for.
pub(super) fn legend(curve: &Curve, width: f64, font: f64) -> Legend {
    let has = |series: &Series| curve.points.iter().any(|p| p.series == *series);
    let mut entries: Vec<(Option<Series>, &str)> = ORDER
        .iter()
        .filter(|s| has(s))
        .map(|s| (Some(*s), series_name(*s)))
        .collect();
    if curve.points.iter().any(|p| p.error.is_some()) {
        entries.push((None, "± standard error"));
    }
    let row = font * 1.6;
    let (mut x, mut y) = (6.0, font);
    let mut svg = String::new();
    for (series, text) in entries {
        let lined = series.is_some_and(|s| !matches!(s, Series::Original | Series::Result));
        let key = if lined { 26.0 } else { 8.0 };
        let needed = key + 8.0 + text.chars().count() as f64 * font * CHARACTER;
        if x > 6.0 && x + needed > width {
            (x, y) = (6.0, y + row);
        }
        let (middle, centre) = (x + key / 2.0, y - font * 0.35);
        match series {
            Some(series) => {
                if lined {
                    let _ = write!(
                        svg,
                        r#"<path class="line {}" d="M{x:.1} {centre:.1}h{key:.1}"/>"#,
                        class(series)
                    );
                }
                svg.push_str(&mark(series, middle, centre, 5.0));
            }
            None => svg.push_str(&whisker("ink", middle, centre - 5.0, centre + 5.0)),
        }
        let _ = write!(
            svg,
            r#"<text class="muted" x="{:.1}" y="{y:.1}">{text}</text>"#,
            x + key + 6.0
        );
        x += needed + 12.0;
    }
    Legend {
        svg,
        bottom: y + row * 0.6,
    }
}

/// The mark of a series around a centre: a shape of its own each, so that colours are not
/// needed.
pub(super) fn mark(series: Series, x: f64, y: f64, r: f64) -> String {
    let (fill, class) = (fill(series), class(series));
    let path = |d: String| format!(r#"<path class="{fill} {class}" d="{d}"/>"#);
    let diamond = |r: f64| {
        let top = y - r;
        format!("M{x:.1} {top:.1}l{r:.1} {r:.1}l-{r:.1} {r:.1}l-{r:.1} -{r:.1}z")
    };
    match series {
        Series::Original => path(square(x, y, r)),
        Series::Result => path(diamond(r * 1.4)),
        Series::Allocated => {
            format!(r#"<circle class="{fill} {class}" cx="{x:.1}" cy="{y:.1}" r="{r:.1}"/>"#)
        }
        Series::Uniform => path(format!(
            "M{x:.1} {:.1}L{:.1} {:.1}H{:.1}z",
            y - r * 1.2,
            x + r * 1.1,
            y + r * 0.8,
            x - r * 1.1
        )),
        Series::PaperDwPw => path(square(x, y, r * 0.85)),
        Series::PaperPwDw => path(format!(
            "M{x:.1} {:.1}L{:.1} {:.1}H{:.1}z",
            y + r * 1.2,
            x + r * 1.1,
            y - r * 0.8,
            x - r * 1.1
        )),
        // A plus: two bars, one path.
        Series::Tuned => {
            let (half, arm) = (r * 0.45, r * 1.2);
            let (wide, long) = (2.0 * half, arm - half);
            path(format!(
                "M{:.1} {:.1}h{wide:.1}v{long:.1}h{long:.1}v{wide:.1}h-{long:.1}v{long:.1}\
                 h-{wide:.1}v-{long:.1}h-{long:.1}v-{wide:.1}h{long:.1}z",
                x - half,
                y - arm,
            ))
        }
        Series::Int8 => path(square(x, y, r * 0.85)),
        Series::Both => {
            let (half, side) = (r * 0.55, r * 1.1);
            path(format!(
                "M{:.1} {:.1}h{side:.1}l{half:.1} {r:.1}l-{half:.1} {r:.1}h-{side:.1}l-{half:.1} -{r:.1}z",
                x - half,
                y - r,
            ))
        }
        Series::PaperEnergy => path(diamond(r * 1.2)),
    }
}

fn square(x: f64, y: f64, r: f64) -> String {
    let (left, top, side) = (x - r, y - r, 2.0 * r);
    format!("M{left:.1} {top:.1}h{side:.1}v{side:.1}h-{side:.1}z")
}

/// An error bar.
pub(super) fn whisker(class: &str, x: f64, top: f64, bottom: f64) -> String {
    let left = x - 3.5;
    format!(
        concat!(
            r#"<path class="whisker {}" d="M{:.1} {:.1}h7M{:.1} {:.1}V{:.1}"#,
            r#"M{:.1} {:.1}h7"/>"#
        ),
        class, left, top, x, top, bottom, left, bottom
    )
}

/// Style class of a mark: full, or an outline for baselines.
fn fill(series: Series) -> &'static str {
    match series {
        Series::PaperDwPw | Series::PaperPwDw | Series::PaperEnergy => "hollow",
        _ => "solid",
    }
}

/// The class that colours a series.
pub(super) fn class(series: Series) -> &'static str {
    match series {
        Series::Original => "ink",
        other => csv::series(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_differ_in_shape_and_in_colour() {
        let shapes: std::collections::BTreeSet<String> = ORDER
            .iter()
            .map(|s| mark(*s, 10.0, 10.0, 5.0).replace(class(*s), ""))
            .collect();
        assert_eq!(shapes.len(), ORDER.len());
        let style = include_str!("chart.css");
        for series in ORDER {
            let rule = format!(".chart .{} {{ color:", class(series));
            assert_eq!(style.matches(&rule).count(), 2, "{rule}: light and dark");
        }
    }
}
