//! Models survive import and export: byte for byte where nothing changed, field for field
//! around what did.
#![allow(clippy::unwrap_used)]

mod building;
#[path = "../../../tests/e2e/support/skipped.rs"]
mod skipped;

use std::path::Path;

use building::{both, choice, info, node};
use bytes::Bytes;
use prost::Message;
use sepconv_ir::{DType, Dim, Operator, Patch, Tensor, ValueType};
use sepconv_onnx::proto::tensor_shape_proto::{Dimension, dimension};
use sepconv_onnx::proto::type_proto::{self, Value};
use sepconv_onnx::proto::{
    GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};
use sepconv_onnx::{Document, write_atomic};
use skipped::skipped;

fn weight(name: &str) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: vec![1, 1, 1, 1],
        data_type: Some(1),
        raw_data: Some(2f32.to_le_bytes().to_vec().into()),
        ..Default::default()
    }
}

/// x -> Conv(w) -> y -> Foo (custom) -> z, with an If that captures y.
fn model() -> ModelProto {
    let branch = GraphProto {
        name: Some("then".into()),
        node: vec![node("Relu", "r", &["y"], &["inner"])],
        output: vec![info("inner")],
        ..Default::default()
    };
    let choose = choice("choose", "flag", &["picked"], both(&branch));
    let mut custom = node("Foo", "foo", &["y", ""], &["z"]);
    custom.domain = Some("com.example".into());
    ModelProto {
        ir_version: Some(8),
        producer_name: Some("test".into()),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(17),
        }],
        graph: Some(GraphProto {
            name: Some("g".into()),
            node: vec![node("Conv", "c", &["x", "w"], &["y"]), custom, choose],
            initializer: vec![weight("w")],
            input: vec![info("x"), info("flag")],
            output: vec![info("z"), info("picked")],
            value_info: vec![info("y"), info("never")],
            ..Default::default()
        }),
        metadata_props: vec![StringStringEntryProto {
            key: Some("k".into()),
            value: Some("v".into()),
        }],
        ..Default::default()
    }
}

/// The model's bytes with unknown fields and a non-minimal varint mixed in.
fn with_oddities() -> Bytes {
    let mut raw = vec![0x08, 0x88, 0x00]; // ir_version 8, encoded in two bytes
    raw.extend(model().encode_to_vec());
    raw.extend([0xfa, 0x3e, 0x03, b'o', b'd', b'd']); // unknown field 1007
    raw.into()
}

fn split_conv(doc: &mut Document) {
    let graph = &mut doc.model.graph;
    let (id, op) = graph.operators().find(|(_, op)| op.is("Conv")).unwrap();
    let (x, y) = (op.input(0).unwrap(), op.output(0).unwrap());
    let mut patch = Patch::replace("test", id);
    let w = patch.initializer("c/dw.weight", Tensor::from_f32(vec![1, 1, 1, 1], vec![3.0]));
    let dw = Operator::new("Conv", "c/dw");
    patch.operator_into(dw, vec![Some(x.into()), Some(w)], y);
    graph.apply(patch).unwrap();
    graph.verify().unwrap();
}

#[test]
fn an_untouched_model_keeps_every_byte() {
    let raw = with_oddities();
    let doc = Document::from_bytes(raw.clone()).unwrap();
    assert_eq!(doc.encode().to_bytes(), raw);
}

#[test]
fn an_edited_model_keeps_all_else() {
    let raw = with_oddities();
    let mut doc = Document::from_bytes(raw.clone()).unwrap();
    split_conv(&mut doc);
    let out = doc.encode().to_bytes();
    assert!(out.ends_with(b"odd"), "unknown fields stay");
    let mut expected = model();
    let graph = expected.graph.as_mut().unwrap();
    graph.node[0] = node("Conv", "c/dw", &["x", "c/dw.weight"], &["y"]);
    graph.initializer[0] = TensorProto {
        raw_data: Some(3f32.to_le_bytes().to_vec().into()),
        ..weight("c/dw.weight")
    };
    assert_eq!(ModelProto::decode(out).unwrap(), expected);
}

