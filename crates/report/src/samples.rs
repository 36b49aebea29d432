//! Samples before and after, as pictures.

use sepconv_eval::ShownSample;

use super::base64::base64;
use super::escape::escape;
use super::page::Block;
use super::report::Report;
use super::rich::Rich;

/// The samples that a report shows; none where there are none.
pub(super) fn blocks(report: &Report) -> Vec<Block> {
    if report.pictures.is_empty() {
        return Vec::new();
    }
    let text = format!(
        "What the original and the rewritten model make of {} of the {} {}.",
        report.pictures.len(),
        report.samples,
        report.inputs.label()
    );
    let figures = report
        .pictures
        .iter()
        .map(|shown| Block::Drawing(figure(shown)));
    [Block::Text(Rich::plain(text))]
        .into_iter()
        .chain(figures)
        .collect()
}

/// The panels of a sample side by side, each with its caption below.
fn figure(shown: &ShownSample) -> String {
    let number = shown.sample + 1;
    let panels = shown.panels.iter().filter_map(|panel| {
        let picture = &panel.picture;
        Some(format!(
            concat!(
                "<div class=\"panel\"><img alt=\"sample {}, {}\" width=\"{}\" height=\"{}\" ",
                "src=\"data:image/png;base64,{}\" /><span>{}</span></div>\n"
            ),
            number,
            escape(&panel.caption),
            picture.width(),
            picture.height(),
            base64(&picture.png()?),
            escape(&panel.caption),
        ))
    });
    format!(
        "<figure class=\"samples\">\n<figcaption>Sample {number}</figcaption>\n\
         <div class=\"panels\">\n{}</div>\n</figure>\n",
        panels.collect::<String>()
    )
}
