//! Marks of the curve's points and their legend.

use std::fmt::Write as _;

use super::curve_data::{Curve, Kind};

/// Width of a character over the font's size, on the safe side.
pub(super) const CHARACTER: f64 = 0.58;

/// A legend.
pub(super) struct Legend {
    pub svg: String,
    /// Where it ends.
    pub bottom: f64,
}

/// The legend of what a curve has, in as many rows as the width asks for.
pub(super) fn legend(curve: &Curve, width: f64, font: f64) -> Legend {
    let has = |f: fn(&Kind) -> bool| curve.points.iter().any(|p| f(&p.kind));
    let entries = [
        (
            "uniform",
            "uniform rank K",
            has(|k| matches!(k, Kind::Uniform(_))),
        ),
        ("other", "other plans", has(|k| matches!(k, Kind::Other(_)))),
        ("result", "result", has(|k| *k == Kind::Result)),
        ("original", "original", has(|k| *k == Kind::Original)),
        (
            "whisker",
            "± standard error",
            curve.points.iter().any(|p| p.error.is_some()),
        ),
    ];
    let row = font * 1.6;
    let (mut x, mut y) = (6.0, font);
    let mut svg = String::new();
    for (class, text, _) in entries.iter().filter(|e| e.2) {
        let needed = 16.0 + text.chars().count() as f64 * font * CHARACTER;
        if x > 6.0 && x + needed > width {
            (x, y) = (6.0, y + row);
        }
        svg.push_str(&mark(class, x + 4.0, y - font * 0.35, 5.0));
        let _ = write!(
            svg,
            r#"<text class="muted" x="{:.1}" y="{y:.1}">{text}</text>"#,
            x + 14.0
        );
        x += needed + 12.0;
    }
    Legend {
        svg,
        bottom: y + row * 0.6,
    }
}

/// The mark of a class around a centre.
pub(super) fn mark(class: &str, x: f64, y: f64, r: f64) -> String {
    match class {
        "result" => {
            let r = r * 1.4;
            format!(
                r#"<path class="result" d="M{x:.1} {:.1}l{r:.1} {r:.1}l-{r:.1} {r:.1}l-{r:.1} -{r:.1}z"/>"#,
                y - r
            )
        }
        "original" => format!(
            r#"<rect class="original" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}"/>"#,
            x - r,
            y - r,
            2.0 * r,
            2.0 * r
        ),
        "whisker" => whisker(x, y - r, y + r),
        class => format!(r#"<circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{r:.1}"/>"#),
    }
}

/// An error bar.
pub(super) fn whisker(x: f64, top: f64, bottom: f64) -> String {
    format!(
        r#"<path class="whisker" d="M{:.1} {top:.1}h7M{x:.1} {top:.1}V{bottom:.1}M{:.1} {bottom:.1}h7"/>"#,
        x - 3.5,
        x - 3.5
    )
}

/// Class of a kind's marks.
pub(super) fn class(kind: &Kind) -> &'static str {
    match kind {
        Kind::Uniform(_) => "uniform",
        Kind::Other(_) => "other",
        Kind::Result => "result",
        Kind::Original => "original",
    }
}
