//! The steps of a quantisation.

use std::collections::{BTreeMap, BTreeSet};

use sepconv_data::{Labels, Part};
use sepconv_eval::{ComparedOn, Comparison};
use sepconv_factor::FactorError;
use sepconv_ir::{IrError, NodeId, Tensor};
use sepconv_model::{DataSource, Error, Loaded, Progress, Samples, Stage};
use sepconv_onnx::Document;
use sepconv_passes::{Selection, fold};

use crate::behind::Behind;
use crate::error::QuantizeError;
use crate::gemm;
use crate::grid::Grid;
use crate::layers::Layer;
use crate::moments::moments;
use crate::ranges::Ranges;
use crate::reserve::{Judge, reserved};
use crate::rewrite::{Rewrite, RoundedLayer};
use crate::scheme::Scheme;
use crate::settings::QuantizeSettings;
use crate::weights::Rounding;
use crate::windows::Run;

/// The first opset in which scales can be those of channels.
const LEAST_OPSET: i64 = 13;
/// MACs that are spent on one judgement of a set of layers.
const JUDGED_MACS: u64 = 60_000_000_000;
/// Samples that a set of layers is judged by, least and most.
const JUDGED: (u64, u64) = (4, 64);

/// A model in eight bits.
#[derive(Debug, Clone)]
pub struct Quantized {
    /// The model, with the names, inputs, outputs and metadata of the original.
    pub model: Loaded,
    /// All layers in the order of the network.
    pub layers: Vec<QuantizedLayer>,
    /// The model held against the original on held-out samples, which chose the layers that stay, and
    /// nothing else.
    pub comparison: Comparison,
}

/// A layer of a quantised model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuantizedLayer {
    /// Its name.
    pub name: String,
    /// Its operator type.
    pub op_type: String,
    /// The reason for which it stays in floats; `None`: it is in eight bits.
    pub kept: Option<String>,
}

/// Turns a float model into a QDQ model: activations `uint8` with a grid per tensor, weights `int8`
/// per output channel, biases `int32`.
///
/// # Errors
/// [`QuantizeError::Opset`] below opset 13, [`QuantizeError::Quantized`], [`QuantizeError::Nothing`]
/// where no layer qualifies; other variants where data, runtime or file fail.
pub fn quantize(
    original: &Loaded,
    settings: &QuantizeSettings,
    progress: &dyn Progress,
) -> Result<Quantized, QuantizeError> {
    refuse(original)?;
    let file = || original.file();
    let folded = prepared(original)?;
    let every = settings.held_out_every.max(2);
    let part = |part| -> Result<Samples, Error> {
        let source = DataSource {
            part,
            ..settings.source.clone()
        };
        Samples::of(&folded, source.open(&folded, Labels::Ignore)?)
    };
    let (train, test) = (part(Part::Train { every })?, part(Part::Test { every })?);

    let graph = folded.graph();
    let found = graph.operators().filter_map(|(node, op)| {
        let told = Layer::of(graph, node)?;
        Some((graph.label(node).to_owned(), op.op_type.clone(), node, told))
    });
    let found: Vec<_> = found.collect();
    let layers: Vec<Layer> = found.iter().filter_map(|f| f.3.clone().ok()).collect();
    let scheme = |left: &BTreeSet<NodeId>| Scheme::of(graph, &folded.shapes, &layers, left);
    let run = Run {
        model: &folded,
        target: settings.target,
        samples: &train,
        progress,
    };
    let whole = scheme(&BTreeSet::new());
    let seed = settings.source.seed;
    let behind = |value| Behind::of(graph, value);
    let ranges = Ranges::of(run, &whole.values(), &behind, seed)?;

    // A layer whose input or output has no grid stays.
    let read = |layer: &Layer| ranges.get(whole.grid_of(layer.input)?);
    let pairs: Vec<(&Layer, Grid)> = layers.iter().filter_map(|l| Some((l, read(l)?))).collect();
    let (able, grids): (Vec<&Layer>, Vec<Grid>) = pairs.into_iter().unzip();
    if able.is_empty() {
        let reason = found.first().map(|f| match &f.3 {
            Err(reason) => format!("layer '{}': {reason}", f.0),
            Ok(_) => "an activation of every layer is not finite".into(),
        });
        let reason = reason.unwrap_or_else(|| "it has no layer".into());
        return Err(QuantizeError::Nothing {
            file: file(),
            reason,
        });
    }
    let seen = moments(run, &able, &grids, settings.positions, seed)?;
    let stage = Stage::begin(progress, "rounding weights", able.len());
    let mut rounded = Vec::new();
    for ((layer, moments), grid) in able.iter().zip(seen).zip(&grids) {
        stage.step(rounded.len())?;
        let failed = |source: FactorError| QuantizeError::Layer {
            file: file(),
            layer: layer.name.clone(),
            source,
        };
        let rounding = Rounding {
            input: *grid,
            compensate: settings.compensate,
            correct_bias: settings.correct_bias,
        };
        let own = moments.and_then(|m| rounding.round(layer, &m));
        rounded.push(own.map_err(failed)?);
    }
    drop(stage);
    let layers_and_weights = able.iter().zip(&rounded).zip(&grids);
    let by_node: BTreeMap<NodeId, RoundedLayer<'_>> = layers_and_weights
        .map(|((layer, rounded), input)| {
            let input = *input;
            (
                layer.node,
                RoundedLayer {
                    layer,
                    rounded,
                    input,
                },
            )
        })
        .collect();

    let odd: BTreeSet<NodeId> = layers
        .iter()
        .map(|l| l.node)
        .filter(|n| !by_node.contains_key(n))
        .collect();
    let build = |left: &BTreeSet<NodeId>| -> Result<Loaded, QuantizeError> {
        let left = left.union(&odd).copied().collect();
        let scheme = scheme(&left);
        let rewrite = Rewrite {
            scheme: &scheme,
            ranges: &ranges,
            layers: &by_node,
        };
        let mut document = folded.document.clone();
        rewrite
            .apply(&mut document.model.graph)
            .map_err(|source| graph_error(original, source))?;
        verified(original, document)
    };
    let inputs = spread(&folded, &test)?;
    let judge = Judge::new(&folded, settings.target, inputs, progress)?;
    let nodes: Vec<NodeId> = able.iter().map(|l| l.node).collect();
    let left = match settings.least_snr {
        Some(least) => {
            let built = |left: &BTreeSet<NodeId>| build(left).map_err(plain);
            reserved(&judge, &nodes, least, &built)?
        }
        None => BTreeSet::new(),
    };
    let model = build(&left)?;
    let comparison = Comparison {
        inputs: ComparedOn::Test,
        ..judge.compare(&model)?
    };
    let layers = found
        .into_iter()
        .map(|(name, op_type, node, told)| QuantizedLayer {
            name,
            op_type,
            kept: match told {
                Err(reason) => Some(reason),
                Ok(_) if odd.contains(&node) => Some("an activation is not finite".into()),
                Ok(_) if left.contains(&node) => Some("it costs the outputs too much".into()),
                Ok(_) => None,
            },
        });
    Ok(Quantized {
        model,
        layers: layers.collect(),
        comparison,
    })
}

