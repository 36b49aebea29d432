//! tract, in-process and on the CPU.
//!
//! tract differs from ONNX in places. The model that it is given computes the same and is read right:
//! halves are widened ([`halves`]), sparse constants made dense ([`sparse`]), transposed
//! convolutions resolved to explicit padding ([`transposed`]), and `pads` that `auto_pad` overrides
//! taken away. Long graphs are run in [`pieces`].
//!
//! A run takes one thread unless [`LoadOptions::threads`] asks for more; then matrix products
//! (dense and pointwise convolutions) and element-wise operators share a pool of the session.

mod halves;
mod pieces;
mod sparse;
mod transposed;

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use prost::Message;
use sepconv_ir::{DType, Tensor};
use sepconv_onnx::Detached;
use tract_linalg::multithread::{Executor, multithread_tract_scope};
use tract_onnx::data_resolver::ModelDataResolver;
use tract_onnx::pb;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::prelude::{
    DatumType, InferenceFact, InferenceModelExt, IntoRunnable, TValue, TVec, TypedRunnableModel,
};
use tract_onnx::tract_core::internal::{TractResult, bail};

use self::halves::{Halves, stand_in, wide};
use self::pieces::Cut;
use crate::error::TargetError;
use crate::input::{InputSpec, converted};
use crate::panics::guarded;
use crate::target::{LoadOptions, Prepared, Session, Target};
use crate::text::one_line;

const NAME: &str = "tract";

/// The tract inference engine.
pub(crate) struct Tract;

impl Target for Tract {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> String {
        TRACT_VERSION.to_owned()
    }

    fn pads_slowly(&self) -> bool {
        true
    }

    fn load_with(
        &self,
        model: &Detached,
        inputs: &[InputSpec],
        options: LoadOptions,
    ) -> Result<Box<dyn Session>, TargetError> {
        let error = |reason: String| TargetError::Load {
            target: NAME,
            reason: one_line(&reason),
        };
        let mut proto =
            pb::ModelProto::decode(model.skeleton.clone()).map_err(|e| error(e.to_string()))?;
        proto.graph.iter_mut().for_each(trim);
        foreign(&proto).map_or(Ok(()), |reason| Err(error(reason)))?;
        let halves = Halves::widen(&mut proto);
        let files = Arc::new(Memory {
            model: model.clone(),
            halves: halves.tensors,
        });
        let dense = guarded(|| {
            let mut graphs = proto.graph.iter_mut();
            graphs.try_for_each(|graph| sparse::densify(graph, &*files))
        });
        dense
            .and_then(|r| r.map_err(|e| format!("{e:#}")))
            .map_err(error)?;
        let load = |ignore: bool| {
            let whole = || as_a_whole(&proto, &files, inputs, ignore);
            guarded(|| whole().map_err(|e| format!("{e:#}"))).and_then(|r| r)
        };
        let cuts = proto.graph.as_ref().and_then(pieces::cuts);
        let pieces = cuts.and_then(|cuts| {
            guarded(|| in_pieces(&proto, cuts, &files, inputs).ok())
                .ok()
                .flatten()
        });
        let pieces = match pieces {
            Some(pieces) => pieces,
            // Shape annotations speed up analysis but contradict pinned inputs where they are
            // stale or symbolic: without them first.
            None => load(true).or_else(|first| load(false).map_err(|_| error(first)))?,
        };
        Ok(Box::new(TractSession {
            pieces,
            inputs: inputs.to_vec(),
            outputs: halves.outputs,
            executor: guarded(|| executor(options)).map_err(error)?,
        }))
    }
}

/// The version that the workspace pins.
const TRACT_VERSION: &str = "0.23.9";

/// tract knows operators by name alone: a custom `Conv` would run as ONNX's.
fn foreign(proto: &pb::ModelProto) -> Option<String> {
    let nodes = &proto.graph.as_ref()?.node;
    let odd = nodes
        .iter()
        .find(|n| !n.domain.is_empty() && n.domain != "ai.onnx")?;
    Some(format!(
        "node '{}' ({}) is of the domain '{}'",
        odd.name, odd.op_type, odd.domain
    ))
}

/// Takes away the parts that tract would misread: names of inputs that are left out behind all others, which
/// it counts and then looks for; empty lists, which ONNX takes for absent; `pads` that `auto_pad`
/// overrides; inputs that list an initializer, before IR version 4 all of them.
fn trim(graph: &mut pb::GraphProto) {
    let constants: HashSet<&str> = graph.initializer.iter().map(|t| &*t.name).collect();
    graph
        .input
        .retain(|input| !constants.contains(&*input.name));
    for node in &mut graph.node {
        while node.input.pop_if(|name| name.is_empty()).is_some() {}
        if WINDOWED.contains(&&*node.op_type) {
            let auto = node.attribute.iter().find(|a| a.name == "auto_pad");
            let auto = auto.is_some_and(|a| !matches!(&*a.s, b"" | b"NOTSET"));
            node.attribute.retain(|a| {
                let empty = a.r#type == AttributeType::Ints as i32 && a.ints.is_empty();
                !(empty || auto && a.name == "pads")
            });
        }
        for attribute in &mut node.attribute {
            attribute.g.iter_mut().for_each(trim);
            attribute.graphs.iter_mut().for_each(trim);
        }
    }
}

