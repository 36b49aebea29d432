//! Protobuf to IR.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use prost::Message;
use sepconv_ir::{
    Builder, DType, Dim, IrError, Model, NodeId, Operator, Opset, Tensor, ValueId, ValueType,
};

use crate::attribute;
use crate::envelope::{Envelope, GraphRecord, ModelRecord};
use crate::error::Malformed;
use crate::external::DataFiles;
use crate::proto::tensor_shape_proto::dimension;
use crate::proto::{
    OperatorSetIdProto, SparseTensorProto, TensorAnnotation, ValueInfoProto, type_proto,
};
use crate::scope::Scope;
use crate::tensor;
use crate::wire::{Record, records};

/// First IR version in which an initializer that is also a graph input is a default that
/// callers may override; before it, every initializer had to be listed as an input.
const OVERRIDABLE_SINCE: i64 = 4;

/// Decodes a `ModelProto`.
pub(crate) fn import(data: &Bytes, files: &DataFiles) -> Result<(Model, Envelope), Malformed> {
    let not_onnx = Malformed::NotOnnx;
    let mut envelope = Vec::new();
    let mut graph = None;
    let mut opsets = Vec::new();
    let mut ir_version = 0;
    let mut trains = false;
    for r in records(data).map_err(not_onnx)? {
        match r.number {
            1 => ir_version = r.varint().map_err(not_onnx)? as i64,
            7 if graph.is_some() => {
                return Err(not_onnx("it holds two graphs".into()));
            }
            7 => {
                graph = Some(r.payload().map_err(not_onnx)?.clone());
                envelope.push(ModelRecord::Graph(r.raw));
                continue;
            }
            8 => opsets.push(opset(&r).map_err(not_onnx)?),
            20 => trains = true,
            _ => {}
        }
        envelope.push(ModelRecord::Verbatim(r.raw));
    }
    let graph = graph.ok_or_else(|| not_onnx("it holds no graph".into()))?;
    let mut importer = Importer::new(files, ir_version);
    if trains {
        importer.builder.keep_initializers();
    }
    let layout = importer.graph(&graph)?;
    let model = Model {
        graph: importer.builder.finish()?,
        opsets,
        ir_version,
    };
    let envelope = Envelope {
        model: envelope,
        graph: layout,
    };
    Ok((model, envelope))
}

fn opset(r: &Record) -> Result<Opset, String> {
    let proto =
        OperatorSetIdProto::decode(r.payload()?.clone()).map_err(|e| format!("opset: {e}"))?;
    Ok(Opset {
        domain: proto.domain().to_owned(),
        version: proto.version(),
    })
}

pub(crate) struct Importer<'a> {
    pub builder: Builder,
    files: &'a DataFiles,
    ir_version: i64,
    /// Initializers that are inputs too may be a habit of the exporter.
    habits: bool,
    pending: Vec<Pending>,
}

/// A declared operator whose inputs are yet to be connected.
struct Pending {
    node: NodeId,
    inputs: Vec<String>,
    scope: Scope,
}

impl<'a> Importer<'a> {
    fn new(files: &'a DataFiles, ir_version: i64) -> Self {
        Self {
            builder: Builder::new(),
            files,
            ir_version,
            habits: true,
            pending: Vec::new(),
        }
    }

    /// For a graph within another: its initializers that are inputs too are defaults.
    pub fn within(files: &'a DataFiles) -> Self {
        Self {
            habits: false,
            ..Self::new(files, i64::MAX)
        }
    }

    /// Reads a `FunctionProto`.
    pub fn function(&mut self, message: &Bytes) -> Result<Vec<GraphRecord>, Malformed> {
        let part = |e: String| Malformed::part("function", e);
        let all = records(message).map_err(part)?;
        for r in all.iter().filter(|r| r.number == 4) {
            self.builder.input(r.text().map_err(part)?, None)?;
        }
        for r in all.iter().filter(|r| r.number == 7) {
            self.node(r)?;
        }
        self.connect()?;
        let infos = value_infos(&all, 12, "value_info")?;
        self.types(&infos);
        let outputs = all.iter().filter(|r| r.number == 5);
        let outputs = outputs.map(|r| {
            let name = r.text().map_err(part)?.to_owned();
            Ok(Info { name, ty: None })
        });
        self.outputs(&outputs.collect::<Result<Vec<_>, Malformed>>()?)?;
        let mut infos = infos.into_iter();
        let layout = all.into_iter().map(|r| match r.number {
            4 => GraphRecord::Input(r.raw),
            5 => GraphRecord::Output(r.raw),
            7 => GraphRecord::Node,
            12 => match infos.next().and_then(|v| self.builder.find(&v.name)) {
                Some(value) => GraphRecord::About(value, r.raw),
                None => GraphRecord::Verbatim(r.raw),
            },
            _ => GraphRecord::Verbatim(r.raw),
        });
        Ok(layout.collect())
    }

