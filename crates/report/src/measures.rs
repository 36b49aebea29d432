//! Table of the measures on the evaluation data, before and after.

use super::format::{capital, exact, fixed, measured, quantity};
use super::report::Report;
use super::table::{Cell, Table};
use sepconv_eval::{Against, Measure};

/// A row per measure; `None` where nothing was evaluated.
pub(super) fn table(report: &Report) -> Option<Table> {
    let after = report.compressed.as_ref()?.evaluation.as_ref()?;
    let mut head = ["Measure", "Output", "Against"].map(Cell::text).to_vec();
    head.extend(["Before", "After", "Change", "Samples"].map(Cell::number));
    let caption = "Measures on the evaluation data, with standard errors";
    let mut table = Table::new("measures", caption, head);
    for measure in &after.measures {
        let before = report.original.evaluation.as_ref();
        table.row(row(before.and_then(|e| e.same(measure)), measure));
    }
    Some(table)
}

fn row(before: Option<&Measure>, after: &Measure) -> Vec<Cell> {
    let change = before.map(|b| after.value - b.value);
    let change = change.filter(|c| c.is_finite()).map(|change| {
        let sign = if change > 0.0 { "+" } else { "" };
        format!("{sign}{}", fixed(change, after.metric.decimals()))
    });
    vec![
        Cell::text(&capital(after.metric.label())),
        Cell::code(&after.output),
        Cell::text(against(after)),
        before.map_or_else(|| Cell::maybe(None), cell),
        cell(after),
        Cell::maybe(change),
        Cell::number(&exact(after.n as u64)),
    ]
}

/// The measures of one model.
pub(super) fn single(measures: &[Measure]) -> Table {
    let mut head = ["Measure", "Output", "Against"].map(Cell::text).to_vec();
    head.extend(["Value", "Standard error", "Samples"].map(Cell::number));
    let caption = "Measures on the evaluation data";
    let mut table = Table::new("measures", caption, head);
    for m in measures {
        let error = m.stderr.map(|e| {
            let shown = fixed(e, m.metric.decimals());
            Cell::number(&shown).exactly(e)
        });
        table.row(vec![
            Cell::text(&capital(m.metric.label())),
            Cell::code(&m.output),
            Cell::text(against(m)),
            Cell::number(&quantity(m.metric, m.value)).exactly(m.value),
            error.unwrap_or_else(|| Cell::maybe(None)),
            Cell::number(&exact(m.n as u64)).exactly(m.n),
        ]);
    }
    table
}

fn cell(m: &Measure) -> Cell {
    let error = m.stderr.map_or(String::new(), |e| format!(" ± {e}"));
    let cell = Cell::number(&measured(m));
    if m.value.is_finite() {
        cell.titled(format!("{}{error}", m.value))
    } else {
        cell
    }
}

fn against(m: &Measure) -> &'static str {
    match m.against {
        Against::Labels => "labels",
        Against::Target => "target",
        Against::Original => "original's output",
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{evaluated, restored, snr_only};
    use super::*;

    fn html(report: &Report) -> String {
        table(report).map_or(String::new(), |t| t.html())
    }

    #[test]
    fn every_measure_has_a_row_with_its_change() {
        let html = html(&evaluated());
        assert_eq!(html.matches("<tr>").count(), 5);
        for part in [
            "scope=\"row\">Top-5 accuracy</th>",
            "<code>logits</code>",
            "91.73\u{a0}% ±\u{a0}0.28",
            ">\u{2212}0.41<",
            "0.02000\u{a0}nats ±\u{a0}0.01000",
            ">10,000<",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(table(&snr_only()).is_none());
    }

    #[test]
    fn no_difference_is_infinite_and_has_no_change() {
        let html = html(&restored());
        assert!(
            html.contains(">∞\u{a0}dB<") && !html.contains("inf"),
            "{html}"
        );
        assert!(html.contains(">–<"), "{html}");
    }
}
