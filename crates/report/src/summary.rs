//! Results in a sentence and a table.

use super::axes::{Axis, X};
use super::curve_data::{Curve, Point};
use super::format::{bytes, capital, decibels, described, exact, measured, ratio, si};
use super::report::Report;
use super::rich::Rich;
use super::table::{Cell, Table};
use sepconv::Series;
use sepconv::Size;
use sepconv::quantization::in_seven_bits;
use sepconv_eval::Against;
use sepconv_eval::{ComparedOn, OutputComparison, TaskComparison};

/// The headline.
pub(super) fn headline(report: &Report) -> Rich {
    match &report.compressed {
        Some(compressed) => written(report, compressed),
        None => swept(report),
    }
}

fn written(report: &Report, b: &Size) -> Rich {
    let a = &report.original;
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
    let mut text = faster(report)
        .text(format!("{} {}", rewritten(report), activations(report)))
        .then(eight_bits(report));
    for (what, before, after, from, to) in sizes {
        text = text
            .text(format!("{what}: "))
            .titled(from, exact(before))
            .text(" → ")
            .titled(to, exact(after));
        if let Some(ratio) = ratio(after, before) {
            text = text.text(" (").strong(ratio).text(")");
        }
        text = text.text(". ");
    }
    if let Some(after) = b.evaluation.as_ref().map(|e| &e.primary) {
        // An original agrees with itself: that is no news.
        let before = a.evaluation.as_ref().map(|e| &e.primary);
        let before = before.filter(|_| after.against != Against::Original);
        let before = before.map_or(String::new(), |b| format!("{} → ", measured(b)));
        let what = capital(described(after.metric, after.against));
        text = text
            .text(format!("{what}: {before}"))
            .strong(measured(after))
            .text(format!(" on {} samples. ", exact(after.n as u64)));
    }
    text.then(task(report)).then(outputs(report))
}

/// The speed of the result, in a sentence; empty where it was not timed.
fn faster(report: &Report) -> Rich {
    let Some(timing) = &report.timing else {
        return Rich::default();
    };
    let Some(after) = timing.models.last() else {
        return Rich::default();
    };
    let (on, threads) = (&timing.target, timing.threads);
    let plural = if threads == 1 { "" } else { "s" };
    let (low, high) = (after.speed_up.low, after.speed_up.high);
    Rich::default()
        .strong(format!("{:.2}× as fast", after.speed_up.median))
        .text(format!(
            " ({low:.2} to {high:.2}) on {on} with {threads} thread{plural}. "
        ))
}

/// The layers in eight bits, in a sentence; empty where the result computes in floats.
fn eight_bits(report: &Report) -> Rich {
    match (&report.eight_bits, &report.floats) {
        (Some(record), _) => {
            let all = record.layers.len();
            let eight = record.layers.iter().filter(|l| l.kept.is_none()).count();
            let weights = match in_seven_bits(&record.layers) {
                0 => String::new(),
                seven => format!(", {seven} of them with weights of seven"),
            };
            Rich::plain(format!(
                "{eight} of {all} layers compute in eight bits{weights}. "
            ))
        }
        (None, Some(reason)) => Rich::plain(format!("The result computes in floats: {reason}. ")),
        (None, None) => Rich::default(),
    }
}

/// The task's measures, in a sentence.
fn task(report: &Report) -> Rich {
    let Some(TaskComparison { taken, measures }) = &report.task else {
        return Rich::default();
    };
    let mut text = Rich::plain(format!("As the task is to {}: ", taken.task.name()));
    for (i, measure) in measures.iter().enumerate() {
        let gap = if i == 0 { "" } else { ", " };
        text = text
            .text(format!("{gap}{} ", measure.metric.label()))
            .strong(measured(measure));
    }
    let on = report.inputs.label();
    text.text(format!(
        " against the original, on {} {on}. ",
        report.samples
    ))
}

