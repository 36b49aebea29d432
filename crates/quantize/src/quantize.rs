//! The steps of a quantisation.

use std::collections::{BTreeMap, BTreeSet};

use sepconv_data::{Labels, Part};
use sepconv_eval::{ComparedOn, Comparison};
use sepconv_factor::{FactorError, WeightBits};
use sepconv_ir::{Graph, NodeId};
use sepconv_model::classes::class_outputs;
use sepconv_model::{Error, Loaded, Progress, Samples, Stage};
use serde::Serialize;

use crate::admit::{admitted, prepared};
use crate::balance::{Pair, balance, factors};
use crate::behind::Behind;
use crate::build::{Parts, verified};
use crate::error::QuantizeError;
use crate::grid::Grid;
use crate::judge::Judge;
use crate::layers::Layer;
use crate::missed::{Missed, noise_at};
use crate::moments::{Moments, moments};
use crate::noisiest::Limits;
use crate::overflow::overflow;
use crate::ranges::Ranges;
use crate::reserve::reserved;
use crate::rewrite::RoundedLayer;
use crate::rounding_error::RoundingError;
use crate::saturation::saturates;
use crate::scheme::Scheme;
use crate::settings::QuantizeSettings;
use crate::weights::{Reader, Rounded, Rounding};
use crate::windows::Run;

/// A model in eight bits.
#[derive(Debug, Clone)]
pub struct Quantized {
    /// The model, with the names, inputs, outputs and metadata of the original.
    pub model: Loaded,
    /// All layers in the order of the network.
    pub layers: Vec<QuantizedLayer>,
    /// Errors by rounding of the layers in eight bits, by name.
    pub errors: BTreeMap<String, RoundingError>,
    /// The model held against the original on held-out samples, which chose the layers that stay, and
    /// nothing else; on all samples where there are too few to hold any out.
    pub comparison: Comparison,
    /// The ratio of [`QuantizeSettings::least_snr`], where that is not reached; the model is the best that was tried.
    pub missed: Option<Missed>,
}

/// A layer of a quantised model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuantizedLayer {
    /// Its name.
    pub name: String,
    /// Its operator type.
    pub op_type: String,
    /// The reason for which it stays in floats; `None`: it is in eight bits.
    pub kept: Option<String>,
    /// Bits that its weights are rounded to: 8, or 7 where the runtime's sums of products of eight bits end at 16 bits and
    /// the outputs keep more so, or where they were asked for; `None` in floats.
    pub weight_bits: Option<u8>,
}

