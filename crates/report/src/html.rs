//! `report.html`: one page with everything in it.

use super::escape::escape;
use super::page::{Block, Page};

const STYLE: &str = include_str!("style.css");
/// Style of drawings.
pub(super) const CHART_STYLE: &str = include_str!("chart.css");

/// One self-contained page: nothing is loaded and nothing runs, which its policy also tells
/// the browser.
pub(super) fn render(page: &Page) -> String {
    let title = escape(&page.title);
    let mut html = format!(
        concat!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
            "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
            "<meta http-equiv=\"Content-Security-Policy\" ",
            "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n",
            "<meta name=\"generator\" content=\"sepconv {}\">\n",
            "<title>{} – sepconv report</title>\n<style>\n{}{}</style>\n</head>\n<body>\n<main>\n",
            "<header><p class=\"over\">sepconv report</p><h1>{}</h1>\n",
            "<p class=\"lead\">{}</p></header>\n",
        ),
        escape(sepconv::VERSION),
        title,
        STYLE,
        CHART_STYLE,
        title,
        page.lead.html()
    );
    for section in &page.sections {
        let blocks: String = section.blocks.iter().map(block).collect();
        match section.heading {
            Some(heading) => html.push_str(&format!(
                "<section>\n<h2>{heading}</h2>\n{blocks}</section>\n"
            )),
            None => html.push_str(&blocks),
        }
    }
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

/// A figure with a caption above it, both in HTML but for the caption's characters.
pub(super) fn drawing(class: &str, caption: &str, svg: &str) -> String {
    format!(
        "<figure class=\"{class}\">\n<figcaption>{}</figcaption>\n{svg}</figure>\n",
        escape(caption)
    )
}

fn block(block: &Block) -> String {
    match block {
        Block::Text(text) => format!("<p>{}</p>\n", text.html()),
        Block::Command(command) => format!("<pre><code>{}</code></pre>\n", words(command)),
        Block::Table(table) => table.html(),
        Block::Drawing(html) => html.clone(),
        Block::Picture(..) => String::new(),
    }
}

/// Words that break within only where one is longer than a line, not at each hyphen.
fn words(command: &str) -> String {
    let words = command.split(' ').map(|word| match word {
        "" => String::new(),
        word => format!("<span class=\"word\">{}</span>", escape(word)),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod browser;
#[cfg(test)]
mod tests;
