//! The page of a report.

use super::curve_chart::{NARROW, WIDE, draw};
use super::curve_data::Curve;
use super::files::FILES;
use super::html::{CHART_STYLE, drawing};
use super::page::{Block, Page, Section};
use super::report::Report;
use super::rich::Rich;
use super::{axes, layer_chart, layer_table, measures, samples, settings, summary, tables, tries};

/// Everything there is to say.
pub(super) fn page(report: &Report) -> Page {
    let mut page = Page {
        title: match file_name(&report.model) {
            "" => "a model without a name".into(),
            name => name.to_owned(),
        },
        lead: summary::headline(report),
        sections: vec![Section {
            heading: None,
            blocks: [summary::table(report), measures::table(report)]
                .into_iter()
                .flatten()
                .map(Block::Table)
                .collect(),
        }],
    };
    if !report.pictures.is_empty() {
        page.section("Samples", samples::blocks(report));
    }
    page.section("Accuracy against compression", curve(report));
    if report.compressed.is_some() {
        page.section("Layers", layers(report));
        page.section("Outputs", outputs(report));
    }
    if report.tries.len() > 1 {
        let table = tries::table(&report.tries);
        page.section("Search", vec![Block::Table(table)]);
    }
    if let Some(tuning) = &report.tuning {
        let runs = tuning.epochs.iter();
        let tables = runs.map(|run| Block::Table(tables::tuning(tuning, run)));
        page.section("Tuning", tables.collect());
    }
    if let Some(record) = &report.eight_bits {
        let table = tables::eight_bits(record);
        page.section("Eight bits", vec![Block::Table(table)]);
    }
    if let Some(timing) = &report.timing {
        let table = tables::timing(std::slice::from_ref(timing));
        page.section("Time", vec![Block::Table(table)]);
    }
    page.section("How it was made", origin(report));
    page
}

/// See [`Report::curve_svg`].
pub(super) fn curve_svg(report: &Report) -> Option<String> {
    let curve = Curve::of(report, axes::X::Macs).ok()?;
    Some(draw(&curve, WIDE, Some(CHART_STYLE)))
}

fn curve(report: &Report) -> Vec<Block> {
    let mut blocks = Vec::new();
    for x in axes::XS {
        match Curve::of(report, x) {
            Ok(curve) => {
                blocks.push(Block::Drawing(figure(&curve)));
                if x == axes::X::Macs {
                    blocks.push(Block::Picture(FILES[4], curve.title()));
                    let close = curve.close_up();
                    blocks.extend(close.map(|c| Block::Drawing(figure(&c))));
                }
            }
            // The other axes would say it again.
            Err(why) if x == axes::X::Macs => blocks.push(Block::Text(Rich::plain(why))),
            Err(_) => {}
        }
    }
    if !report.curve_complete {
        let why = "Points of the curve are missing: the time was over.";
        blocks.push(Block::Text(Rich::plain(why)));
    }
    if !report.curve.is_empty() {
        blocks.push(Block::Table(tables::points(report)));
    }
    blocks
}

fn figure(curve: &Curve) -> String {
    let svgs = [draw(curve, WIDE, None), draw(curve, NARROW, None)];
    drawing("chart-box", &curve.title(), &svgs.concat())
}

fn layers(report: &Report) -> Vec<Block> {
    if report.layers.is_empty() {
        let none = Rich::plain("The model has no convolutions.");
        return vec![Block::Text(none)];
    }
    vec![
        Block::Drawing(layer_chart::figure(&report.layers)),
        Block::Table(layer_table::table(&report.layers)),
    ]
}

fn outputs(report: &Report) -> Vec<Block> {
    let block = match &report.not_run {
        Some(why) => Block::Text(Rich::plain(format!("The models were not run: {why}"))),
        None if report.outputs.is_empty() => Block::Text(Rich::plain("No output was compared.")),
        None => Block::Table(tables::outputs(
            &report.outputs,
            &format!(
                "Differences from the original's outputs on {}",
                report.inputs.label()
            ),
        )),
    };
    vec![block]
}

fn origin(report: &Report) -> Vec<Block> {
    let mut blocks = command(report.settings.command.as_deref());
    blocks.push(Block::Table(settings::table(report)));
    blocks
}

/// The command line that reproduces a page.
pub(super) fn command(command: Option<&str>) -> Vec<Block> {
    match command {
        Some(command) => vec![
            Block::Text(Rich::plain("The command line that reproduces it:")),
            Block::Command(command.to_owned()),
        ],
        None => vec![Block::Text(Rich::plain(
            "Made by a call of the library, not by a command line.",
        ))],
    }
}

/// The name after the last separator of either kind.
pub(super) fn file_name(path: &str) -> &str {
    match path.rsplit(['/', '\\']).next() {
        Some("") | None => path,
        Some(name) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{evaluated, not_run};

    #[test]
    fn a_curve_that_ended_with_the_time_says_so() {
        let told = "Points of the curve are missing";
        assert!(not_run().html().contains(told) && not_run().markdown().contains(told));
        assert!(not_run().json().contains(r#""curve_complete": false"#));
        assert!(!evaluated().html().contains(told));
    }
}