fn swept(report: &Report) -> Rich {
    let a = &report.original;
    let made = report.curve.iter().filter(|p| p.series != Series::Original);
    let mut text = Rich::plain(format!("{} models were made of one of ", made.count()))
        .titled(si(a.macs), exact(a.macs))
        .text(" MACs, ")
        .titled(si(a.params), exact(a.params))
        .text(" parameters and ")
        .titled(bytes(a.bytes), exact(a.bytes as u64))
        .text(". ");
    if let Some(primary) = a.evaluation.as_ref().map(|e| &e.primary) {
        let what = capital(described(primary.metric, primary.against));
        text = text
            .text(format!("{what} of the original: "))
            .strong(measured(primary))
            .text(format!(" on {} samples. ", exact(primary.n as u64)));
    }
    match Curve::of(report, X::Macs) {
        Ok(curve) => text.then(cheapest(&curve)),
        Err(_) => text,
    }
}

/// The cheapest point within one point of the original, where figures are percentages.
fn cheapest(curve: &Curve) -> Rich {
    let percent = match curve.axis {
        Axis::Primary { metric, .. } => metric.unit() == "%",
        Axis::Snr => false,
    };
    let is_original = |p: &&Point| p.series == Series::Original;
    let original = curve.points.iter().find(is_original);
    let Some(original) = original.filter(|_| percent) else {
        return Rich::default();
    };
    let near = |p: &&Point| !is_original(p) && curve.axis.gain(p.y, original.y) >= -1.0;
    match curve.points.iter().find(near) {
        Some(best) if best.x < original.x => Rich::plain("Fewest MACs within one point of it: ")
            .strong(curve.describe(best))
            .text("."),
        _ => Rich::plain("No model with fewer MACs is within one point of it."),
    }
}

fn rewritten(report: &Report) -> String {
    let count = report.layers.iter().filter(|l| l.is_rewritten()).count();
    let (total, noun) = match report.layers.len() {
        1 => ("The only".to_owned(), "convolution"),
        n => (format!("{count} of {n}"), "convolutions"),
    };
    match (count, report.layers.len()) {
        (_, 0) => "The model has no convolutions.".into(),
        (0, _) => match &report.unrewritten {
            Some(reason) => format!("No convolution was replaced: {reason}."),
            None => "No convolution was replaced.".into(),
        },
        (1, _) => format!("{total} {noun} was replaced by a chain of smaller ones."),
        _ => format!("{total} {noun} were replaced by chains of smaller ones."),
    }
}

/// The activations in simpler operators, in a sentence; empty where there are none.
fn activations(report: &Report) -> String {
    match report.expanded {
        0 => String::new(),
        1 => "One PRelu is written in simpler operators that compute the same. ".into(),
        n => format!("{n} PRelu are written in simpler operators that compute the same. "),
    }
}

/// Differences of the outputs from the original's, in a sentence.
fn outputs(report: &Report) -> Rich {
    if let Some(why) = &report.not_run {
        return Rich::default().strong("Not run:").text(format!(" {why}"));
    }
    if report.inputs == ComparedOn::Random && report.outputs.iter().any(|o| o.saturated) {
        return Rich::default()
            .strong("No verdict: no data.")
            .text(" On synthetic inputs one class wins always, which says nothing of the others.");
    }
    let what = match report.inputs {
        ComparedOn::Random => "SNR on synthetic inputs, which say nothing of accuracy,",
        _ => "SNR",
    };
    match worst(&report.outputs) {
        Worst::None => Rich::plain("No output was compared."),
        Worst::Identical => {
            let on = report.inputs.label();
            Rich::plain(format!(
                "The outputs are unchanged on {} {on}.",
                report.samples
            ))
        }
        Worst::Undefined(name) => Rich::plain("The SNR of output ")
            .code(name)
            .text(" is not defined."),
        Worst::Snr(db, output) => {
            let on = format!(", on {} {}.", report.samples, report.inputs.label());
            let text = Rich::plain(format!(
                "{what} of the worst channel against the original: "
            ))
            .strong(decibels(db))
            .text(" (")
            .code(&output.name);
            let channel = output.worst_channel.filter(|w| w.channels > 1);
            let channel = channel.map(|w| format!(", channel {} of {}", w.channel, w.channels));
            text.text(channel.unwrap_or_default()).text(")").text(&on)
        }
    }
}

