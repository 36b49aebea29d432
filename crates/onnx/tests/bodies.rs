//! Graphs within a model: read, edited and written back, everything else untouched.
#![allow(clippy::unwrap_used)]

mod building;

use building::{choice, info, node};
use prost::Message;
use sepconv_ir::{Operator, Patch, Tensor};
use sepconv_onnx::proto::{FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto};
use sepconv_onnx::{Body, Document};

fn graph(name: &str, nodes: Vec<NodeProto>, output: &str) -> GraphProto {
    GraphProto {
        name: Some(name.into()),
        node: nodes,
        output: vec![info(output)],
        ..Default::default()
    }
}

/// An `If` whose branches read `w` of the graph around them, one in an `If` of its own, and a
/// function of one node.
fn model() -> ModelProto {
    let inner = |name: &str| graph("inner", vec![node("Add", name, &["x", "w"], &[name])], name);
    let branches = [("then_branch", inner("p")), ("else_branch", inner("q"))];
    let other = graph("else", vec![choice("deep", "flag", &["r"], branches)], "r");
    let then = graph("then", vec![node("Mul", "m", &["x", "w"], &["s"])], "s");
    let branches = [("then_branch", then), ("else_branch", other)];
    let mut main = graph("g", vec![choice("choose", "flag", &["y"], branches)], "y");
    main.input = vec![info("x"), info("flag")];
    main.initializer = vec![TensorProto {
        name: Some("w".into()),
        dims: vec![1],
        data_type: Some(1),
        raw_data: Some(2f32.to_le_bytes().to_vec().into()),
        ..Default::default()
    }];
    let mut block = FunctionProto {
        name: Some("Block".into()),
        domain: Some("local".into()),
        input: vec!["a".into()],
        output: vec!["b".into()],
        ..Default::default()
    };
    block.node.push(node("Relu", "r", &["a"], &["b"]));
    ModelProto {
        ir_version: Some(8),
        graph: Some(main),
        functions: vec![block],
        ..Default::default()
    }
}

fn read(model: &ModelProto) -> Document {
    Document::from_bytes(model.encode_to_vec().into()).unwrap()
}

/// `Abs` of a new constant in the place of the body's first operator.
fn edit(body: &mut Body) {
    let (id, op) = body.graph.operators().next().unwrap();
    let (name, out) = (op.name.clone(), op.output(0).unwrap());
    let mut patch = Patch::replace("test", id);
    let c = patch.initializer("c", Tensor::from_f32(vec![1], vec![3.0]));
    patch.operator_into(Operator::new("Abs", name), vec![Some(c)], out);
    body.graph.apply(patch).unwrap();
    body.graph.verify().unwrap();
}

/// The model once the bodies of these numbers are edited, and the names that were unread.
fn edited(model: &ModelProto, which: &[usize]) -> (ModelProto, Vec<String>) {
    let mut document = read(model);
    let mut bodies = document.bodies().to_vec();
    for index in which {
        edit(&mut bodies[*index]);
    }
    let mut unread = Vec::new();
    let mut tidy = |graph: &mut sepconv_ir::Graph, values: &[sepconv_ir::ValueId]| {
        unread.extend(values.iter().map(|v| graph.name(*v).to_owned()));
        Ok(())
    };
    document.set_bodies(bodies, &mut tidy).unwrap();
    document.model.graph.verify().unwrap();
    let bytes = document.encode().to_bytes();
    (ModelProto::decode(bytes).unwrap(), unread)
}

fn branch<'a>(node: &'a NodeProto, name: &str) -> &'a GraphProto {
    let mut attributes = node.attribute.iter();
    let found = attributes.find(|a| a.name() == name).unwrap();
    found.g.as_ref().unwrap()
}

