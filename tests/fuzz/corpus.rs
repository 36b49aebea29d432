//! Small models that between them use every part of the format: where mutations start.

use prost::Message;
use sepconv_onnx::proto::attribute_proto::AttributeType;
use sepconv_onnx::proto::tensor_shape_proto::{Dimension, dimension};
use sepconv_onnx::proto::type_proto::{Tensor, Value};
use sepconv_onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};

/// ONNX's codes of element types.
const FLOAT: i32 = 1;
const INT64: i32 = 7;
const HALF: i32 = 10;
const DOUBLE: i32 = 11;

/// The models by name, encoded.
pub fn corpus() -> Vec<(&'static str, Vec<u8>)> {
    let models = [
        ("conv1d", network(&[4, 3, 5], FLOAT, &[])),
        (
            "conv2d",
            network(&[4, 3, 3, 3], FLOAT, &[("pads", &[1, 1, 1, 1])]),
        ),
        (
            "conv3d",
            network(&[2, 2, 2, 3, 2], FLOAT, &[("strides", &[2, 1, 2])]),
        ),
        (
            "grouped",
            network(&[4, 2, 3, 3], FLOAT, &[("dilations", &[2, 2])]),
        ),
        ("half", network(&[4, 3, 3, 3], HALF, &[])),
        ("double", network(&[4, 3, 3, 1], DOUBLE, &[])),
        ("old_ir", old_ir()),
        ("batchnorm", batchnorm()),
        ("subgraph", subgraph()),
        ("function", function()),
        ("external", external()),
        ("constant", constant()),
        ("computed", computed()),
    ];
    let encoded = models
        .into_iter()
        .map(|(name, model)| (name, model.encode_to_vec()));
    encoded.collect()
}

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |extent: &i64| Dimension {
        value: Some(match extent {
            0 => dimension::Value::DimParam("N".into()),
            extent => dimension::Value::DimValue(*extent),
        }),
        ..Default::default()
    };
    let shape = TensorShapeProto {
        dim: dims.iter().map(dim).collect(),
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(Value::TensorType(Tensor {
                elem_type: Some(FLOAT),
                shape: Some(shape),
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        name: Some(format!("n_{output}")),
        input: inputs.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Ints as i32),
        ints: values.to_vec(),
        ..Default::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(value),
        ..Default::default()
    }
}

/// Deterministic weights that are not all alike.
fn tensor(name: &str, dims: &[i64], dtype: i32) -> TensorProto {
    let count: i64 = dims.iter().product();
    let values = (0..count).map(|i| ((i * 7 + 3) % 11) as f32 / 11.0 - 0.4);
    let raw: Vec<u8> = match dtype {
        // 1.0 and 1.5 in turn.
        HALF => values
            .flat_map(|v| if v > 0.0 { [0, 0x3c] } else { [0, 0x3e] })
            .collect(),
        DOUBLE => values.flat_map(|v| f64::from(v).to_le_bytes()).collect(),
        INT64 => (0..count).flat_map(|i: i64| i.to_le_bytes()).collect(),
        _ => values.flat_map(f32::to_le_bytes).collect(),
    };
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(dtype),
        raw_data: Some(raw.into()),
        ..Default::default()
    }
}

fn model(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            version: Some(13),
            ..Default::default()
        }],
        producer_name: Some("corpus".into()),
        graph: Some(graph),
        metadata_props: vec![StringStringEntryProto {
            key: Some("k".into()),
            value: Some("v".into()),
        }],
        ..Default::default()
    }
}

/// x -> Conv -> Relu -> y with weights `[Co, Ci, ...]`.
fn network(weight: &[i64], dtype: i32, attributes: &[(&str, &[i64])]) -> ModelProto {
    let mut conv = node("Conv", &["x", "w", "b"], "h");
    conv.attribute
        .extend(attributes.iter().map(|(name, values)| ints(name, values)));
    let groups = if weight[1] == 2 && weight.len() == 4 {
        2
    } else {
        1
    };
    conv.attribute.push(int("group", groups));
    let mut input = vec![0, weight[1] * groups];
    input.extend(weight[2..].iter().map(|_| 9));
    model(GraphProto {
        name: Some("g".into()),
        node: vec![conv, node("Relu", &["h"], "y")],
        initializer: vec![tensor("w", weight, dtype), tensor("b", &weight[..1], dtype)],
        input: vec![value("x", &input)],
        output: vec![value("y", &[])],
        value_info: vec![value("h", &[])],
        ..Default::default()
    })
}

fn graph_of(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.get_or_insert_default()
}

/// Initializers that are inputs too, as below IR version 4.
fn old_ir() -> ModelProto {
    let mut model = network(&[4, 3, 3, 3], FLOAT, &[]);
    model.ir_version = Some(3);
    graph_of(&mut model)
        .input
        .extend([value("w", &[4, 3, 3, 3]), value("b", &[4])]);
    model
}

