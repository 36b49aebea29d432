//! What a compression saves, and its measures, as they are printed.

use sepconv::{Against, LayerRecord, Measure, Metric, Outcome, Size};

use crate::output::{Output, bytes, limit, quantity, si, stderr};

/// MACs, parameters, bytes and measures, before and after.
pub(super) fn print(o: &Outcome, out: &Output) {
    let (a, b) = (&o.original, &o.compressed);
    let ratio = |a: f64, b: f64| format!("({:.2}x)", a / b.max(1.0));
    out.line(format!(
        "  MACs        {} -> {}  {}",
        si(a.macs),
        si(b.macs),
        ratio(a.macs as f64, b.macs as f64)
    ));
    let inner = o.layers.iter().filter(|l| l.in_subgraph);
    let inner: Vec<&LayerRecord> = inner.collect();
    if !inner.is_empty() {
        let made = inner.iter().filter(|l| l.is_rewritten()).count();
        out.line(format!(
            "  subgraphs   {made} of {} layers rewritten, whose MACs are not among these",
            inner.len()
        ));
    }
    out.line(format!(
        "  parameters  {} -> {}  {}",
        si(a.params),
        si(b.params),
        ratio(a.params as f64, b.params as f64)
    ));
    out.line(format!(
        "  file        {} -> {}  {}",
        bytes(a.bytes),
        bytes(b.bytes),
        ratio(a.bytes as f64, b.bytes as f64)
    ));
    measures(a, b, out);
}

/// A line per measure; before and after, but after alone where it is held against the original.
fn measures(before: &Size, after: &Size, out: &Output) {
    let Some(evaluation) = &after.evaluation else {
        return;
    };
    let all = &evaluation.measures;
    let several = all.iter().any(|m| m.output != evaluation.primary.output);
    // Ratios over a whole output say little beside the figures of a task that is about it.
    let brief = evaluation.task.is_some() && !out.is_verbose();
    let is_ratio =
        |m: &Measure| matches!(m.metric, Metric::ChannelSnr | Metric::Snr | Metric::Cosine);
    let of_task = |m: &Measure| all.iter().any(|o| o.output == m.output && !is_ratio(o));
    for m in all.iter().filter(|m| !(brief && is_ratio(m) && of_task(m))) {
        let mut value = quantity(m);
        let mut notes = Vec::new();
        if m.against == Against::Original {
            notes.push("against the original".to_owned());
        } else if let Some(b) = before.evaluation.as_ref().and_then(|e| e.same(m)) {
            value = format!("{} -> {value}", quantity(b));
        }
        if several {
            notes.push(format!("output {}", m.output));
        }
        notes.extend(stderr(m).map(|e| format!("standard error {e}")));
        notes.extend(limit(m).map(|l| format!("at worst {l}")));
        notes.push(format!("n = {}", m.n));
        let (name, notes) = (m.metric.name(), notes.join(", "));
        out.line(format!("  {name:<10}  {value}  ({notes})"));
    }
}
