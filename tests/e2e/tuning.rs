//! Training towards the original: its gain, and that it is reproducible.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Scratch, ask, digits, digits_eval, root, sepconv, sepconv_with, worst};

fn calib() -> String {
    root()
        .join("models/digits_calib.npz")
        .to_str()
        .unwrap()
        .to_owned()
}

/// The digits model at rank 1, from the weights alone.
fn coarse(scratch: &Scratch) -> String {
    let out = scratch.path("coarse.onnx");
    let model = digits().path;
    let fixed = [
        "compress",
        &model,
        "-o",
        &out,
        "--rank",
        "1",
        "--skip",
        "stem/conv1",
    ];
    sepconv(&[&fixed[..], &["--data-free=weights", "--order", "dw-pw"]].concat()).ok();
    out
}

/// Arguments of a short training of `model`.
fn training(model: &str, out: &str) -> Vec<String> {
    let fixed = [
        "tune",
        &digits().path,
        model,
        "-o",
        out,
        "--calib",
        &calib(),
    ];
    let data = ["--scale", "1/255", "--max-samples", "64", "--batch", "16"];
    [&fixed[..], &data]
        .concat()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn with<'a>(args: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    args.iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect()
}

fn number(report: &Value, path: &str) -> f64 {
    report
        .pointer(path)
        .and_then(Value::as_f64)
        .unwrap_or_else(|| panic!("{path}: {report:#}"))
}

#[test]
fn a_training_ends_with_the_time_and_says_so() {
    let scratch = Scratch::new();
    let (model, calib, out) = (digits().path, calib(), scratch.path("out.onnx"));
    let data = ["--calib", &calib, "--scale", "1/255", "--max-samples", "64"];
    let work = [
        "compress",
        &model,
        "-o",
        &out,
        "--rank",
        "1",
        "--max-time",
        "2s",
        "--tune=100000",
    ];
    let run = sepconv(&[&work[..], &data].concat());
    run.ok();
    assert!(
        run.stderr().contains("epochs not trained"),
        "{}",
        run.stderr()
    );
}

#[test]
fn a_coarse_model_learns_and_stays_a_valid_model() {
    let scratch = Scratch::new();
    let (model, out) = (coarse(&scratch), scratch.path("tuned.onnx"));
    let eval = digits_eval();
    let args = training(&model, &out);
    let more = [
        "--epochs",
        "4",
        "--learning-rate",
        "0.01",
        "--eval",
        &eval,
        "--json",
    ];
    let report = sepconv(&with(&args, &more)).json();
    let loss = |of: &str| number(&report, &format!("/tuning/{of}/held_out_loss"));
    assert!(loss("after") < 0.9 * loss("before"), "{report:#}");
    let top1 = |of: &str| number(&report, &format!("/{of}/primary/value"));
    assert!(top1("after") > top1("before") + 2.0, "{report:#}");
    assert_eq!(report["tuning"]["losses"][0][1], "kl");
    let seen = ask(json!({"do": "interface", "original": digits().path, "rewritten": out}));
    assert_eq!(seen["problems"], json!([]));
    // tract, which trained it, and ONNX Runtime agree on the written file.
    let inputs = scratch.path("inputs.npz");
    digits().inputs(&inputs);
    let outputs = scratch.path("outputs.npz");
    sepconv(&["run", &out, "--data", &inputs, "-o", &outputs]).ok();
    let seen = ask(json!({"do": "outputs", "model": out, "inputs": inputs, "outputs": outputs}));
    assert!(worst(&seen["error"]) < 1e-3, "{seen}");
    // All but weights is as it was.
    let named = |path: &str| ask(json!({"do": "convolutions", "model": path}));
    assert_eq!(
        named(&out).as_array().unwrap().len(),
        named(&model).as_array().unwrap().len()
    );
}

#[test]
fn bytes_depend_on_the_seed_and_not_on_threads() {
    let scratch = Scratch::new();
    let model = coarse(&scratch);
    let tuned = |name: &str, threads: &str, seed: &str| {
        let out = scratch.path(name);
        let args = training(&model, &out);
        let more = ["--epochs", "1", "--flip", "--shift", "1", "--seed", seed];
        sepconv_with(&with(&args, &more), &[("RAYON_NUM_THREADS", threads)]).ok();
        std::fs::read(out).unwrap()
    };
    let one = tuned("one.onnx", "1", "3");
    assert!(one == tuned("two.onnx", "2", "3"));
    assert!(one != tuned("other.onnx", "2", "4"));
}

#[test]
fn block_by_block_is_no_worse_either() {
    let scratch = Scratch::new();
    let (model, out) = (coarse(&scratch), scratch.path("tuned.onnx"));
    let args = training(&model, &out);
    let more = ["--epochs", "2", "--block-wise", "--json"];
    let report = sepconv(&with(&args, &more)).json();
    let loss = |of: &str| number(&report, &format!("/tuning/{of}/held_out_loss"));
    assert!(loss("after") < loss("before"), "{report:#}");
    let runs = report["tuning"]["epochs"].as_array().unwrap();
    assert_eq!(
        runs.len() as u64,
        report["tuning"]["blocks"].as_u64().unwrap()
    );
}

#[test]
fn compress_tunes_what_it_has_made() {
    let scratch = Scratch::new();
    let (out, folder) = (scratch.path("out.onnx"), scratch.path("report"));
    let (model, data) = (digits().path, calib());
    let fixed = [
        "compress", &model, "-o", &out, "--rank", "1", "--scale", "1/255",
    ];
    let fit = [
        "--calib",
        &data,
        "--max-samples",
        "40",
        "--positions",
        "2000",
        "--rounds",
        "1",
    ];
    let more = ["--tune=1", "--report", &folder, "--json"];
    // The curve of the report fits the layer at every rank.
    let layers = ["--layers", "stage1/block0/conv1"];
    let report = sepconv(&[&fixed[..], &layers, &fit, &more].concat()).json();
    let loss = |of: &str| number(&report, &format!("/tuning/{of}/held_out_loss"));
    assert!(loss("after") <= loss("before"), "{report:#}");
    let page = std::fs::read_to_string(Path::new(&folder).join("report.html")).unwrap();
    assert!(page.contains("Loss on held-out samples"));
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let scratch = Scratch::new();
    let (model, out) = (digits().path, scratch.path("out.onnx"));
    let refused = sepconv(&with(&training(&model, &out), &[])).refused();
    assert!(
        refused.contains("no layer of it was rewritten from"),
        "{refused}"
    );
    let coarse = coarse(&scratch);
    let args = training(&coarse, &out);
    let refused = sepconv(&with(&args, &["--learning-rate", "2"])).refused();
    assert!(
        refused.contains("the learning rate must be above 0 and below 1"),
        "{refused}"
    );
    let state = scratch.write("state", b"other");
    let refused = sepconv(&with(&args, &["--state", &state])).refused();
    assert!(refused.contains(&state), "{refused}");
    // Tests are built without a GPU.
    let refused = sepconv(&with(&args, &["--device", "cuda:1"])).refused();
    assert!(
        refused.contains("device cuda:1: this build has no support for it"),
        "{refused}"
    );
    let refused = sepconv(&["compress", &model, "-o", &out, "--rank", "1", "--tune"]).refused();
    assert!(refused.contains("--tune needs data: --calib"), "{refused}");
    assert!(!Path::new(&out).exists());
}
