//! Sensitivity of the outputs to each channel of a layer: fits weigh channels by it.
//!
//! A fit's error is a sum over output channels. By how much one of them moves the network's outputs
//! says the diagonal of the Fisher information, averaged over positions; a fit of outputs that are
//! multiplied by its root would count every channel as the outputs do. Activations of slopes
//! alone (`Relu`, `LeakyRelu`) go along with any positive factor, those with a ceiling do not.
//!
//! Outputs of classes are left alone: the information is that of small steps and of the few samples
//! that the network is not sure of, and its gain there is mixed (docs/decisions/0002).

use std::sync::Arc;

use rayon::prelude::*;
use sepconv_analysis::Shape;
use sepconv_factor::is_held_out;
use sepconv_ir::{Tensor, ValueId};
use sepconv_model::parts::PartScales;
use sepconv_model::{Deadline, Error, Loaded, Samples, Stage, still_wanted};
use sepconv_passes::Site;
use sepconv_spec::{CalibrationSettings, Source};
use sepconv_tune::{Compute, Draw, Nature, Network, OutputKind, TypedGraph, Values};

use crate::cache::StatisticsCache;
use crate::endpoints::Endpoints;
use crate::gradients::{Feed, feeds, nature_of};
use crate::hurry::{is_slow, no_time_to_weigh};
use crate::memory_limit::MemoryLimit;
use crate::source::open;
use crate::surveyed_model::{Fitting, Sensitivities, SurveyedModel};

/// MACs of forward passes, in all, and samples at least and at most.
const WORK: f64 = 3e10;
const SAMPLES: (usize, usize) = (4, 256);

/// Least factor: a channel that the samples at hand do not depend on may matter on others.
const LEAST: f64 = 0.1;

/// The factors for all layers of the survey. None where layers are not fitted to data, outputs are
/// classes or there is no memory for gradients, and for layers behind which an operator has no gradient.
pub(crate) fn sensitivities<'a>(
    prepared: &'a SurveyedModel,
    fitting: Fitting<'_>,
    opened: Option<&StatisticsCache>,
) -> Result<&'a Sensitivities, Error> {
    let (calibration, target) = (fitting.calibration, fitting.runner);
    if let Some(known) = prepared.sensitivities.get() {
        return Ok(known);
    }
    let sites: Vec<&Site> = prepared.survey.sites().map(|(site, _)| site).collect();
    let found = match &calibration.source {
        Source::Data(_) if calibration.weighted => {
            // Its name is a hash of the model and the data.
            let own = match opened {
                Some(_) => None,
                None => StatisticsCache::open(&prepared.folded, &sites, calibration, target),
            };
            let cache = opened.or(own.as_ref());
            let channels = || sites.iter().map(|site| site.kernel.out_channels);
            let stored = cache.and_then(|c| c.read_factors(channels()));
            let factors = match stored {
                Some(factors) => factors,
                None => {
                    let model = &prepared.folded;
                    let beside = beside(model, fitting.memory);
                    let found = match beside {
                        Some(beside) => measured(model, &sites, fitting, beside)?,
                        None => vec![None; sites.len()],
                    };
                    // Those of a limited time may be of fewer batches.
                    if let (Some(cache), Some(_), None) = (cache, beside, fitting.deadline) {
                        cache.write_factors(&found, channels());
                    }
                    found
                }
            };
            let known = sites.iter().zip(factors);
            let known = known.filter_map(|(site, f)| Some((site.node, Arc::from(f?))));
            known.collect()
        }
        _ => Sensitivities::new(),
    };
    Ok(prepared.sensitivities.get_or_init(|| found))
}