    /// Reads a `GraphProto`.
    pub fn graph(&mut self, message: &Bytes) -> Result<Vec<GraphRecord>, Malformed> {
        let all = records(message).map_err(|e| Malformed::part("graph", e))?;
        let inputs = value_infos(&all, 11, "input")?;
        let listed: BTreeSet<&str> = inputs.iter().map(|v| v.name.as_str()).collect();
        let constants = self.constants(&all, &listed)?;
        self.inputs(&inputs, &constants)?;
        for r in all.iter().filter(|r| r.number == 1) {
            self.node(r)?;
        }
        self.connect()?;
        let infos = value_infos(&all, 13, "value_info")?;
        self.types(&infos);
        let outputs = value_infos(&all, 12, "output")?;
        self.outputs(&outputs)?;
        self.reserve(&all);
        Ok(self.layout(all, inputs, infos, &constants))
    }

    fn inputs(
        &mut self,
        inputs: &[Info],
        constants: &HashMap<String, ValueId>,
    ) -> Result<(), Malformed> {
        for input in inputs {
            if let Some(value) = constants.get(&input.name) {
                if let Some(ty) = &input.ty {
                    self.builder.set_type(*value, ty.clone());
                }
            } else {
                self.builder.input(&input.name, input.ty.clone())?;
            }
        }
        Ok(())
    }

    fn constants(
        &mut self,
        all: &[Record],
        listed: &BTreeSet<&str>,
    ) -> Result<HashMap<String, ValueId>, Malformed> {
        let mut found = HashMap::new();
        // Exporters that list every initializer kept the habit of IR version 3; only one that
        // lists some of them means that those may be overridden.
        let all_listed = self.habits
            && all
                .iter()
                .filter(|r| r.number == 5)
                .filter_map(|r| tensor_name(r.payload().ok()?))
                .all(|name| listed.contains(name.as_str()));
        let by_habit = self.ir_version < OVERRIDABLE_SINCE || all_listed;
        for (i, r) in all
            .iter()
            .filter(|r| r.number == 5 || r.number == 15)
            .enumerate()
        {
            let part = |e: String| Malformed::part(format!("initializer {i}"), e);
            let payload = r.payload().map_err(part)?;
            let (name, tensor) = if r.number == 5 {
                let name = tensor_name(payload).unwrap_or_else(|| format!("{i}"));
                let part = |e: String| Malformed::part(format!("initializer '{name}'"), e);
                let decoded = tensor::decode(payload, self.files).map_err(part)?;
                (decoded.name, decoded.tensor)
            } else {
                sparse(payload).map_err(part)?
            };
            let overridable = !by_habit && listed.contains(name.as_str());
            let value =
                self.builder
                    .initializer_from(&name, tensor, overridable, Some(r.raw.clone()))?;
            found.insert(name, value);
        }
        Ok(found)
    }

    fn node(&mut self, r: &Record) -> Result<(), Malformed> {
        let fallback = |e: String| Malformed::part("node", e);
        let message = r.payload().map_err(fallback)?;
        let mut op = Operator::default();
        let mut inputs = Vec::new();
        let mut outputs = Vec::new();
        let mut attributes = Vec::new();
        for field in records(message).map_err(fallback)? {
            match field.number {
                1 => inputs.push(field.text().map_err(fallback)?.to_owned()),
                2 => outputs.push(field.text().map_err(fallback)?.to_owned()),
                3 => op.name = field.text().map_err(fallback)?.to_owned(),
                4 => op.op_type = field.text().map_err(fallback)?.to_owned(),
                5 => attributes.push(field),
                6 => op.doc_string = field.text().map_err(fallback)?.to_owned(),
                7 => op.domain = field.text().map_err(fallback)?.to_owned(),
                8 => op.overload = field.text().map_err(fallback)?.to_owned(),
                9 => op.metadata.push(field.raw),
                _ => op.extra.push(field.raw),
            }
        }
        let shown = if op.name.is_empty() {
            outputs.first().map_or("", String::as_str)
        } else {
            &op.name
        };
        let part = |e: String| Malformed::part(format!("node '{shown}' ({})", op.op_type), e);
        let mut scope = Scope::default();
        let mut decoded = Vec::with_capacity(attributes.len());
        for field in attributes {
            let payload = field.payload().map_err(part)?;
            decoded.push(
                attribute::decode(&field.raw, payload, self.files, &mut scope).map_err(part)?,
            );
        }
        op.attributes = decoded;
        op.source = Some(r.raw.clone());
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let node = self.builder.declare(op, &outputs)?;
        self.pending.push(Pending {
            node,
            inputs,
            scope,
        });
        Ok(())
    }

    fn connect(&mut self) -> Result<(), Malformed> {
        for pending in std::mem::take(&mut self.pending) {
            let find = |name: &String, builder: &Builder| {
                builder.find(name).ok_or_else(|| IrError::MissingValue {
                    reader: builder.graph().describe(pending.node),
                    value: name.clone(),
                })
            };
            let inputs = pending
                .inputs
                .iter()
                .map(|name| {
                    if name.is_empty() {
                        return Ok(None);
                    }
                    find(name, &self.builder).map(Some)
                })
                .collect::<Result<Vec<_>, _>>()?;
            let captures = pending
                .scope
                .free
                .iter()
                .map(|name| find(name, &self.builder))
                .collect::<Result<Vec<_>, _>>()?;
            for name in &pending.scope.defined {
                self.builder.reserve_name(name);
            }
            self.builder.connect(pending.node, inputs, captures)?;
        }
        Ok(())
    }

