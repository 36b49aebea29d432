//! Every runtime runs exported models from their detached encoding.
//!
//! ONNX Runtime and OpenVINO are tested where they are found: where `SEPCONV_ONNXRUNTIME` and
//! `SEPCONV_OPENVINO` say, or in the virtual environment that `tests/run` makes.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/e2e/support/skipped.rs"]
mod skipped;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Once;

use prost::Message;
use sepconv_ir::{DType, Tensor};
use sepconv_onnx::Document;
use sepconv_onnx::proto::tensor_shape_proto::{Dimension, dimension};
use sepconv_onnx::proto::type_proto::{self, Value};
use sepconv_onnx::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto,
};
use sepconv_targets::{
    InputSpec, LoadOptions, Target, TargetError, targets, use_onnxruntime, use_openvino,
};
use skipped::skipped;

const N: usize = 20;

/// y = x · w, with w larger than the tensors that stay inline.
fn model(domain: &str, op: &str) -> Document {
    let info = |name: &str, dims: &[dimension::Value]| ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(Value::TensorType(type_proto::Tensor {
                elem_type: Some(1),
                shape: Some(TensorShapeProto {
                    dim: dims
                        .iter()
                        .map(|d| Dimension {
                            value: Some(d.clone()),
                            denotation: None,
                        })
                        .collect(),
                }),
            })),
            denotation: None,
        }),
        ..Default::default()
    };
    let batch = dimension::Value::DimParam("N".into());
    let n = dimension::Value::DimValue(N as i64);
    let proto = ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: None,
            version: Some(13),
        }],
        graph: Some(GraphProto {
            name: Some("g".into()),
            node: vec![NodeProto {
                name: Some("mm".into()),
                op_type: Some(op.into()),
                domain: Some(domain.into()),
                input: vec!["x".into(), "w".into()],
                output: vec!["y".into()],
                ..Default::default()
            }],
            initializer: vec![TensorProto {
                name: Some("w".into()),
                dims: vec![N as i64, N as i64],
                data_type: Some(1),
                raw_data: Some(vec![1f32.to_le_bytes(); N * N].concat().into()),
                ..Default::default()
            }],
            input: vec![info("x", &[batch.clone(), n.clone()])],
            output: vec![info("y", &[batch, n])],
            ..Default::default()
        }),
        ..Default::default()
    };
    Document::from_bytes(proto.encode_to_vec().into()).unwrap()
}

/// The targets that are available here.
fn available() -> Vec<&'static dyn Target> {
    static NAMED: Once = Once::new();
    NAMED.call_once(|| {
        let python = std::env::var_os("SEPCONV_PYTHON").map(PathBuf::from);
        let environment = python.as_deref().and_then(|p| p.parent()?.parent());
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv");
        let environment = environment.unwrap_or(&root);
        let free = |variable| std::env::var_os(variable).is_none() && environment.exists();
        if free("SEPCONV_ONNXRUNTIME") {
            use_onnxruntime(environment).unwrap();
        }
        if free("SEPCONV_OPENVINO") {
            use_openvino(environment).unwrap();
        }
    });
    let all = targets().iter().copied();
    let found: Vec<_> = all.filter(|target| target.available().is_ok()).collect();
    assert_eq!(found[0].name(), "tract");
    found
}

/// The tests of this file go over the runtimes that are found; those that are not are told here.
#[test]
fn every_runtime_is_tested() {
    available();
    let mut missing = Vec::new();
    for target in targets() {
        if let Err(reason) = target.available() {
            let reason = reason.to_string();
            assert!(reason.contains(target.name()), "{reason}");
            missing.push(reason);
        }
    }
    if !missing.is_empty() {
        skipped(&missing.join("; "));
    }
}

fn spec() -> InputSpec {
    InputSpec {
        name: "x".into(),
        dtype: DType::F32,
        dims: vec![2, N],
    }
}

#[test]
fn weights_come_from_memory() {
    let detached = model("", "MatMul").detach();
    assert_eq!(detached.tensors.len(), 1);
    let x = Tensor::from_f32(vec![2, N], vec![0.5; 2 * N]);
    for target in available() {
        let session = target.load(&detached, &[spec()]).unwrap();
        for _ in 0..2 {
            let y = session.run(std::slice::from_ref(&x)).unwrap();
            assert_eq!(y[0].dims(), [2, N], "{}", target.name());
            assert_eq!(
                &*y[0].to_f32().unwrap(),
                &[10.0; 2 * N],
                "{}",
                target.name()
            );
        }
    }
}