/// The factors, measured on `beside` batches at a time.
fn measured(
    model: &Loaded,
    sites: &[&Site],
    fitting: Fitting<'_>,
    beside: usize,
) -> Result<Vec<Option<Vec<f64>>>, Error> {
    let Fitting {
        calibration,
        runner: target,
        progress,
        ..
    } = fitting;
    let none = || vec![None; sites.len()];
    let watched: Vec<Option<ValueId>> = sites.iter().map(|site| watched(model, site)).collect();
    let graph = model.graph();
    let float = |v: &ValueId| {
        let dtype = model.shapes.get(*v).and_then(|s| s.dtype);
        dtype.is_none_or(|t| t.is_float())
    };
    let outputs: Vec<ValueId> = graph.outputs().filter(float).collect();
    let compiled = TypedGraph {
        graph,
        shapes: &model.shapes,
        opset: model.document.model.opset(),
    };
    // A layer without a gradient here is fitted without factors.
    let Ok(network) = Network::fixed(Compute::Cpu, compiled, &outputs) else {
        return Ok(none());
    };
    let samples = Samples::of(model, open(&calibration.source, model, target)?)?;
    let batches = chosen(model, &samples, calibration);
    let (feeds, computed) = feeds(model, network.given());
    let prefix = model.document.probe(&computed);
    let prefix = match computed.as_slice() {
        [] => None,
        _ => match target.load(&prefix, samples.specs()) {
            Ok(session) => Some(session),
            Err(_) => return Ok(none()),
        },
    };
    let given = |batch: usize| -> Result<Option<Vec<Values>>, Error> {
        let inputs = samples.inputs(batch)?;
        let computed = match &prefix {
            None => Some(Vec::new()),
            Some(session) => session.run(&inputs).ok(),
        };
        let Some(computed) = computed else {
            return Ok(None);
        };
        let of = |feed: &Feed| match feed {
            Feed::Input(i) => inputs.get(*i),
            Feed::Computed(i) => computed.get(*i),
        };
        Ok(feeds.iter().map(|f| values(of(f)?)).collect())
    };
    let run = |batch: &usize| -> Result<Option<Vec<Values>>, Error> {
        Ok(given(*batch)?.and_then(|given| network.values(&given).ok()))
    };
    let begun = fitting.deadline.map_or(0.0, Deadline::spent);
    let Some(first) = batches.first().map(run).transpose()?.flatten() else {
        return Ok(none());
    };
    let mut seen = outputs.iter().zip(&first);
    let rows = samples.rows();
    if seen.any(|(value, seen)| nature_of(graph, *value, seen, rows) != Nature::Numbers) {
        return Ok(none());
    }
    let tensors = |run: Vec<Values>| -> Vec<Tensor> {
        let tensors = run.into_iter();
        tensors
            .map(|own| Tensor::from_f32(own.dims, own.elements))
            .collect()
    };
    if no_time_to_weigh(fitting.deadline) {
        return Ok(none());
    }
    let mut runs = vec![tensors(first)];
    let scaled = match is_slow(fitting.deadline, begun) {
        true => 1,
        false => SCALED,
    };
    for batch in batches.iter().take(scaled).skip(1) {
        runs.extend(run(batch)?.map(tensors));
    }
    let scales = PartScales::of_outputs(&runs).into_iter();
    let kinds: Vec<OutputKind> = scales
        .zip(&runs[0])
        .map(|(scale, output)| OutputKind::Numbers(scale.map(|s| s.factors(output.dims()))))
        .collect();
    let asked: Vec<ValueId> = watched.iter().flatten().copied().collect();
    let stage = Stage::begin(progress, "weighing channels", batches.len());
    let mut sums: Vec<Option<Vec<f64>>> = vec![None; asked.len()];
    let mut done = 0;
    for window in batches.chunks(beside) {
        still_wanted(progress)?;
        if done > 0 && no_time_to_weigh(fitting.deadline) {
            break;
        }
        let each = window.par_iter().map(|batch| {
            let draw = Draw::new(calibration.source.seed(), *batch as u64);
            let Some(given) = given(*batch)? else {
                return Ok(None);
            };
            Ok(network.sensitivities(&given, &kinds, &asked, draw).ok())
        });
        for found in each.collect::<Result<Vec<_>, Error>>()? {
            let Some(found) = found else {
                return Ok(none());
            };
            for (sum, own) in sums.iter_mut().zip(found) {
                let Some(own) = own else { continue };
                match sum {
                    Some(sum) => sum.iter_mut().zip(own).for_each(|(s, o)| *s += o),
                    None => *sum = Some(own),
                }
            }
        }
        done += window.len();
        stage.step(done)?;
    }
    let mut sums = sums.into_iter();
    let of = watched.iter().zip(sites).map(|(value, site)| {
        let squares = value.and_then(|_| sums.next().flatten())?;
        factors(&squares).filter(|f| f.len() == site.kernel.out_channels)
    });
    Ok(of.collect())
}

/// Batches that the scales of the outputs' parts are of; one where a run takes long for the time that there is.
const SCALED: usize = 4;

/// Batches that run beside one another, at most.
const WINDOW: usize = 8;

