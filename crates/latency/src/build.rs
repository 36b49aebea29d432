//! Models of one block.

use prost::Message;
use sepconv_analysis::constants::Sight;
use sepconv_analysis::{Assumptions, Pins, Shapes};
use sepconv_factor::random::{GOLDEN_GAMMA, SplitMix64};
use sepconv_factor::{Chain, Stage, StageShape};
use sepconv_ir::{DType, Tensor};
use sepconv_onnx::Document;
use sepconv_onnx::proto::attribute_proto::AttributeType;
use sepconv_onnx::proto::tensor_shape_proto::{Dimension, dimension};
use sepconv_onnx::proto::type_proto::{self, Value};
use sepconv_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};
use sepconv_passes::{Lowering, Site, lowering, replace};
use sepconv_targets::InputSpec;

use crate::block::{Block, Form, Geometry};
use crate::error::LatencyError;

/// Channels of the model's input and output where the block stands in a frame.
const FRAME: usize = 16;
/// Name of the layer of a block, or of what stands in its place.
pub(crate) const LAYER: &str = "conv";

/// A model of one block with random weights, written as real models are: the original is read
/// from ONNX, and where the form is a chain, [`sepconv_passes::replace`] rewrites it.
///
/// Its one input is `x`, its one output `y`. Sides of 16 channels and more are framed by a 1x1
/// convolution from or to 16 channels, as inside a network: runtimes with a layout of their
/// own then convert few channels at the ends, and a form that leaves the layout in its middle
/// or at its end (ONNX Runtime: `Add` and `LeakyRelu` after branches) pays for that.
///
/// # Errors
/// [`LatencyError::Form`] or [`LatencyError::Factor`] where the form does not apply.
pub fn build(block: &Block) -> Result<Document, LatencyError> {
    let model = model(&block.geometry)
        .ok_or_else(|| block.misfit(format!("no weights of type {}", block.geometry.dtype)))?;
    let mut document = Document::from_bytes(model.encode_to_vec().into())?;
    let Form::Chain {
        family,
        rank,
        lowering: name,
    } = &block.form
    else {
        return Ok(document);
    };
    let chain = random_chain(family, *rank, block.stages()?);
    let lowering = lowering(name).ok_or_else(|| block.misfit(format!("no lowering '{name}'")))?;
    applicable(block, lowering, &chain)?;
    let graph = &mut document.model.graph;
    let site = Shapes::infer(graph, &Pins::default(), &Assumptions::default())
        .ok()
        .and_then(|shapes| {
            let mut nodes = graph.operators().map(|(node, _)| node);
            let node = nodes.find(|node| graph.label(*node) == LAYER)?;
            Site::of(graph, node, &shapes, Sight::Plain)?.ok()
        });
    let site = site.ok_or_else(|| block.misfit("the convolution can't be read".into()))?;
    replace(graph, &site, &chain, Some(lowering)).map_err(|source| LatencyError::Write {
        block: block.to_string(),
        source,
    })?;
    Ok(document)
}

fn applicable(block: &Block, lowering: &dyn Lowering, chain: &Chain) -> Result<(), LatencyError> {
    let fits = lowering.applies(chain);
    fits.map_err(|reason| block.misfit(format!("{}: {reason}", lowering.name())))
}

/// A chain without weights: lowerings tell by its shape alone where they apply.
pub(crate) fn outline(rank: usize, stages: Vec<StageShape>) -> Chain {
    let empty = |shape| Stage {
        shape,
        weight: Vec::new(),
    };
    Chain {
        family: "",
        rank,
        stages: stages.into_iter().map(empty).collect(),
        bias: None,
    }
}

fn random_chain(family: &str, rank: usize, stages: Vec<StageShape>) -> Chain {
    let mut chain = outline(rank, stages);
    chain.family = sepconv_factor::family(family).map_or("", |f| f.name());
    for (seed, stage) in (1..).zip(&mut chain.stages) {
        let kernel = &stage.shape.kernel;
        let weight = random(kernel.len(), kernel.group_in() * kernel.taps(), seed);
        stage.weight = weight.into_iter().map(f64::from).collect();
    }
    chain
}

