//! `sepconv compress`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use sepconv::quantization::in_floats;
use sepconv::{
    Against, BenchRun, Budget, ComparedOn, Comparison, EightBits, Error, Evaluation, GivenPlan,
    Hurried, LayerRecord, Loaded, Measure, Metric, Outcome, Settings, Size, SparseScores,
    TakenTask, TaskComparison, compress_file, curve,
};
use sepconv_report::Report;

use crate::args::CompressArgs;
use crate::claims::Claims;
use crate::commands::compare::print_outputs;
use crate::doubts;
use crate::files;
use crate::output::{
    Output, bytes, db, in_seven, kept_hint, limit, quantity, si, stderr, with_limit,
};
use crate::verdict;

/// A sentence about the work that was left out.
fn time_was_short(hurried: Hurried) -> String {
    let counts = [
        (hurried.unscored, "layers planned by their weights"),
        (hurried.short, "layers fitted with less effort"),
        (hurried.left_out, "samples not evaluated"),
        (hurried.epochs, "epochs not trained"),
    ];
    let told = counts.iter().filter(|(count, _)| *count > 0);
    let told: Vec<String> = told
        .map(|(count, done)| format!("{count} {done}"))
        .collect();
    format!(
        "--max-time was short: {}; another run may differ",
        told.join(", ")
    )
}

/// Below this signal-to-noise ratio (dB) a channel is no longer the original's.
const LOST_DB: f64 = 10.0;
/// Below these shares of the original's sparse scores they are lost.
const LOST_SCORES: f64 = 0.5;

pub fn run(args: &CompressArgs, out: &Output) -> Result<()> {
    let output = args.output.clone().unwrap_or_else(|| beside(&args.model));
    claims(args, &output).enter()?;
    args.fit.library.announce()?;
    let spec = args.spec();
    let model = || Ok(Loaded::open(&args.model, &spec.run.shapes.pins()?)?);
    let settings = Settings::with_budget(&spec, None, model)?;
    check_free(args, &output)?;
    // A plan is refused at once where it does not fit, and a refusal is one line.
    if settings.plan.is_none() {
        doubts::of_settings(out, &args.model, &settings);
    }
    // In place, the model is another one by the time that the curve is made.
    let original = match &args.fit.report {
        Some(_) => Some(Loaded::open(&args.model, &settings.pins)?),
        None => None,
    };
    let progress = out.progress();
    let outcome = compress_file(&args.model, &output, &settings, &progress)?;
    if settings.plan.is_some() {
        doubts::of_settings(out, &args.model, &settings);
    }
    // The model stays whatever fails from here on, and so do its figures.
    let mut extras = Extras::default();
    if let Some(path) = &args.save_plan {
        extras.made("its plan", outcome.plan.write(path, settings.force));
    }
    let measured = original
        .as_ref()
        .map(|original| curve(original, &settings, &progress));
    let measured = match measured.transpose() {
        Err(Error::Cancelled) => return Err(Error::Cancelled.into()),
        Err(error) => {
            extras.made("the curve of its report", Err(error));
            None
        }
        Ok(measured) => measured,
    };
    let measured = measured.unwrap_or_default();
    drop(progress);
    if !measured.complete {
        out.note("--max-time was over: points of the report's curve are missing");
    }
    if args.fit.report.is_some() || out.is_json() {
        let report = Report::new(&outcome, &settings, measured, Some(out.command()));
        if let Some(folder) = &args.fit.report {
            extras.made("its report", report.write(folder, settings.force));
        }
        out.json(&report);
    }
    print(args, &settings, &outcome, out);
    if extras.made.contains(&"its report")
        && let Some(folder) = &args.fit.report
    {
        let page = folder.join("report.html");
        out.line(format!("  report      {}", page.display()));
    }
    if extras.made.contains(&"its plan")
        && let Some(path) = &args.save_plan
    {
        out.line(format!("  plan        {}", path.display()));
    }
    out.line(format!("wrote {}", outcome.output.display()));
    extras.result(&outcome.output)
}

/// What is made beside a model that is written.
#[derive(Default)]
struct Extras {
    made: Vec<&'static str>,
    failed: Vec<String>,
}

