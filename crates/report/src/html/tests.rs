//! Structure of the page, and pages to look at.
//!
//! `SEPCONV_PAGES=DIR` keeps the pages and drawings of all kinds in that folder.

#![allow(clippy::unwrap_used)]

use super::super::Report;
use super::super::fixtures::{
    all, calibrated, evaluated, hostile, hundred_layers, not_run, restored, shown, snr_only, swept,
};

fn page(report: &Report) -> String {
    report.html()
}

fn curve_svg(report: &Report) -> Option<String> {
    report.curve_svg()
}

/// Names of elements in order, or the fault of their nesting.
fn elements(html: &str) -> Result<Vec<String>, String> {
    let (mut open, mut seen) = (Vec::new(), Vec::new());
    let (head, tail) = html.split_once("<style>").ok_or("no style")?;
    let (_, tail) = tail.split_once("</style>").ok_or("an open style")?;
    let html = format!("{head}{tail}");
    let mut rest = html.as_str();
    while let Some(start) = rest.find('<') {
        let end = rest[start..].find('>').ok_or("a tag is not closed")? + start;
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let name = tag
            .trim_matches('/')
            .split_whitespace()
            .next()
            .unwrap_or_default();
        if tag.matches('"').count() % 2 != 0 || tag.contains('<') {
            return Err(format!("quotes of <{tag}>"));
        }
        if tag.starts_with('/') {
            let expected = open.pop().unwrap_or_default();
            if expected != name {
                return Err(format!("</{name}> closes <{expected}>"));
            }
            continue;
        }
        seen.push(name.to_owned());
        if !tag.ends_with('/') && !["!doctype", "meta"].contains(&name) {
            open.push(name.to_owned());
        }
    }
    if open.is_empty() {
        Ok(seen)
    } else {
        Err(format!("open at the end: {open:?}"))
    }
}

fn count(html: &str, name: &str) -> usize {
    elements(html)
        .unwrap()
        .iter()
        .filter(|e| *e == name)
        .count()
}

/// Writes a page and its drawing to `SEPCONV_PAGES`, where that is set.
fn keep(name: &str, report: &Report) {
    let Some(folder) = std::env::var_os("SEPCONV_PAGES").map(std::path::PathBuf::from) else {
        return;
    };
    std::fs::write(folder.join(format!("{name}.html")), page(report)).unwrap();
    if let Some(svg) = curve_svg(report) {
        std::fs::write(folder.join(format!("{name}.svg")), svg).unwrap();
    }
}

#[test]
fn pages_are_well_formed_and_load_nothing() {
    for (name, report) in all() {
        keep(name, &report);
        let html = page(&report);
        if let Err(problem) = elements(&html) {
            panic!("{name}: {problem}");
        }
        let stripped = html.replace("http://www.w3.org/2000/svg", "");
        // Pictures are in the page, as letters that may spell anything.
        let mut parts = stripped.split("src=\"data:image/png;base64,");
        let first = parts.next().unwrap().to_owned();
        let rest = parts.map(|part| part.split_once('"').unwrap().1);
        let stripped = [first].into_iter().chain(rest.map(str::to_owned));
        let stripped = stripped.collect::<String>();
        for forbidden in [
            "<script", "<link", "src=", "<iframe", "http:", "https:", "url(", "@import", "NaN",
            "href=",
        ] {
            assert!(!stripped.contains(forbidden), "{name} has {forbidden}");
        }
        assert_eq!(html, page(&report), "{name}");
        let ids: Vec<&str> = html
            .split(" id=\"")
            .skip(1)
            .filter_map(|s| s.split('"').next())
            .collect();
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(ids.len(), unique.len(), "{name}");
        for labels in html
            .split("aria-labelledby=\"")
            .skip(1)
            .filter_map(|s| s.split('"').next())
        {
            assert!(
                labels.split(' ').all(|l| ids.contains(&l)),
                "{name}: {labels}"
            );
        }
    }
}

