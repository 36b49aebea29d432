//! `sepconv tune`.

use anyhow::Result;
use sepconv::training::{Epoch, Loss, TrainSettings};
use sepconv::{
    Augment, CalibrationSettings, DataSource, Evaluation, Loaded, TuneFiles, TuneMode,
    TuneSettings, Tuned, Tuning, tune_file,
};

use crate::args::{LossArg, TuneArgs, TuneOptions, data};
use crate::claims::Claims;
use crate::doubts;
use crate::files::check_free;
use crate::output::{Output, quantity, stderr};

pub fn run(args: &TuneArgs, out: &Output) -> Result<()> {
    let output = args.output.clone();
    let output = output.unwrap_or_else(|| args.model.with_extension("tuned.onnx"));
    let claims = Claims::default()
        .reads("the original", &args.original)
        .reads("the model", &args.model)
        .reads("--calib", &args.calib)
        .reads("--eval", &args.eval);
    let claims = data(claims, &args.data)
        .replaces("the output", &output, &args.model)
        .writes("--state", &args.options.state);
    claims.enter()?;
    check_free(&output, args.force)?;
    let target = args.target.find()?;
    let calib = args.data.source(&args.calib, args.seed)?;
    let eval = match &args.eval {
        Some(path) => Some(args.data.evaluation(path, args.seed)?),
        None => None,
    };
    let pins = args.shapes.pins()?;
    if let Ok(original) = Loaded::open(&args.original, &pins) {
        let sources: Vec<&DataSource> = [&calib].into_iter().chain(&eval).collect();
        doubts::of_data(out, &original, &sources, target);
    }
    let settings = settings(&args.options, CalibrationSettings::new(calib));
    let progress = out.progress();
    let files = TuneFiles {
        original: args.original.clone(),
        compressed: args.model.clone(),
        output,
        force: args.force,
        pins,
    };
    let tuned = tune_file(&files, &settings, target, eval.as_ref(), &progress)?;
    drop(progress);
    out.json(&tuned);
    out.heading(format!(
        "{} -> {}",
        args.model.display(),
        files.output.display()
    ));
    print(&tuned.tuning, out);
    evaluations(&tuned, out);
    out.line(format!("wrote {}", files.output.display()));
    Ok(())
}

/// The library's settings.
pub fn settings(options: &TuneOptions, data: CalibrationSettings) -> TuneSettings {
    let plain = TuneSettings::new(data.source);
    TuneSettings {
        mode: match options.block_wise {
            true => TuneMode::BlockWise,
            false => TuneMode::EndToEnd,
        },
        loss: match options.loss {
            LossArg::Auto => None,
            LossArg::Kl => Some(Loss::Kl),
            LossArg::L2 => Some(Loss::L2),
            LossArg::L1 => Some(Loss::L1),
        },
        augment: Augment {
            flip: options.flip,
            shift: options.shift,
        },
        train: TrainSettings {
            epochs: options.epochs,
            batch: options.batch,
            learning_rate: options.learning_rate,
            temperature: options.temperature,
            blocks: options.block_weight,
            patience: options.patience,
            compute: options.device,
            ..plain.train
        },
        state: options.state.clone(),
        ..plain
    }
}

/// Prints the figures of the training.
pub fn print(tuning: &Tuning, out: &Output) {
    if out.is_verbose() {
        for run in &tuning.epochs {
            epochs(run, tuning, out);
            out.line("");
        }
    }
    for node in &tuning.without_gradient {
        out.note(format!(
            "{node} has no gradient: what is upstream of it was not tuned"
        ));
    }
    if !tuning.frozen.is_empty() && out.is_verbose() {
        out.note(format!("not tuned: {}", tuning.frozen.join(", ")));
    }
    let losses: Vec<String> = tuning
        .losses
        .iter()
        .map(|(_, l)| format!("{l:?}").to_lowercase())
        .collect();
    out.line(format!(
        "  tuned       {} numbers of {} blocks, on {} samples, {} of them held out",
        tuning.parameters, tuning.blocks, tuning.samples, tuning.held_out
    ));
    out.line(format!(
        "  held out    {} -> {} {}, loss ({}) {:.4e} -> {:.4e}",
        agreement(&tuning.before),
        agreement(&tuning.after),
        unit(tuning),
        losses.join(", "),
        tuning.before.held_out_loss,
        tuning.after.held_out_loss,
    ));
    out.line(format!(
        "  epochs      {} of {:.1} s",
        count(tuning),
        tuning.seconds_per_epoch()
    ));
    if tuning.after.held_out_loss >= tuning.before.held_out_loss {
        out.note("no epoch was better on the held-out samples: the weights are as they were");
    }
}

fn agreement(epoch: &Epoch) -> String {
    format!("{:.2}", epoch.held_out_agreement)
}

/// Of the agreement: of classes, or of signals.
fn unit(tuning: &Tuning) -> &'static str {
    match tuning.losses.iter().any(|(_, l)| *l == Loss::Kl) {
        true => "% agreement",
        false => "dB",
    }
}

fn count(tuning: &Tuning) -> usize {
    tuning
        .epochs
        .iter()
        .map(|run| run.len().saturating_sub(1))
        .sum()
}

fn epochs(run: &[Epoch], tuning: &Tuning, out: &Output) {
    let rows = run.iter().enumerate().map(|(i, e)| {
        vec![
            i.to_string(),
            format!("{:.4}", e.loss),
            format!("{:.4e}", e.held_out_loss),
            agreement(e),
            format!("{:.1}", e.seconds),
        ]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    out.table(
        &["epoch", "loss", "held-out loss", unit(tuning), "seconds"],
        &rows,
    );
}

fn evaluations(tuned: &Tuned, out: &Output) {
    let named = [
        ("original", &tuned.original),
        ("before", &tuned.before),
        ("after", &tuned.after),
    ];
    for (name, evaluation) in named {
        let Some(Evaluation { primary, .. }) = evaluation else {
            continue;
        };
        let error = stderr(primary).map_or(String::new(), |e| format!(", standard error {e}"));
        out.line(format!(
            "  {name:<10}  {} {}  (n = {}{error})",
            quantity(primary),
            primary.metric.name(),
            primary.n
        ));
    }
}
