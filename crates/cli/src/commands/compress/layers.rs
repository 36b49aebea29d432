//! The layers of a compression, as they are printed.

use sepconv::{LayerRecord, Outcome};

use crate::output::{Output, kept_hint, si};

/// How many are rewritten, and in which forms.
pub(super) fn print(o: &Outcome, out: &Output) {
    let rewritten = o.layers.iter().filter(|l| l.is_rewritten());
    let rewritten: Vec<&LayerRecord> = rewritten.collect();
    let folded = |count: usize, what: &str| match count {
        0 => String::new(),
        n => format!(", {n} {what} folded"),
    };
    let norms = folded(o.folded, "batch norms");
    let pads = folded(o.pads, "pads");
    let forms = forms(&rewritten);
    out.line(format!(
        "  layers      {} of {} rewritten{forms}{norms}{pads}",
        rewritten.len(),
        o.layers.len()
    ));
    if let Some(reason) = &o.unrewritten {
        out.line(format!("              none: {reason}"));
    }
    if o.expanded > 0 {
        let count = o.expanded;
        out.line(format!(
            "  activations {count} PRelu written in simpler operators that compute the same"
        ));
    }
    let fitted = o.calibration.as_ref().map(|c| c.source.to_string());
    if !rewritten.is_empty() {
        out.line(format!(
            "  fitted to   {}",
            fitted.unwrap_or_else(|| "the weights alone".into())
        ));
    }
}

fn forms(layers: &[&LayerRecord]) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for layer in layers {
        match counts.iter_mut().find(|(form, _)| *form == layer.form()) {
            Some((_, n)) => *n += 1,
            None => counts.push((layer.form().to_owned(), 1)),
        }
    }
    if counts.is_empty() {
        return String::new();
    }
    let parts: Vec<String> = counts.iter().map(|(f, n)| format!("{n} {f}")).collect();
    format!(" ({})", parts.join(", "))
}

/// Every layer in a line.
pub(super) fn table(layers: &[LayerRecord], out: &Output) {
    let header = [
        "convolution",
        "form",
        "rank",
        "lowering",
        "MACs",
        "after",
        "weight error",
        "output error",
        "note",
    ];
    let rows: Vec<Vec<String>> = layers
        .iter()
        .map(|l| {
            vec![
                l.name.clone(),
                l.form().to_owned(),
                l.rank().map_or(String::new(), |r| r.to_string()),
                l.lowering.clone().unwrap_or_default(),
                l.macs_before.map_or("?".into(), si),
                l.macs_after.map_or("?".into(), si),
                format!("{:.4}", l.weight_error()),
                l.fit.map_or(String::new(), |f| {
                    format!("{:.4}", f.held_out_error.unwrap_or(f.output_error))
                }),
                l.choice
                    .kept()
                    .map_or(String::new(), |k| format!("{k}{}", kept_hint(k))),
            ]
        })
        .collect();
    out.table(&header, &rows);
}