/// Turns a float model into a QDQ model: activations `uint8` with a grid per tensor, weights `int8` of
/// [`QuantizeSettings::weight_bits`] per output channel, biases `int32`.
///
/// # Errors
/// [`QuantizeError::Opset`] below opset 13, [`QuantizeError::Quantized`], [`QuantizeError::Nothing`]
/// where no layer qualifies; other variants where data, runtime or file fail.
pub fn quantize(
    original: &Loaded,
    settings: &QuantizeSettings,
    progress: &dyn Progress,
) -> Result<Quantized, QuantizeError> {
    let raised = admitted(original, settings.raise)?;
    let original = raised.as_ref().unwrap_or(original);
    let every = settings.held_out_every.max(2);
    let folded = prepared(original)?;
    let samples = |part| -> Result<Samples, Error> {
        // The part that is given is divided: a caller judges by the rest.
        let source = settings.source.divided(part);
        Samples::of(original, source.open(original, Labels::Ignore)?)
    };
    let train = samples(Part::Train { every })?;
    let run = |model| Run {
        model,
        target: settings.target,
        samples: &train,
        progress,
    };
    let folded = match settings.balance {
        true => balanced(run(&folded))?,
        false => folded.clone(),
    };
    let run = run(&folded);
    let graph = folded.graph();
    let found: Vec<Found> = Found::all(graph);
    let layers: Vec<Layer> = found.iter().filter_map(|f| f.layer.clone().ok()).collect();

    let whole = Scheme::of(graph, &folded.shapes, &layers, &BTreeSet::new());
    let behind = |value| Behind::of(graph, value);
    let ranges = Ranges::of(run, &whole.values(), &behind, settings.source.seed)?;
    let grid = |layer: &Layer| ranges.get(whole.grid_of(layer.input)?);
    let able = layers
        .iter()
        .filter_map(|layer| Some((layer, grid(layer)?)));
    let able: Vec<(&Layer, Grid)> = able.collect();
    if able.is_empty() {
        let reason = found
            .first()
            .map_or_else(|| "it has no layer".into(), Found::reason);
        return Err(QuantizeError::Nothing {
            file: original.file(),
            reason,
        });
    }
    let test = samples(Part::Test { every })?;
    // Of a few samples both parts are all.
    let compared = match train.len() + test.len() > samples(Part::Whole)?.len() {
        true => ComparedOn::Calibration,
        false => ComparedOn::Test,
    };
    let held_out = Run {
        samples: &test,
        ..run
    };
    let judge = Judge::new(held_out, &settings.source)?;
    let named = able
        .iter()
        .filter(|(layer, _)| settings.named(&layer.name).is_some());
    let named: BTreeSet<NodeId> = named.map(|(layer, _)| layer.node).collect();
    let parts = Parts {
        folded: &folded,
        layers: &layers,
        ranges: &ranges,
    };
    let rounded = least_noise(run, settings, &able, &|rounded| {
        let by_node = RoundedLayer::by_node(able.iter().copied(), rounded);
        let noise = judge.noise(&parts.model(&by_node, &named)?)?;
        Ok(noise.unwrap_or(f64::INFINITY))
    })?;
    let by_node = RoundedLayer::by_node(able.iter().copied(), &rounded);
    let nodes: Vec<NodeId> = able.iter().map(|(layer, _)| layer.node).collect();
    let left = match settings.least_snr {
        Some(least_snr) => {
            let allowed = Limits {
                noise: noise_at(least_snr),
                until: settings.until,
            };
            let build = |left: &BTreeSet<NodeId>| parts.model(&by_node, &(left | &named));
            &reserved(&judge, &nodes, allowed, &build)? | &named
        }
        None => named,
    };
    let model = parts.model(&by_node, &left)?;
    let (comparison, missed) = judge.closing(&model, settings.least_snr)?;
    let comparison = Comparison {
        inputs: compared,
        ..comparison.of_classes(&class_outputs(graph))
    };
    let layers = found.into_iter().map(|f| {
        let own = by_node.get(&f.node).filter(|_| !left.contains(&f.node));
        QuantizedLayer {
            kept: match &f.layer {
                Ok(_) if left.contains(&f.node) => {
                    let named = settings.named(&f.name);
                    Some(named.unwrap_or("it costs the outputs too much").to_owned())
                }
                Ok(_) if own.is_some() => None,
                _ => Some(f.reason()),
            },
            weight_bits: own.map(|own| own.rounded.bits.count()),
            name: f.name,
            op_type: f.op_type,
        }
    });
    let rounded = by_node
        .values()
        .filter(|own| !left.contains(&own.layer.node));
    let errors = rounded.map(|own| {
        let error = own.rounded.energies.relative();
        (own.layer.name.clone(), error)
    });
    Ok(Quantized {
        layers: layers.collect(),
        errors: errors.collect(),
        model,
        missed,
        comparison,
    })
}

/// The layers that stay in floats, with their reasons.
pub fn in_floats(layers: &[QuantizedLayer]) -> impl Iterator<Item = (&str, &str)> {
    layers
        .iter()
        .filter_map(|layer| Some((layer.name.as_str(), layer.kept.as_deref()?)))
}

/// The number of layers whose weights are rounded to seven bits.
pub fn in_seven_bits(layers: &[QuantizedLayer]) -> usize {
    let seven = Some(WeightBits::Seven.count());
    layers.iter().filter(|l| l.weight_bits == seven).count()
}

/// A layer of the model, or the reason for which it stays.
struct Found {
    node: NodeId,
    name: String,
    op_type: String,
    layer: Result<Layer, String>,
}

impl Found {
    fn all(graph: &Graph) -> Vec<Self> {
        let found = graph.operators().filter_map(|(node, op)| {
            Some(Self {
                node,
                name: graph.label(node).to_owned(),
                op_type: op.op_type.clone(),
                layer: Layer::of(graph, node)?,
            })
        });
        found.collect()
    }

