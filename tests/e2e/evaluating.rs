//! `sepconv eval`.

use serde_json::{Value, json};

use crate::support::{ask, digits, digits_eval, sepconv, shared};

/// What `eval --json` printed is the accuracy of that many hits.
#[track_caller]
fn is_accuracy(seen: &Value, correct: u64, n: u64) {
    let p = correct as f64 / n as f64;
    assert_eq!(seen["metric"], "top-1", "{seen}");
    assert_eq!(seen["n"], n, "{seen}");
    let close = |key: &str, expected: f64| {
        let value = seen[key].as_f64().unwrap();
        assert!(
            (value - expected).abs() < 1e-9,
            "{key} of {seen}: expected {expected}"
        );
    };
    close("value", 100.0 * p);
    close("stderr", 100.0 * (p * (1.0 - p) / n as f64).sqrt());
}

#[test]
fn accuracy_of_the_shipped_model_is_what_onnx_runtime_measures() {
    let (model, data) = (digits().path, digits_eval());
    let expected = ask(json!({
        "do": "accuracy", "model": model, "data": data,
        "scale": 1.0 / 255.0, "mean": [0.0], "std": [1.0]
    }));
    let seen = sepconv(&[
        "eval", &model, "--data", &data, "--scale", "1/255", "--json",
    ])
    .json();
    let [correct, n] = ["correct", "n"].map(|key| expected[key].as_u64().unwrap());
    // What models/README.md states.
    assert_eq!((correct, n), (499, 500));
    is_accuracy(&seen, correct, n);
}

#[test]
fn preprocessing_is_applied() {
    // Without --scale the model sees 0..255 and does worse.
    let (model, data) = (digits().path, digits_eval());
    let seen = sepconv(&["eval", &model, "--data", &data, "--json"]).json();
    let expected = ask(json!({
        "do": "accuracy", "model": model, "data": data, "scale": 1.0, "mean": [0.0], "std": [1.0]
    }));
    is_accuracy(&seen, expected["correct"].as_u64().unwrap(), 500);
    let mean_std = ["--mean", "-64", "--std", "510"];
    let args = [
        ["eval", &model, "--data", &data].as_slice(),
        &mean_std,
        &["--json"],
    ]
    .concat();
    let expected = ask(json!({
        "do": "accuracy", "model": model, "data": data, "scale": 1.0, "mean": [-64.0], "std": [510.0]
    }));
    is_accuracy(
        &sepconv(&args).json(),
        expected["correct"].as_u64().unwrap(),
        500,
    );
}

#[test]
fn accuracy_of_resnet_20_is_the_known_baseline() {
    let (Some(model), Some(data)) = (
        shared("models/resnet20_cifar10.onnx"),
        shared("data/cifar10_eval.npz"),
    ) else {
        eprintln!("no ../shared: nothing to measure");
        return;
    };
    let channels = ["--mean", ".485,.456,.406", "--std", ".229,.224,.225"];
    let args = [
        "eval", &model, "--data", &data, "--scale", "1/255", "--json",
    ];
    is_accuracy(
        &sepconv(&[args.as_slice(), &channels].concat()).json(),
        776,
        846,
    );
}
