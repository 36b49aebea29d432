//! A compressed model in eight bits.
//!
//! Separable forms and eight bits do not add up everywhere: short chains of few channels are slower in
//! eight bits than the convolution that they stand for. So the model is quantised as it was compressed
//! and as it was read, both are timed beside the original, and the faster one is the result.

use sepconv_latency::Bench;
use sepconv_model::{Advice, Error, Loaded};
use sepconv_passes::{Choice, Kept};
use sepconv_quantize::{QuantizeError, QuantizeSettings, Quantized, in_floats, quantize, refuse};
use sepconv_spec::LayerRecord;

use crate::compressed::Compressed;
use crate::eight_bits::EightBits;
use crate::job::Job;

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
/// are written in their place, stay in floats.
///
/// # Errors
/// [`Error::Setting`] without calibration data, and as [`quantize`].
pub(crate) fn quantized(
    job: &Job<'_>,
    model: &Loaded,
    floats: Vec<String>,
) -> Result<Quantized, Error> {
    let calibration = job.settings.calibration.as_ref();
    let Some(source) = calibration.and_then(|c| c.source.data()) else {
        let error = Error::Setting("ranges of activations need calibration data".into());
        return Err(error.advising(Advice::GiveCalibration));
    };
    let settings = QuantizeSettings {
        raise: job.settings.raise,
        floats,
        ..QuantizeSettings::new(source.clone(), job.settings.deployed_on().target)
    };
    quantize(model, &settings, job.progress).map_err(failed)
}

/// A rewritten model in eight bits. Layers that the original keeps in floats are left so.
///
/// # Errors
/// As [`quantized`].
pub(crate) fn quantized_as_alone(job: &Job<'_>, model: &Loaded) -> Result<Quantized, Error> {
    let alone = job.in_eight_bits()?;
    let floats = in_floats(&alone.layers).map(|(name, _)| name.to_owned());
    quantized(job, model, floats.collect())
}

/// The faster of the compressed model and the original, both in eight bits.
///
/// # Errors
/// As [`quantized`].
pub(crate) fn in_eight_bits(job: &Job<'_>, mut made: Compressed) -> Result<Compressed, Error> {
    let on = job.settings.deployed_on();
    let alone = job.in_eight_bits()?;
    let both = match (made.quantized.take(), made.is_rewritten()) {
        (Some(known), _) => Some(known),
        (None, true) => Some(quantized_as_alone(job, &made.model)?),
        (None, false) => None,
    };
    let mut models = vec![&*job.model, &alone.model];
    models.extend(both.iter().map(|both| &both.model));
    let timing = on.time(&models, Bench::default(), job.settings.seed, job.progress)?;
    let speed = |i: usize| timing.models.get(i).map_or(0.0, |m| m.speed_up.median);
    let (result, separable) = match both {
        Some(both) if speed(2) > speed(1) => (both, true),
        _ => (alone.clone(), false),
    };
    let params = match separable {
        true => made.model.cost.params,
        false => job.model.cost.params,
    };
    let layers = match separable {
        true => made.layers,
        false => unwritten(made.layers),
    };
    Ok(Compressed {
        model: result.model,
        layers,
        // It is of the separable forms.
        verdict: made.verdict.filter(|_| separable),
        eight_bits: Some(EightBits {
            layers: result.layers,
            timing,
            params,
            separable,
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
