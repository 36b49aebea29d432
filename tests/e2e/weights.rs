//! Weights that are computed, sparse or integer.

use serde_json::json;

use crate::support::{Scratch, ask, digits, sepconv, worst};

/// Ways to compute a weight from constants, see tests/cases.py.
const COMPUTED: [&str; 9] = [
    "mul",
    "cast",
    "concat",
    "unsqueeze",
    "quantize-dequantize",
    "norm",
    "standardised",
    "masked",
    "adapted",
];

fn built(case: &str) -> (Scratch, String, String) {
    let scratch = Scratch::new();
    let model = scratch.path("m.onnx");
    ask(json!({"do": "build", "case": case, "out": model}));
    let out = scratch.path("out.onnx");
    (scratch, model, out)
}

#[test]
fn computed_weights_are_rewritten_and_what_made_them_leaves() {
    for kind in COMPUTED {
        let (scratch, model, out) = built(&format!("weight-{kind}"));
        let inputs = scratch.path("in.npz");
        ask(json!({"do": "inputs", "model": model, "out": inputs}));
        let options = [
            "--energy",
            "1",
            "--allow-costlier",
            "--data-free=weights",
            "--json",
        ];
        let report = sepconv(&[&["compress", &model, "-o", &out][..], &options].concat()).json();
        assert_ne!(report["layers"][0]["form"], "kept", "{kind}");
        let seen = ask(json!({"do": "agree", "model": out, "reference": model, "inputs": inputs}));
        assert!(worst(&seen["error"]) < 1e-5, "{kind}: {seen}");
        let seen = ask(json!({"do": "interface", "original": model, "rewritten": out}));
        assert_eq!(seen["problems"], json!([]), "{kind}");
        let added = seen["added"].as_object().unwrap();
        let left = added.iter().filter(|(_, n)| n.as_i64() < Some(0)).count();
        assert!(left > 0, "{kind}: {seen}");
        let kept = seen["initializers"].as_array().unwrap();
        assert!(!kept.contains(&json!("v")), "{kind}: {seen}");
        let params = sepconv(&["inspect", &model, "--json"]).json();
        let rows = if kind == "unsqueeze" { 3 } else { 9 };
        assert_eq!(params["layers"][0]["params"], json!(24 * rows), "{kind}");
    }
}

#[test]
fn what_made_the_floats_of_weights_in_eight_bits_leaves_too() {
    for kind in COMPUTED
        .into_iter()
        .filter(|kind| *kind != "quantize-dequantize")
    {
        let (scratch, model, out) = built(&format!("weight-{kind}"));
        let inputs = scratch.path("in.npz");
        ask(json!({"do": "inputs", "model": model, "out": inputs}));
        let data = ["--calib", &inputs, "--all-layers", "--opset", "13"];
        sepconv(&[&["quantize", &model, "-o", &out][..], &data].concat()).ok();
        let seen = ask(json!({"do": "interface", "original": model, "rewritten": out}));
        assert_eq!(seen["problems"], json!([]), "{kind}");
        let kept = seen["initializers"].as_array().unwrap();
        assert!(!kept.contains(&json!("v")), "{kind}: {seen}");
    }
}

#[test]
fn a_sparse_weight_stays_and_the_others_are_rewritten() {
    let (_scratch, model, out) = built("sparse");
    let options = ["--rank", "1", "--data-free=weights", "--json"];
    let report = sepconv(&[&["compress", &model, "-o", &out][..], &options].concat()).json();
    let [first, second] = [0, 1].map(|i| &report["layers"][i]);
    assert_eq!(
        (&first["form"], &first["reason"]),
        (&json!("kept"), &json!("sparse weight"))
    );
    assert_ne!(second["form"], "kept");
}

#[test]
fn integer_convolutions_are_listed_and_stay() {
    let (_scratch, model, out) = built("integers");
    let found = sepconv(&["inspect", &model, "--json"]).json();
    let layer = &found["layers"][0];
    assert_eq!(layer["kept"], "integer convolution");
    // 2 x 6 x 9 x 8 elements of 4 x 3 x 3 products.
    assert_eq!(
        (&layer["macs"], &layer["params"]),
        (&json!(31104), &json!(216))
    );
    assert_eq!(
        (&found["macs"], &found["params"]),
        (&json!(31104), &json!(216))
    );
    for options in [&["--rank", "1"][..], &["--target-macs", "0.5"], &[]] {
        let line = sepconv(&[&["compress", &model, "-o", &out][..], options].concat()).refused();
        assert!(
            line.contains("1") && line.contains("integer convolution"),
            "{line}"
        );
        assert!(!line.contains("none"), "{line}");
    }
}

#[test]
fn all_of_the_energy_is_full_rank_with_data_too() {
    let scratch = Scratch::new();
    let (model, out) = (digits().path, scratch.path("out.onnx"));
    let calib = scratch.path("calib.npz");
    ask(json!({"do": "inputs", "model": model, "out": calib, "free": {"N": 16}}));
    let fixed = [
        "compress",
        &model,
        "-o",
        &out,
        "--energy",
        "1",
        "--allow-costlier",
    ];
    let options = ["--layers", "*stage3*conv2", "--calib", &calib, "--json"];
    let report = sepconv(&[&fixed[..], &options].concat()).json();
    let layers = report["layers"].as_array().unwrap();
    let rewritten: Vec<_> = layers.iter().filter(|l| l["form"] != "kept").collect();
    assert!(!rewritten.is_empty(), "{report}");
    assert!(
        rewritten.iter().all(|l| l["weight_error"] == json!(0.0)),
        "{report}"
    );
}