/// Operators with a window.
const WINDOWED: [&str; 6] = [
    "AveragePool",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "MaxPool",
    "QLinearConv",
];

fn compile(
    proto: &pb::ModelProto,
    files: &Arc<Memory>,
    inputs: &[InputSpec],
    ignore_value_info: bool,
) -> TractResult<Arc<TypedRunnableModel>> {
    let mut onnx = tract_onnx::onnx().with_ignore_value_info(ignore_value_info);
    onnx.provider = files.clone();
    onnx.op_register
        .insert("ConvTranspose", transposed::conv_transpose);
    let parsed = onnx.parse(proto, Some("."))?;
    if !parsed.unresolved_inputs.is_empty() {
        bail!("unresolved inputs {:?}", parsed.unresolved_inputs);
    }
    let mut net = parsed.model;
    for (i, input) in inputs.iter().enumerate() {
        let Some(dtype) = datum_type(stand_in(input.dtype)) else {
            bail!("input '{}' is of type {}", input.name, input.dtype);
        };
        net.set_input_fact(i, InferenceFact::dt_shape(dtype, &input.dims))?;
    }
    net.into_optimized()?.into_runnable()
}

/// Reads detached tensors by number, halves as f32.
struct Memory {
    model: Detached,
    halves: HashMap<usize, DType>,
}

impl ModelDataResolver for Memory {
    fn read_bytes_from_path(
        &self,
        buf: &mut Vec<u8>,
        _: &Path,
        offset: usize,
        _: Option<usize>,
    ) -> TractResult<()> {
        if let Some(data) = self.model.tensors.get(offset) {
            match self.halves.get(&offset).and_then(|d| wide(*d, data)) {
                Some(data) => buf.extend(data),
                None => buf.extend_from_slice(data),
            }
            self.model.release(offset);
        }
        Ok(())
    }
}

fn executor(options: LoadOptions) -> Executor {
    match options.threads {
        Some(n) if n.get() > 1 => Executor::multithread(n.get()),
        _ => Executor::SingleThread,
    }
}

/// A part of a model that is run at once.
struct Piece {
    plan: Arc<TypedRunnableModel>,
    cut: Cut,
}

/// A graph as one piece.
fn as_a_whole(
    proto: &pb::ModelProto,
    files: &Arc<Memory>,
    inputs: &[InputSpec],
    ignore_value_info: bool,
) -> TractResult<Vec<Piece>> {
    let outputs = proto.graph.as_ref().map_or(0, |g| g.output.len());
    Ok(vec![Piece {
        plan: compile(proto, files, inputs, ignore_value_info)?,
        cut: Cut::whole(inputs.len(), outputs),
    }])
}

/// A graph in pieces, each made for the type and the extents of the output of the one before it.
fn in_pieces(
    proto: &pb::ModelProto,
    cuts: Vec<Cut>,
    files: &Arc<Memory>,
    inputs: &[InputSpec],
) -> TractResult<Vec<Piece>> {
    let (Some(graph), shell) = (
        &proto.graph,
        pb::ModelProto {
            graph: None,
            ..proto.clone()
        },
    ) else {
        bail!("there is no graph");
    };
    let mut pieces: Vec<Piece> = Vec::new();
    for cut in cuts {
        let mut specs = Vec::new();
        if let (Some(name), Some(before)) = (&cut.given, pieces.last()) {
            let model = before.plan.model();
            let last = model.output_outlets()?.len().saturating_sub(1);
            let fact = model.output_fact(last)?;
            let Some(dims) = fact
                .shape
                .as_concrete()
                .filter(|_| fact.datum_type.is_float())
            else {
                bail!("'{name}' is no activation of fixed extents");
            };
            let dtype = dtype(fact.datum_type).unwrap_or(DType::F32);
            let (name, dims) = (name.clone(), dims.to_vec());
            specs.push(InputSpec { name, dtype, dims });
        }
        let given = specs.first().map(|s| (s.dtype.code(), s.dims.clone()));
        specs.extend(cut.inputs.iter().filter_map(|i| inputs.get(*i)).cloned());
        let given = given.as_ref().map(|(code, dims)| (*code, dims.as_slice()));
        let graph = Some(cut.graph(graph, given));
        let piece = pb::ModelProto {
            graph,
            ..shell.clone()
        };
        let plan = compile(&piece, files, &specs, true)?;
        pieces.push(Piece { plan, cut });
    }
    Ok(pieces)
}