impl Extras {
    fn made(&mut self, what: &'static str, result: Result<(), Error>) {
        match result {
            Ok(()) => self.made.push(what),
            Err(error) => self.failed.push(format!("{what} was not: {error}")),
        }
    }

    /// An error that names all that is missing.
    fn result(self, model: &Path) -> Result<()> {
        match self.failed.is_empty() {
            true => Ok(()),
            false => bail!(
                "{} was written, {}",
                model.display(),
                self.failed.join("; ")
            ),
        }
    }
}

/// `dir/model.onnx` -> `dir/model.sep.onnx`.
fn beside(model: &Path) -> PathBuf {
    model.with_extension("sep.onnx")
}

/// The model may be replaced, and a plan by what becomes of it.
fn claims(args: &CompressArgs, output: &PathBuf) -> Claims {
    let plan = args.budget.plan.as_ref().and_then(|plan| match plan {
        GivenPlan::File(path) => Some(path),
        GivenPlan::Contents(_) => None,
    });
    let claims = args.fit.reads(&args.model).reads("--plan", plan);
    let claims = claims.replaces("the output", output, &args.model);
    let claims = match (&args.save_plan, plan) {
        (Some(saved), Some(plan)) => claims.replaces("--save-plan", saved, plan),
        (saved, _) => claims.writes("--save-plan", saved),
    };
    claims.reports(&args.fit.report)
}

/// Refuses before the work rather than after it.
fn check_free(args: &CompressArgs, output: &Path) -> Result<()> {
    files::check_free(output, args.fit.run.force)?;
    if let Some(path) = &args.save_plan {
        files::check_free(path, args.fit.run.force)?;
        files::check_place(path)?;
    }
    files::check_report(args.fit.report.as_deref(), args.fit.run.force)?;
    files::check_place(output)
}

