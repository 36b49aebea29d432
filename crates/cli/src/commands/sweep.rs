//! `sepconv sweep`.

use anyhow::{Result, bail};
use sepconv::{CurvePoint, Loaded, Settings, Sweep, sweep};
use sepconv_report::Report;

use crate::args::SweepArgs;
use crate::doubts;
use crate::files;
use crate::output::{Output, quantity, stderr};

pub fn run(args: &SweepArgs, out: &Output) -> Result<()> {
    if args.fractions.iter().any(|f| !(*f > 0.0 && *f < 1.0)) {
        bail!("--fractions: each must be above 0 and below 1");
    }
    args.fit.library.announce()?;
    let settings = Settings::of(&args.fit.spec(), None)?;
    let plan = Sweep {
        fractions: args.fractions.clone(),
        baselines: !args.no_baselines,
        models: args.models.clone(),
    };
    let models = plan.files(&settings);
    let claims = args.fit.reads(&args.model);
    let claims = models
        .iter()
        .fold(claims, |all, path| all.writes("--models", path));
    claims.reports(&args.fit.report).enter()?;
    plan.check(&settings)?;
    files::check_report(args.fit.report.as_deref(), args.fit.run.force)?;
    doubts::of_settings(out, &args.model, &settings);
    let progress = out.progress();
    let model = settings.shaped(Loaded::open(&args.model, &settings.pins)?)?;
    if !model.shaped().is_empty() {
        out.note(format!(
            "free dimensions as the data has them: {}",
            model.shaped().join(", ")
        ));
    }
    let points = sweep(&model, &settings, &plan, &progress)?;
    drop(progress);
    if !points.unreached.is_empty() {
        out.note(format!("no plan reaches {}", points.unreached.join("; ")));
    }
    let report = Report::sweep(&model, &settings, points, Some(out.command()));
    // First what can't fail: the figures are not to be had again.
    out.json(&report);
    print(&report.curve, out);
    if let Some(folder) = &args.fit.report {
        report.write(folder, settings.force)?;
        out.line(format!("report  {}", folder.join("report.html").display()));
    }
    Ok(())
}

fn print(points: &[CurvePoint], out: &Output) {
    let rows: Vec<Vec<String>> = points.iter().map(row).collect();
    out.table(
        &[
            "point",
            "MACs",
            "parameters",
            "time",
            "metric",
            "value",
            "standard error",
        ],
        &rows,
    );
}

fn row(point: &CurvePoint) -> Vec<String> {
    let measure = point.evaluation.as_ref().map(|e| &e.primary);
    vec![
        point.label.clone(),
        format!("{:.3}", point.macs),
        format!("{:.3}", point.params),
        point.time.map_or(String::new(), |t| format!("{t:.3}")),
        measure.map_or("SNR".into(), |m| m.metric.label().to_owned()),
        match measure {
            Some(m) => quantity(m),
            None => point.snr_db.map_or(String::new(), |s| format!("{s:.1} dB")),
        },
        measure.and_then(stderr).unwrap_or_default(),
    ]
}
