//! tract runs exported models from their detached encoding.
#![allow(clippy::unwrap_used)]

use prost::Message;
use sepconv_ir::{DType, Tensor};
use sepconv_onnx::Document;
use sepconv_onnx::proto::tensor_shape_proto::{Dimension, dimension};
use sepconv_onnx::proto::type_proto::{self, Value};
use sepconv_onnx::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto,
};
use sepconv_targets::{InputSpec, TargetError, reference};

const N: usize = 20;

/// y = x · w, with w larger than what stays inline.
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
    let session = reference().load(&detached, &[spec()]).unwrap();
    let x = Tensor::from_f32(vec![2, N], vec![0.5; 2 * N]);
    let y = session.run(&[x]).unwrap();
    assert_eq!(&*y[0].to_f32().unwrap(), &[10.0; 2 * N]);
}

#[test]
fn wrong_inputs_are_named() {
    let detached = model("", "MatMul").detach();
    let session = reference().load(&detached, &[spec()]).unwrap();
    let x = Tensor::from_f32(vec![N], vec![0.5; N]);
    let err = session.run(&[x]).unwrap_err().to_string();
    assert_eq!(
        err,
        "tract can't run it: input 'x' is f32[20], expected f32[2, 20]"
    );
}

#[test]
fn unknown_operators_and_domains_are_refused() {
    for (domain, op) in [("", "Nonsense"), ("com.example", "MatMul")] {
        let result = reference().load(&model(domain, op).detach(), &[spec()]);
        let Err(TargetError::Load { reason, .. }) = result else {
            panic!("{domain} {op} was loaded");
        };
        assert!(reason.contains(op), "{reason}");
    }
}