#[test]
fn before_ir_version_4_new_initializers_are_inputs_too() {
    let mut proto = model();
    proto.ir_version = Some(3);
    proto.graph.as_mut().unwrap().input.push(info("w"));
    let mut doc = Document::from_bytes(proto.encode_to_vec().into()).unwrap();
    assert_eq!(doc.model.graph.inputs().count(), 2);
    split_conv(&mut doc);
    let out = ModelProto::decode(doc.encode().to_bytes()).unwrap();
    let graph = out.graph.unwrap();
    let names: Vec<_> = graph.input.iter().map(|v| v.name()).collect();
    assert_eq!(names, ["x", "flag", "c/dw.weight"]);
    // A part without the initializer is without the input.
    let graph = &doc.model.graph;
    let (y, z) = (graph.find("y").unwrap(), graph.find("z").unwrap());
    let parts = [
        (doc.segment(&[(y, (DType::F32, vec![1]))], &[z]), vec!["y"]),
        (doc.probe(&[y]), vec!["x", "flag", "c/dw.weight"]),
    ];
    for (part, expected) in parts {
        let part = ModelProto::decode(part.skeleton).unwrap().graph.unwrap();
        let names: Vec<_> = part.input.iter().map(|v| v.name()).collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn an_overridable_weight_is_no_constant() {
    let mut proto = model();
    let graph = proto.graph.as_mut().unwrap();
    graph.input.push(info("w"));
    graph.initializer.push(weight("unlisted"));
    let doc = Document::from_bytes(proto.encode_to_vec().into()).unwrap();
    let graph = &doc.model.graph;
    assert!(graph.constant(graph.find("w").unwrap()).is_none());
}

#[test]
fn listing_every_initializer_is_a_habit() {
    let mut proto = model();
    proto.graph.as_mut().unwrap().input.push(info("w"));
    let mut doc = Document::from_bytes(proto.encode_to_vec().into()).unwrap();
    let graph = &doc.model.graph;
    assert!(graph.constant(graph.find("w").unwrap()).is_some());
    // With initializers that are not listed beside them it would be a meaning.
    split_conv(&mut doc);
    let out = ModelProto::decode(doc.encode().to_bytes()).unwrap();
    let inputs = out.graph.unwrap().input;
    let names: Vec<_> = inputs.iter().map(|v| v.name()).collect();
    assert_eq!(names, ["x", "flag"]);
}

#[test]
fn weights_are_not_copied() {
    let raw = Bytes::from(model().encode_to_vec());
    let doc = Document::from_bytes(raw.clone()).unwrap();
    let graph = &doc.model.graph;
    let tensor = graph.constant(graph.find("w").unwrap()).unwrap();
    assert!(
        raw.as_ptr_range()
            .contains(&tensor.data().unwrap().as_ptr())
    );
}

#[test]
fn a_probe_has_other_outputs_and_no_more_than_they_need() {
    let doc = Document::from_bytes(model().encode_to_vec().into()).unwrap();
    let y = doc.model.graph.find("y").unwrap();
    let probed = ModelProto::decode(doc.probe(&[y]).skeleton).unwrap();
    let graph = probed.graph.unwrap();
    let names = |values: &[ValueInfoProto]| -> Vec<String> {
        values.iter().map(|v| v.name().to_owned()).collect()
    };
    assert_eq!(names(&graph.output), ["y"]);
    assert_eq!(names(&graph.input), ["x", "flag"]);
    let ops: Vec<&str> = graph.node.iter().map(|n| n.op_type()).collect();
    assert_eq!(ops, ["Conv"]);
}

#[test]
fn broken_models_are_refused_with_a_reason() {
    let refused = |raw: &[u8]| {
        let err = Document::from_bytes(Bytes::copy_from_slice(raw)).unwrap_err();
        let line = err.to_string();
        assert!(!line.contains('\n'), "{line}");
        line
    };
    assert!(refused(b"Hello, this is a text file.\n").contains("not an ONNX model"));
    let raw = model().encode_to_vec();
    assert!(refused(&raw[..raw.len() / 2]).contains("truncated"));
    assert!(refused(b"\x08\x08").contains("holds no graph"));
    let mut missing = model();
    missing.graph.as_mut().unwrap().initializer.clear();
    assert_eq!(
        refused(&missing.encode_to_vec()),
        "<bytes>: node 'c' (Conv) reads 'w', which nothing produces"
    );
    let mut twice = model();
    let graph = twice.graph.as_mut().unwrap();
    graph.node.push(node("Relu", "again", &["x"], &["y"]));
    assert!(refused(&twice.encode_to_vec()).contains("'y' is defined twice"));
    let mut short = model();
    short.graph.as_mut().unwrap().initializer[0].dims = vec![2];
    assert_eq!(
        refused(&short.encode_to_vec()),
        "<bytes>: initializer 'w': 4 bytes of data for f32[2], which needs 8"
    );
}

#[test]
fn no_prefix_of_a_model_panics() {
    let raw = with_oddities();
    for end in 0..raw.len() {
        let _ = Document::from_bytes(raw.slice(..end));
    }
}

#[test]
fn files_are_written_whole_and_only_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    write_atomic(&path, false, b"one").unwrap();
    let err = write_atomic(&path, false, b"two").unwrap_err();
    assert!(err.to_string().contains("exists already"), "{err}");
    assert_eq!(std::fs::read(&path).unwrap(), b"one");
    write_atomic(&path, true, b"two").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"two");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn shared_models_round_trip() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models");
    let Ok(entries) = std::fs::read_dir(folder) else {
        return skipped("no ../shared");
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let doc = Document::open(&path).unwrap();
        let raw = std::fs::read(&path).unwrap();
        assert_eq!(doc.encode().to_bytes(), raw, "{}", path.display());
    }
}

/// Paddle's exporter calls every extent that it doesn't know '?': they need not be the same.
#[test]
fn a_question_mark_names_no_extent() {
    let symbols = ["N", "?", "?", ""];
    let dim = symbols.map(|s| Dimension {
        value: Some(dimension::Value::DimParam(s.into())),
        denotation: None,
    });
    let mut proto = model();
    let graph = proto.graph.as_mut().unwrap();
    graph.input[0].r#type = Some(TypeProto {
        value: Some(Value::TensorType(type_proto::Tensor {
            elem_type: Some(1),
            shape: Some(TensorShapeProto { dim: dim.to_vec() }),
        })),
        denotation: None,
    });
    let bytes = Bytes::from(proto.encode_to_vec());
    let document = Document::from_bytes(bytes.clone()).unwrap();
    let graph = &document.model.graph;
    let x = graph.inputs().next().unwrap();
    let expected = ValueType {
        dtype: DType::F32,
        dims: Some(vec![
            Dim::Symbol("N".into()),
            Dim::Unknown,
            Dim::Unknown,
            Dim::Unknown,
        ]),
    };
    assert_eq!(graph.value(x).unwrap().ty, Some(expected));
    assert_eq!(document.encode().to_bytes(), bytes);
}