    fn types(&mut self, infos: &[Info]) {
        for info in infos {
            match (self.builder.find(&info.name), &info.ty) {
                (Some(value), Some(ty)) => self.builder.set_type(value, ty.clone()),
                (None, _) => self.builder.reserve_name(&info.name),
                _ => {}
            }
        }
    }

    fn outputs(&mut self, outputs: &[Info]) -> Result<(), Malformed> {
        for output in outputs {
            let value = self
                .builder
                .find(&output.name)
                .ok_or_else(|| IrError::MissingValue {
                    reader: "the graph's output".into(),
                    value: output.name.clone(),
                })?;
            if let Some(ty) = &output.ty {
                self.builder.set_type(value, ty.clone());
            }
            self.builder.output(value)?;
        }
        Ok(())
    }

    /// Keeps new values from taking names that quantization annotations refer to.
    fn reserve(&mut self, all: &[Record]) {
        for r in all.iter().filter(|r| r.number == 14) {
            let payload = r.payload().ok();
            let note = payload.and_then(|p| TensorAnnotation::decode(p.clone()).ok());
            for entry in note.iter().flat_map(|n| &n.quant_parameter_tensor_names) {
                self.builder.reserve_name(entry.value());
            }
        }
    }

    fn layout(
        &self,
        all: Vec<Record>,
        inputs: Vec<Info>,
        infos: Vec<Info>,
        constants: &HashMap<String, ValueId>,
    ) -> Vec<GraphRecord> {
        let initializers: Vec<ValueId> = self
            .builder
            .graph()
            .initializers()
            .map(|i| i.value)
            .collect();
        let mut initializers = initializers.into_iter();
        let mut inputs = inputs.into_iter();
        let mut infos = infos.into_iter();
        let layout = all.into_iter().map(|r| match r.number {
            1 => GraphRecord::Node,
            5 | 15 => match initializers.next() {
                Some(value) => GraphRecord::Initializer(value),
                None => GraphRecord::Verbatim(r.raw),
            },
            11 => match inputs.next().and_then(|v| constants.get(&v.name)) {
                Some(value) => GraphRecord::Listing(*value, r.raw),
                None => GraphRecord::Input(r.raw),
            },
            12 => GraphRecord::Output(r.raw),
            13 => match infos.next().and_then(|v| self.builder.find(&v.name)) {
                Some(value) => GraphRecord::About(value, r.raw),
                None => GraphRecord::Verbatim(r.raw),
            },
            _ => GraphRecord::Verbatim(r.raw),
        });
        layout.collect()
    }
}

struct Info {
    name: String,
    ty: Option<ValueType>,
}

fn value_infos(all: &[Record], number: u32, what: &str) -> Result<Vec<Info>, Malformed> {
    let part = |e: String| Malformed::part(what, e);
    let found = all.iter().filter(|r| r.number == number).map(|r| {
        let payload = r.payload().map_err(part)?.clone();
        let proto = ValueInfoProto::decode(payload).map_err(|e| part(e.to_string()))?;
        Ok(Info {
            name: proto.name().to_owned(),
            ty: value_type(&proto),
        })
    });
    found.collect()
}

fn value_type(info: &ValueInfoProto) -> Option<ValueType> {
    let type_proto::Value::TensorType(tensor) = info.r#type.as_ref()?.value.as_ref()? else {
        return None;
    };
    let dims = tensor.shape.as_ref().map(|shape| {
        let dims = shape.dim.iter().map(|d| match &d.value {
            Some(dimension::Value::DimValue(n)) if *n >= 0 => Dim::Known(*n as u64),
            // Exporters write '?' for every extent that they don't know: that names none.
            Some(dimension::Value::DimParam(s)) if s.contains(char::is_alphanumeric) => {
                Dim::Symbol(s.clone())
            }
            _ => Dim::Unknown,
        });
        dims.collect()
    });
    Some(ValueType {
        dtype: DType::from_code(tensor.elem_type()),
        dims,
    })
}

fn tensor_name(message: &Bytes) -> Option<String> {
    let name = records(message)
        .ok()?
        .into_iter()
        .rfind(|r| r.number == 8)?;
    name.text().ok().map(str::to_owned)
}

fn sparse(message: &Bytes) -> Result<(String, Tensor), String> {
    let proto = SparseTensorProto::decode(message.clone()).map_err(|e| e.to_string())?;
    let values = proto.values.ok_or("it has no values")?;
    let dims = proto
        .dims
        .iter()
        .map(|d| usize::try_from(*d).map_err(|_| format!("dimension {d}")))
        .collect::<Result<Vec<_>, _>>()?;
    let dtype = DType::from_code(values.data_type());
    Ok((values.name().to_owned(), Tensor::sparse(dtype, dims)))
}
