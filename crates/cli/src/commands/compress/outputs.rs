//! The outputs of a compression against the original's, as they are printed.

use sepconv::{ComparedOn, Comparison, Evaluation, SparseScores, TakenTask, Task, TaskComparison};

use crate::commands::compare::task_measures;
use crate::output::{Output, db};
use crate::verdict;

/// Below this signal-to-noise ratio (dB) a channel is no longer the original's.
const LOST_DB: f64 = 10.0;
/// Below these shares of the original's sparse scores they are lost.
const LOST_SCORES: f64 = 0.5;
/// From this F1 (percent) on detections are kept.
const KEPT_F1: f64 = 90.0;

/// The outputs against the original's: the worst channel, classes that agree, and a plain word where
/// a channel is lost. Where there is an `evaluation`, the measures of its task have been printed. `by_ratio`: the verdict
/// has said that one class holds the samples.
pub(super) fn print(
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
    let kept = worst.is_some_and(|worst| are_kept(comparison, &worst.name));
    if own.is_none_or(|snr| snr < LOST_DB) && !kept {
        out.note(format!(
            "the outputs are not the original's: the error in {} is above a third of the signal",
            channel.map_or("them".to_owned(), |(o, w)| format!(
                "{}, channel {}",
                o.name, w.channel
            ))
        ));
    }
}

/// True for an output of detections of which nearly all are kept: that tells more than a ratio, above all where the graph orders
/// them.
fn are_kept(comparison: &Comparison, output: &str) -> bool {
    let task = comparison.task.as_ref();
    let task = task.filter(|task| task.taken.task == Task::Detect);
    let f1 = task.and_then(|task| task.measures.first());
    f1.is_some_and(|f1| f1.value >= KEPT_F1 && f1.output.split(", ").any(|own| own == output))
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
    print_taken(&task.taken, out);
    out.line(format!(
        "  {name:<10}  {}  (against the original, on {on})",
        task_measures(task)
    ));
}
