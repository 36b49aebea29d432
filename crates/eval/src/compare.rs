//! Two models on the same inputs.

use sepconv_ir::Tensor;
use sepconv_targets::Target;
use serde::Serialize;

use crate::evaluate::{Against, Measure, Metric};
use crate::interface::same_interface;
use crate::limits::Decibels;
use crate::metrics::{OutputComparison, compare_output};
use crate::pictures::ShownSample;
#[cfg(doc)]
use crate::sparse::SparseScores;
use crate::tasks::TakenTask;
use sepconv_model::Error;
use sepconv_model::Loaded;
use sepconv_model::Progress;
use sepconv_model::classes::class_outputs;
use sepconv_model::run;

/// Inputs that models are compared on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComparedOn {
    /// Inputs of the caller's.
    #[default]
    Given,
    /// Seeded random inputs: a check that both models compute alike, and no figure of accuracy.
    Random,
    /// Calibration samples that nothing was fitted to and nothing was chosen by.
    Test,
    /// The calibration samples that layers were fitted to, where there are no others.
    Calibration,
    /// Samples of the evaluation data.
    Evaluation,
}

impl ComparedOn {
    /// Such as `held-out calibration samples`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Given => "inputs",
            Self::Random => "synthetic inputs",
            Self::Test => "held-out calibration samples",
            Self::Calibration => "calibration samples, all fitted to",
            Self::Evaluation => "evaluation samples",
        }
    }
}

/// Comparison of two models over all their outputs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The inputs that both models were run on.
    pub inputs: ComparedOn,
    /// Samples: runs, each of one batch, of random inputs.
    pub runs: usize,
    /// Name of the runtime.
    pub target: &'static str,
    /// One entry per output, in graph order. Empty where the models were not run.
    pub outputs: Vec<OutputComparison>,
    /// Reason for which the models were not run.
    pub not_run: Option<String>,
    /// The outputs by the model's task, where it is known and no matter of classes alone.
    pub task: Option<TaskComparison>,
    /// The task where it is a matter of classes alone, and the reason for which it was taken. Not in JSON.
    #[serde(skip)]
    pub classes: Option<TakenTask>,
    /// A few of the samples, where they are pictures and the outputs can be drawn. Not in JSON.
    #[serde(skip)]
    pub pictures: Vec<ShownSample>,
}

/// Outputs of two models by the task that they are for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskComparison {
    /// The task, and why it was taken.
    #[serde(flatten)]
    pub taken: TakenTask,
    /// Its measures, the one that models are judged by first.
    pub measures: Vec<Measure>,
}

impl Comparison {
    /// Compares the outputs of two models: `a` and `b` hold one list of tensors per run, in the
    /// order of `names`.
    pub fn of(
        target: &'static str,
        names: &[String],
        a: &[Vec<Tensor>],
        b: &[Vec<Tensor>],
    ) -> Self {
        let outputs = names.iter().enumerate().map(|(i, name)| {
            let pairs: Vec<(&Tensor, &Tensor)> = a
                .iter()
                .zip(b)
                .filter_map(|(a, b)| Some((a.get(i)?, b.get(i)?)))
                .collect();
            compare_output(name, &pairs)
        });
        Self {
            inputs: ComparedOn::default(),
            runs: a.len(),
            target,
            outputs: outputs.collect(),
            not_run: None,
            task: None,
            classes: None,
            pictures: Vec::new(),
        }
    }

    /// With the shares of equal classes of outputs of [`class_outputs`] alone.
    ///
    /// [`class_outputs`]: sepconv_model::classes::class_outputs
    #[must_use]
    pub fn of_classes(mut self, classes: &[bool]) -> Self {
        for (output, classes) in self.outputs.iter_mut().zip(classes) {
            if !classes {
                (output.top1_agreement, output.largest_class) = (None, None);
            }
        }
        self
    }

    /// Of models that were not run, with the reason.
    pub fn not_run(target: &'static str, reason: String) -> Self {
        Self {
            inputs: ComparedOn::default(),
            runs: 0,
            target,
            outputs: Vec::new(),
            not_run: Some(reason),
            task: None,
            classes: None,
            pictures: Vec::new(),
        }
    }

    /// Shares of samples with the original's greatest class, of every output of classes; none where
    /// the task is another.
    pub fn agreements(&self) -> impl Iterator<Item = Measure> {
        let outputs = self.outputs.iter().filter(|_| self.task.is_none());
        outputs.filter_map(|o| {
            let hits = (o.top1_agreement? * self.runs as f64).round() as usize;
            let (metric, against) = (Metric::Agreement, Against::Original);
            Some(Measure::share(metric, against, &o.name, hits, self.runs))
        })
    }

    /// Share of the samples that the original puts in its most frequent class, the greatest over all outputs of
    /// classes, where it is so great that agreement says little; `None` where the task is another.
    pub fn one_class(&self) -> Option<f64> {
        let outputs = self.outputs.iter().filter(|_| self.task.is_none());
        let shares = outputs.filter_map(OutputComparison::one_class);
        shares.max_by(f64::total_cmp)
    }