enum Worst<'r> {
    None,
    Identical,
    Undefined(&'r str),
    Snr(f64, &'r OutputComparison),
}

fn worst(outputs: &[OutputComparison]) -> Worst<'_> {
    let mut worst = if outputs.is_empty() {
        Worst::None
    } else {
        Worst::Identical
    };
    for output in outputs {
        match output.worst_channel_snr() {
            Some(db) if db == f64::INFINITY => {}
            None => return Worst::Undefined(&output.name),
            Some(db) => match worst {
                Worst::Snr(least, _) if least <= db => {}
                _ => worst = Worst::Snr(db, output),
            },
        }
    }
    worst
}

/// Sizes before and after with all digits.
pub(super) fn table(report: &Report) -> Option<Table> {
    let (a, b) = (&report.original, report.compressed.as_ref()?);
    let head = ["Before", "After", "Ratio"].map(Cell::number);
    let head = [Cell::text("Figure")].into_iter().chain(head).collect();
    let mut table = Table::new("sizes", "Size before and after", head);
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
    Some(table)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{
        evaluated, hostile, not_run, regressed, related, restored, snr_only, swept as swept_report,
    };
    use sepconv::EightBits;
    use sepconv::quantization::QuantizedLayer;
    use sepconv_eval::{Measure, Metric, TakenTask};
    use sepconv_model::Task;
    use sepconv_passes::{Choice, Kept};

    use super::*;

    fn html(report: &Report) -> String {
        headline(report).html()
    }

    #[test]
    fn a_sweep_says_which_is_cheapest_within_a_point() {
        let text = headline(&swept_report()).markdown();
        assert!(text.contains("of the original: **91.73"), "{text}");
        assert!(
            text.contains("Fewest MACs within one point of it: **one budget over all layers"),
            "{text}"
        );
        let mut none = swept_report();
        none.curve
            .retain(|p| p.series == Series::Original || p.macs < 0.2);
        assert!(html(&none).contains("No model with fewer MACs"));
    }

    #[test]
    fn within_a_point_is_above_the_original_where_less_is_better() {
        let mut report = regressed();
        let text = headline(&report).markdown();
        let part = "of the original: **0.00\u{a0}%";
        assert!(text.contains(part), "{text}");
        // The cheapest point of the same sweep by accuracy.
        let text = text
            .split("within one point of it: ")
            .nth(1)
            .unwrap_or_default();
        let accuracy = headline(&swept_report()).markdown();
        let accuracy = accuracy.split("within one point of it: ").nth(1);
        let label = |text: &str| text.split(':').next().map(str::to_owned);
        assert_eq!(label(text), label(accuracy.unwrap_or_default()), "{text}");
        report
            .curve
            .retain(|p| p.series == Series::Original || p.macs < 0.2);
        assert!(html(&report).contains("No model with fewer MACs"));
    }

    #[test]
    fn the_headline_has_the_figures() {
        let text = html(&evaluated());
        for part in [
            "3 of 4 convolutions were replaced",
            "title=\"40,551,040\">40.6\u{a0}M</span>",
            "(<b>0.446×</b>)",
            "1.08\u{a0}MB",
            "91.73\u{a0}% ±\u{a0}0.28 → <b>91.32\u{a0}% ±\u{a0}0.28</b> on 10,000 samples",
            "19.9\u{a0}dB",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn the_headline_begins_with_the_speed_and_the_eight_bits() {
        let mut report = evaluated();
        let timing = super::super::fixtures::timing();
        let layer = |name: &str, kept: Option<&str>| QuantizedLayer {
            name: name.into(),
            op_type: "Conv".into(),
            kept: kept.map(str::to_owned),
            weight_bits: kept.is_none().then_some(7),
        };
        let layers = vec![
            layer("first", None),
            layer("last", Some("it costs the outputs too much")),
        ];
        report.eight_bits = Some(EightBits {
            layers,
            timing: timing.clone(),
            params: 1,
            separable: true,
            simpler: None,
            missed: None,
        });
        let speed = timing.models.last().map_or(0.0, |m| m.speed_up.median);
        report.timing = Some(timing);
        let text = html(&report);
        let begins = format!("<b>{speed:.2}× as fast</b>");
        assert!(text.contains(&begins), "{begins} in {text}");
        assert!(
            text.contains("1 of 2 layers compute in eight bits, 1 of them with weights of seven."),
            "{text}"
        );
        let page = report.markdown();
        assert!(page.contains("it costs the outputs too much"), "{page}");
        report.eight_bits = None;
        report.floats = Some("no data".into());
        assert!(html(&report).contains("The result computes in floats: no data."));
    }

    #[test]
    fn the_headline_names_the_metric() {
        let text = html(&restored());
        let part =
            "PSNR: 30.33\u{a0}dB ±\u{a0}0.30 → <b>29.91\u{a0}dB ±\u{a0}0.30</b> on 7 samples";
        assert!(text.contains(part), "{text}");
        // Without labels or a target, the original has nothing to say of itself.
        let text = html(&related());
        assert!(
            text.contains("Agreement with the original: <b>97.00\u{a0}% ±\u{a0}1.71</b> on 100"),
            "{text}"
        );
    }

    #[test]
    fn the_headline_says_what_the_task_is_about() {
        let mut report = snr_only();
        let recall = Measure::share(Metric::Recall, Against::Original, "y", 14, 100);
        report.task = Some(TaskComparison {
            taken: TakenTask {
                task: Task::Detect,
                why: "boxes".into(),
            },
            measures: vec![recall],
        });
        let text = html(&report);
        let part = "As the task is to detect: recall of detections <b>14.00";
        assert!(text.contains(part), "{text}");
    }

    #[test]
    fn not_run_says_why_and_is_escaped() {
        assert!(html(&not_run()).contains("<b>Not run:</b> tract can&#39;t run"));
        assert!(!html(&hostile()).contains("<script"));
    }

    #[test]
    fn the_worst_of_several_outputs() {
        let mut report = snr_only();
        let mut worse = report.outputs[0].clone();
        worse.name = "worse".into();
        if let Some(worst) = &mut worse.worst_channel {
            (worst.channel, worst.snr_db) = (7, Some(-4.0));
        }
        report.outputs.push(worse);
        assert!(outputs(&report).html().contains(
            "\u{2212}4.0\u{a0}dB</b> (<code>worse</code>, channel 7 of 10), on 128 held-out"
        ));
        report.outputs[0].worst_channel = None;
        report.outputs[0].max_abs = None;
        assert!(outputs(&report).html().contains("not defined"));
        for output in &mut report.outputs {
            output.max_abs = Some(0.0);
        }
        assert!(outputs(&report).html().contains("unchanged"));
    }

    #[test]
    fn nothing_done() {
        let mut report = snr_only();
        report.layers.truncate(1);
        assert!(rewritten(&report).starts_with("The only convolution was replaced"));
        report.layers[0].choice = Choice::Keep(Kept::Planned);
        assert_eq!(rewritten(&report), "No convolution was replaced.");
        report.unrewritten = Some("no rewrite pays".into());
        report.expanded = 2;
        let text = "No convolution was replaced: no rewrite pays. 2 PRelu are written in simpler \
                    operators that compute the same. ";
        assert!(html(&report).contains(text), "{}", html(&report));
        report.layers.clear();
        assert_eq!(rewritten(&report), "The model has no convolutions.");
    }
}
