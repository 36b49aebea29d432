//! What was done, in a sentence and a table.

use super::Report;
use super::escape::escape;
use super::format::{bytes, capital, decibels, described, exact, measured, ratio, si};
use super::table::{Cell, Table};
use crate::evaluate::Against;
use crate::metrics::OutputComparison;

/// The headline as HTML.
pub(super) fn headline(report: &Report) -> String {
    let (a, b) = (&report.original, &report.compressed);
    let sizes = [
        ("MACs", a.macs, b.macs, si(a.macs), si(b.macs)),
        ("Parameters", a.params, b.params, si(a.params), si(b.params)),
        (
            "File size",
            a.bytes as u64,
            b.bytes as u64,
            bytes(a.bytes),
            bytes(b.bytes),
        ),
    ];
    let mut html = format!("{} ", rewritten(report));
    for (what, before, after, from, to) in sizes {
        let ratio = ratio(after, before).map_or(String::new(), |r| format!(" (<b>{r}</b>)"));
        html.push_str(&format!(
            r#"{what}: <span title="{}">{from}</span> → <span title="{}">{to}</span>{ratio}. "#,
            exact(before),
            exact(after)
        ));
    }
    if let Some(after) = b.evaluation.as_ref().map(|e| &e.primary) {
        // An original agrees with itself: that is no news.
        let before = a.evaluation.as_ref().map(|e| &e.primary);
        let before = before.filter(|_| after.against != Against::Original);
        let before = before.map_or(String::new(), |b| format!("{} → ", measured(b)));
        html.push_str(&format!(
            "{}: {before}<b>{}</b> on {} samples. ",
            escape(&capital(described(after.metric, after.against))),
            measured(after),
            exact(after.n as u64)
        ));
    }
    html.push_str(&outputs(report));
    html
}

fn rewritten(report: &Report) -> String {
    let count = report.layers.iter().filter(|l| l.rank.is_some()).count();
    let (total, noun) = match report.layers.len() {
        1 => ("The only".to_owned(), "convolution"),
        n => (format!("{count} of {n}"), "convolutions"),
    };
    match (count, report.layers.len()) {
        (_, 0) => "The model has no convolutions.".into(),
        (0, _) => "No convolution was replaced.".into(),
        (1, _) => format!("{total} {noun} was replaced by a depthwise-separable chain."),
        _ => format!("{total} {noun} were replaced by depthwise-separable chains."),
    }
}

/// How far the outputs moved.
fn outputs(report: &Report) -> String {
    if let Some(why) = &report.not_run {
        return format!("<strong>Not run:</strong> {}", escape(why));
    }
    match worst(&report.outputs) {
        Worst::None => "No output was compared.".into(),
        Worst::Identical => "The outputs are unchanged on synthetic inputs.".into(),
        Worst::Undefined(name) => {
            format!(
                "The SNR of output <code>{}</code> is not defined.",
                escape(name)
            )
        }
        Worst::Snr(db, name) => format!(
            "Worst output SNR against the original: <b title=\"{db} dB\">{}</b> (<code>{}</code>).",
            decibels(db),
            escape(name)
        ),
    }
}

enum Worst<'r> {
    None,
    Identical,
    Undefined(&'r str),
    Snr(f64, &'r str),
}

fn worst(outputs: &[OutputComparison]) -> Worst<'_> {
    let mut worst = if outputs.is_empty() {
        Worst::None
    } else {
        Worst::Identical
    };
    for output in outputs {
        match output.snr_db.filter(|s| s.is_finite()) {
            _ if output.max_abs == Some(0.0) => {}
            None => return Worst::Undefined(&output.name),
            Some(db) => match worst {
                Worst::Snr(least, _) if least <= db => {}
                _ => worst = Worst::Snr(db, &output.name),
            },
        }
    }
    worst
}

/// Sizes before and after with all digits.
pub(super) fn table(report: &Report) -> String {
    let head = ["Before", "After", "Ratio"].map(Cell::number);
    let head = [Cell::text("Figure")].into_iter().chain(head).collect();
    let mut table = Table::new("sizes", "Size before and after", head);
    let (a, b) = (&report.original, &report.compressed);
    let rows = [
        ("MACs", a.macs, b.macs),
        ("Parameters", a.params, b.params),
        ("File size (bytes)", a.bytes as u64, b.bytes as u64),
    ];
    for (name, before, after) in rows {
        table.row(vec![
            Cell::text(name),
            Cell::number(&exact(before)),
            Cell::number(&exact(after)),
            Cell::maybe(ratio(after, before)),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{evaluated, hostile, not_run, related, restored, snr_only};
    use super::*;

    #[test]
    fn the_headline_has_the_figures() {
        let text = headline(&evaluated());
        for part in [
            "3 of 4 convolutions were replaced",
            "title=\"40,551,040\">40.6\u{a0}M</span>",
            "(<b>0.446×</b>)",
            "1.08\u{a0}MB",
            "91.73\u{a0}% ±\u{a0}0.28 → <b>91.32\u{a0}% ±\u{a0}0.28</b> on 10,000 samples",
            "21.3\u{a0}dB",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn the_headline_names_the_metric() {
        let text = headline(&restored());
        let part =
            "PSNR: 30.33\u{a0}dB ±\u{a0}0.30 → <b>29.91\u{a0}dB ±\u{a0}0.30</b> on 7 samples";
        assert!(text.contains(part), "{text}");
        // Without labels or a target, the original has nothing to say of itself.
        let text = headline(&related());
        assert!(
            text.contains("Agreement with the original: <b>97.00\u{a0}% ±\u{a0}1.71</b> on 100"),
            "{text}"
        );
    }

    #[test]
    fn not_run_says_why_and_is_escaped() {
        assert!(headline(&not_run()).contains("<strong>Not run:</strong> tract can&#39;t run"));
        assert!(!headline(&hostile()).contains("<script"));
    }

    #[test]
    fn the_worst_of_several_outputs() {
        let mut report = snr_only();
        let mut worse = report.outputs[0].clone();
        worse.name = "worse".into();
        worse.snr_db = Some(-4.0);
        report.outputs.push(worse);
        assert!(outputs(&report).contains("\u{2212}4.0\u{a0}dB</b> (<code>worse</code>)"));
        report.outputs[0].snr_db = None;
        report.outputs[0].max_abs = None;
        assert!(outputs(&report).contains("not defined"));
        for output in &mut report.outputs {
            output.max_abs = Some(0.0);
        }
        assert!(outputs(&report).contains("unchanged"));
    }

    #[test]
    fn nothing_done() {
        let mut report = snr_only();
        report.layers.truncate(1);
        assert!(rewritten(&report).starts_with("The only convolution was replaced"));
        report.layers[0].rank = None;
        assert_eq!(rewritten(&report), "No convolution was replaced.");
        report.layers.clear();
        assert_eq!(rewritten(&report), "The model has no convolutions.");
    }
}
