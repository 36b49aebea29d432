//! `sepconv quantize`.

use anyhow::Result;
use sepconv::quantization::{QuantizeSettings, in_floats};
use sepconv::{DataSource, Loaded, QuantizeFiles, QuantizeOutcome, quantize_file};

use crate::args::QuantizeArgs;
use crate::claims::Claims;
use crate::commands::compare::{print_outputs, task_measures};
use crate::doubts;
use crate::files::check_free;
use crate::output::{Output, bytes, in_seven};

pub fn run(args: &QuantizeArgs, out: &Output) -> Result<()> {
    let output = args.output.clone();
    let output = output.unwrap_or_else(|| args.model.with_extension("int8.onnx"));
    let options = &args.options;
    let claims = Claims::default()
        .reads("the model", &args.model)
        .reads("--calib", &args.calib)
        .replaces("the output", &output, &args.model);
    claims.enter()?;
    check_free(&output, options.force)?;
    args.library.announce()?;
    let settings = QuantizeSettings::of(options, DataSource::new(&args.calib))?;
    let files = QuantizeFiles {
        input: args.model.clone(),
        output,
        force: options.force,
        pins: options.shapes.pins()?,
    };
    if let Ok(model) = Loaded::open(&files.input, &files.pins) {
        doubts::of_data(out, &model, &[&settings.source], settings.target);
    }
    let progress = out.progress();
    let outcome = quantize_file(&files, &settings, &progress)?;
    drop(progress);
    if let Some(missed) = &outcome.missed {
        out.note(missed.to_string());
    }
    if let Some(reason) = &outcome.not_timed {
        out.note(format!("not timed: {reason}"));
    }
    out.json(&outcome);
    out.heading(format!(
        "{} -> {}",
        files.input.display(),
        files.output.display()
    ));
    print(&outcome, out);
    out.line(format!("wrote {}", files.output.display()));
    Ok(())
}

fn print(outcome: &QuantizeOutcome, out: &Output) {
    let kept: Vec<(&str, &str)> = in_floats(&outcome.layers).collect();
    let eight = outcome.layers.len() - kept.len();
    out.line(format!(
        "layers  {eight} in eight bits{}, {} in floats",
        in_seven(&outcome.layers),
        kept.len()
    ));
    for (name, reason) in kept {
        out.line(format!("        '{name}': {reason}"));
    }
    if outcome.expanded > 0 {
        let count = outcome.expanded;
        out.line(format!(
            "        {count} PRelu written in simpler operators that compute the same"
        ));
    }
    let [before, after] = outcome.bytes.map(bytes);
    out.line(format!("size    {before} -> {after}"));
    let comparison = &outcome.comparison;
    out.line(format!(
        "outputs on {} {} ({}):",
        comparison.runs,
        comparison.inputs.label(),
        comparison.target
    ));
    print_outputs(comparison, out);
    if let Some(task) = &comparison.task {
        let name = task.taken.task.name();
        out.line(format!("{name}: {}", task_measures(task)));
    }
    let timing = outcome.timing.as_ref();
    if let Some((run, [before, after])) =
        timing.and_then(|t| Some((t, t.models.first_chunk::<2>()?)))
    {
        out.line(format!(
            "time    {:.3} ms -> {:.3} ms, {:.2}x ({} {}, 1 thread)",
            1e3 * before.timing.median,
            1e3 * after.timing.median,
            after.speed_up.median,
            run.target,
            run.version
        ));
        if after.speed_up.median < 1.0 {
            out.warning(format!(
                "{} is slower with the model in eight bits than with the original",
                run.target
            ));
        }
    }
}
