//! Small models for the tests of several crates, and the runtime that judges them.
//!
//! The crates take this file in by its path: a feature of one of them would give `cargo test` other crates than
//! `cargo build` and the wheel have, and build all of them twice.
#![allow(clippy::unwrap_used, dead_code)]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use sepconv_analysis::Pins;
use sepconv_ir::{DType, Tensor};
use sepconv_onnx::Document;
use sepconv_onnx::proto::attribute_proto::AttributeType;
use sepconv_onnx::proto::tensor_shape_proto::{Dimension, dimension};
use sepconv_onnx::proto::type_proto::{self, Value};
use sepconv_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};
use sepconv_targets::{Target, find, use_onnxruntime};

use sepconv_model::{DataSource, Loaded};

/// A model under construction, of opset 17.
pub struct Net {
    graph: GraphProto,
    /// 9 unless it is changed.
    pub ir_version: i64,
    /// Element type of weights and of values.
    dtype: DType,
}

/// A number or a list or a text that an operator is given.
#[derive(Clone, Copy)]
pub enum Arg<'a> {
    /// A number.
    Int(i64),
    /// A list of numbers.
    Ints(&'a [i64]),
    /// A text.
    Text(&'a str),
}

impl Net {
    /// Without a node, of values of an element type.
    pub fn new(dtype: DType) -> Self {
        Self {
            graph: GraphProto {
                name: Some("g".into()),
                ..GraphProto::default()
            },
            ir_version: 9,
            dtype,
        }
    }

    fn info(&self, name: &str, dims: Option<&[i64]>) -> ValueInfoProto {
        let dim = |n: &i64| Dimension {
            // A negative extent is free.
            value: Some(match n {
                0.. => dimension::Value::DimValue(*n),
                _ => dimension::Value::DimParam("n".into()),
            }),
            denotation: None,
        };
        let shape = dims.map(|dims| TensorShapeProto {
            dim: dims.iter().map(dim).collect(),
        });
        ValueInfoProto {
            name: Some(name.into()),
            r#type: Some(TypeProto {
                value: Some(Value::TensorType(type_proto::Tensor {
                    elem_type: Some(self.dtype.code()),
                    shape,
                })),
                denotation: None,
            }),
            ..ValueInfoProto::default()
        }
    }

    /// A graph input; a negative extent is free.
    pub fn input(&mut self, name: &str, dims: &[i64]) {
        self.graph.input.push(self.info(name, Some(dims)));
    }

    /// A graph output.
    pub fn output(&mut self, name: &str) {
        self.graph.output.push(self.info(name, None));
    }

    /// An initializer of seeded weights.
    pub fn weight(&mut self, name: &str, dims: &[usize]) {
        let fan = dims.iter().skip(1).product::<usize>().max(1) as f32;
        let count = dims.iter().product();
        let mut values = noise(count, name.bytes().map(u64::from).sum());
        values.iter_mut().for_each(|v| *v /= fan.sqrt());
        self.constant(name, dims, values);
    }

    /// An initializer.
    pub fn constant(&mut self, name: &str, dims: &[usize], values: Vec<f32>) {
        let tensor = Tensor::from_floats(self.dtype, dims.to_vec(), values).unwrap();
        let made = encoded(name, &tensor);
        self.graph.initializer.push(made);
        if self.ir_version < 4 {
            let dims: Vec<i64> = dims.iter().map(|d| *d as i64).collect();
            self.input(name, &dims);
        }
    }

    /// A sparse initializer: every third element of seeded weights.
    pub fn sparse_weight(&mut self, name: &str, dims: &[usize]) {
        let count: usize = dims.iter().product();
        let kept: Vec<i64> = (0..count as i64).step_by(3).collect();
        let values = Tensor::from_floats(self.dtype, vec![kept.len()], noise(kept.len(), 5));
        self.graph.sparse_initializer.push(SparseTensorProto {
            values: Some(encoded(name, &values.unwrap())),
            indices: Some(encoded("", &Tensor::from_i64(vec![kept.len()], &kept))),
            dims: dims.iter().map(|d| *d as i64).collect(),
        });
    }

    /// A node that is called as its output is.
    pub fn node(&mut self, op: &str, inputs: &[&str], output: &str, args: &[(&str, Arg<'_>)]) {
        let attribute = |(name, arg): &(&str, Arg<'_>)| {
            let mut made = AttributeProto {
                name: Some((*name).into()),
                ..AttributeProto::default()
            };
            let kind = match arg {
                Arg::Int(value) => {
                    made.i = Some(*value);
                    AttributeType::Int
                }
                Arg::Ints(values) => {
                    made.ints = values.to_vec();
                    AttributeType::Ints
                }
                Arg::Text(text) => {
                    made.s = Some(Bytes::copy_from_slice(text.as_bytes()));
                    AttributeType::String
                }
            };
            made.r#type = Some(kind as i32);
            made
        };
        self.graph.node.push(NodeProto {
            op_type: Some(op.into()),
            name: Some(output.into()),
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.into()],
            attribute: args.iter().map(attribute).collect(),
            ..NodeProto::default()
        });
    }

    /// The encoded model.
    pub fn bytes(&self) -> Bytes {
        let proto = ModelProto {
            ir_version: Some(self.ir_version),
            opset_import: vec![OperatorSetIdProto {
                domain: None,
                version: Some(if self.ir_version < 4 { 8 } else { 17 }),
            }],
            graph: Some(self.graph.clone()),
            ..ModelProto::default()
        };
        proto.encode_to_vec().into()
    }

    /// The model with its shapes.
    pub fn loaded(&self) -> Loaded {
        let document = Document::from_bytes(self.bytes()).unwrap();
        Loaded::new(document, &Pins::default()).unwrap()
    }
}

fn encoded(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: tensor.dims().iter().map(|d| *d as i64).collect(),
        data_type: Some(tensor.dtype().code()),
        raw_data: tensor.data().cloned(),
        ..TensorProto::default()
    }
}

/// Seeded numbers between -1 and 1.
pub fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Seeded samples for a model of one input.
pub fn samples(dims: &[usize]) -> DataSource {
    let values = noise(dims.iter().product(), 77);
    DataSource::memory(vec![Tensor::from_f32(dims.to_vec(), values)])
}

/// ONNX Runtime, where it is found: where `SEPCONV_ONNXRUNTIME` says, or in the virtual
/// environment that `tests/run` makes.
pub fn onnxruntime() -> Option<&'static dyn Target> {
    let python = std::env::var_os("SEPCONV_PYTHON").map(PathBuf::from);
    let environment = python.as_deref().and_then(|p| p.parent()?.parent());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv");
    let environment = environment.unwrap_or(&root);
    if std::env::var_os("SEPCONV_ONNXRUNTIME").is_none() && environment.exists() {
        // Another test may have named it before.
        let _ = use_onnxruntime(environment);
    }
    let target = find("onnxruntime").unwrap();
    target.available().is_ok().then_some(target)
}
