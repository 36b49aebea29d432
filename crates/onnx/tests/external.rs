//! External data: bytes that are referred to are written, once, to files that belong to nobody else.
#![allow(clippy::unwrap_used)]

mod building;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use building::{both, choice, info, node};
use prost::Message;
use sepconv_ir::{Operator, Patch, Tensor};
use sepconv_onnx::proto::attribute_proto::AttributeType;
use sepconv_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
};
use sepconv_onnx::{Document, Staged};

/// Elements of a weight: large enough to stay outside of a model.
const LARGE: usize = 300;

/// A weight of `LARGE` elements at an offset of a file.
fn weight(name: &str, file: &str, offset: usize) -> TensorProto {
    let entry = |key: &str, value: String| StringStringEntryProto {
        key: Some(key.into()),
        value: Some(value),
    };
    TensorProto {
        name: Some(name.into()),
        dims: vec![LARGE as i64],
        data_type: Some(1),
        data_location: Some(1),
        external_data: vec![
            entry("location", file.into()),
            entry("offset", offset.to_string()),
            entry("length", (LARGE * 4).to_string()),
            entry("checksum", "stale".into()),
        ],
        ..Default::default()
    }
}

/// x -> Mul by each weight in turn -> y.
fn model(weights: Vec<TensorProto>) -> ModelProto {
    let mut nodes = Vec::new();
    let mut last = "x".to_owned();
    for (i, w) in weights.iter().enumerate() {
        let made = if i + 1 == weights.len() {
            "y".to_owned()
        } else {
            format!("t{i}")
        };
        nodes.push(node("Mul", &format!("m{i}"), &[&last, w.name()], &[&made]));
        last = made;
    }
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(17),
        }],
        graph: Some(GraphProto {
            name: Some("g".into()),
            node: nodes,
            initializer: weights,
            input: vec![info("x")],
            output: vec![info("y")],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// So many weights of which all elements are their number.
fn data(weights: usize) -> Vec<u8> {
    let all = (0..weights).flat_map(|w| vec![w as f32; LARGE]);
    all.flat_map(f32::to_le_bytes).collect()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Sizes of all files by their paths in it.
    fn files(&self) -> BTreeMap<String, u64> {
        let mut found = BTreeMap::new();
        let mut open = vec![self.0.path().to_owned()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    let name = path.strip_prefix(self.0.path()).unwrap();
                    let size = path.metadata().unwrap().len();
                    found.insert(name.to_str().unwrap().to_owned(), size);
                }
            }
        }
        found
    }
}

/// Gives the operators of these names new weights, as rewriting does.
fn replace(document: &mut Document, names: &[&str], value: f32) {
    for name in names {
        let graph = &mut document.model.graph;
        let (id, op) = graph.operators().find(|(_, op)| op.name == *name).unwrap();
        let (x, y) = (op.input(0).unwrap(), op.output(0).unwrap());
        let mut patch = Patch::replace("test", id);
        let tensor = Tensor::from_f32(vec![LARGE], vec![value; LARGE]);
        let w = patch.initializer(format!("{name}/new"), tensor);
        let op = Operator::new("Mul", *name);
        patch.operator_into(op, vec![Some(x.into()), Some(w)], y);
        graph.apply(patch).unwrap();
    }
}

/// The first element of every initializer, in the order of the file.
fn firsts(path: &Path) -> Vec<f32> {
    let document = Document::open(path).unwrap();
    let all = document.model.graph.initializers();
    all.map(|i| i.tensor.to_f32().unwrap()[0]).collect()
}

/// Locations of the initializers of a file, as ONNX's own schema decodes them.
fn locations(path: &Path) -> Vec<(String, String)> {
    let model = ModelProto::decode(&std::fs::read(path).unwrap()[..]).unwrap();
    let of = |t: &TensorProto, key: &str| {
        let entry = t.external_data.iter().find(|e| e.key() == key);
        entry.map_or(String::new(), |e| e.value().to_owned())
    };
    let all = model.graph.unwrap().initializer;
    let place = |t: &TensorProto| (of(t, "location"), of(t, "offset"));
    all.iter().map(place).collect()
}