/// The block's input, seeded noise.
pub(crate) fn input(geometry: &Geometry) -> Option<(InputSpec, Tensor)> {
    let dims = input_dims(geometry);
    let values = random(dims.iter().product(), 1, 0);
    let spec = InputSpec {
        name: "x".into(),
        dtype: geometry.dtype,
        dims: dims.clone(),
    };
    Some((spec, Tensor::from_floats(geometry.dtype, dims, values)?))
}

fn input_dims(g: &Geometry) -> Vec<usize> {
    if g.product.is_some() {
        return rows(g, g.kernel.in_channels);
    }
    let channels = frame(g.kernel.in_channels).unwrap_or(g.kernel.in_channels);
    [&[g.batch, channels], &*g.input].concat()
}

/// The extents of a matrix product's operand or result: channels last.
fn rows(g: &Geometry, channels: usize) -> Vec<usize> {
    match g.input.iter().product() {
        1 => vec![g.batch, channels],
        positions => vec![g.batch, positions, channels],
    }
}

/// Channels outside the frame of a side of so many, if it has one.
pub(crate) fn frame(channels: usize) -> Option<usize> {
    (channels >= FRAME).then_some(FRAME)
}

/// Numbers in `-1..1` times `1 / sqrt(fan_in)`, so that activations neither overflow nor become
/// denormal.
fn random(count: usize, fan_in: usize, seed: u64) -> Vec<f32> {
    let scale = (1.0 / fan_in.max(1) as f64).sqrt();
    let mut generator = SplitMix64::from_state(seed.wrapping_mul(GOLDEN_GAMMA));
    let values = (0..count).map(|_| (generator.signed() * scale) as f32);
    values.collect()
}

fn model(g: &Geometry) -> Option<ModelProto> {
    let mut nodes = Nodes::new(g.dtype);
    let kernel = &g.kernel;
    let ones = vec![1; g.input.len()];
    if let Some(product) = g.product {
        let dims = vec![kernel.in_channels, kernel.out_channels];
        let outputs = kernel.out_channels;
        let weights = RandomWeights {
            dims,
            outputs,
            bias: g.bias,
        };
        nodes.weighted(product.op_type(), LAYER, weights, Vec::new())?;
        nodes.activate(g);
        return nodes.finish(g, &rows(g, kernel.out_channels));
    }
    if let Some(channels) = frame(kernel.in_channels) {
        let dims = [&[kernel.in_channels, channels], &*ones].concat();
        nodes.conv("head", dims, false, Vec::new())?;
    }
    let mut attributes = vec![
        ints("dilations", &g.dilations),
        int("group", kernel.groups),
        ints("kernel_shape", &kernel.spatial),
        ints("pads", &g.pads),
        ints("strides", &g.strides),
    ];
    if let Some(added) = &g.transposed {
        attributes.push(ints("output_padding", added));
        let dims = [&[kernel.in_channels, kernel.group_out()], &*kernel.spatial];
        let weights = RandomWeights {
            dims: dims.concat(),
            outputs: kernel.out_channels,
            bias: g.bias,
        };
        nodes.weighted("ConvTranspose", LAYER, weights, attributes)?;
    } else {
        let dims = [&[kernel.out_channels, kernel.group_in()], &*kernel.spatial];
        nodes.conv(LAYER, dims.concat(), g.bias, attributes)?;
    }
    nodes.activate(g);
    let mut channels = kernel.out_channels;
    if let Some(outside) = frame(channels) {
        let dims = [&[outside, channels], &*ones].concat();
        nodes.conv("tail", dims, false, Vec::new())?;
        channels = outside;
    }
    let output = [&[g.batch, channels], &*g.output()?].concat();
    nodes.finish(g, &output)
}

/// The weights of an operator, to be made of random numbers.
struct RandomWeights {
    /// Extents of the weight.
    dims: Vec<usize>,
    /// Channels of the output.
    outputs: usize,
    /// True where there is a bias, of one number per output.
    bias: bool,
}

/// Operators one after another, from `x` on.
struct Nodes {
    dtype: DType,
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
}

