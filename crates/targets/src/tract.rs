//! tract, in-process and on the CPU.
//!
//! A run takes one thread unless [`LoadOptions::threads`] asks for more; then matrix products
//! (dense and pointwise convolutions) and element-wise operators share a pool of the session.

use std::path::Path;
use std::sync::Arc;

use prost::Message;
use sepconv_ir::{DType, Tensor};
use sepconv_onnx::Detached;
use tract_linalg::multithread::{Executor, multithread_tract_scope};
use tract_onnx::data_resolver::ModelDataResolver;
use tract_onnx::pb;
use tract_onnx::prelude::{
    DatumType, InferenceFact, InferenceModelExt, IntoRunnable, TValue, TVec, TypedRunnableModel,
};
use tract_onnx::tract_core::internal::{TractResult, bail};

use crate::error::TargetError;
use crate::panics::guarded;
use crate::text::one_line;
use crate::{InputSpec, LoadOptions, Prepared, Session, Target, converted};

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
        // Shape annotations speed up analysis but contradict pinned inputs where they are
        // stale or symbolic: without them first.
        let with = |ignore: bool| {
            guarded(|| compile(&proto, model, inputs, ignore).map_err(|e| format!("{e:#}")))
                .and_then(|r| r)
        };
        let plan = with(true).or_else(|first| with(false).map_err(|_| error(first)))?;
        Ok(Box::new(TractSession {
            plan,
            inputs: inputs.to_vec(),
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

/// Takes away names of inputs that are left out behind all others: tract counts them and then
/// looks for them.
fn trim(graph: &mut pb::GraphProto) {
    for node in &mut graph.node {
        while node.input.pop_if(|name| name.is_empty()).is_some() {}
        for attribute in &mut node.attribute {
            attribute.g.iter_mut().for_each(trim);
            attribute.graphs.iter_mut().for_each(trim);
        }
    }
}

fn compile(
    proto: &pb::ModelProto,
    model: &Detached,
    inputs: &[InputSpec],
    ignore_value_info: bool,
) -> TractResult<Arc<TypedRunnableModel>> {
    let mut onnx = tract_onnx::onnx().with_ignore_value_info(ignore_value_info);
    onnx.provider = Arc::new(Memory(model.clone()));
    let parsed = onnx.parse(proto, Some("."))?;
    if !parsed.unresolved_inputs.is_empty() {
        bail!("unresolved inputs {:?}", parsed.unresolved_inputs);
    }
    let mut net = parsed.model;
    for (i, input) in inputs.iter().enumerate() {
        let Some(dtype) = datum_type(input.dtype) else {
            bail!("input '{}' is of type {}", input.name, input.dtype);
        };
        net.set_input_fact(i, InferenceFact::dt_shape(dtype, &input.dims))?;
    }
    net.into_optimized()?.into_runnable()
}

/// Reads detached tensors by number.
struct Memory(Detached);

impl ModelDataResolver for Memory {
    fn read_bytes_from_path(
        &self,
        buf: &mut Vec<u8>,
        _: &Path,
        offset: usize,
        _: Option<usize>,
    ) -> TractResult<()> {
        if let Some(data) = self.0.tensors.get(offset) {
            buf.extend_from_slice(data);
            self.0.release(offset);
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

struct TractSession {
    plan: Arc<TypedRunnableModel>,
    inputs: Vec<InputSpec>,
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

    fn outputs(&self, values: TVec<TValue>) -> Result<TVec<TValue>, TargetError> {
        multithread_tract_scope(self.executor.clone(), || {
            guarded(|| self.plan.run(values).map_err(|e| format!("{e:#}"))).and_then(|r| r)
        })
        .map_err(failed)
    }
}

impl Session for TractSession {
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, TargetError> {
        let outputs = self.outputs(self.values(inputs)?)?;
        let outputs = outputs.iter().map(|v| tensor(v).map_err(failed));
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
    let dtype = datum_type(tensor.dtype()).ok_or_else(unsupported)?;
    let mut out =
        tract_onnx::prelude::Tensor::zero_dt(dtype, tensor.dims()).map_err(|e| e.to_string())?;
    out.as_bytes_mut().copy_from_slice(data);
    Ok(out.into())
}

fn tensor(value: &TValue) -> Result<Tensor, String> {
    let dtype = dtype(value.datum_type());
    let dims = value.shape().to_vec();
    let unsupported = || format!("an output is of type {:?}", value.datum_type());
    let data: Vec<u8> = value.as_bytes().to_vec();
    Tensor::new(dtype.ok_or_else(unsupported)?, dims, data.into()).ok_or_else(unsupported)
}

const TYPES: [(DType, DatumType); 12] = [
    (DType::F32, DatumType::F32),
    (DType::F64, DatumType::F64),
    (DType::F16, DatumType::F16),
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
