//! `--layers` and `--skip`.

use crate::support::{Scratch, digits, sepconv};

/// Names of the layers that `compress --rank 1` rewrites with these options.
#[track_caller]
fn rewritten(options: &[&str]) -> Vec<String> {
    let scratch = Scratch::new();
    let (model, out) = (digits().path, scratch.path("out.onnx"));
    let args = [
        "compress",
        &model,
        "-o",
        &out,
        "--rank",
        "1",
        "--data-free=weights",
        "--json",
    ];
    let report = sepconv(&[args.as_slice(), options].concat()).json();
    let layers = report["layers"].as_array().unwrap().iter();
    let rewritten = layers.filter(|l| l["form"] != "kept");
    rewritten
        .map(|l| l["name"].as_str().unwrap().to_owned())
        .collect()
}

const ALL: [&str; 8] = [
    "stem/conv1",
    "stem/conv2",
    "stage1/block0/conv1",
    "stage1/block0/conv2",
    "stage2/block0/conv1",
    "stage2/block0/conv2",
    "stage3/block0/conv1",
    "stage3/block0/conv2",
];

#[test]
fn every_3x3_convolution_is_selected_by_default() {
    assert_eq!(rewritten(&[]), ALL);
}

#[test]
fn layers_and_skip_choose_by_glob() {
    assert_eq!(rewritten(&["--layers", "stage*"]), ALL[2..]);
    assert_eq!(rewritten(&["--skip", "stage*"]), ALL[..2]);
    let both = ["--layers", "stage*", "--skip", "*/conv2"];
    assert_eq!(rewritten(&both), [ALL[2], ALL[4], ALL[6]]);
    assert_eq!(rewritten(&["--layers", "stage3/block0/conv?"]), ALL[6..]);
}

#[test]
fn globs_can_be_given_repeatedly() {
    let twice = ["--layers", "stem/conv1", "--layers", "stage3/*"];
    assert_eq!(rewritten(&twice), [ALL[0], ALL[6], ALL[7]]);
    let twice = [
        "--skip",
        "stem/*",
        "--skip",
        "stage*/conv1",
        "--skip",
        "stage3/*",
    ];
    assert_eq!(rewritten(&twice), [ALL[3], ALL[5]]);
}

/// A selection of nothing leaves the model as it is, and says so.
#[test]
fn a_selection_that_leaves_no_layer_says_so() {
    let scratch = Scratch::new();
    let (model, out) = (digits().path, scratch.path("out.onnx"));
    let command = ["compress", &model, "-o", &out, "--target-macs", "0.5"];
    let said = sepconv(&[&command[..], &["--skip", "*", "--data-free=weights"]].concat()).ok();
    assert!(said.contains("none: no layer is selected"), "{said}");
    assert_eq!(std::fs::read(&model).unwrap(), std::fs::read(&out).unwrap());
}