#[test]
fn nothing_changed_and_the_data_file_stays_as_it_is() {
    let folder = Folder::new();
    let weights = vec![weight("a", "w.bin", 1200), weight("b", "w.bin", 0)];
    let path = folder.write("m.onnx", &model(weights).encode_to_vec());
    folder.write("w.bin", &data(2));
    let document = Document::open(&path).unwrap();
    let beside = folder.path("copy.onnx");
    document.stage(&beside, false).unwrap().commit().unwrap();
    assert_eq!(folder.files().len(), 3, "data are shared in the folder");
    let away = Folder::new();
    let to = away.path("n.onnx");
    document.stage(&to, false).unwrap().commit().unwrap();
    let read = |path: &Path| std::fs::read(path).unwrap();
    assert_eq!(read(&to), read(&path));
    assert_eq!(read(&away.path("w.bin")), data(2));
    // A second one finds it there.
    let second = away.path("o.onnx");
    document.stage(&second, false).unwrap().commit().unwrap();
    assert_eq!(away.files().len(), 3);
    // A file of the same name and other contents is left alone.
    let other = Folder::new();
    other.write("w.bin", b"precious");
    let to = other.path("n.onnx");
    document.stage(&to, true).unwrap().commit().unwrap();
    assert_eq!(read(&other.path("w.bin")), b"precious");
    assert_eq!(firsts(&to), [1.0, 0.0]);
    assert_eq!(locations(&to)[0].0, "n.onnx.data");
}

#[test]
fn weights_that_were_replaced_are_not_carried_along() {
    let folder = Folder::new();
    // b and c share their data; d is in a file of its own, in a folder below.
    let weights = vec![
        weight("a", "w.bin", 0),
        weight("b", "./w.bin", 1200),
        weight("c", "w.bin", 1200),
        weight("d", "deep/er/d.bin", 0),
    ];
    let path = folder.write("m.onnx", &model(weights).encode_to_vec());
    folder.write("w.bin", &data(2));
    folder.write("deep/er/d.bin", &[data(3), vec![7; 100]].concat());
    let mut document = Document::open(&path).unwrap();
    assert_eq!(document.encoded_size(), document.source_size());
    replace(&mut document, &["m0"], 5.0);
    let away = Folder::new();
    let to = away.path("n.onnx");
    let staged = document.stage(&to, false).unwrap();
    let written = staged.open().unwrap();
    staged.commit().unwrap();
    let files = away.files();
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["deep/er/d.bin", "n.onnx", "n.onnx.data"]);
    assert_eq!(
        files["n.onnx.data"], 2400,
        "b and c once, and what a became"
    );
    assert_eq!(firsts(&to), [1.0, 1.0, 0.0, 5.0]);
    let places = locations(&to);
    assert_eq!(places[0], places[1]);
    // The reported size is that on disk, and budgets are not below it by the length of a name.
    let on_disk: u64 = files.values().sum();
    assert_eq!(written.source_size() as u64, on_disk);
    let planned = document.encoded_size() as u64;
    assert!(
        (on_disk..on_disk + 400).contains(&planned),
        "{planned} {on_disk}"
    );
    // A checksum is one of the file that the data were in.
    let text = std::fs::read(&to).unwrap();
    let stale = text.windows(5).filter(|w| *w == b"stale").count();
    assert_eq!(stale, 1, "that of d, whose file is the same");
}