#[test]
fn sections_tables_and_drawings() {
    let html = page(&evaluated());
    assert_eq!((count(&html, "h1"), count(&html, "h2")), (1, 4));
    // Sizes, measures, points, layers, outputs, settings.
    assert_eq!((count(&html, "table"), count(&html, "caption")), (6, 6));
    // Two axes in two widths, and the layers.
    assert_eq!(html.matches("role=\"img\"").count(), 5);
    assert!(html.contains("<title>resnet20.onnx – sepconv report</title>"));
    assert!(html.contains(">--target-macs</span> <span class=\"word\">0.45</span> "));
    // No drawing of a curve, nor a table of outputs, where nothing was run.
    let html = page(&calibrated());
    assert_eq!((count(&html, "h2"), count(&html, "table")), (6, 8));
    assert_eq!(html.matches("class=\"chart spark\"").count(), 3);
    // Nothing of one written model, but a close-up and an axis of time.
    let html = page(&swept());
    assert_eq!((count(&html, "h2"), count(&html, "table")), (2, 2));
    for id in ["macs", "macs-close", "params", "time"] {
        for frame in ["wide", "narrow"] {
            let id = format!("id=\"curve-{id}-{frame}-title\"");
            assert_eq!(html.matches(&id).count(), 1, "{id}");
        }
    }
    let html = page(&not_run());
    assert_eq!((count(&html, "polyline"), count(&html, "table")), (0, 4));
    assert_eq!(html.matches("role=\"img\"").count(), 1);
    assert!(html.contains("There is no curve to draw"));
    assert_eq!(
        count(&page(&hundred_layers()), "tr"),
        101 + 4 + 5 + 10 + 2 + 14
    );
}

#[test]
fn samples_are_side_by_side() {
    let html = page(&shown());
    assert_eq!((count(&html, "img"), count(&html, "h2")), (6, 5));
    assert!(html.contains("<figcaption>Sample 5</figcaption>"));
    assert!(html.contains("of 2 of the 128 held-out calibration samples"));
    assert!(html.contains("<span>rewritten &lt;b&gt;</span>"));
    assert!(html.contains("width=\"60\" height=\"120\" src=\"data:image/png;base64,iVBORw0KGgo"));
    assert!(!page(&restored()).contains("<img"));
    assert!(!shown().json().contains("panels") && !shown().markdown().contains("base64"));
}

#[test]
fn hostile_names_stay_text() {
    let report = hostile();
    let html = page(&report);
    assert!(!html.contains("<script") && !html.contains("onload=\"") && !html.contains('\u{0}'));
    assert!(html.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;"));
    assert!(html.contains("層"));
}

#[test]
fn the_curve_stands_alone() {
    let svg = curve_svg(&evaluated()).unwrap();
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
    assert!(svg.contains("prefers-color-scheme: dark"));
    assert_eq!(count(&svg, "polyline"), 1);
    // An error bar for each point and one in the legend.
    assert_eq!(
        svg.matches("class=\"whisker ").count(),
        evaluated().curve.len() + 1
    );
    assert!(svg.contains(">top-1 accuracy (%)<") && svg.contains(">K=1<"));
    let psnr = curve_svg(&restored()).unwrap();
    assert!(psnr.contains(">PSNR (dB)<") && psnr.contains("class=\"whisker "));
    let snr = curve_svg(&snr_only()).unwrap();
    assert!(snr.contains("(dB)<") && !snr.contains("class=\"whisker "));
    assert_eq!(curve_svg(&not_run()), None);
}

#[test]
fn equal_points_and_full_marks_can_be_drawn() {
    let mut report = evaluated();
    for point in &mut report.curve {
        point.macs = 0.5;
        let primary = &mut point.evaluation.as_mut().unwrap().primary;
        (primary.value, primary.stderr) = (100.0, Some(2.0));
    }
    let svg = curve_svg(&report).unwrap();
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
    let ticks: Vec<f64> = svg
        .split("text-anchor=\"end\">")
        .skip(1)
        .filter_map(|t| t.split('<').next()?.parse().ok())
        .collect();
    assert!(
        ticks.len() > 2 && ticks.iter().all(|t| (0.0..=100.0).contains(t)),
        "{ticks:?}"
    );
}