/// Refuses models that can't be quantised, and those that are.
fn refuse(original: &Loaded) -> Result<(), QuantizeError> {
    let graph = original.graph();
    let integers = |op: &&str| {
        [
            "QuantizeLinear",
            "DequantizeLinear",
            "ConvInteger",
            "MatMulInteger",
        ]
        .contains(op)
    };
    let quantized = graph
        .operators()
        .find(|(_, op)| op.op_type.starts_with("QLinear") || integers(&op.op_type.as_str()));
    if let Some((node, op)) = quantized {
        return Err(QuantizeError::Quantized {
            file: original.file(),
            node: graph.label(node).to_owned(),
            op_type: op.op_type.clone(),
        });
    }
    let opset = original.document.model.opset();
    match opset < LEAST_OPSET {
        true => Err(QuantizeError::Opset {
            file: original.file(),
            opset,
        }),
        false => Ok(()),
    }
}

/// The model with batch norms, padding, sums and factors in its layers.
fn prepared(original: &Loaded) -> Result<Loaded, QuantizeError> {
    let mut document = original.document.clone();
    let graph = &mut document.model.graph;
    fold(graph, &Selection::default()).map_err(|source| QuantizeError::Pass {
        file: original.file(),
        source,
    })?;
    let joined = gemm::join_sums(graph, &original.shapes).and_then(|()| gemm::join_factors(graph));
    joined.map_err(|source| graph_error(original, source))?;
    verified(original, document)
}

fn verified(original: &Loaded, document: Document) -> Result<Loaded, QuantizeError> {
    let graph = &document.model.graph;
    graph
        .verify()
        .map_err(|source| graph_error(original, source))?;
    Ok(original.with(document)?)
}

fn graph_error(original: &Loaded, source: IrError) -> QuantizeError {
    QuantizeError::Graph {
        file: original.file(),
        source,
    }
}

/// The error of a model, of one that is built again and again.
fn plain(error: QuantizeError) -> Error {
    match error {
        QuantizeError::Model(error) => error,
        other => Error::Setting(other.to_string()),
    }
}

/// Batches spread over the samples.
fn spread(model: &Loaded, samples: &Samples) -> Result<Vec<Vec<Tensor>>, Error> {
    let n = samples.batches();
    let most = (JUDGED_MACS / model.cost.macs.max(1)).clamp(JUDGED.0, JUDGED.1) as usize;
    let count = n.min(most);
    (0..count).map(|i| samples.inputs(i * n / count)).collect()
}
