//! Graphs of models survive the text form.
#![allow(clippy::unwrap_used)]

mod building;

use std::path::{Path, PathBuf};

use building::{both, choice, info, node};
use prost::Message;
use sepconv_ir::Graph;
use sepconv_onnx::Document;
use sepconv_onnx::proto::{GraphProto, ModelProto};

/// Parses the printed graph, which prints the same again.
fn reread(graph: &Graph) -> Graph {
    let text = graph.to_string();
    let read: Graph = text.parse().unwrap_or_else(|e| panic!("{e}\n{text}"));
    assert_eq!(read.to_string(), text);
    read
}

/// The graphs of a document, those within it included.
fn graphs(document: &Document) -> Vec<&Graph> {
    let bodies = document.bodies().iter().map(|b| &b.graph);
    [&document.model.graph].into_iter().chain(bodies).collect()
}

#[test]
fn models_are_read_again() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut paths: Vec<PathBuf> = vec![root.join("models/digits.onnx")];
    // Those that are handed out with the project, where they are.
    let shared = std::fs::read_dir(root.join("../shared/models"));
    paths.extend(shared.into_iter().flatten().map(|e| e.unwrap().path()));
    for path in paths {
        let document = Document::open(&path).unwrap();
        for graph in graphs(&document) {
            let read = reread(graph);
            assert_eq!(read.operators().count(), graph.operators().count());
            let small = graph.initializers().find(|i| i.tensor.len() == 1);
            if let Some(small) = small {
                let name = graph.name(small.value);
                let again = read.constant(read.find(name).unwrap());
                assert_eq!(again, Some(&small.tensor), "{}: {name}", path.display());
            }
        }
    }
}

#[test]
fn captures_of_bodies_are_read_again() {
    let branch = GraphProto {
        node: vec![node("Relu", "r", &["y"], &["inner"])],
        output: vec![info("inner")],
        ..Default::default()
    };
    let proto = ModelProto {
        ir_version: Some(8),
        graph: Some(GraphProto {
            node: vec![
                node("Neg", "", &["x"], &["y"]),
                choice("choose", "flag", &["picked"], both(&branch)),
            ],
            input: vec![info("x"), info("flag")],
            output: vec![info("picked")],
            ..Default::default()
        }),
        ..Default::default()
    };
    let document = Document::from_bytes(proto.encode_to_vec().into()).unwrap();
    let all = graphs(&document);
    assert_eq!(all.len(), 3);
    all.iter().for_each(|g| drop(reread(g)));
    let text = all[0].to_string();
    assert!(text.contains("(flag) captures y # choose"), "{text}");
}
