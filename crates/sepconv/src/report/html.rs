//! `report.html`: one page with everything in it.

use super::Report;
use super::curve_chart::{NARROW, WIDE, draw};
use super::curve_data::Curve;
use super::escape::escape;
use super::{layer_chart, measures, summary, tables};

const STYLE: &str = include_str!("style.css");
const CHART_STYLE: &str = include_str!("chart.css");

/// One self-contained page: nothing is loaded and nothing runs, which its policy also tells
/// the browser.
pub(super) fn page(report: &Report) -> String {
    let name = escape(file_name(&report.model));
    let mut page = format!(
        concat!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
            "<meta http-equiv=\"Content-Security-Policy\" ",
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
            "<meta name=\"generator\" content=\"sepconv {}\">\n",
            "<title>{} – sepconv report</title>\n<style>\n{}{}</style>\n</head>\n<body>\n<main>\n",
            "<header><p class=\"over\">sepconv report</p><h1>{}</h1>\n",
            "<p class=\"lead\">{}</p></header>\n",
        ),
        escape(report.versions.sepconv),
        name,
        STYLE,
        CHART_STYLE,
        name,
        summary::headline(report)
    );
    page.push_str(&summary::table(report));
    page.push_str(&measures::table(report));
    section(&mut page, "Accuracy against compression", &curve(report));
    section(&mut page, "Layers", &layers(report));
    section(&mut page, "Outputs", &outputs(report));
    section(&mut page, "How it was made", &origin(report));
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// The curve of accuracy against compression as an SVG drawing that stands alone, light or
/// dark as its viewer prefers; `None` where fewer than two points have a figure.
pub fn curve_svg(report: &Report) -> Option<String> {
    let curve = Curve::of(report).ok()?;
    Some(draw(&curve, WIDE, Some(CHART_STYLE)))
}

fn section(page: &mut String, heading: &str, content: &str) {
    page.push_str(&format!(
        "<section>\n<h2>{heading}</h2>\n{content}</section>\n"
    ));
}

fn curve(report: &Report) -> String {
    let mut html = match Curve::of(report) {
        Ok(curve) => format!(
            "<figure class=\"chart-box\">\n{}{}</figure>\n",
            draw(&curve, WIDE, None),
            draw(&curve, NARROW, None)
        ),
        Err(why) => format!("<p>{}</p>\n", escape(&why)),
    };
    if !report.curve.is_empty() {
        html.push_str(&tables::points(report));
    }
    html
}

fn layers(report: &Report) -> String {
    if report.layers.is_empty() {
        return "<p>The model has no convolutions.</p>\n".into();
    }
    let key = |class: &str, text: &str| {
        format!(
            concat!(
                "<svg class=\"chart key\" aria-hidden=\"true\"><rect class=\"{}\" width=\"100%\" ",
                "height=\"100%\"/></svg>{}",
            ),
            class, text
        )
    };
    format!(
        concat!(
            "<figure>\n<figcaption>MACs per convolution: {}, {}, {}.</figcaption>\n",
            "<div class=\"bars\">\n{}</div>\n</figure>\n{}",
        ),
        key("before", "before"),
        key("after", "after"),
        key("kept", "kept as it was"),
        layer_chart::draw(&report.layers),
        tables::layers(report)
    )
}

fn outputs(report: &Report) -> String {
    match &report.not_run {
        Some(why) => format!("<p>The models were not run: {}</p>\n", escape(why)),
        None if report.outputs.is_empty() => "<p>No output was compared.</p>\n".into(),
        None => tables::outputs(report),
    }
}

fn origin(report: &Report) -> String {
    let command = match &report.settings.command {
        Some(command) => format!(
            "<p>The command line that reproduces it:</p>\n<pre><code>{}</code></pre>\n",
            words(command)
        ),
        None => "<p>Made by a call of the library, not by a command line.</p>\n".into(),
    };
    format!("{command}{}", tables::settings(report))
}

/// Words that break within only where one is longer than a line, not at each hyphen.
fn words(command: &str) -> String {
    let words = command.split(' ').map(|word| match word {
        "" => String::new(),
        word => format!("<span class=\"word\">{}</span>", escape(word)),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// What stands after the last separator of either kind.
fn file_name(path: &str) -> &str {
    match path.rsplit(['/', '\\']).next() {
        Some("") | None => path,
        Some(name) => name,
    }
}

#[cfg(test)]
mod tests;