    /// True where the inputs are random and an output is of one class alone on them: no figure of it says
    /// anything of the model's outputs on data.
    pub fn is_silent(&self) -> bool {
        self.inputs == ComparedOn::Random && self.outputs.iter().any(|o| o.saturated)
    }

    /// The smallest signal-to-noise ratio of any output, in dB; infinite where nothing
    /// differs, `None` where nothing could be compared or a value is not finite.
    pub fn worst_snr(&self) -> Option<f64> {
        self.worst(|o| {
            if o.max_abs == Some(0.0) {
                Some(f64::INFINITY)
            } else {
                o.snr_db
            }
        })
    }

    /// As [`Comparison::worst_snr`], of the worst channel of any output on its own scale.
    pub fn worst_channel_snr(&self) -> Option<f64> {
        self.worst(OutputComparison::worst_channel_snr)
    }

    /// As [`Comparison::worst_channel_snr`], where the part that varies between samples at one place of an output counts as
    /// well, if that is worse.
    pub fn varying_or_channel_snr(&self) -> Option<f64> {
        self.worst(|o| {
            let own = o.worst_channel_snr()?;
            Some(o.varying_snr_db.map_or(own, |varying| varying.min(own)))
        })
    }

    /// The output whose worst channel is the worst of all; `None` where nothing was compared.
    pub fn worst_output(&self) -> Option<&OutputComparison> {
        let snr = |o: &OutputComparison| o.worst_channel_snr().unwrap_or(f64::NEG_INFINITY);
        let all = self.outputs.iter();
        all.min_by(|a, b| snr(a).total_cmp(&snr(b)))
    }

    /// The smallest of [`Comparison::worst_channel_snr`], the signal-to-noise ratio of the part that varies
    /// between samples and [`SparseScores::decibels`], of the output where it is the smallest; `None` where nothing could be
    /// compared or a value is not finite.
    pub fn strictest_snr(&self) -> Option<Decibels> {
        let all = self.outputs.iter().map(|o| o.strictest(self.runs));
        let all: Option<Vec<Decibels>> = all.collect();
        all?.into_iter().min_by(|a, b| a.value.total_cmp(&b.value))
    }

    fn worst(&self, f: impl Fn(&OutputComparison) -> Option<f64>) -> Option<f64> {
        let mut worst = None;
        for output in &self.outputs {
            let snr = f(output)?;
            worst = Some(worst.map_or(snr, |w: f64| w.min(snr)));
        }
        worst
    }
}

/// Runs `a` and `b` on the same inputs and compares every output of `a` with the output of
/// `b` at the same position.
///
/// # Errors
/// [`Error::Interface`] where inputs or outputs differ in name or number, [`Error::Target`]
/// where the runtime can't run one of them.
pub fn compare(
    a: &Loaded,
    b: &Loaded,
    target: &dyn Target,
    inputs: &[Vec<Tensor>],
    progress: &dyn Progress,
) -> Result<Comparison, Error> {
    same_interface(a, b)?;
    let left = run(a, target, inputs, progress)?;
    let right = run(b, target, inputs, progress)?;
    let compared = Comparison::of(target.name(), &a.output_names(), &left, &right);
    Ok(compared.of_classes(&class_outputs(a.graph())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_varies_at_one_place_counts_where_it_is_worse() {
        let run = |values: [f32; 2]| vec![Tensor::from_f32(vec![2], values.to_vec())];
        let (a, b) = (
            [run([100.0, 1.0]), run([100.0, 2.0])],
            [run([100.0, 2.0]), run([100.0, 1.0])],
        );
        let compared = Comparison::of("any", &["y".into()], &a, &b);
        assert!(compared.worst_channel_snr().unwrap() > 30.0);
        assert!(compared.varying_or_channel_snr().unwrap() < 0.0);
        let same = Comparison::of("any", &["y".into()], &a, &a);
        assert_eq!(same.varying_or_channel_snr(), Some(f64::INFINITY));
    }

    /// Boxes in pixels that hold, and scores of which two large ones hold as well: most that are
    /// above the threshold are lost, and nothing else says so.
    #[test]
    fn no_output_of_mixed_units_passes_while_a_part_of_it_is_lost() {
        let n = 200;
        let output = |small: f32| {
            let boxes = (0..n).map(|i| 100.0 + i as f32);
            let scores = (0..n).map(|i| match i {
                0 | 1 => 0.95,
                2..10 => small,
                _ => 0.01,
            });
            vec![Tensor::from_f32(
                vec![1, 2, n],
                boxes.chain(scores).collect(),
            )]
        };
        let names = ["y".to_owned()];
        let runs = |small: f32| vec![output(small), output(small)];
        let seen = Comparison::of("tract", &names, &runs(0.11), &runs(0.09));
        assert!(seen.worst_snr().unwrap() > 90.0, "{seen:?}");
        assert!(seen.worst_channel_snr().unwrap() > 25.0, "{seen:?}");
        assert_eq!(seen.outputs[0].scores.as_ref().unwrap().recall(), Some(0.2));
        let strictest = seen.strictest_snr().unwrap();
        assert!(strictest.value < 2.0, "{strictest:?}");
        let kept = Comparison::of("tract", &names, &runs(0.11), &runs(0.105));
        assert!(kept.strictest_snr().unwrap().value > 25.0, "{kept:?}");
    }
}