#[test]
fn several_threads_compute_the_same() {
    let detached = model("", "MatMul").detach();
    let x = Tensor::from_f32(vec![2, N], vec![0.5; 2 * N]);
    for target in available() {
        for threads in [1, 3] {
            let options = LoadOptions {
                threads: NonZeroUsize::new(threads),
            };
            let session = target.load_with(&detached, &[spec()], options).unwrap();
            let y = session.run(std::slice::from_ref(&x)).unwrap();
            assert_eq!(
                &*y[0].to_f32().unwrap(),
                &[10.0; 2 * N],
                "{}",
                target.name()
            );
        }
    }
}

#[test]
fn prepared_inputs_can_be_run_again_and_again() {
    let detached = model("", "MatMul").detach();
    let x = Tensor::from_f32(vec![2, N], vec![0.5; 2 * N]);
    for target in available() {
        let session = target.load(&detached, &[spec()]).unwrap();
        let mut prepared = session.prepare(std::slice::from_ref(&x)).unwrap();
        (0..3).for_each(|_| prepared.run().unwrap());
        assert!(session.prepare(&[]).is_err());
    }
}

#[test]
fn wrong_inputs_are_named() {
    let detached = model("", "MatMul").detach();
    for target in available() {
        let session = target.load(&detached, &[spec()]).unwrap();
        let name = target.name();
        let x = Tensor::from_f32(vec![N], vec![0.5; N]);
        let expected = format!("{name} can't run it: input 'x' is f32[20], expected f32[2, 20]");
        let error = |inputs: &[Tensor]| session.run(inputs).unwrap_err().to_string();
        assert_eq!(error(std::slice::from_ref(&x)), expected);
        let expected = format!("{name} can't run it: 0 inputs given, 1 expected");
        assert_eq!(error(&[]), expected);
    }
}

#[test]
fn unknown_operators_and_domains_are_refused() {
    for target in available() {
        for (domain, op) in [("", "Nonsense"), ("com.example", "MatMul")] {
            let result = target.load(&model(domain, op).detach(), &[spec()]);
            let Err(TargetError::Load { reason, .. }) = result else {
                panic!("{domain} {op} was loaded by {}", target.name());
            };
            assert!(reason.contains(op), "{reason}");
            assert_eq!(reason.lines().count(), 1, "{reason}");
        }
    }
}

#[test]
fn versions_are_known() {
    for target in available() {
        let version = target.version();
        let numbers = version.split('.').map(str::parse::<u32>);
        assert!(numbers.filter(Result::is_ok).count() >= 2, "{version}");
    }
}

#[test]
fn a_library_named_after_one_was_loaded_comes_too_late() {
    available();
    for named in [use_onnxruntime, use_openvino] {
        let error = named(Path::new("/nowhere")).unwrap_err();
        assert!(error.to_string().contains("/nowhere"), "{error}");
    }
}

/// x -> (x + w) · w … with w of ones, `count` times.
fn chain(count: usize) -> Document {
    let one = model("", "Add").encode().to_bytes();
    let mut proto = ModelProto::decode(one).unwrap();
    let graph = proto.graph.as_mut().unwrap();
    graph.initializer[0].dims = vec![N as i64];
    graph.initializer[0].raw_data = Some([1f32.to_le_bytes(); N].concat().into());
    let first = graph.node.remove(0);
    graph.node = (0..count)
        .map(|i| NodeProto {
            name: Some(format!("n{i}")),
            op_type: Some(if i % 2 == 0 { "Add" } else { "Mul" }.into()),
            input: match i {
                0 => first.input.clone(),
                _ => vec![format!("v{}", i - 1), "w".into()],
            },
            output: vec![if i + 1 == count {
                "y".into()
            } else {
                format!("v{i}")
            }],
            ..Default::default()
        })
        .collect();
    Document::from_bytes(proto.encode_to_vec().into()).unwrap()
}

#[test]
fn long_graphs_compute_what_short_ones_do() {
    let count = 3000;
    let x = Tensor::from_f32(vec![2, N], vec![0.5; 2 * N]);
    let target = sepconv_targets::reference();
    let session = target.load(&chain(count).detach(), &[spec()]).unwrap();
    let y = session.run(std::slice::from_ref(&x)).unwrap();
    assert_eq!(y.len(), 1);
    let sum = 0.5 + count as f32 / 2.0;
    assert_eq!(y[0].to_f32().unwrap()[..], [sum; 2 * N]);
    session.prepare(&[x]).unwrap().run().unwrap();
}