    /// The reason for which it stays, where it is not left.
    fn reason(&self) -> String {
        match &self.layer {
            Err(reason) => reason.clone(),
            Ok(_) => "a value that it reads is not finite".into(),
        }
    }
}

/// The model with the channels between the stages of its chains brought nearer to one range.
fn balanced(run: Run<'_>) -> Result<Loaded, QuantizeError> {
    let model = run.model;
    let layers = Layer::all(model.graph());
    let pairs = Pair::all(model.graph(), &layers);
    if pairs.is_empty() {
        return Ok(model.clone());
    }
    let factors = factors(run, &pairs)?;
    let mut document = model.document.clone();
    balance(&mut document.model.graph, &pairs, &factors)
        .map_err(|source| QuantizeError::graph(model, source))?;
    verified(model, document)
}

/// The weights of layers, which read values of these grids, rounded to the integers by which the outputs lose least:
/// those of the settings; seven bits beside eight where the runtime's sums of eight saturate.
fn least_noise(
    run: Run<'_>,
    settings: &QuantizeSettings,
    able: &[(&Layer, Grid)],
    noise: &dyn Fn(&[Rounded]) -> Result<f64, QuantizeError>,
) -> Result<Vec<Rounded>, QuantizeError> {
    let seen = moments(run, able, settings.positions, settings.source.seed)?;
    let round = |bits| {
        let rounding = Rounding {
            bits,
            compensate: settings.compensate,
            correct_bias: settings.correct_bias,
        };
        rounded(run, rounding, able, &seen)
    };
    let ends = |bits| saturates(settings.target, bits);
    match settings.weight_bits {
        Some(bits) => return round(bits),
        None if !ends(WeightBits::Eight) || ends(WeightBits::Seven) => {
            return round(WeightBits::Eight);
        }
        None => {}
    }
    let eight = round(WeightBits::Eight)?;
    let seven = round(WeightBits::Seven)?;
    let mixed = mixed(able, &seen, &eight, &seven);
    let mut best = (noise(&eight)?, eight);
    for other in [seven, mixed] {
        let noise = noise(&other)?;
        if noise < best.0 {
            best = (noise, other);
        }
    }
    Ok(best.1)
}

/// Of each layer the weights of eight bits or those of seven, by the errors of their own: those of eight bits also lose
/// what their sums have beyond 16. Layers that share weights have the same.
fn mixed(
    able: &[(&Layer, Grid)],
    seen: &[Result<Moments, FactorError>],
    eight: &[Rounded],
    seven: &[Rounded],
) -> Vec<Rounded> {
    let error = |at: usize, rounded: &Rounded| {
        let (layer, input) = able[at];
        let lost = seen[at].as_ref();
        let lost = lost.map(|own| overflow(layer, input, rounded, own));
        lost.unwrap_or(0.0) + rounded.energies.by_weights()
    };
    let gains: Vec<f64> = (0..able.len())
        .map(|at| error(at, &eight[at]) - error(at, &seven[at]))
        .collect();
    let layers = able.iter().enumerate();
    let chosen = layers.map(|(at, (layer, _))| {
        let sharing = able.iter().zip(&gains);
        let sharing = sharing.filter(|((other, _), _)| other.shares_weights(layer));
        let gain: f64 = sharing.map(|(_, gain)| gain).sum();
        if gain > 0.0 { &seven[at] } else { &eight[at] }
    });
    chosen.cloned().collect()
}

