//! Calls of local functions written out.
#![allow(clippy::unwrap_used)]

mod building;

use building::{both, choice, info, node, strings};
use prost::Message;
use sepconv_onnx::proto::attribute_proto::AttributeType;
use sepconv_onnx::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto,
};
use sepconv_onnx::{Body, Document, OnnxError};

fn call(op: &str, name: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    NodeProto {
        domain: Some("local".into()),
        ..node(op, name, inputs, outputs)
    }
}

fn tensor(name: &str, value: f32) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: vec![1],
        data_type: Some(1),
        raw_data: Some(value.to_le_bytes().to_vec().into()),
        ..Default::default()
    }
}

fn constant(output: &str) -> NodeProto {
    let mut constant = node("Constant", "", &[], &[output]);
    constant.attribute.push(AttributeProto {
        name: Some("value".into()),
        r#type: Some(AttributeType::Tensor as i32),
        t: Some(tensor("", 2.0)),
        ..Default::default()
    });
    constant
}

fn number(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Float as i32),
        f: Some(value),
        ..Default::default()
    }
}

/// An attribute that the caller of the function gives as `slope`.
fn given(name: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Float as i32),
        ref_attr_name: Some("slope".into()),
        ..Default::default()
    }
}

fn function(name: &str, inputs: &[&str], outputs: &[&str], nodes: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: Some(name.into()),
        domain: Some("local".into()),
        input: strings(inputs),
        output: strings(outputs),
        node: nodes,
        opset_import: vec![opset("", 17)],
        ..Default::default()
    }
}

fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: Some(domain.into()),
        version: Some(version),
    }
}

fn model(nodes: Vec<NodeProto>, functions: Vec<FunctionProto>) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![opset("", 17), opset("local", 1)],
        graph: Some(GraphProto {
            name: Some("g".into()),
            node: nodes,
            input: vec![info("x"), info("flag")],
            output: vec![info("y")],
            ..Default::default()
        }),
        functions,
        ..Default::default()
    }
}

fn inlined(
    model: &ModelProto,
    wanted: impl Fn(&Body) -> bool,
) -> Result<Option<ModelProto>, OnnxError> {
    let document = Document::from_bytes(model.encode_to_vec().into()).unwrap();
    let found = document.inlined(&wanted)?;
    Ok(found.map(|found| {
        found.model.graph.verify().unwrap();
        assert_eq!(found.source_size(), document.source_size());
        ModelProto::decode(found.encode().to_bytes()).unwrap()
    }))
}

/// Operators with their inputs and outputs, in order.
fn shown(nodes: &[NodeProto]) -> Vec<String> {
    let show = |n: &NodeProto| {
        format!(
            "{} {} -> {}",
            n.op_type(),
            n.input.join(","),
            n.output.join(",")
        )
    };
    nodes.iter().map(show).collect()
}

fn slope(node: &NodeProto) -> Option<f32> {
    let found = node.attribute.iter().find(|a| a.name() == "alpha");
    found.map(AttributeProto::f)
}

/// A slope from the caller, one by default and one that nobody gives; a function within another.
fn leaky() -> ModelProto {
    let mut leaky = node("LeakyRelu", "act", &["a"], &["b"]);
    leaky.attribute.push(given("alpha"));
    let inner = function("Inner", &["a"], &["b"], vec![leaky.clone()]);
    let mut usual = function("Usual", &["a"], &["b"], vec![leaky]);
    usual.attribute_proto.push(number("slope", 0.5));
    let mut within = call("Inner", "inner", &["a"], &["t"]);
    within.attribute.push(given("slope"));
    let nodes = vec![
        constant("c"),
        within,
        node("Add", "add", &["t", "c"], &["b"]),
    ];
    let outer = function("Outer", &["a"], &["b"], nodes);
    let mut first = call("Outer", "first", &["x"], &["p"]);
    first.attribute.push(number("slope", 0.25));
    let second = call("Outer", "first", &["p"], &["q"]);
    let nodes = vec![first, second, call("Usual", "", &["q"], &["y"])];
    model(nodes, vec![outer, inner, usual])
}

#[test]
fn operators_take_the_place_of_calls() {
    let made = inlined(&leaky(), |_| true).unwrap().unwrap();
    assert!(made.functions.is_empty());
    let graph = made.graph.unwrap();
    let expected = [
        "LeakyRelu x -> first/t",
        "Add first/t,local.Outer/c -> p",
        "LeakyRelu p -> first/t_1",
        "Add first/t_1,local.Outer/c -> q",
        "LeakyRelu q -> y",
    ];
    assert_eq!(shown(&graph.node), expected);
    // One tensor for both calls.
    let tensors: Vec<&str> = graph.initializer.iter().map(TensorProto::name).collect();
    assert_eq!(tensors, ["local.Outer/c"]);
    let slopes = [0, 2, 4].map(|i| slope(&graph.node[i]));
    assert_eq!(slopes, [Some(0.25), None, Some(0.5)]);
    let mut names: Vec<&str> = graph.node.iter().map(NodeProto::name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 5);
}

