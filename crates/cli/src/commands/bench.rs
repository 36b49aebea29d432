//! `sepconv bench`.

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Result, bail};
use sepconv::latency::Bench;
use sepconv::onnx::write_atomic;
use sepconv::targets::{self, Target};
use sepconv::{BenchRun, BenchSettings, Loaded, ModelTiming, bench};
use sepconv_report::CommandReport;

use crate::args::BenchArgs;
use crate::claims::Claims;
use crate::files::{check_free, check_place};
use crate::output::{Output, si};

/// Rounds where none are asked for.
const ROUNDS: usize = 30;

pub fn run(args: &BenchArgs, out: &Output) -> Result<()> {
    let models = args.models.iter();
    let claims = models.fold(Claims::default(), |all, path| all.reads("the model", path));
    let claims = claims.writes("the output", &args.output);
    claims.reports(&args.report.report).enter()?;
    args.library.announce()?;
    let settings = BenchSettings {
        targets: chosen(&args.target, out)?,
        threads: threads(&args.threads),
        bench: rounds(args)?,
        seed: args.seed,
    };
    let output = args.output.as_ref();
    if let Some(path) = output {
        check_free(path, args.report.force)?;
        check_place(path)?;
    }
    args.report.check()?;
    let pins = args.shapes.pins()?;
    let models = args.models.iter().map(|path| Loaded::open(path, &pins));
    let models = models.collect::<Result<Vec<_>, _>>()?;
    let progress = out.progress();
    let runs = bench(&models, &settings, &progress)?;
    drop(progress);
    // First what can't fail: the figures are not to be had again.
    out.json(&runs);
    runs.iter().for_each(|run| print(run, out));
    if let Some(path) = output {
        let text = format!("{}\n", serde_json::to_string_pretty(&runs)?);
        write_atomic(path, args.report.force, text.as_bytes())?;
    }
    args.report
        .write(out, |command| CommandReport::bench(&runs, command))
}

/// The targets of these names, each once. `all` means those that are available.
fn chosen(names: &[String], out: &Output) -> Result<Vec<&'static dyn Target>> {
    let mut found: Vec<&'static dyn Target> = Vec::new();
    for name in names {
        if name == "all" {
            for target in targets::targets() {
                match target.available() {
                    Ok(()) => found.push(*target),
                    Err(reason) => out.note(format!("{reason}")),
                }
            }
        } else {
            let target = targets::find(name)?;
            target.available()?;
            found.push(target);
        }
    }
    let mut seen = Vec::new();
    found.retain(|t| {
        let new = !seen.contains(&t.name());
        seen.push(t.name());
        new
    });
    Ok(found)
}

/// The numbers asked for, or one and that of all cores.
fn threads(asked: &[NonZeroUsize]) -> Vec<NonZeroUsize> {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut threads = match asked {
        [] => vec![NonZeroUsize::MIN, cores],
        asked => asked.to_vec(),
    };
    threads.dedup();
    threads
}

fn rounds(args: &BenchArgs) -> Result<Bench> {
    let runs = args.runs.map_or(ROUNDS, NonZeroUsize::get);
    let fixed = Bench {
        warm_up: Duration::from_millis(50),
        sample: Duration::from_millis(1),
        least_rounds: runs,
        most_rounds: runs,
        enough: Duration::ZERO,
        longest: match args.runs {
            Some(_) => Duration::MAX,
            None => Bench::default().longest,
        },
    };
    let Some(seconds) = args.seconds else {
        return Ok(fixed);
    };
    let enough = Duration::try_from_secs_f64(seconds).ok();
    let Some(enough) = enough.filter(|d| !d.is_zero()) else {
        bail!("--seconds {seconds}: a positive number is needed");
    };
    Ok(Bench {
        least_rounds: 5,
        most_rounds: usize::MAX,
        enough,
        longest: Duration::MAX,
        ..fixed
    })
}

fn print(run: &BenchRun, out: &Output) {
    let rounds = run.models.first().map_or(0, |m| m.timing.samples);
    out.line(format!(
        "{} {}, {} thread{}, {rounds} rounds, {}",
        run.target,
        run.version,
        run.threads,
        if run.threads == 1 { "" } else { "s" },
        run.machine
    ));
    let header = ["model", "MACs", "min", "median", "speed-up", "5 to 95 %"];
    let rows: Vec<Vec<String>> = run.models.iter().map(row).collect();
    out.table(&header, &rows);
}

fn row(m: &ModelTiming) -> Vec<String> {
    vec![
        m.file.clone(),
        si(m.macs),
        milliseconds(m.timing.min),
        milliseconds(m.timing.median),
        format!("{:.2}x", m.speed_up.median),
        format!("{:.2} to {:.2}", m.speed_up.low, m.speed_up.high),
    ]
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.3} ms", 1e3 * seconds)
}