#[test]
fn bodies_are_listed_with_what_they_capture() {
    let document = read(&model());
    let bodies = document.bodies();
    let scopes: Vec<&str> = bodies.iter().map(Body::scope).collect();
    let expected = [
        "choose/then_branch",
        "choose/else_branch",
        "choose/else_branch/deep/then_branch",
        "choose/else_branch/deep/else_branch",
        "local.Block",
    ];
    assert_eq!(scopes, expected);
    let parents: Vec<_> = bodies.iter().map(Body::parent).collect();
    assert_eq!(parents, [None, None, Some(1), Some(1), None]);
    let captures = |body: &Body| -> Vec<String> {
        let values = body.captures().iter();
        values.map(|v| body.graph.name(*v).to_owned()).collect()
    };
    assert_eq!(captures(&bodies[0]), ["w", "x"]);
    assert_eq!(captures(&bodies[1]), ["flag", "w", "x"]);
    assert_eq!(captures(&bodies[4]), Vec::<String>::new());
    assert!(bodies[4].is_function());
}

#[test]
fn what_nobody_edited_keeps_every_byte() {
    let raw = model().encode_to_vec();
    let mut document = read(&model());
    let bodies = document.bodies().to_vec();
    document.set_bodies(bodies, &mut |_, _| Ok(())).unwrap();
    assert_eq!(document.encode().to_bytes(), raw);
}

#[test]
fn an_edited_branch_takes_its_place_and_nothing_else_changes() {
    let (made, unread) = edited(&model(), &[0]);
    assert_eq!(unread, Vec::<String>::new(), "the other branch reads them");
    let mut expected = model();
    let choose = &mut expected.graph.as_mut().unwrap().node[0];
    let then = choose.attribute[0].g.as_mut().unwrap();
    then.node = vec![node("Abs", "m", &["c"], &["s"])];
    then.initializer.push(TensorProto {
        name: Some("c".into()),
        dims: vec![1],
        data_type: Some(1),
        raw_data: Some(3f32.to_le_bytes().to_vec().into()),
        ..Default::default()
    });
    assert_eq!(made, expected);
}

#[test]
fn what_no_body_reads_any_more_leaves() {
    let (made, unread) = edited(&model(), &[0, 2, 3]);
    assert!(made.graph.as_ref().unwrap().initializer.is_empty());
    assert!(unread.contains(&"x".to_owned()), "{unread:?}");
    let main = &made.graph.unwrap().node[0];
    let deep = &branch(main, "else_branch").node[0];
    assert_eq!(branch(deep, "then_branch").initializer[0].name(), "c");
    assert_eq!(branch(deep, "else_branch").node[0].op_type(), "Abs");
}

#[test]
fn constants_of_functions_and_of_old_versions_are_nodes() {
    let (made, _) = edited(&model(), &[4]);
    let types = |nodes: &[NodeProto]| -> Vec<String> {
        nodes.iter().map(|n| n.op_type().to_owned()).collect()
    };
    assert_eq!(types(&made.functions[0].node), ["Constant", "Abs"]);
    assert_eq!(made.functions[0].node[0].output, ["c"]);
    assert_eq!(made.graph, model().graph);
    let old = ModelProto {
        ir_version: Some(3),
        ..model()
    };
    let (made, _) = edited(&old, &[0]);
    let then = made.graph.unwrap().node[0].attribute[0].g.clone().unwrap();
    assert_eq!(types(&then.node), ["Constant", "Abs"]);
    assert!(then.initializer.is_empty() && then.input.is_empty());
}

/// A body that contradicts itself is carried through, as an operator nobody knows is.
#[test]
fn a_body_that_can_not_be_read_stays() {
    let mut odd = model();
    let choose = &mut odd.graph.as_mut().unwrap().node[0];
    let then = choose.attribute[0].g.as_mut().unwrap();
    then.node.push(node("Abs", "again", &["x"], &["s"]));
    let document = read(&odd);
    assert_eq!(document.bodies().len(), 4);
    assert_eq!(document.encode().to_bytes(), odd.encode_to_vec());
}
