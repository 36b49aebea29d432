//! Contents of a model: operators, convolutions, and the ranks that they offer.

use sepconv_analysis::constants::Sight;
use sepconv_analysis::{NodeCost, Shapes};
use sepconv_ir::Graph;
use sepconv_model::{Error, Loaded, Progress, Unshaped};
use sepconv_passes::{Kept, Order, Selection, Surveyed, fold};
use serde::{Serialize, Serializer};

use crate::bodies::{Bodies, labels};
use crate::prepared::survey;

/// A model and its convolutions.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The file.
    pub model: String,
    /// ONNX IR version.
    pub ir_version: i64,
    /// Version of the default operator set.
    pub opset: i64,
    /// Size of the file in bytes.
    pub bytes: usize,
    /// Inputs, as `name: f32[N,3,32,32]`.
    pub inputs: Vec<String>,
    /// Outputs.
    pub outputs: Vec<String>,
    /// Free input dimensions and the extents assumed for them.
    pub assumed: Vec<String>,
    /// Number of operators.
    pub nodes: usize,
    /// MACs of the model (batch 1 where the batch is free).
    pub macs: u64,
    /// Operators that compute but whose MACs could not be counted.
    pub uncounted: usize,
    /// Parameters.
    pub params: u64,
    /// Convolutions whose shapes are not known.
    pub unshaped: Unshaped,
    /// Contradictions that shape inference found.
    pub warnings: Vec<String>,
    /// The convolutions, in graph order; those in subgraphs and functions after the others.
    pub layers: Vec<LayerInspection>,
}

/// A convolution.
#[derive(Debug, Clone, Serialize)]
pub struct LayerInspection {
    /// Name.
    pub name: String,
    /// Kernel as `[Co, Ci/groups, k...]`; empty where the weight is not constant.
    pub kernel: Vec<usize>,
    /// Groups.
    pub groups: u64,
    /// Strides.
    pub strides: Vec<u64>,
    /// Output shape, where known.
    pub output: Option<Vec<u64>>,
    /// MACs, where known.
    pub macs: Option<u64>,
    /// Weights.
    pub params: u64,
    /// The reason why it can't be rewritten; serialised as its phrase.
    #[serde(serialize_with = "phrase")]
    pub kept: Option<Kept>,
    /// Energy and cost of each rank of each order.
    pub ranks: Vec<RankInspection>,
}

/// Energy and cost of a rank.
#[derive(Debug, Clone, Serialize)]
pub struct RankInspection {
    /// Family, such as `dw-pw`.
    pub form: String,
    /// Rank.
    pub rank: usize,
    /// Share of the kernel's energy that is kept.
    pub energy: f64,
    /// MACs as a fraction of the convolution's.
    pub macs: f64,
    /// Weights.
    pub params: u64,
}

/// Lists the convolutions of a model with the energy and cost of every rank of both orders,
/// after batch norms and padding are folded.
///
/// # Errors
/// [`Error::Pass`] where a kernel can't be factored.
pub fn inspect(model: &Loaded, progress: &dyn Progress) -> Result<Inspection, Error> {
    let failed = |source| Error::Pass {
        file: model.file(),
        source,
    };
    let mut document = model.document.clone();
    fold(&mut document.model.graph, &Selection::default()).map_err(failed)?;
    let folded = model.with(document)?;
    let names = labels(model.graph(), false);
    let all = Selection::default();
    let mut bodies = Bodies::new(model, &all, &names, false)?;
    let mut layers = Vec::new();
    for order in [Order::DwPw, Order::PwDw] {
        let survey = survey(&folded, &all, &order.into(), progress)?;
        bodies.survey(model, &order.into())?;
        let main = survey.layers.iter();
        let main = main.map(|layer| (folded.graph(), &folded.shapes, layer));
        let inner = bodies.surveyed().flat_map(|b| {
            let layers = b.survey.layers.iter();
            layers.map(|layer| (&b.graph, &b.shapes, layer))
        });
        for (i, (graph, shapes, layer)) in main.chain(inner).enumerate() {
            if order == Order::DwPw {
                layers.push(describe(graph, shapes, layer));
            }
            let entry: &mut LayerInspection = &mut layers[i];
            if let Ok((_, candidates)) = &layer.site {
                entry.kept = None;
                entry
                    .ranks
                    .extend(candidates.iter().map(|c| RankInspection {
                        form: c.family.clone(),
                        rank: c.rank,
                        energy: c.energy,
                        macs: c.macs as f64 / c.macs_before.max(1) as f64,
                        params: c.params,
                    }));
            }
        }
    }
    let main = layers.iter().take(layers.len() - bodies.names().count());
    let unknown = main.filter(|l| l.macs.is_none()).count();
    let describe = |v| {
        let ty = model.graph().value(v).and_then(|v| v.ty.as_ref());
        let ty = ty.map_or(String::new(), |t| format!(": {t}"));
        format!("{}{ty}", model.graph().name(v))
    };
    Ok(Inspection {
        model: model.file(),
        ir_version: model.document.model.ir_version,
        opset: model.document.model.opset(),
        bytes: model.document.source_size(),
        inputs: model.graph().inputs().map(describe).collect(),
        outputs: model.graph().outputs().map(describe).collect(),
        assumed: model.assumed(),
        nodes: model.graph().operators().count(),
        macs: model.cost.macs,
        uncounted: model.cost.uncounted,
        unshaped: model.unshaped(unknown),
        params: model.cost.params,
        warnings: model
            .shapes
            .contradictions()
            .iter()
            .map(|c| c.message.clone())
            .collect(),
        layers,
    })
}

fn describe(graph: &Graph, shapes: &Shapes, layer: &Surveyed) -> LayerInspection {
    let op = graph.operator(layer.node);
    // After the zero points and scales of a quantised input.
    let slot = usize::from(op.is_some_and(|op| op.op_type == "QLinearConv")) * 2 + 1;
    let value = op.and_then(|op| op.input(slot));
    let weight = value.and_then(|w| Sight::Quantized.resolve(graph, w));
    // Constants that a weight is computed from are counted as parameters of other operators.
    let computed = value.and_then(|w| graph.producer(w));
    let computed = computed.is_some_and(|(_, op)| !op.is("Constant"));
    let own = weight.as_ref().filter(|_| computed).map_or(0, |w| w.len());
    let site = layer.site.as_ref().ok().map(|(site, _)| site);
    let cost = NodeCost::of(graph, layer.node, shapes);
    LayerInspection {
        name: layer.name.clone(),
        kernel: weight.map_or(Vec::new(), |w| w.dims().to_vec()),
        groups: op.map_or(1, |op| op.int("group", 1).unsigned_abs()),
        strides: site.map_or_else(
            || {
                op.and_then(|op| op.ints("strides"))
                    .map_or_else(Vec::new, numbers)
            },
            |s| s.attributes.strides.clone(),
        ),
        output: op
            .and_then(|op| op.output(0))
            .and_then(|v| shapes.extents(v)),
        macs: cost.macs,
        params: cost.params.saturating_add(own as u64),
        kept: layer.site.as_ref().err().cloned(),
        ranks: Vec::new(),
    }
}

fn phrase<S: Serializer>(kept: &Option<Kept>, serializer: S) -> Result<S::Ok, S::Error> {
    kept.as_ref().map(ToString::to_string).serialize(serializer)
}

fn numbers(all: &[i64]) -> Vec<u64> {
    all.iter().map(|n| n.unsigned_abs()).collect()
}
