//! The choice between eight bits alone and separable forms in eight bits.
//!
//! The two do not add up everywhere: short chains of few channels are slower in
//! eight bits than the convolution that they stand for. So the model is quantised as it was compressed
//! and as it was read, both are timed beside the original, and the faster one is the result.

use std::borrow::Cow;

use sepconv_calibrate::Hurried;
use sepconv_latency::Bench;
use sepconv_model::Error;
use sepconv_passes::{Choice, Kept};
use sepconv_spec::LayerRecord;

use crate::compressed::Compressed;
use crate::eight_bits::EightBits;
use crate::job::Job;
use crate::quantizing::quantized_as_planned;
use crate::search::judge_alone;

/// Times that separable forms are to be faster than eight bits alone, which are more accurate: less is noise, or not
/// worth it.
const PAYS: f64 = 1.03;

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
        // No choice depends on it: outputs that can't be judged on these data are written all the same.
        false => match judge_alone(job).map_err(Error::unadvised) {
            Err(Error::Interface { .. }) => None,
            judged => judged?.cloned(),
        },
    };
    let params = match separable {
        true => made.model.cost.params,
        false => job.model.cost.params,
    };
    let unrewritten = match (separable, made.is_rewritten()) {
        (false, true) => {
            Some("separable forms are not 3 % faster than eight bits alone".to_owned())
        }
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
        hurried: match separable {
            true => made.hurried,
            false => Hurried {
                epochs: 0,
                ..made.hurried
            },
        },
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