fn batchnorm() -> ModelProto {
    let mut model = network(&[4, 3, 3, 3], FLOAT, &[]);
    let graph = graph_of(&mut model);
    graph.node[1] = node("BatchNormalization", &["h", "s", "t", "m", "v"], "y");
    graph
        .initializer
        .extend(["s", "t", "m", "v"].map(|name| tensor(name, &[4], FLOAT)));
    model
}

/// An `If` whose branches capture the convolution's output and have one of their own.
fn subgraph() -> ModelProto {
    let mut model = network(&[4, 3, 3, 3], FLOAT, &[]);
    let branch = |name: &str| AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Graph as i32),
        g: Some(GraphProto {
            name: Some(name.into()),
            node: vec![node("Conv", &["h", "inner_w"], "inner")],
            initializer: vec![tensor("inner_w", &[4, 4, 3, 3], FLOAT)],
            output: vec![value("inner", &[])],
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut choice = node("If", &["flag"], "y");
    choice.attribute = vec![branch("then_branch"), branch("else_branch")];
    let graph = graph_of(&mut model);
    graph.node[1] = choice;
    graph.input.push(value("flag", &[]));
    model
}

fn function() -> ModelProto {
    let mut model = network(&[4, 3, 3, 3], FLOAT, &[]);
    let call = NodeProto {
        domain: Some("local".into()),
        ..node("Block", &["h"], "y")
    };
    graph_of(&mut model).node[1] = call;
    model.opset_import.push(OperatorSetIdProto {
        domain: Some("local".into()),
        version: Some(1),
    });
    model.functions.push(FunctionProto {
        name: Some("Block".into()),
        domain: Some("local".into()),
        input: vec!["a".into()],
        output: vec!["b".into()],
        node: vec![node("Relu", &["a"], "b")],
        ..Default::default()
    });
    model
}

/// Weights in another file, which is not there.
fn external() -> ModelProto {
    let mut model = network(&[4, 3, 3, 3], FLOAT, &[]);
    let weight = &mut graph_of(&mut model).initializer[0];
    weight.raw_data = None;
    weight.data_location = Some(1);
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: Some(key.into()),
        value: Some(value.into()),
    };
    weight.external_data = vec![
        entry("location", "weights.bin"),
        entry("offset", "4096"),
        entry("length", "432"),
    ];
    model
}

/// Weights that a `Constant` node makes, reshaped by a shape that is an initializer.
fn constant() -> ModelProto {
    let mut model = network(&[4, 3, 3, 3], FLOAT, &[]);
    let graph = graph_of(&mut model);
    let weight = graph.initializer.remove(0);
    let mut made = node("Constant", &[], "flat");
    made.attribute.push(AttributeProto {
        name: Some("value".into()),
        r#type: Some(AttributeType::Tensor as i32),
        t: Some(TensorProto {
            dims: vec![108],
            ..weight
        }),
        ..Default::default()
    });
    let shape = [4i64, 3, 3, 3]
        .iter()
        .flat_map(|d| d.to_le_bytes())
        .collect::<Vec<u8>>();
    graph.initializer.push(TensorProto {
        raw_data: Some(shape.into()),
        ..tensor("shape", &[4], INT64)
    });
    graph
        .node
        .insert(0, node("Reshape", &["flat", "shape"], "w"));
    graph.node.insert(0, made);
    model
}

/// A weight that operators make: normalised rows, cut, padded, moved, quantised and back.
fn computed() -> ModelProto {
    let mut model = network(&[4, 3, 3, 3], FLOAT, &[]);
    let graph = graph_of(&mut model);
    graph.initializer[0].name = Some("v".into());
    let long = |name: &str, values: &[i64]| TensorProto {
        raw_data: Some(
            values
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect::<Vec<u8>>()
                .into(),
        ),
        ..tensor(name, &[values.len() as i64], INT64)
    };
    graph.initializer.extend([
        long("axes", &[1, 2, 3]),
        long("one", &[1]),
        long("end", &[4]),
        long("pads", &[0, 0, 0, 0, 0, 0, 0, 1]),
        long("shape", &[4, 3, 3, 4]),
        tensor("scale", &[1], FLOAT),
    ]);
    let mut norm = node("ReduceL2", &["v"], "n");
    norm.attribute.push(ints("axes", &[1, 2, 3]));
    let mut turned = node("Transpose", &["d"], "t");
    turned.attribute.push(ints("perm", &[3, 2, 1, 0]));
    let all = [
        norm,
        node("Div", &["v", "n"], "d"),
        turned,
        node("Transpose", &["t"], "u"),
        node("Pad", &["u", "pads"], "p"),
        node("Reshape", &["p", "shape"], "r"),
        node("Slice", &["r", "one", "end", "axes_3"], "s"),
        node("QuantizeLinear", &["s", "scale"], "q"),
        node("DequantizeLinear", &["q", "scale"], "w"),
    ];
    graph.initializer.push(long("axes_3", &[3]));
    for (at, node) in all.into_iter().enumerate() {
        graph.node.insert(at, node);
    }
    model
}