impl Nodes {
    fn new(dtype: DType) -> Self {
        Self {
            dtype,
            node: Vec::new(),
            initializer: Vec::new(),
        }
    }

    /// The activation behind the convolution.
    fn activate(&mut self, g: &Geometry) {
        if let Some(activation) = g.activation {
            self.add("activation", activation.op_type(), Vec::new(), Vec::new());
        }
    }

    /// The model of all operators, of which the last makes `y`.
    fn finish(mut self, g: &Geometry, output: &[usize]) -> Option<ModelProto> {
        self.node.last_mut()?.output = vec!["y".into()];
        Some(ModelProto {
            ir_version: Some(8),
            opset_import: vec![OperatorSetIdProto {
                domain: None,
                version: Some(17),
            }],
            graph: Some(GraphProto {
                name: Some("block".into()),
                node: self.node,
                initializer: self.initializer,
                input: vec![info("x", g.dtype, &input_dims(g))],
                output: vec![info("y", g.dtype, output)],
                ..Default::default()
            }),
            ..Default::default()
        })
    }

    fn add(
        &mut self,
        name: &str,
        op_type: &str,
        weights: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) {
        let before = self.node.last().and_then(|n| n.output.first().cloned());
        let input = before.unwrap_or_else(|| "x".into());
        self.node.push(NodeProto {
            name: Some(name.into()),
            op_type: Some(op_type.into()),
            input: [vec![input], weights].concat(),
            output: vec![format!("{name}.out")],
            attribute,
            ..Default::default()
        });
    }

    /// A convolution with a random weight of `dims` `[Co, Ci / groups, k...]`.
    fn conv(
        &mut self,
        name: &str,
        dims: Vec<usize>,
        bias: bool,
        attribute: Vec<AttributeProto>,
    ) -> Option<()> {
        let outputs = *dims.first()?;
        let weights = RandomWeights {
            dims,
            outputs,
            bias,
        };
        self.weighted("Conv", name, weights, attribute)
    }

    /// An operator with random weights.
    fn weighted(
        &mut self,
        op_type: &str,
        name: &str,
        weights: RandomWeights,
        attribute: Vec<AttributeProto>,
    ) -> Option<()> {
        let RandomWeights {
            dims,
            outputs,
            bias,
        } = weights;
        let count = dims.iter().product::<usize>();
        let seed = self.node.len() as u64 + 1;
        let weight = random(count, count.checked_div(outputs)?, seed);
        let mut weights = vec![format!("{name}.weight")];
        let tensor = initializer(&weights[0], self.dtype, dims, weight)?;
        self.initializer.push(tensor);
        if bias {
            let values = random(outputs, 1, seed + 1);
            weights.push(format!("{name}.bias"));
            let tensor = initializer(&weights[1], self.dtype, vec![outputs], values)?;
            self.initializer.push(tensor);
        }
        self.add(name, op_type, weights, attribute);
        Some(())
    }
}

fn initializer(
    name: &str,
    dtype: DType,
    dims: Vec<usize>,
    values: Vec<f32>,
) -> Option<TensorProto> {
    Some(TensorProto {
        name: Some(name.into()),
        dims: dims.iter().map(|d| *d as i64).collect(),
        data_type: Some(dtype.code()),
        raw_data: Tensor::from_floats(dtype, dims, values)?.data().cloned(),
        ..Default::default()
    })
}

fn ints(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Ints as i32),
        ints: values.iter().map(|v| *v as i64).collect(),
        ..Default::default()
    }
}

fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(value as i64),
        ..Default::default()
    }
}

fn info(name: &str, dtype: DType, dims: &[usize]) -> ValueInfoProto {
    let dim = dims.iter().map(|d| Dimension {
        value: Some(dimension::Value::DimValue(*d as i64)),
        denotation: None,
    });
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(Value::TensorType(type_proto::Tensor {
                elem_type: Some(dtype.code()),
                shape: Some(TensorShapeProto { dim: dim.collect() }),
            })),
            denotation: None,
        }),
        ..Default::default()
    }
}