/// The weights of layers, rounded in the metric of what these read.
fn rounded(
    run: Run<'_>,
    rounding: Rounding,
    able: &[(&Layer, Grid)],
    seen: &[Result<Moments, FactorError>],
) -> Result<Vec<Rounded>, QuantizeError> {
    let stage = Stage::begin(run.progress, "rounding weights", able.len());
    let mut all: Vec<Option<Rounded>> = able.iter().map(|_| None).collect();
    for (at, (layer, _)) in able.iter().enumerate() {
        stage.step(at)?;
        if all[at].is_some() {
            continue;
        }
        let failed = |source| QuantizeError::Layer {
            file: run.model.file(),
            layer: layer.name.clone(),
            source,
        };
        let sharing: Vec<usize> = (at..able.len())
            .filter(|other| able[*other].0.shares_weights(layer))
            .collect();
        let readers = sharing.iter().map(|other| {
            let (layer, input) = able[*other];
            let moments = seen[*other].as_ref().map_err(Clone::clone)?;
            Ok(Reader {
                layer,
                input,
                moments,
            })
        });
        let readers: Vec<Reader<'_>> = readers.collect::<Result<_, _>>().map_err(failed)?;
        let rounded = rounding.round(&readers).map_err(failed)?;
        for (other, rounded) in sharing.into_iter().zip(rounded) {
            all[other] = Some(rounded);
        }
    }
    Ok(all.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::moments::GroupMoments;
    use crate::weights::Reader;

    /// Two products.
    const PRODUCTS: &str = "\
input x: f32[1,8]
const v: f32[8,4] noise(1)
const w: f32[4,4] noise(2)
y = MatMul(x, v) # a
z = MatMul(y, w) # b
output z
";

    #[test]
    fn layers_whose_sums_end_at_16_bits_have_seven() {
        let graph: Graph = PRODUCTS.parse().unwrap();
        let layers = Layer::all(&graph);
        let grid = Grid::over(0.0, 255.0);
        let able: Vec<(&Layer, Grid)> = layers.iter().map(|layer| (layer, grid)).collect();
        // All inputs are the largest integer.
        let seen = layers.iter().map(|layer| {
            let d = layer.width();
            let mut covariance = vec![0.0; d * d];
            (0..d).for_each(|i| covariance[i * d + i] = 1.0);
            let group = GroupMoments {
                mean: vec![255.0; d],
                snapped: vec![255.0; d],
                blocks: vec![covariance],
                kept: vec![255; d],
                ..GroupMoments::default()
            };
            Ok(Moments {
                groups: vec![group],
                count: 64,
            })
        });
        let seen: Vec<Result<Moments, FactorError>> = seen.collect();
        let made = |bits| -> Vec<Rounded> {
            let rounding = Rounding {
                bits,
                compensate: true,
                correct_bias: false,
            };
            let pairs = able.iter().zip(&seen);
            let rounded = pairs.map(|((layer, input), moments)| {
                let reader = Reader {
                    layer,
                    input: *input,
                    moments: moments.as_ref().unwrap(),
                };
                rounding.round(&[reader]).unwrap().remove(0)
            });
            rounded.collect()
        };
        let (eight, seven) = (made(WeightBits::Eight), made(WeightBits::Seven));
        let bits = |seen: &[Result<Moments, FactorError>]| -> Vec<u8> {
            let chosen = mixed(&able, seen, &eight, &seven);
            chosen.iter().map(|own| own.bits.count()).collect()
        };
        assert_eq!(bits(&seen)[0], 7);
        // Small inputs have small sums.
        let mut small = seen.clone();
        for own in small.iter_mut().flatten() {
            own.groups[0].kept.fill(9);
        }
        assert_eq!(bits(&small), [8, 8]);
    }

    #[test]
    fn inputs_that_never_change_do_not_keep_a_layer_from_being_rounded() {
        let graph: Graph = PRODUCTS.parse().unwrap();
        let layer = Layer::all(&graph).remove(0);
        // Differences of large sums: no covariance.
        let covariance = (0..64).map(|i| if i % 9 == 0 { -1e-9 } else { 1e-9 });
        let group = GroupMoments {
            mean: vec![1e4; 8],
            snapped: vec![1e4; 8],
            blocks: vec![covariance.collect()],
            kept: vec![128; 8],
            ..GroupMoments::default()
        };
        let moments = Moments {
            groups: vec![group],
            count: 64,
        };
        let rounding = Rounding {
            bits: WeightBits::Eight,
            compensate: true,
            correct_bias: true,
        };
        let reader = Reader {
            layer: &layer,
            input: Grid::over(0.0, 1e4),
            moments: &moments,
        };
        let rounded = rounding.round(&[reader]).unwrap();
        assert_eq!(rounded[0].integers.len(), 32);
    }
}