/// The wanted functions and their callers alone.
#[test]
fn others_stay() {
    let usual = |body: &Body| body.scope() == "local.Usual";
    let made = inlined(&leaky(), usual).unwrap().unwrap();
    assert_eq!(made.functions.len(), 2);
    let types = |m: &ModelProto| -> Vec<String> {
        let nodes = m.graph.as_ref().unwrap().node.iter();
        nodes.map(|n| n.op_type().to_owned()).collect()
    };
    assert_eq!(types(&made), ["Outer", "Outer", "LeakyRelu"]);
    let inner = |body: &Body| body.scope() == "local.Inner";
    let made = inlined(&leaky(), inner).unwrap().unwrap();
    assert_eq!(
        types(&made),
        ["LeakyRelu", "Add", "LeakyRelu", "Add", "Usual"]
    );
    assert_eq!(made.functions.len(), 1);
    assert!(inlined(&leaky(), |_| false).unwrap().is_none());
    let plain = model(vec![node("Relu", "r", &["x"], &["y"])], leaky().functions);
    assert!(inlined(&plain, |_| true).unwrap().is_none());
    // Other operator sets than the model's mean other operators.
    let mut other = leaky();
    other
        .functions
        .iter_mut()
        .for_each(|f| f.opset_import = vec![opset("", 16)]);
    assert!(inlined(&other, |_| true).unwrap().is_none());
}

/// Values that are passed through or are two outputs, inputs and outputs that are left out.
#[test]
fn values_have_one_name_each() {
    let nodes = vec![node("Clip", "clip", &["a", "low", ""], &["b"])];
    let two = function("Two", &["a", "low"], &["b", "a", "b"], nodes);
    let nodes = vec![
        call("Two", "two", &["x"], &["p", "q", "r"]),
        call("Two", "two", &["p", "q"], &["", "", "s"]),
        node("Sum", "sum", &["p", "q", "r", "s"], &["y"]),
    ];
    let made = inlined(&model(nodes, vec![two]), |_| true)
        .unwrap()
        .unwrap();
    let expected = [
        "Clip x,, -> p",
        "Identity x -> q",
        "Identity p -> r",
        "Clip p,q, -> s",
        "Sum p,q,r,s -> y",
    ];
    assert_eq!(shown(&made.graph.unwrap().node), expected);
}

/// Subgraphs read the function's values, define none twice, and are given its attributes.
#[test]
fn subgraphs_are_renamed() {
    let mut leaky = node("LeakyRelu", "act", &["t"], &["u"]);
    leaky.attribute.push(given("alpha"));
    let branch = GraphProto {
        name: Some("branch".into()),
        node: vec![leaky, node("Mul", "mul", &["u", "w"], &["v"])],
        initializer: vec![tensor("w", 3.0)],
        output: vec![info("v")],
        ..Default::default()
    };
    let choose = choice("if", "f", &["b"], both(&branch));
    let nodes = vec![node("Relu", "relu", &["a"], &["t"]), choose];
    let choosing = function("Choosing", &["a", "f"], &["b"], nodes);
    let mut first = call("Choosing", "call", &["x", "flag"], &["p"]);
    first.attribute.push(number("slope", 0.25));
    let second = call("Choosing", "call", &["p", "flag"], &["y"]);
    let made = inlined(&model(vec![first, second], vec![choosing]), |_| true)
        .unwrap()
        .unwrap();
    let nodes = made.graph.unwrap().node;
    assert_eq!(
        shown(&nodes),
        [
            "Relu x -> call/t",
            "If flag -> p",
            "Relu p -> call/t_1",
            "If flag -> y"
        ]
    );
    let mut defined = Vec::new();
    for (choose, read) in [(&nodes[1], "call/t"), (&nodes[3], "call/t_1")] {
        for attribute in &choose.attribute {
            let graph = attribute.g.as_ref().unwrap();
            assert_eq!(graph.node[0].input, [read]);
            assert_eq!(graph.node[1].input[1], graph.initializer[0].name());
            assert_eq!(graph.node[1].output[0], graph.output[0].name());
            defined.extend(graph.node.iter().flat_map(|n| n.output.clone()));
        }
        let given = choose.attribute[0].g.as_ref().map(|g| slope(&g.node[0]));
        assert_eq!(given.unwrap().is_some(), read == "call/t");
    }
    defined.sort();
    defined.dedup();
    assert_eq!(defined.len(), 8);
}

/// A function that calls itself stays, and so does one that can't be read. An expansion that would
/// hardly end is refused.
#[test]
fn hostile_functions_end() {
    let own = function("Own", &["a"], &["b"], vec![call("Own", "", &["a"], &["b"])]);
    let nodes = vec![call("Own", "own", &["x"], &["y"])];
    assert!(
        inlined(&model(nodes.clone(), vec![own]), |_| true)
            .unwrap()
            .is_none()
    );
    let calls = |a: &str, b: &str| function(a, &["a"], &["b"], vec![call(b, "", &["a"], &["b"])]);
    let both = vec![calls("Own", "Other"), calls("Other", "Own")];
    let mutual = inlined(&model(nodes, both), |_| true);
    mutual.unwrap();

    let doubling = |depth: usize| {
        let inner = format!("F{}", depth - 1);
        let nodes = match depth {
            0 | 1 => vec![node("Relu", "", &["a"], &["b"])],
            _ => vec![
                call(&inner, "", &["a"], &["t"]),
                call(&inner, "", &["t"], &["b"]),
            ],
        };
        function(&format!("F{depth}"), &["a"], &["b"], nodes)
    };
    let functions: Vec<FunctionProto> = (1..=40).map(doubling).collect();
    let nodes = vec![call("F40", "many", &["x"], &["y"])];
    let error = inlined(&model(nodes, functions), |_| true)
        .unwrap_err()
        .to_string();
    assert!(error.contains("too many operators"), "{error}");

    let odd = function(
        "Odd",
        &["a"],
        &["b"],
        vec![node("Add", "", &["a", "none"], &["b"])],
    );
    let nodes = vec![call("Odd", "odd", &["x"], &["y"])];
    let found = inlined(&model(nodes, vec![odd]), |_| true);
    assert!(
        found.is_ok_and(|made| made.is_none()),
        "a function that can't be read is no body"
    );
}