/// Bytes for every number that the network computes: its value, those that operators keep of it, and its gradient.
const PER_NUMBER: u64 = 20;

/// Number of batches that run beside one another within the memory of fits, or one within twice that; `None` where there
/// is no room for one.
fn beside(model: &Loaded, memory: MemoryLimit) -> Option<usize> {
    let graph = model.graph();
    let computed = graph
        .values()
        .filter(|(value, _)| graph.producer(*value).is_some());
    let extents = computed.filter_map(|(value, _)| model.shapes.extents(value));
    let numbers: u64 = extents.map(|dims| dims.iter().product::<u64>()).sum();
    let each = numbers.saturating_mul(PER_NUMBER).max(1);
    let most = (memory.fits() / each) as usize;
    (each / 2 <= memory.fits()).then(|| most.clamp(1, WINDOW))
}

/// The value whose channels a layer is fitted by, where they can be scaled.
fn watched(model: &Loaded, site: &Site) -> Option<ValueId> {
    let ends = Endpoints::of(model, site)?;
    let slopes = ends.activation.is_none_or(|a| a.ceiling.is_infinite());
    (site.product.is_none() && slopes).then_some(ends.target)
}

/// The batches that are looked at: none of those held out of the fits.
fn chosen(model: &Loaded, samples: &Samples, calibration: &CalibrationSettings) -> Vec<usize> {
    let (seed, every) = (calibration.source.seed(), calibration.held_out_every);
    let fitted = |b: &usize| !is_held_out(seed, samples.first(*b) as u64, every);
    let mut all: Vec<usize> = (0..samples.batches()).filter(fitted).collect();
    // MACs are counted for the shapes assumed.
    let larger = samples.specs().iter().zip(model.shapes.inputs());
    let larger = larger.map(|(spec, input)| {
        let assumed = input.shape.as_ref().and_then(Shape::extents);
        let assumed: u64 = assumed.into_iter().flatten().product();
        spec.dims.iter().product::<usize>() as f64 / assumed.max(1) as f64
    });
    let macs = model.cost.macs.max(1) as f64 * larger.fold(1.0, f64::max);
    let most = ((WORK / macs) as usize).clamp(SAMPLES.0, SAMPLES.1);
    let rows = samples.rows().max(1);
    all.truncate(most.div_ceil(rows));
    all
}

/// Fourth roots, relative to their mean, not too small: half-way, in logarithms, between channels
/// that count as the outputs do and channels that count alike. The information is that of few samples and
/// of small steps; the square root itself gains less (docs/decisions/0002).
fn factors(squares: &[f64]) -> Option<Vec<f64>> {
    let mean = squares.iter().sum::<f64>() / squares.len().max(1) as f64;
    if !(mean > 0.0 && mean.is_finite()) {
        return None;
    }
    let factor = |s: &f64| (s / mean).sqrt().sqrt().max(LEAST);
    Some(squares.iter().map(factor).collect())
}

fn values(tensor: &Tensor) -> Option<Values> {
    Some(Values {
        dims: tensor.dims().to_vec(),
        elements: tensor.to_f32()?.into_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn factors_are_relative_and_bounded() {
        let found = factors(&[32.0, 0.0, 2.0, 0.0]).unwrap();
        let expected = [
            (32f64 / 8.5).powf(0.25),
            LEAST,
            (2f64 / 8.5).powf(0.25),
            LEAST,
        ];
        let pairs = found.iter().zip(expected);
        assert!(
            pairs.into_iter().all(|(f, e)| (f - e).abs() < 1e-12),
            "{found:?}"
        );
        assert_eq!(factors(&[0.0, 0.0]), None);
        assert_eq!(factors(&[f64::NAN]), None);
    }

    #[test]
    fn so_many_batches_are_weighed_together_as_there_is_room_for() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = root.join("../../models/digits.onnx");
        let model = Loaded::open(&path, &sepconv_analysis::Pins::default()).unwrap();
        let of = |bytes| beside(&model, MemoryLimit::new(bytes));
        assert_eq!((of(u64::MAX), of(1)), (Some(WINDOW), None));
        // One batch within all of the memory, more within the half that fits have.
        let mut least = 1;
        while of(least).is_none() {
            least *= 2;
        }
        assert_eq!(of(least), Some(1));
        assert!(of(8 * least).is_some_and(|n| (4..=WINDOW).contains(&n)));
    }
}
