//! Parts of models, for the tests.
#![allow(dead_code)] // Not every test builds all of them.

use sepconv_onnx::proto::attribute_proto::AttributeType;
use sepconv_onnx::proto::{AttributeProto, GraphProto, NodeProto, ValueInfoProto};

pub fn info(name: &str) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(name.into()),
        ..Default::default()
    }
}

pub fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

pub fn node(op: &str, name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        name: Some(name.into()),
        input: strings(inputs),
        output: strings(outputs),
        ..Default::default()
    }
}

/// An `If` on `flag`.
pub fn choice(
    name: &str,
    flag: &str,
    outputs: &[&str],
    branches: [(&str, GraphProto); 2],
) -> NodeProto {
    let mut choose = node("If", name, &[flag], outputs);
    for (name, branch) in branches {
        choose.attribute.push(AttributeProto {
            name: Some(name.into()),
            r#type: Some(AttributeType::Graph as i32),
            g: Some(branch),
            ..Default::default()
        });
    }
    choose
}

/// Both branches of an `If` alike.
pub fn both(branch: &GraphProto) -> [(&'static str, GraphProto); 2] {
    ["then_branch", "else_branch"].map(|name| (name, branch.clone()))
}
