//! Two models on the same inputs.

use sepconv_ir::Tensor;
use sepconv_targets::Target;
use serde::Serialize;

use crate::error::Error;
use crate::loaded::Loaded;
use crate::metrics::{OutputComparison, compare_output};
use crate::progress::Progress;
use crate::runner::run;

/// Comparison of two models over all their outputs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Runs, each of one batch.
    pub runs: usize,
    /// Name of the runtime.
    pub target: &'static str,
    /// One entry per output, in graph order. Empty where the models were not run.
    pub outputs: Vec<OutputComparison>,
    /// Why the models were not run.
    pub not_run: Option<String>,
}

impl Comparison {
    pub(crate) fn of(
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
            runs: a.len(),
            target,
            outputs: outputs.collect(),
            not_run: None,
        }
    }

    pub(crate) fn not_run(target: &'static str, reason: String) -> Self {
        Self {
            runs: 0,
            target,
            outputs: Vec::new(),
            not_run: Some(reason),
        }
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

    /// As [`Comparison::worst_snr`], of what varies between samples.
    pub fn worst_varying_snr(&self) -> Option<f64> {
        self.worst(|o| o.varying_snr_db)
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
    Ok(Comparison::of(
        target.name(),
        &a.output_names(),
        &left,
        &right,
    ))
}

/// Refuses `b` where its inputs or outputs differ from those of `a` in name or number.
pub(crate) fn same_interface(a: &Loaded, b: &Loaded) -> Result<(), Error> {
    same(b, "inputs", &input_names(a), &input_names(b))?;
    same(b, "outputs", &a.output_names(), &b.output_names())
}

fn input_names(model: &Loaded) -> Vec<String> {
    let graph = model.graph();
    graph.inputs().map(|v| graph.name(v).to_owned()).collect()
}

fn same(b: &Loaded, what: &str, left: &[String], right: &[String]) -> Result<(), Error> {
    if left == right {
        return Ok(());
    }
    Err(Error::Interface {
        file: b.file(),
        reason: format!(
            "its {what} are [{}], those of the first model [{}]",
            right.join(", "),
            left.join(", ")
        ),
    })
}
