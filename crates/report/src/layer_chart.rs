//! MACs per layer before and after as horizontal bars.
//!
//! Bars are sized in percent of the drawing and text in pixels, so that one drawing fits a
//! phone as well as a desk. Many layers are cut into drawings that a printed page can hold.

use std::fmt::Write as _;

use super::escape::{escape, shorten};
use super::format::{exact, si};
use sepconv::LayerRecord;

/// Most layers in one drawing.
const ROWS: usize = 12;
/// Height of a layer in pixels.
const ROW: usize = 36;
/// Columns of a name, so that it leaves room for the figures on a narrow phone.
const NAME: usize = 27;

/// All drawings under a caption that is their legend.
pub(super) fn figure(layers: &[LayerRecord]) -> String {
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
            "<div class=\"bars\">\n{}</div>\n</figure>\n",
        ),
        key("before", "before"),
        key("after", "after"),
        key("kept", "kept as it was"),
        draw(layers)
    )
}

/// All drawings.
fn draw(layers: &[LayerRecord]) -> String {
    let longest = layers.iter().flat_map(|l| [l.macs_before, l.macs_after]);
    let longest = longest.flatten().max().unwrap_or(0);
    let charts = layers.len().div_ceil(ROWS).max(1);
    let rows = layers.len().div_ceil(charts).max(1);
    let mut svg = String::new();
    for (i, part) in layers.chunks(rows).enumerate() {
        let first = i * rows + 1;
        let range = format!("{first} to {} of {}", first + part.len() - 1, layers.len());
        chart(&mut svg, i, part, &range, longest);
    }
    svg
}

fn chart(svg: &mut String, number: usize, layers: &[LayerRecord], range: &str, longest: u64) {
    let height = layers.len() * ROW;
    let described: Vec<String> = layers.iter().map(describe).collect();
    let _ = write!(
        svg,
        concat!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" class="chart layers" width="100%" "#,
            r#"height="{}" font-size="12" role="img" "#,
            r#"aria-labelledby="layers-{}-title layers-{}-desc">"#,
            r#"<title id="layers-{}-title">MACs per convolution, {}</title>"#,
            r#"<desc id="layers-{}-desc">{}</desc>"#,
        ),
        height,
        number,
        number,
        number,
        range,
        number,
        escape(&described.join("; "))
    );
    for (i, layer) in layers.iter().enumerate() {
        row(svg, i * ROW, layer, longest);
    }
    svg.push_str("</svg>\n");
}

fn row(svg: &mut String, top: usize, layer: &LayerRecord, longest: u64) {
    let kept = !layer.is_rewritten();
    let figures = match (layer.macs_before, layer.macs_after) {
        (Some(before), Some(_)) if kept => format!("{} kept", si(before)),
        (Some(before), Some(after)) => format!("{} → {}", si(before), si(after)),
        _ => "MACs unknown".into(),
    };
    let _ = write!(
        svg,
        concat!(
            r#"<g><title>{}</title>"#,
            r#"<text class="name" font-size="11" y="{}">{}</text>"#,
            r#"<text class="muted" x="100%" y="{}" text-anchor="end">{}</text>"#,
        ),
        escape(&describe(layer)),
        top + 13,
        escape(&shorten(&layer.name, NAME)),
        top + 13,
        figures
    );
    let mut bar = |class: &str, macs: Option<u64>, y: usize, height: usize| {
        if let Some(macs) = macs.filter(|m| *m > 0) {
            let share = 100.0 * macs as f64 / longest.max(1) as f64;
            let _ = write!(
                svg,
                r#"<rect class="{class}" y="{y}" width="{share:.2}%" height="{height}"/>"#
            );
        }
    };
    bar("before", layer.macs_before, top + 18, 10);
    let class = if kept { "kept" } else { "after" };
    bar(class, layer.macs_after, top + 20, 6);
    svg.push_str("</g>");
}

fn describe(layer: &LayerRecord) -> String {
    let macs = |macs: Option<u64>| macs.map_or("unknown".into(), exact);
    let (before, after) = (macs(layer.macs_before), macs(layer.macs_after));
    if !layer.is_rewritten() {
        return format!("{}: {before} MACs, kept", layer.name);
    }
    format!("{}: {before} MACs before, {after} after", layer.name)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{hundred_layers, layer};
    use super::*;

    fn widths(svg: &str, class: &str) -> Vec<f64> {
        let class = format!(r#"class="{class}""#);
        let bars = svg.split(class.as_str()).skip(1);
        bars.filter_map(|b| b.split("width=\"").nth(1)?.split('%').next()?.parse().ok())
            .collect()
    }

    #[test]
    fn a_hundred_layers_have_a_hundred_bars_in_several_drawings() {
        let report = hundred_layers();
        let svg = draw(&report.layers);
        assert_eq!(svg.matches("<g>").count(), 100);
        assert_eq!(svg.matches("<svg").count(), 9);
        assert!(svg.contains("100 of 100</title>"));
        let before = widths(&svg, "before");
        assert_eq!(before.iter().copied().fold(0.0, f64::max), 100.0);
        // Names are shortened where they show, and whole in the title.
        let name = &report.layers[3].name;
        assert!(name.len() > NAME && svg.contains(&format!("<title>{name}: ")));
        assert!(!svg.contains(&format!(">{name}</text>")));
    }

    #[test]
    fn bars_are_in_proportion_whichever_is_longer() {
        let svg = draw(&[
            layer("a", Some(200), Some(50)),
            layer("b", Some(100), Some(400)),
        ]);
        assert_eq!(widths(&svg, "before"), [50.0, 25.0]);
        assert_eq!(widths(&svg, "after"), [12.5, 100.0]);
    }

    #[test]
    fn unknown_zero_and_equal_macs() {
        let svg = draw(&[layer("a", None, None), layer("b", Some(0), Some(0))]);
        assert!(svg.contains("MACs unknown"));
        assert!(!svg.contains("<rect") && !svg.contains("NaN"));
        let svg = draw(&[layer("a", Some(7), Some(7)), layer("b", Some(7), Some(7))]);
        assert_eq!(widths(&svg, "after"), [100.0, 100.0]);
        assert_eq!(draw(&[]), "");
    }
}
