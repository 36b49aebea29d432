//! The tables of the page.

use super::Report;
use super::format::{
    capital, cosine, decibels, described, exact, measured, percent, ratio, si, small,
};
use super::table::{Cell, Table};
use crate::compress::{Budget, Layer};
use crate::curve::CurvePoint;
use crate::metrics::OutputComparison;

/// The convolutions in graph order.
pub(super) fn layers(report: &Report) -> String {
    let mut head = ["Convolution", "Form", "Rank", "Lowering"]
        .map(Cell::text)
        .to_vec();
    head.extend(["MACs before", "MACs after", "Ratio", "Weight error"].map(Cell::number));
    head[2] = Cell::number("Rank");
    let caption =
        "Convolutions in graph order. Weight error: relative Frobenius error of the kernel";
    let mut table = Table::new("convolutions", caption, head);
    for layer in &report.layers {
        table.row(layer_row(layer));
    }
    table.render()
}

fn layer_row(layer: &Layer) -> Vec<Cell> {
    let macs = |macs: Option<u64>| match macs {
        Some(macs) => Cell::number(&si(macs)).titled(exact(macs)),
        None => Cell::maybe(None).titled("shape unknown"),
    };
    let mut cells = vec![Cell::code(&layer.name)];
    let Some(rank) = layer.rank else {
        let why = layer
            .reason
            .as_ref()
            .map_or(String::new(), |r| format!(": {r}"));
        cells.push(Cell::text(&format!("{}{why}", layer.form)).over(3));
        cells.extend([macs(layer.macs_before), macs(layer.macs_after)]);
        cells.extend([Cell::maybe(None), Cell::maybe(None)]);
        return cells;
    };
    let saved = layer.macs_before.zip(layer.macs_after);
    cells.extend([
        Cell::text(&layer.form),
        Cell::number(&rank.to_string()),
        Cell::text(layer.lowering.as_deref().unwrap_or("–")),
        macs(layer.macs_before),
        macs(layer.macs_after),
        Cell::maybe(saved.and_then(|(before, after)| ratio(after, before))),
        Cell::number(&percent(layer.weight_error)).titled(layer.weight_error),
    ]);
    cells
}

/// The outputs against the original's.
pub(super) fn outputs(report: &Report) -> String {
    let mut head = vec![Cell::text("Output"), Cell::text("Shape")];
    let figures = ["Max. abs.", "Max. rel.", "SNR", "Cosine", "Top-1 agreement"];
    head.extend(figures.map(Cell::number));
    let caption = "Differences from the original's outputs on synthetic inputs";
    let mut table = Table::new("outputs", caption, head);
    for output in &report.outputs {
        table.row(output_row(output));
    }
    table.render()
}

fn output_row(output: &OutputComparison) -> Vec<Cell> {
    let dims: Vec<String> = output.shape.iter().map(ToString::to_string).collect();
    let shape = if dims.is_empty() {
        "scalar".into()
    } else {
        dims.join("×")
    };
    let mut cells = vec![Cell::code(&output.name), Cell::text(&shape)];
    if let Some(why) = &output.not_compared {
        cells.push(Cell::text(&format!("not compared: {why}")).over(5));
        return cells;
    }
    let number = |value: Option<f64>, show: fn(f64) -> String| match value {
        Some(value) => Cell::number(&show(value)).titled(value),
        None => Cell::maybe(None).titled("not finite or not defined"),
    };
    let same = output.max_abs == Some(0.0);
    cells.extend([
        number(output.max_abs, small),
        number(output.max_rel, small),
        if same {
            Cell::number("∞").titled("no difference")
        } else {
            number(output.snr_db, decibels)
        },
        number(output.cosine, cosine),
        number(output.top1_agreement, percent),
    ]);
    cells
}