fn print(args: &CompressArgs, settings: &Settings, o: &Outcome, out: &Output) {
    if let (Budget::MinSnr(floor), None) = (settings.budget, &settings.plan)
        && o.calibration.is_none()
        && o.layers.iter().any(|l| l.is_rewritten())
    {
        let usual = match args.budget.is_usual() {
            true => "no budget was given: ",
            false => "",
        };
        out.note(format!(
            "{usual}this is the largest MAC saving whose outputs stay within {floor} dB of the original \
             on synthetic inputs; calibration data would allow far more"
        ));
    }
    if !o.assumed.is_empty() && out.is_verbose() {
        out.note(format!(
            "assumed {} (pin with --input-shape)",
            o.assumed.join(", ")
        ));
    }
    if !o.shaped.is_empty() {
        out.note(format!(
            "free dimensions as the data has them: {}",
            o.shaped.join(", ")
        ));
    }
    if o.plan.functions {
        out.note(
            "calls of local functions were written out, so that their layers could be planned",
        );
    }
    if o.sharing > 0 {
        out.note(format!(
            "{} rewritten layers read weights that other layers read, too: each has factors of its own, \
             and the file is larger for it",
            o.sharing
        ));
    }
    if !o.hurried.is_none() {
        out.note(time_was_short(o.hurried));
    }
    let kept = o.tries.is_empty() || o.tries.iter().any(|t| t.holds);
    if !kept && o.verdict.is_none() && o.unrewritten.is_none() {
        out.note("no plan that was tried keeps the budget: the one nearest to it is written");
    }
    if out.is_verbose() {
        o.dropped.iter().for_each(|line| out.note(line));
        layer_table(&o.layers, out);
        out.line("");
    }
    let rewritten = o.layers.iter().filter(|l| l.is_rewritten());
    let rewritten: Vec<&LayerRecord> = rewritten.collect();
    out.heading(format!("{} -> {}", o.input.display(), o.output.display()));
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
    if let Some(verdict) = &o.verdict {
        verdict::print(verdict, out);
    }
    if let Some(tuning) = &o.tuning {
        super::tune::print(tuning, out);
    }
    match &o.comparison.not_run {
        Some(reason) if rewritten.is_empty() => {
            out.line(format!("  outputs     not run: {reason}"));
        }
        Some(reason) => out.note(format!("not run: {reason}")),
        None => {
            let by_ratio = o
                .verdict
                .as_ref()
                .is_some_and(|verdict| verdict.one_class.is_some());
            let evaluation = o.compressed.evaluation.as_ref();
            print_comparison(&o.comparison, evaluation, by_ratio, out);
            if out.is_verbose() {
                print_outputs(&o.comparison, out);
            }
        }
    }
    if let Some(reason) = &o.floats {
        out.line(format!("  eight bits  none: {reason}"));
    }
    if let Some(eight_bits) = &o.eight_bits {
        print_eight_bits(eight_bits, out);
    }
    if let Some(timing) = &o.timing {
        print_timing(timing, out);
    }
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

/// The outputs against the original's: the worst channel, classes that agree, and a plain word where
/// a channel is lost. Where there is an `evaluation`, the measures of its task have been printed. `by_ratio`: the verdict
/// has said that one class holds the samples.
fn print_comparison(
    comparison: &Comparison,
    evaluation: Option<&Evaluation>,
    by_ratio: bool,
    out: &Output,
) {
    let on = format!("{} {}", comparison.runs, comparison.inputs.label());
    let same = comparison.outputs.iter().all(|o| o.max_abs == Some(0.0));
    let show = |snr: Option<f64>| {
        let snr = snr.filter(|s| s.is_finite());
        db(snr, if same { "infinite" } else { "undefined" })
    };
    let random = comparison.inputs == ComparedOn::Random;
    let name = match random {
        true => "SNR on synthetic inputs",
        false => "SNR",
    };
    let own = comparison.worst_channel_snr();
    let varying = comparison.varying_or_channel_snr();
    let worst = comparison.worst_output();
    let channel = worst.and_then(|o| Some((o, o.worst_channel.filter(|w| w.channels > 1)?)));
    let text = match channel.filter(|_| !same) {
        Some((output, w)) => format!(
            "{name} {} in the worst channel ({}, {} of {}), {} over all",
            show(own),
            output.name,
            w.channel,
            w.channels,
            show(comparison.worst_snr())
        ),
        // A distribution of two classes that hardly changes: what is constant hides the error in the rest.
        None if !same && varying != comparison.worst_snr() => format!(
            "{name} {} of what varies, {} over all",
            show(varying),
            show(comparison.worst_snr())
        ),
        None => format!("{name} {}", show(own)),
    };
    if comparison.is_silent() {
        out.line(
            "  outputs     no verdict: no data (on synthetic inputs one class wins always, which says \
             nothing of the others)",
        );
        return;
    }
    if random {
        out.line(format!(
            "  outputs     {text}, {} runs: it says nothing of accuracy",
            comparison.runs
        ));
        return;
    }
    out.line(format!("  outputs     {text}, on {on}"));
    let evaluated = evaluation.is_some();
    // Scores of no task are seen here alone.
    let told = evaluated && comparison.task.is_some();
    for output in comparison.outputs.iter().filter(|_| !told) {
        output
            .scores
            .iter()
            .for_each(|s| print_scores(&output.name, s, out));
    }
    if let Some(task) = comparison.task.as_ref().filter(|_| !evaluated) {
        print_task(task, &on, out);
    }
    if let Some(taken) = comparison.classes.as_ref().filter(|_| !evaluated) {
        print_taken(taken, out);
    }
    let several = comparison.agreements().count() > 1;
    for agreement in comparison.agreements().filter(|_| !evaluated) {
        let least = agreement.limit.unwrap_or(0.0);
        let of = match several {
            true => format!(" of {}", agreement.output),
            false => String::new(),
        };
        out.line(format!(
            "  agreement   {:.2} %{of}  (with the original, at least {least:.2} % at 95 % confidence, on \
             {on})",
            agreement.value
        ));
        let few = (agreement.value == 100.0).then(|| verdict::too_perfect(agreement.n, least));
        few.flatten().iter().for_each(|text| out.note(text));
    }
    let one_class = match evaluation {
        Some(evaluation) => evaluation.one_class(),
        None => comparison.one_class(),
    };
    if let Some(share) = one_class.filter(|_| !by_ratio) {
        out.note(verdict::one_class(share));
    }
    if own.is_none_or(|snr| snr < LOST_DB) {
        out.note(format!(
            "the outputs are not the original's: the error in {} is above a third of the signal",
            channel.map_or("them".to_owned(), |(o, w)| format!(
                "{}, channel {}",
                o.name, w.channel
            ))
        ));
    }
}

/// The rest of sparse scores, and plainly where it is not most of them.
fn print_scores(output: &str, scores: &SparseScores, out: &Output) {
    let share =
        |s: Option<f64>| s.map_or("undefined".to_owned(), |s| format!("{:.1} %", 100.0 * s));
    let (recall, precision) = (scores.recall(), scores.precision());
    out.line(format!(
        "  scores      above {}: {} -> {}, recall {}, precision {}  ({output}, {} channels)",
        scores.threshold,
        scores.original,
        scores.model,
        share(recall),
        share(precision),
        scores.channels
    ));
    if recall.is_some_and(|r| r < LOST_SCORES) || precision.is_none_or(|p| p < LOST_SCORES) {
        out.note(format!(
            "scores of {output} are lost: few of those above {} are the original's",
            scores.threshold
        ));
    }
}

/// A task, and why it was taken.
fn print_taken(taken: &TakenTask, out: &Output) {
    out.line(format!(
        "  task        {} ({})",
        taken.task.name(),
        taken.why
    ));
}

/// The measures of the task, and why it was taken.
fn print_task(task: &TaskComparison, on: &str, out: &Output) {
    let name = task.taken.task.name();
    let measures: Vec<String> = task.measures.iter().map(with_limit).collect();
    print_taken(&task.taken, out);
    out.line(format!(
        "  {name:<10}  {}  (against the original, on {on})",
        measures.join(", ")
    ));
}

/// Layers in eight bits, and the times of the choice between the forms.
fn print_eight_bits(record: &EightBits, out: &Output) {
    let floats: Vec<(&str, &str)> = in_floats(&record.layers).collect();
    let eight = record.layers.len() - floats.len();
    let kept = match floats.len() {
        0 => String::new(),
        n => format!(", {n} in floats"),
    };
    let seven = in_seven(&record.layers);
    out.line(format!("  eight bits  {eight} layers{seven}{kept}"));
    if out.is_verbose() {
        for (name, reason) in floats {
            out.line(format!("              '{name}': {reason}"));
        }
    }
    let speeds: Vec<f64> = record
        .timing
        .models
        .iter()
        .map(|m| m.speed_up.median)
        .collect();
    if let [_, alone, rest @ ..] = speeds.as_slice() {
        let both = match (rest, record.separable) {
            ([both], true) => format!(", with separable forms {both:.2}x"),
            ([both], false) => {
                format!(", with separable forms {both:.2}x: the convolutions stay as they are")
            }
            _ => String::new(),
        };
        let (target, version) = (&record.timing.target, &record.timing.version);
        out.line(format!(
            "  speed       eight bits alone {alone:.2}x{both} ({target} {version})"
        ));
        let result = if record.separable { rest.first() } else { None };
        if let Some(missed) = &record.missed {
            out.note(missed.to_string());
        }
        if let Some(floats) = record.simpler.filter(|s| s > result.unwrap_or(alone)) {
            out.note(format!(
                "the model in floats is {floats:.2} times as fast with its activations in simpler operators"
            ));
        }
    }
}

/// The measured time, and plainly if it is no gain.
fn print_timing(timing: &BenchRun, out: &Output) {
    let [before, after] = timing.models.as_slice() else {
        return;
    };
    out.line(format!(
        "  time        {:.3} ms -> {:.3} ms  ({:.2}x, {:.2} to {:.2}) on {} {}, {} thread{}",
        before.timing.median * 1e3,
        after.timing.median * 1e3,
        after.speed_up.median,
        after.speed_up.low,
        after.speed_up.high,
        timing.target,
        timing.version,
        timing.threads,
        if timing.threads == 1 { "" } else { "s" },
    ));
    if after.speed_up.median <= 1.0 {
        out.note("the result is not faster than the original here");
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

fn layer_table(layers: &[LayerRecord], out: &Output) {
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
