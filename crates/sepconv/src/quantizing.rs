//! A compressed model in eight bits.
//!
//! Separable forms and eight bits do not add up everywhere: short chains of few channels are slower in
//! eight bits than the convolution that they stand for. So the model is quantised as it was compressed
//! and as it was read, both are timed beside the original, and the faster one is the result.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sepconv_latency::Bench;
use sepconv_model::{Advice, Error, Loaded};
use sepconv_passes::{Choice, Kept, Selection};
use sepconv_quantize::{QuantizeError, QuantizeSettings, Quantized, in_floats, quantize, refuse};
use sepconv_spec::LayerRecord;

use crate::compressed::Compressed;
use crate::eight_bits::EightBits;
use crate::job::Job;
use crate::search::judge;

/// The reason for which a layer of a plan stays in floats.
const PLANNED: &str = "the plan has it in floats";

/// The reason for which a layer that the selection leaves out stays in floats.
const SKIPPED: &str = "it is left out of the selection";

/// Times that separable forms are to be faster than eight bits alone, which are more accurate: less is noise, or not
/// worth it.
const PAYS: f64 = 1.03;

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

/// The faster of the compressed model and the original, both in eight bits; the compressed one where a plan says so.
///
/// # Errors
/// As [`quantized`].
pub(crate) fn in_eight_bits(job: &Job<'_>, mut made: Compressed) -> Result<Compressed, Error> {
    let on = job.settings.deployed_on();
    let alone = job.in_eight_bits()?;
    let planned = made.is_rewritten() || !made.in_floats.is_empty();
    let both = match (made.quantized.take(), planned) {
        (Some(known), _) => Some(known),
        (None, true) => Some(quantized_as_planned(job, &made)?),
        (None, false) => None,
    };
    let mut models = vec![&*job.model, &alone.model];
    models.extend(both.iter().map(|both| &both.model));
    let simpler = job.written(&job.model)?;
    if let Cow::Owned(simpler) = &simpler {
        models.push(simpler);
    }
    let mut timing = on.time(&models, Bench::default(), job.settings.seed, job.progress)?;
    let simpler = match simpler {
        Cow::Owned(_) => timing.models.pop().map(|m| m.speed_up.median),
        Cow::Borrowed(_) => None,
    };
    let speed = |i: usize| timing.models.get(i).map_or(0.0, |m| m.speed_up.median);
    let (result, separable) = match both {
        Some(both) if job.settings.plan.is_some() || speed(2) > PAYS * speed(1) => (both, true),
        _ => (alone.clone(), false),
    };
    // Eight bits alone may be further from the original than the budget says.
    let verdict = match separable {
        true => made.verdict.clone(),
        false if job.settings.plan.is_some() => None,
        false => judge(job, &result.model)?.map(|(verdict, _)| verdict),
    };
    let params = match separable {
        true => made.model.cost.params,
        false => job.model.cost.params,
    };
    let unrewritten = match (separable, made.is_rewritten()) {
        (false, true) => Some("eight bits alone are as fast".to_owned()),
        _ => made.unrewritten.clone(),
    };
    let layers = match separable {
        true => made.layers,
        false => unwritten(made.layers),
    };
    Ok(Compressed {
        model: result.model,
        layers,
        unrewritten,
        in_floats: match separable {
            true => made.in_floats,
            false => Vec::new(),
        },
        verdict,
        // They are of the separable forms.
        solution: made.solution.filter(|_| separable),
        tuning: made.tuning.filter(|_| separable),
        eight_bits: Some(EightBits {
            layers: result.layers,
            timing,
            params,
            separable,
            simpler,
            missed: result.missed,
        }),
        ..made
    })
}

/// Records of layers of which none is rewritten.
fn unwritten(mut layers: Vec<LayerRecord>) -> Vec<LayerRecord> {
    for layer in layers.iter_mut().filter(|layer| layer.is_rewritten()) {
        layer.choice = Choice::Keep(Kept::Planned);
        layer.lowering = None;
        layer.fit = None;
        layer.time = None;
    }
    layers
}
