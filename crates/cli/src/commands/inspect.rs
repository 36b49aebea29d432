//! `sepconv inspect`.

use anyhow::Result;
use sepconv::{Inspection, LayerInspection, Loaded, inspect};
use sepconv_report::CommandReport;

use crate::args::InspectArgs;
use crate::claims::Claims;
use crate::output::{Output, bytes, kept_hint, si, unshaped_hint};

/// Ranks shown per layer without `-v`.
const SHOWN: usize = 4;

pub fn run(args: &InspectArgs, out: &Output) -> Result<()> {
    let claims = Claims::default().reads("the model", &args.model);
    claims.reports(&args.report.report).enter()?;
    args.report.check()?;
    let model = Loaded::open(&args.model, &args.shapes.pins()?)?;
    let progress = out.progress();
    let found = inspect(&model, &progress)?;
    drop(progress);
    out.json(&found);
    found.warnings.iter().for_each(|w| out.warning(w));
    summary(&found, out);
    layers(&found, out);
    args.report
        .write(out, |command| CommandReport::inspect(&found, command))
}

fn summary(m: &Inspection, out: &Output) {
    out.heading(&m.model);
    out.line(format!(
        "  opset {}, IR version {}, {} operators, {}",
        m.opset,
        m.ir_version,
        m.nodes,
        bytes(m.bytes)
    ));
    for (title, values) in [("inputs ", &m.inputs), ("outputs", &m.outputs)] {
        out.line(format!(
            "  {title}     {}",
            out.name(&values.join(", "), 14)
        ));
    }
    let uncounted = match m.uncounted {
        0 => String::new(),
        n => format!(" ({n} operators not counted)"),
    };
    out.line(format!("  MACs        {}{uncounted}", si(m.macs)));
    out.line(format!("  parameters  {}", si(m.params)));
    if !m.assumed.is_empty() {
        out.line(format!(
            "  assumed     {} (pin with --input-shape)",
            m.assumed.join(", ")
        ));
    }
    if m.unshaped.convolutions > 0 {
        out.note(format!("{}{}", m.unshaped, unshaped_hint(&m.unshaped)));
    }
    out.line("");
}

fn layers(m: &Inspection, out: &Output) {
    let rows: Vec<Vec<String>> = m.layers.iter().map(row).collect();
    let header = [
        "convolution",
        "kernel",
        "stride",
        "output",
        "MACs",
        "params",
        "note",
    ];
    out.table(&header, &rows);
    out.line("");
    let ranked: Vec<&LayerInspection> = m.layers.iter().filter(|l| !l.ranks.is_empty()).collect();
    if !ranked.is_empty() {
        out.line("energy kept (and MACs as a fraction of the convolution's) at rank 1, 2, …:");
    }
    for layer in ranked {
        for form in ["dw-pw", "pw-dw"] {
            let ranks: Vec<String> = layer
                .ranks
                .iter()
                .filter(|r| r.form == form)
                .take(if out.is_verbose() { usize::MAX } else { SHOWN })
                .map(|r| format!("{:.3} ({:.2})", r.energy, r.macs))
                .collect();
            if !ranks.is_empty() {
                let ranks = format!(" {form}: {}", ranks.join("  "));
                let name = out.name(&layer.name, 2 + ranks.chars().count());
                out.line(format!("  {name}{ranks}"));
            }
        }
    }
}

fn row(l: &LayerInspection) -> Vec<String> {
    let join = |v: &[u64]| {
        let parts: Vec<String> = v.iter().map(u64::to_string).collect();
        parts.join("x")
    };
    let kernel: Vec<u64> = l.kernel.iter().map(|k| *k as u64).collect();
    let group = if l.groups > 1 {
        format!("/{}", l.groups)
    } else {
        String::new()
    };
    vec![
        l.name.clone(),
        format!("{}{group}", join(&kernel)),
        join(&l.strides),
        l.output.as_deref().map_or("?".into(), join),
        l.macs.map_or("?".into(), si),
        si(l.params),
        l.kept
            .as_ref()
            .map_or(String::new(), |k| format!("kept: {k}{}", kept_hint(k))),
    ]
}
