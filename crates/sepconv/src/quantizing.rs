//! Models in eight bits, of a job's data and settings.

use std::collections::BTreeMap;
use std::time::Instant;

use sepconv_model::{Advice, Deadline, Error, Loaded};
use sepconv_passes::Selection;
use sepconv_quantize::{QuantizeError, QuantizeSettings, Quantized, in_floats, quantize, refuse};

use crate::compressed::Compressed;
use crate::job::Job;

/// The reason for which a layer of a plan stays in floats.
const PLANNED: &str = "the plan has it in floats";

/// The reason for which a layer that the selection leaves out stays in floats.
const SKIPPED: &str = "it is left out of the selection";

/// Share of a signal's energy that eight bits lose: of a normal distribution in 256 equal steps of the best width,
/// `4 ln N / (3 N^2)` (Hui and Neuhoff, IEEE Trans. Inf. Theory 47(3), 2001).
const BETWEEN: f64 = 1.13e-4;

/// Refuses a model that is to be in eight bits and can't be.
///
/// # Errors
/// [`Error::Setting`].
pub(crate) fn check(job: &Job<'_>) -> Result<(), Error> {
    match job.settings.is_in_eight_bits() {
        true => refuse(&job.model, job.settings.raise).map_err(failed),
        false => Ok(()),
    }
}

/// An error of a quantisation as one of this crate.
pub(crate) fn failed(error: QuantizeError) -> Error {
    match error {
        QuantizeError::Model(error) => error,
        QuantizeError::Opset { .. } => {
            Error::Setting(error.to_string()).advising(Advice::RaiseOpset)
        }
        other => Error::Setting(other.to_string()),
    }
}

/// Share of the time that is left behind which the choice of layers in floats ends.
const CHOSEN: f64 = 0.35;

/// The moment until which one quantisation chooses layers that stay in floats.
fn until(deadline: Deadline) -> Option<Instant> {
    let spent = deadline.spent().min(1.0);
    deadline.at(spent + CHOSEN * (1.0 - spent))
}

/// A model in eight bits, quantised on the job's calibration data; layers of these names, and those that
/// are written in their place, stay in floats for these reasons.
///
/// # Errors
/// [`Error::Setting`] without calibration data, and as [`quantize`].
pub(crate) fn quantized(
    job: &Job<'_>,
    model: &Loaded,
    mut floats: BTreeMap<String, String>,
) -> Result<Quantized, Error> {
    let (_, skipped) = job.settings.selection.globs();
    if !skipped.is_empty() {
        let others = Selection::new(&[], &skipped);
        let others = others.map_err(|e| Error::Setting(e.to_string()))?;
        let graph = model.graph();
        let names = graph.operators().map(|(id, _)| graph.label(id));
        let left = names.filter(|name| !others.includes(name));
        floats.extend(left.map(|name| (name.to_owned(), SKIPPED.to_owned())));
    }
    let calibration = job.settings.calibration.as_ref();
    let Some(source) = calibration.and_then(|c| c.source.data()) else {
        let error = Error::Setting("ranges of activations need calibration data".into());
        return Err(error.advising(Advice::GiveCalibration));
    };
    let settings = QuantizeSettings {
        raise: job.settings.raise,
        weight_bits: job.settings.weight_bits,
        floats,
        until: job.settings.deadline.and_then(until),
        ..QuantizeSettings::new(source.clone(), job.settings.deployed_on().target)
    };
    quantize(&*job.written(model)?, &settings, job.progress).map_err(failed)
}

/// A rewritten model in eight bits. Layers that the original keeps in floats are left so, and those of the plan.
///
/// # Errors
/// As [`quantized`].
pub(crate) fn quantized_as_planned(job: &Job<'_>, made: &Compressed) -> Result<Quantized, Error> {
    let alone = job.in_eight_bits()?;
    let planned = made.in_floats.iter().map(|name| (name.as_str(), PLANNED));
    let all = planned.chain(in_floats(&alone.layers));
    let owned = all.map(|(name, reason)| (name.to_owned(), reason.to_owned()));
    quantized(job, &made.model, owned.collect())
}

/// The relative squared error of rounding layers, by name and number of the layers that they are written as: what
/// the model in eight bits alone has of the inputs, so much of the weights for each, and what is rounded between them.
///
/// # Errors
/// As [`Job::in_eight_bits`].
pub(crate) fn rounding<'j>(
    job: &'j Job<'_>,
) -> Result<impl Fn(&str, usize) -> f64 + use<'j>, Error> {
    let alone = match job.settings.is_in_eight_bits() {
        true => Some(job.in_eight_bits()?),
        false => None,
    };
    Ok(move |layer: &str, written: usize| {
        let error = alone.and_then(|alone| alone.errors.get(layer));
        error.map_or(0.0, |error| {
            let written = written.max(1) as f64;
            error.inputs + written * error.weights + (written - 1.0) * BETWEEN
        })
    })
}