#[test]
fn the_own_file_lies_where_the_weights_lay() {
    let folder = Folder::new();
    let weights = vec![
        weight("a", "deep/er/w.bin", 0),
        weight("b", "deep/er/w.bin", 1200),
    ];
    let path = folder.write("m.onnx", &model(weights).encode_to_vec());
    folder.write("deep/er/w.bin", &data(2));
    let mut document = Document::open(&path).unwrap();
    replace(&mut document, &["m1"], 5.0);
    let away = Folder::new();
    let to = away.path("n.onnx");
    // A model that is staged and not committed leaves no files or folders.
    drop(document.stage(&to, false).unwrap());
    assert_eq!(std::fs::read_dir(away.path("")).unwrap().count(), 0);
    // A commit that fails leaves nothing either.
    let staged = document.stage(&to, false).unwrap();
    std::fs::write(&to, b"in the way").unwrap();
    assert!(staged.commit().is_err());
    assert_eq!(std::fs::read_dir(away.path("")).unwrap().count(), 1);
    std::fs::remove_file(&to).unwrap();
    document.stage(&to, false).unwrap().commit().unwrap();
    let files = away.files();
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["deep/er/n.onnx.data", "n.onnx"]);
    assert_eq!(firsts(&to), [0.0, 5.0]);
    // With a file in the way of a folder, the data lie beside the model.
    let other = Folder::new();
    other.write("deep", b"a file");
    let to = other.path("n.onnx");
    document.stage(&to, false).unwrap().commit().unwrap();
    assert_eq!(firsts(&to), [0.0, 5.0]);
    assert!(other.path("n.onnx.data").exists());
}

#[test]
fn no_other_model_loses_its_data() {
    let folder = Folder::new();
    let weights = vec![
        weight("a", "m.onnx.data", 0),
        weight("b", "m.onnx.data", 1200),
    ];
    let path = folder.write("m.onnx", &model(weights).encode_to_vec());
    folder.write("m.onnx.data", &data(2));
    let made = |value, to: &Path, force| {
        let mut document = Document::open(&path).unwrap();
        replace(&mut document, &["m0"], value);
        document.stage(to, force).unwrap().commit().unwrap();
    };
    let [one, two] = ["one.onnx", "two.onnx"].map(|n| folder.path(n));
    made(5.0, &one, false);
    made(6.0, &two, false);
    assert_eq!(
        (firsts(&one), firsts(&two)),
        (vec![1.0, 5.0], vec![1.0, 6.0])
    );
    // Replaced, a model brings its own file along, and leaves no other.
    made(7.0, &one, true);
    assert_eq!(firsts(&one), [1.0, 7.0]);
    assert_eq!(folder.files().len(), 6);
    // Unless another came to share it.
    let shares = folder.path("shares.onnx");
    let document = Document::open(&one).unwrap();
    document.stage(&shares, false).unwrap().commit().unwrap();
    made(9.0, &one, true);
    assert_eq!(
        (firsts(&one), firsts(&shares)),
        (vec![1.0, 9.0], vec![1.0, 7.0])
    );
    assert_eq!(locations(&one)[0].0, "one.onnx_1.data");
    // In place, the old file stays: who else reads it is not known.
    made(8.0, &path, true);
    assert_eq!(firsts(&path), [1.0, 8.0]);
    assert_eq!(locations(&path)[0].0, "m.onnx_1.data");
    assert_eq!(std::fs::read(folder.path("m.onnx.data")).unwrap(), data(2));
}

#[test]
fn tensors_within_bodies_and_attributes_move_too() {
    let folder = Folder::new();
    let mut proto = model(vec![weight("a", "w.bin", 0)]);
    let graph = proto.graph.as_mut().unwrap();
    let branch = GraphProto {
        name: Some("branch".into()),
        node: vec![node("Mul", "inner", &["y", "b"], &["made"])],
        initializer: vec![weight("b", "w.bin", 1200)],
        output: vec![info("made")],
        ..Default::default()
    };
    graph.input.push(info("flag"));
    graph
        .node
        .push(choice("choose", "flag", &["picked"], both(&branch)));
    let mut constant = node("Constant", "k", &[], &["c"]);
    constant.attribute.push(AttributeProto {
        name: Some("value".into()),
        r#type: Some(AttributeType::Tensor as i32),
        t: Some(weight("", "w.bin", 2400)),
        ..Default::default()
    });
    graph.node.push(constant);
    graph.output.extend([info("picked"), info("c")]);
    let path = folder.write("m.onnx", &proto.encode_to_vec());
    folder.write("w.bin", &data(3));
    let mut document = Document::open(&path).unwrap();
    replace(&mut document, &["m0"], 5.0);
    let away = Folder::new();
    let to = away.path("n.onnx");
    document.stage(&to, false).unwrap().commit().unwrap();
    assert_eq!(away.files()["n.onnx.data"], 3600);
    let document = Document::open(&to).unwrap();
    let inner = &document.bodies()[0].graph;
    let tensor = inner.constant(inner.find("b").unwrap()).unwrap();
    assert_eq!(tensor.to_f32().unwrap()[0], 1.0);
    let graph = &document.model.graph;
    let (_, op) = graph.operators().find(|(_, op)| op.is("Constant")).unwrap();
    let Some(sepconv_ir::AttributeValue::Tensor(tensor)) = op.attribute("value") else {
        panic!("no tensor");
    };
    assert_eq!(tensor.to_f32().unwrap()[LARGE - 1], 2.0);
}

