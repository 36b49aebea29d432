//! External data on disk: where it is written, and that sizes count it.

use serde_json::{Value, json};

use crate::support::{Scratch, ask, sepconv, worst};

/// Four convolutions with their weights at `location`, in a folder of its own; and inputs.
fn four(location: Option<&str>) -> (Scratch, String, String) {
    let scratch = Scratch::new();
    let model = scratch.path("m.onnx");
    ask(json!({"do": "build", "case": "four", "out": model, "location": location}));
    let inputs = scratch.path("in.npz");
    ask(json!({"do": "inputs", "model": model, "out": inputs}));
    (scratch, model, inputs)
}

/// Bytes of all files in a folder and those below.
fn on_disk(folder: &str) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap());
    let sizes = entries.map(|e| match e.file_type().unwrap().is_dir() {
        true => on_disk(e.path().to_str().unwrap()),
        false => e.metadata().unwrap().len(),
    });
    sizes.sum()
}

#[test]
fn external_data_is_written_once_and_counted() {
    let (inline, model, _) = four(None);
    let out = inline.path("out.onnx");
    let options = ["--rank", "1", "--data-free=weights", "--json"];
    let fixed = ["compress", &model, "-o", &out];
    let alone = sepconv(&[&fixed[..], &options].concat()).json();
    for location in ["m.data", "weights/deep/m.data"] {
        let (scratch, model, inputs) = four(Some(location));
        std::fs::create_dir(scratch.path("other")).unwrap();
        let out = scratch.path("other/out.onnx");
        let fixed = ["compress", &model, "-o", &out];
        let report = sepconv(&[&fixed[..], &options].concat()).json();
        let other = on_disk(&scratch.path("other"));
        assert_eq!(report["compressed"]["bytes"].as_u64(), Some(other));
        let twin = alone["compressed"]["bytes"].as_u64().unwrap();
        assert!(other.abs_diff(twin) < 4000, "{other} bytes, {twin} inline");
        // Places and all: ONNX Runtime loads from disk the model that was measured.
        let seen = ask(json!({"do": "agree", "model": out, "reference": model, "inputs": inputs}));
        let inner = inline.path("out.onnx");
        let same = ask(json!({"do": "agree", "model": out, "reference": inner, "inputs": inputs}));
        assert!(worst(&same["error"]) < 1e-5, "{same} {seen}");
    }
}

#[test]
fn a_budget_of_bytes_counts_external_data() {
    let (scratch, model, _) = four(Some("m.data"));
    let before =
        on_disk(&scratch.path("")) - std::fs::metadata(scratch.path("in.npz")).unwrap().len();
    std::fs::create_dir(scratch.path("other")).unwrap();
    let out = scratch.path("other/out.onnx");
    let options = ["--target-size", "0.5", "--data-free=weights", "--json"];
    let report = sepconv(&[&["compress", &model, "-o", &out][..], &options].concat()).json();
    let after = on_disk(&scratch.path("other"));
    assert_eq!(report["compressed"]["bytes"], json!(after));
    assert!(after as f64 <= 0.5 * before as f64, "{after} of {before}");
}

#[test]
fn models_with_external_data_are_replaced_in_place_and_untouched_ones_copied() {
    let (scratch, model, inputs) = four(Some("m.data"));
    let away = Scratch::new();
    let copy = away.path("m.onnx");
    sepconv(&["compress", &model, "-o", &copy, "--skip", "*"]).ok();
    let read = |path: &str| std::fs::read(path).unwrap();
    assert!(read(&copy) == read(&model));
    assert!(read(&away.path("m.data")) == read(&scratch.path("m.data")));
    let options = [
        "--rank",
        "9",
        "--allow-costlier",
        "--data-free=weights",
        "--force",
    ];
    sepconv(&[&["compress", &model, "-o", &model][..], &options].concat()).ok();
    let seen = ask(json!({"do": "agree", "model": model, "reference": copy, "inputs": inputs}));
    assert!(worst(&seen["error"]) < 1e-4, "{seen}");
    assert_eq!(
        scratch.names(),
        ["in.npz", "m.data", "m.onnx", "m.onnx.data"]
    );
}

#[test]
fn what_can_not_be_written_is_told_before_the_work() {
    let (scratch, model, _) = four(Some("m.data"));
    let out = scratch.path("absent/out.onnx");
    let line = sepconv(&[
        "compress",
        &model,
        "-o",
        &out,
        "--rank",
        "1",
        "--calib",
        "absent.npz",
    ]);
    let line = line.refused();
    assert!(line.contains("absent does not exist"), "{line}");
    assert_eq!(scratch.names(), ["in.npz", "m.data", "m.onnx"]);
}

#[test]
fn long_names_are_shortened_to_the_width_of_a_terminal() {
    let scratch = Scratch::new();
    let model = scratch.path("m.onnx");
    ask(json!({"do": "build", "case": "long-names", "out": model}));
    let widest = |text: &str| {
        let body = text.split("\n\n").skip(1).flat_map(str::lines);
        body.map(|line| line.chars().count()).max().unwrap()
    };
    let text = sepconv(&["inspect", &model]).ok();
    let cut = |text: &str| {
        let mut rows = text.lines().filter(|l| l.starts_with("a_block"));
        rows.all(|l| l.contains('…') && (l.contains("/first ") || l.contains("/second ")))
    };
    assert!(widest(&text) <= 100 && cut(&text), "{text}");
    let narrow = crate::support::sepconv_with(&["inspect", &model], &[("COLUMNS", "120")]).ok();
    assert!((101..=120).contains(&widest(&narrow)), "{narrow}");
    let whole = sepconv(&["inspect", &model, "-v"]).ok();
    assert!(widest(&whole) > 370 && !cut(&whole), "{whole}");
    let json = sepconv(&["inspect", &model, "--json"]).json();
    let name = json["layers"][0]["name"].as_str().unwrap();
    assert!(name.len() > 360 && name.ends_with("/first"), "{name}");
}

#[test]
fn shapes_that_are_not_known_are_named() {
    let scratch = Scratch::new();
    let model = scratch.path("m.onnx");
    ask(json!({"do": "build", "case": "shapeless", "out": model}));
    let out = scratch.path("out.onnx");
    for options in [&[][..], &["--target-macs", "0.5"], &["--min-snr", "10"]] {
        let line = sepconv(&[&["compress", &model, "-o", &out][..], options].concat()).refused();
        let told = "the shapes of 2 convolutions are not known: input 'x' has none";
        assert!(
            line.contains(told) && line.contains("--input-shape"),
            "{line}"
        );
    }
    let found = sepconv(&["inspect", &model]);
    found.ok();
    assert!(found.stderr().contains("2 convolutions") && found.stderr().contains("--input-shape"));
    let json = sepconv(&["inspect", &model, "--json"]).json();
    assert_eq!(
        json["unshaped"],
        json!({"convolutions": 2, "inputs": ["x"]})
    );
    let shape = ["--input-shape", "x=1x4x9x8"];
    let made = [
        &["compress", &model, "-o", &out, "--target-macs", "0.6"][..],
        &shape,
    ]
    .concat();
    sepconv(&made).ok();
    let json = sepconv(&[&["inspect", &model, "--json"][..], &shape].concat()).json();
    assert_eq!(json["unshaped"]["convolutions"], json!(0));
    assert_ne!(json["layers"][0]["macs"], Value::Null);
}