struct TractSession {
    pieces: Vec<Piece>,
    inputs: Vec<InputSpec>,
    /// The declared types of outputs of half precision.
    outputs: Vec<Option<DType>>,
    executor: Executor,
}

fn failed(reason: String) -> TargetError {
    TargetError::Run {
        target: NAME,
        reason: one_line(&reason),
    }
}

impl TractSession {
    fn values(&self, inputs: &[Tensor]) -> Result<TVec<TValue>, TargetError> {
        converted(inputs, &self.inputs, value).map_err(failed)
    }

    /// Runs the pieces one after another.
    fn through(&self, values: TVec<TValue>) -> TractResult<TVec<TValue>> {
        if let [only] = self.pieces.as_slice() {
            return only.plan.run(values);
        }
        let mut outputs: Vec<(usize, TValue)> = Vec::new();
        let mut given: Option<TValue> = None;
        for Piece { plan, cut } in &self.pieces {
            let own = cut.inputs.iter().filter_map(|i| values.get(*i)).cloned();
            let mut made = plan.run(given.take().into_iter().chain(own).collect())?;
            if cut.made.is_some() {
                given = made.pop();
            }
            outputs.extend(cut.outputs.iter().copied().zip(made));
        }
        outputs.sort_by_key(|(number, _)| *number);
        Ok(outputs.into_iter().map(|(_, value)| value).collect())
    }

    fn outputs(&self, values: TVec<TValue>) -> Result<TVec<TValue>, TargetError> {
        multithread_tract_scope(self.executor.clone(), || {
            guarded(|| self.through(values).map_err(|e| format!("{e:#}"))).and_then(|r| r)
        })
        .map_err(failed)
    }
}

impl Session for TractSession {
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, TargetError> {
        let outputs = self.outputs(self.values(inputs)?)?;
        let types = self.outputs.iter().chain(std::iter::repeat(&None));
        let outputs = outputs.iter().zip(types);
        let outputs = outputs.map(|(v, declared)| tensor(v, *declared).map_err(failed));
        outputs.collect()
    }

    fn prepare<'a>(&'a self, inputs: &[Tensor]) -> Result<Box<dyn Prepared + 'a>, TargetError> {
        Ok(Box::new(TractPrepared {
            session: self,
            values: self.values(inputs)?,
        }))
    }
}

struct TractPrepared<'a> {
    session: &'a TractSession,
    values: TVec<TValue>,
}

impl Prepared for TractPrepared<'_> {
    fn run(&mut self) -> Result<(), TargetError> {
        self.session.outputs(self.values.clone()).map(drop)
    }
}

fn value(tensor: &Tensor, spec: &InputSpec) -> Result<TValue, String> {
    spec.check(tensor)?;
    let unsupported = || format!("input '{}' is of type {}", spec.name, spec.dtype);
    let data = tensor.data().ok_or_else(unsupported)?;
    let dtype = datum_type(stand_in(tensor.dtype())).ok_or_else(unsupported)?;
    let mut out =
        tract_onnx::prelude::Tensor::zero_dt(dtype, tensor.dims()).map_err(|e| e.to_string())?;
    if stand_in(tensor.dtype()) == tensor.dtype() {
        out.as_bytes_mut().copy_from_slice(data);
    } else {
        let wide = wide(tensor.dtype(), data).ok_or_else(unsupported)?;
        out.as_bytes_mut().copy_from_slice(&wide);
    }
    Ok(out.into())
}

/// An output; as the half type that it is declared to be, where it is.
fn tensor(value: &TValue, declared: Option<DType>) -> Result<Tensor, String> {
    let dtype = dtype(value.datum_type());
    let dims = value.shape().to_vec();
    let unsupported = || format!("an output is of type {:?}", value.datum_type());
    let data: Vec<u8> = value.as_bytes().to_vec();
    let made = Tensor::new(dtype.ok_or_else(unsupported)?, dims, data.into());
    let made = made.ok_or_else(unsupported)?;
    let half = declared.and_then(|declared| {
        Tensor::from_floats(declared, made.dims().to_vec(), made.to_f32()?.into_owned())
    });
    Ok(half.unwrap_or(made))
}

const TYPES: [(DType, DatumType); 11] = [
    (DType::F32, DatumType::F32),
    (DType::F64, DatumType::F64),
    (DType::U8, DatumType::U8),
    (DType::I8, DatumType::I8),
    (DType::U16, DatumType::U16),
    (DType::I16, DatumType::I16),
    (DType::U32, DatumType::U32),
    (DType::I32, DatumType::I32),
    (DType::U64, DatumType::U64),
    (DType::I64, DatumType::I64),
    (DType::Bool, DatumType::Bool),
];

fn datum_type(dtype: DType) -> Option<DatumType> {
    TYPES.iter().find(|t| t.0 == dtype).map(|t| t.1)
}

fn dtype(datum: DatumType) -> Option<DType> {
    let plain = datum.unquantized();
    TYPES.iter().find(|t| t.1 == plain).map(|t| t.0)
}