#[test]
fn paths_out_of_the_folder_are_refused() {
    let folder = Folder::new();
    let refused = |location: &str| {
        let proto = model(vec![weight("a", location, 0)]);
        let path = folder.write("in/m.onnx", &proto.encode_to_vec());
        Document::open(&path).unwrap_err().to_string()
    };
    for location in ["../w.bin", "/tmp/w.bin", "deep/../../w.bin", ""] {
        let line = refused(location);
        assert!(line.contains("leaves the model's folder"), "{line}");
    }
    assert!(refused("absent.bin").contains("absent.bin: No such file"));
}

#[cfg(unix)]
#[test]
fn links_are_followed_within_the_folder_and_refused_out_of_it() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    folder.write("out/w.bin", &data(1));
    folder.write("in/real.bin", &data(1));
    let model_at = |location: &str| {
        let proto = model(vec![weight("a", location, 0)]);
        folder.write("in/m.onnx", &proto.encode_to_vec())
    };
    symlink(folder.path("out/w.bin"), folder.path("in/w.bin")).unwrap();
    symlink(folder.path("out"), folder.path("in/away")).unwrap();
    symlink("real.bin", folder.path("in/link.bin")).unwrap();
    for location in ["w.bin", "away/w.bin"] {
        let line = Document::open(&model_at(location)).unwrap_err().to_string();
        assert!(line.contains("by a symbolic link"), "{line}");
    }
    assert!(Document::open(&model_at("link.bin")).is_ok());
    // Caches of downloads: the model is a link, and the data lie beside its target.
    folder.write(
        "blobs/1",
        &model(vec![weight("a", "w.bin", 0)]).encode_to_vec(),
    );
    folder.write("blobs/2", &data(1));
    std::fs::create_dir(folder.path("cache")).unwrap();
    symlink("../blobs/1", folder.path("cache/m.onnx")).unwrap();
    symlink("../blobs/2", folder.path("cache/w.bin")).unwrap();
    assert!(Document::open(&folder.path("cache/m.onnx")).is_ok());
    // Nothing is written through a link out of the folder.
    let away = Folder::new();
    folder.write("in/deep/w.bin", &data(2));
    let weights = vec![
        weight("a", "deep/w.bin", 0),
        weight("b", "deep/w.bin", 1200),
    ];
    let path = folder.write("in/m.onnx", &model(weights).encode_to_vec());
    symlink(folder.path("out"), away.path("deep")).unwrap();
    let mut document = Document::open(&path).unwrap();
    replace(&mut document, &["m0"], 5.0);
    let to = away.path("n.onnx");
    document.stage(&to, false).unwrap().commit().unwrap();
    assert_eq!(firsts(&to), [1.0, 5.0]);
    assert_eq!(std::fs::read_dir(folder.path("out")).unwrap().count(), 1);
}

#[test]
fn a_destination_is_checked_before_the_work() {
    let folder = Folder::new();
    Staged::check(&folder.path("m.onnx"), false).unwrap();
    assert!(Staged::check(&folder.path("absent/m.onnx"), false).is_err());
    folder.write("m.onnx", b"there");
    assert!(Staged::check(&folder.path("m.onnx"), false).is_err());
    Staged::check(&folder.path("m.onnx"), true).unwrap();
    assert_eq!(folder.files().len(), 1);
}
