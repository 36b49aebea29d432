//! The result of a compression, as it is printed.

use sepconv::{BenchRun, Budget, Hurried, LayerRecord, Outcome, Settings};

use super::{eight_bits, layers, outputs, sizes};
use crate::commands::compare::print_outputs;
use crate::commands::tune;
use crate::output::Output;
use crate::verdict;

/// Share of the speed-up asked for that is taken for it.
const MET: f64 = 0.97;

/// All of it. `is_usual`: no budget was given.
pub(super) fn print(o: &Outcome, settings: &Settings, is_usual: bool, out: &Output) {
    notes(o, settings, is_usual, out);
    if out.is_verbose() {
        o.dropped.iter().for_each(|line| out.note(line));
        layers::table(&o.layers, out);
        out.line("");
    }
    out.heading(format!("{} -> {}", o.input.display(), o.output.display()));
    layers::print(o, out);
    sizes::print(o, out);
    if let Some(verdict) = &o.verdict {
        verdict::print(verdict, out);
    }
    if let Some(tuning) = &o.tuning {
        tune::print(tuning, out);
    }
    match &o.comparison.not_run {
        Some(reason) if !o.layers.iter().any(LayerRecord::is_rewritten) => {
            out.line(format!("  outputs     not run: {reason}"));
        }
        Some(reason) => out.note(format!("not run: {reason}")),
        None => {
            let by_ratio = o
                .verdict
                .as_ref()
                .is_some_and(|verdict| verdict.one_class.is_some());
            let evaluation = o.compressed.evaluation.as_ref();
            outputs::print(&o.comparison, evaluation, by_ratio, out);
            if out.is_verbose() {
                print_outputs(&o.comparison, out);
            }
        }
    }
    if let Some(reason) = &o.floats {
        out.line(format!("  eight bits  none: {reason}"));
    }
    if let Some(eight_bits) = &o.eight_bits {
        eight_bits::print(eight_bits, out);
    }
    if let Some(timing) = &o.timing {
        print_timing(timing, wanted(settings), out);
    }
}

/// The speed-up that was asked for.
fn wanted(settings: &Settings) -> Option<f64> {
    match (settings.budget, &settings.plan) {
        (Budget::TargetLatency(fraction), None) => Some(1.0 / fraction),
        _ => None,
    }
}

/// Doubts about what was done.
fn notes(o: &Outcome, settings: &Settings, is_usual: bool, out: &Output) {
    if let (Budget::MinSnr(floor), None) = (settings.budget, &settings.plan)
        && o.calibration.is_none()
        && o.layers.iter().any(|l| l.is_rewritten())
    {
        let usual = match is_usual {
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
}

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

/// The measured time, and plainly if it is no gain, or less than was `wanted`.
fn print_timing(timing: &BenchRun, wanted: Option<f64>, out: &Output) {
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
    let speed_up = after.speed_up;
    if speed_up.median <= 1.0 {
        out.note("the result is not faster than the original here");
    } else if speed_up.low <= 1.0 {
        out.note("the times vary so much that the result may not be faster than the original");
    }
    if let Some(wanted) = wanted.filter(|wanted| speed_up.median < MET * wanted) {
        out.note(format!(
            "{wanted:.2}x was asked for, and {:.2}x is measured in the end",
            speed_up.median
        ));
    }
}