/// The points of the curve, with the figures that any of them has.
pub(super) fn points(report: &Report) -> String {
    let primary = |p: &CurvePoint| p.evaluation.as_ref().map(|e| e.primary.clone());
    let evaluated = report.curve.iter().find_map(primary);
    let judged = evaluated.as_ref();
    let judged = judged.map_or(String::new(), |m| capital(described(m.metric, m.against)));
    let snrs = report.curve.iter().any(|p| p.snr_db.is_some());
    let head = [
        ("MACs", true),
        ("Parameters", true),
        (judged.as_str(), evaluated.is_some()),
        ("SNR on synthetic inputs", snrs),
    ];
    let head = head.iter().filter(|h| h.1).map(|h| Cell::number(h.0));
    let head = [Cell::text("Point")].into_iter().chain(head).collect();
    let caption = "Points of the curve; MACs and parameters as fractions of the original's";
    let mut table = Table::new("points", caption, head);
    for point in &report.curve {
        let mut cells = vec![
            Cell::text(&point.label),
            Cell::number(&small(point.macs)).titled(point.macs),
            Cell::number(&small(point.params)).titled(point.params),
        ];
        if evaluated.is_some() {
            cells.push(Cell::maybe(primary(point).as_ref().map(measured)));
        }
        if snrs {
            cells.push(Cell::maybe(point.snr_db.map(decibels)));
        }
        table.row(cells);
    }
    table.render()
}

/// What was asked for and with what.
pub(super) fn settings(report: &Report) -> String {
    let mut table = Table::new("settings", "Settings and versions", Vec::new());
    let mut row = |name: &str, cell: Cell| table.row(vec![Cell::text(name), cell]);
    let settings = &report.settings;
    row("Model", Cell::code(&report.model));
    row("Written to", Cell::code(&report.output));
    row("Budget", Cell::text(&budget(settings.budget)));
    row("Order", Cell::text(&name_of(&settings.order)));
    row("Lowering", Cell::text(&settings.lowering));
    row("Assumed extents", list(&settings.assumed));
    let none = || Cell::text("none");
    row(
        "Evaluation data",
        settings.eval.as_deref().map_or_else(none, Cell::code),
    );
    row("Seed", Cell::text(&report.seed.to_string()));
    let versions = &report.versions;
    row("sepconv", Cell::text(versions.sepconv));
    row(
        "Measured with",
        Cell::text(&format!("{} {}", versions.target, versions.target_version)),
    );
    row("Layout of report.json", Cell::text(report.schema));
    table.render()
}

fn list(items: &[String]) -> Cell {
    match items {
        [] => Cell::text("none"),
        items => Cell::code(&items.join(", ")),
    }
}

fn budget(budget: Budget) -> String {
    match budget {
        Budget::Rank(rank) => format!("rank {rank} in every layer"),
        Budget::Energy(share) => format!("{share} of every kernel's energy kept"),
        Budget::TargetMacs(share) => format!("at most {share} of the MACs"),
        Budget::TargetParams(share) => format!("at most {share} of the parameters"),
        Budget::TargetSize(share) => format!("at most {share} of the bytes"),
        Budget::TargetLatency(share) => format!("at most {share} of the time"),
        Budget::MaxDrop(drop) => format!("at most {drop} points or dB worse"),
        Budget::MinSnr(db) => format!("output SNR of at least {db}\u{a0}dB"),
    }
}

/// The name under which a setting is serialised.
fn name_of(setting: &impl serde::Serialize) -> String {
    match serde_json::to_value(setting) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{evaluated, hostile, not_run, snr_only};
    use super::*;

    #[test]
    fn layers_say_what_became_of_them() {
        let html = layers(&evaluated());
        assert_eq!(html.matches("<tr>").count(), 5);
        assert!(html.contains(r#"<td colspan="3">kept: pointwise kernel</td>"#));
        assert!(html.contains("<td>dw-pw</td><td class=\"number\">2</td><td>branches</td>"));
        assert!(html.contains("title=\"0.1234\">12.34\u{a0}%"));
    }

    #[test]
    fn every_row_of_layers_has_all_columns() {
        let html = layers(&evaluated());
        for row in html.split("<tr>").skip(1) {
            let cells = row.matches("</td>").count() + row.matches("</th>").count();
            let spanned = if row.contains("colspan=\"3\"") { 2 } else { 0 };
            assert_eq!(cells + spanned, 8, "{row}");
        }
    }

    #[test]
    fn outputs_without_figures() {
        let html = outputs(&hostile());
        assert!(html.contains("not compared: shapes differ"));
        assert!(html.contains("title=\"no difference\">∞"));
    }

    #[test]
    fn points_have_no_empty_columns() {
        let columns = |report| points(&report).matches("scope=\"col\"").count();
        assert_eq!(columns(evaluated()), 5);
        assert_eq!(columns(snr_only()), 4);
        assert_eq!(columns(not_run()), 3);
    }

    #[test]
    fn settings_are_words() {
        let html = settings(&evaluated());
        assert!(html.contains("at most 0.45 of the MACs") && html.contains("<td>best</td>"));
    }
}
