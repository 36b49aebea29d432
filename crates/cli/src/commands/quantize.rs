//! `sepconv quantize`.

use std::num::NonZeroUsize;

use anyhow::Result;
use sepconv::latency::Bench;
use sepconv::quantization::{QuantizeError, QuantizeSettings, Quantized, in_floats, quantize};
use sepconv::{Advice, BenchRun, LatencyTarget, Loaded, shaped_by};
use serde::Serialize;

use crate::args::QuantizeArgs;
use crate::commands::compare::print_outputs;
use crate::doubts;
use crate::files::check_free;
use crate::output::{Output, bytes};

/// Record of the command, for `--json`.
#[derive(Serialize)]
struct Record<'a> {
    eight_bits: usize,
    floats: Vec<Kept<'a>>,
    bytes: [usize; 2],
    comparison: &'a sepconv::Comparison,
    timing: Option<&'a BenchRun>,
}

#[derive(Serialize)]
struct Kept<'a> {
    layer: &'a str,
    reason: &'a str,
}

pub fn run(args: &QuantizeArgs, out: &Output) -> Result<()> {
    let output = args.output.clone();
    let output = output.unwrap_or_else(|| args.model.with_extension("int8.onnx"));
    check_free(&output, args.force)?;
    let target = args.runtime()?;
    let source = args.data.source(&args.calib, args.seed)?;
    let model = Loaded::open(&args.model, &args.shapes.pins()?)?;
    let model = shaped_by(&model, [&source])?.unwrap_or(model);
    doubts::of_data(out, &model, &[&source], target);
    let usual = QuantizeSettings::new(source, target);
    let settings = QuantizeSettings {
        least_snr: match args.all_layers {
            true => None,
            false => args.min_snr.or(usual.least_snr),
        },
        raise: args.opset.is_some(),
        ..usual
    };
    let progress = out.progress();
    let quantized = quantize(&model, &settings, &progress);
    // An interrupt is told apart by its type.
    let quantized = quantized.map_err(|error| match error {
        QuantizeError::Model(error) => anyhow::Error::from(error),
        QuantizeError::Opset { .. } => {
            let error = sepconv::Error::Setting(error.to_string());
            error.advising(Advice::RaiseOpset).into()
        }
        other => other.into(),
    })?;
    let staged = quantized.model.document.stage(&output, args.force)?;
    let written = model.with(staged.open()?)?;
    let on = LatencyTarget {
        target,
        threads: NonZeroUsize::MIN,
    };
    let timing = on.time(&[&model, &written], Bench::default(), args.seed, &progress);
    drop(progress);
    let timing = match timing {
        Ok(timing) => Some(timing),
        Err(sepconv::Error::Cancelled) => return Err(sepconv::Error::Cancelled.into()),
        Err(error) => {
            out.note(format!("not timed: {error}"));
            None
        }
    };
    staged.commit()?;
    let sizes = [&model, &written].map(|m| m.document.source_size());
    out.json(&record(&quantized, sizes, timing.as_ref()));
    out.heading(format!("{} -> {}", args.model.display(), output.display()));
    print(&quantized, sizes, timing.as_ref(), out);
    out.line(format!("wrote {}", output.display()));
    Ok(())
}

fn record<'a>(
    quantized: &'a Quantized,
    bytes: [usize; 2],
    timing: Option<&'a BenchRun>,
) -> Record<'a> {
    let floats = in_floats(&quantized.layers);
    let floats = floats.map(|(layer, reason)| Kept { layer, reason });
    let floats: Vec<Kept<'a>> = floats.collect();
    Record {
        eight_bits: quantized.layers.len() - floats.len(),
        floats,
        bytes,
        comparison: &quantized.comparison,
        timing,
    }
}

fn print(quantized: &Quantized, sizes: [usize; 2], timing: Option<&BenchRun>, out: &Output) {
    let kept: Vec<(&str, &str)> = in_floats(&quantized.layers).collect();
    let eight = quantized.layers.len() - kept.len();
    out.line(format!(
        "layers  {eight} in eight bits, {} in floats",
        kept.len()
    ));
    for (name, reason) in kept {
        out.line(format!("        '{name}': {reason}"));
    }
    out.line(format!(
        "size    {} -> {}",
        bytes(sizes[0]),
        bytes(sizes[1])
    ));
    let comparison = &quantized.comparison;
    out.line(format!(
        "outputs on {} {} ({}):",
        comparison.runs,
        comparison.inputs.label(),
        comparison.target
    ));
    print_outputs(comparison, out);
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
