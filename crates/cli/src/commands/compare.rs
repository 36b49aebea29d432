//! `sepconv compare`.

use anyhow::Result;
use sepconv::{Comparison, Loaded, OutputComparison, TaskComparison, compare};
use sepconv_report::CommandReport;

use crate::args::CompareArgs;
use crate::claims::Claims;
use crate::output::{Output, db, with_limit};

pub fn run(args: &CompareArgs, out: &Output) -> Result<()> {
    let claims = Claims::default()
        .reads("a model", &args.a)
        .reads("a model", &args.b);
    claims.reports(&args.report.report).enter()?;
    args.report.check()?;
    let target = args.target.find()?;
    let pins = args.shapes.pins()?;
    let a = Loaded::open(&args.a, &pins)?;
    let b = Loaded::open(&args.b, &pins)?;
    let inputs = args.inputs.read(&a, args.samples, args.seed)?;
    let progress = out.progress();
    let comparison = compare(&a, &b, target, &inputs, &progress)?;
    drop(progress);
    out.json(&comparison);
    out.line(format!(
        "{} against {}, {} runs on {}",
        a.file(),
        b.file(),
        comparison.runs,
        comparison.target
    ));
    print_outputs(&comparison, out);
    let models = [a.file(), b.file()];
    args.report.write(out, |command| {
        CommandReport::compare([&models[0], &models[1]], &comparison, command)
    })
}

/// The table of outputs.
pub fn print_outputs(comparison: &Comparison, out: &Output) {
    let header = [
        "output",
        "max abs",
        "max rel",
        "SNR",
        "worst channel",
        "cosine",
        "same top class",
    ];
    let rows: Vec<Vec<String>> = comparison.outputs.iter().map(row).collect();
    out.table(&header, &rows);
}

/// Such as `F1 of detections 98.00 % (at worst 96.2)`.
pub fn task_measures(task: &TaskComparison) -> String {
    let measures: Vec<String> = task.measures.iter().map(with_limit).collect();
    measures.join(", ")
}

/// Such as `12.3 dB (17 of 22)`.
fn worst_channel(o: &OutputComparison) -> String {
    let snr = o.worst_channel_snr();
    let text = match snr {
        Some(snr) if snr == f64::INFINITY => return "infinite".into(),
        snr => db(snr, "undefined"),
    };
    match o.worst_channel.filter(|w| w.channels > 1) {
        Some(w) => format!("{text} ({} of {})", w.channel, w.channels),
        None => text,
    }
}

fn row(o: &OutputComparison) -> Vec<String> {
    if let Some(reason) = &o.not_compared {
        return vec![o.name.clone(), reason.clone()];
    }
    let number = |v: Option<f64>| v.map_or("not finite".into(), |v| format!("{v:.3e}"));
    let same = o.max_abs == Some(0.0);
    vec![
        o.name.clone(),
        number(o.max_abs),
        number(o.max_rel),
        db(o.snr_db, if same { "infinite" } else { "undefined" }),
        worst_channel(o),
        o.cosine.map_or("-".into(), |v| format!("{v:.6}")),
        o.top1_agreement
            .map_or("-".into(), |v| format!("{:.1} %", 100.0 * v)),
    ]
}
