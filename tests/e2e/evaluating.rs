//! `sepconv eval`.

use serde_json::{Value, json};

use crate::support::{
    NO_SHARED, Scratch, ask, digits, digits_eval, sepconv, sepconv_with, shared, skipped,
};

/// The measure of that name which `eval --json` printed.
#[track_caller]
fn measure<'s>(seen: &'s Value, metric: &str, against: &str) -> &'s Value {
    let mut all = seen["measures"].as_array().unwrap().iter();
    let found = all.find(|m| m["metric"] == metric && m["against"] == against);
    found.unwrap_or_else(|| panic!("no {metric} against {against} in {seen:#}"))
}

/// Names of the measures, in order.
fn names(seen: &Value) -> Vec<&str> {
    let all = seen["measures"].as_array().unwrap().iter();
    all.map(|m| m["metric"].as_str().unwrap()).collect()
}

/// A measure has that value and standard error.
#[track_caller]
fn is_close(measure: &Value, value: f64, stderr: Option<f64>, tolerance: f64) {
    let close = |key: &str, expected: f64| {
        let value = measure[key].as_f64().unwrap();
        assert!(
            (value - expected).abs() < tolerance,
            "{key} of {measure}: expected {expected}"
        );
    };
    close("value", value);
    match stderr {
        Some(stderr) => close("stderr", stderr),
        None => assert!(measure["stderr"].as_f64().unwrap() > 0.0, "{measure}"),
    }
}

/// A measure is a share of that many hits.
#[track_caller]
fn is_share(measure: &Value, hits: u64, n: u64) {
    assert_eq!((&measure["n"], &measure["unit"]), (&json!(n), &json!("%")));
    let p = hits as f64 / n as f64;
    let stderr = 100.0 * (p * (1.0 - p) / n as f64).sqrt();
    is_close(measure, 100.0 * p, Some(stderr), 1e-9);
}

/// The output of `eval --json` is the accuracy of that many hits.
#[track_caller]
fn is_accuracy(seen: &Value, correct: u64, n: u64) {
    assert_eq!(seen["primary"], *measure(seen, "top-1", "labels"));
    assert_eq!(seen["primary"]["higher_is_better"], true, "{seen}");
    is_share(&seen["primary"], correct, n);
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
    // The figures of models/README.md.
    assert_eq!((correct, n), (499, 500));
    is_accuracy(&seen, correct, n);
    assert_eq!(names(&seen), ["top-1", "top-5"]);
    let in_five = expected["in_five"].as_u64().unwrap();
    is_share(measure(&seen, "top-5", "labels"), in_five, n);
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
    let in_five = expected["in_five"].as_u64().unwrap();
    assert!(in_five < 500);
    is_share(measure(&seen, "top-5", "labels"), in_five, 500);
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
        return skipped(NO_SHARED);
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

#[test]
fn unlabelled_data_tell_how_close_a_model_stays_to_the_original() {
    let scratch = Scratch::new();
    let (original, model) = (digits().path, digits().at_rank_2());
    let data = scratch.path("unlabelled.npz");
    ask(json!({"do": "unlabelled", "data": digits_eval(), "out": data}));
    let expected = ask(json!({
        "do": "relation", "original": original, "model": model, "data": data, "scale": 1.0 / 255.0
    }));
    let run = |data: &str, threads: &str| {
        let args = ["eval", &model, "--original", &original, "--data", data];
        let args = [args.as_slice(), &["--scale", "1/255", "--json"]].concat();
        sepconv_with(&args, &[("RAYON_NUM_THREADS", threads)])
    };
    let one = run(&data, "1");
    let seen = one.json();
    assert_eq!(names(&seen), ["agreement", "kl"]);
    assert_eq!(seen["primary"], *measure(&seen, "agreement", "original"));
    let [same, n] = ["same", "n"].map(|key| expected[key].as_u64().unwrap());
    is_share(&seen["primary"], same, n);
    let kl = measure(&seen, "kl", "original");
    let [value, error] = ["kl", "error"].map(|key| expected[key].as_f64().unwrap());
    assert!(value > 0.01 && same < n, "{expected}: too close to tell");
    is_close(kl, value, Some(error), 1e-4);
    assert_eq!(kl["higher_is_better"], false);
    assert_eq!(kl["output"], "logits");
    // The same figures, to the last digit, on another number of threads.
    assert_eq!(run(&data, "2").ok(), one.ok());
    // With labels they come on top.
    let seen = run(&digits_eval(), "2").json();
    assert_eq!(names(&seen), ["top-1", "top-5", "agreement", "kl"]);
    assert_eq!(seen["primary"]["metric"], "top-1");
    is_share(measure(&seen, "agreement", "original"), same, n);
}

#[test]
fn wanted_pictures_give_psnr_and_ssim() {
    let scratch = Scratch::new();
    let [model, other] = ["model.onnx", "other.onnx"].map(|name| scratch.path(name));
    let data = scratch.path("data.npz");
    let expected = ask(json!({"do": "restorer", "model": model, "other": other, "data": data}));
    let figures = |key: &str| -> [f64; 2] { [0, 1].map(|i| expected[key][i].as_f64().unwrap()) };
    let ([psnr, psnr_error], [ssim, ssim_error]) = (figures("psnr"), figures("ssim"));
    let eval = ["eval", &model, "--data", &data, "--json"];
    let one = sepconv_with(&eval, &[("RAYON_NUM_THREADS", "1")]);
    let seen = one.json();
    assert_eq!(names(&seen), ["psnr", "ssim"]);
    assert_eq!(seen["primary"]["unit"], "dB");
    assert_eq!(
        (&seen["primary"]["n"], &seen["primary"]["output"]),
        (&json!(5), &json!("restored"))
    );
    is_close(&seen["primary"], psnr, Some(psnr_error), 1e-4);
    is_close(
        measure(&seen, "ssim", "target"),
        ssim,
        Some(ssim_error),
        1e-5,
    );
    let two = sepconv_with(&eval, &[("RAYON_NUM_THREADS", "2")]);
    assert_eq!(two.ok(), one.ok());
    // A peak ten times as high is 20 dB more.
    let seen = sepconv(&[eval.as_slice(), &["--peak", "10"]].concat()).json();
    is_close(&seen["primary"], psnr + 20.0, Some(psnr_error), 1e-4);
    let refused = sepconv(&[eval.as_slice(), &["--peak", "0"]].concat()).refused();
    assert!(refused.contains("peak 0"), "{refused}");
    // Against the original, an output that is not of classes has SNR and cosine.
    let seen = sepconv(&[
        "eval",
        &other,
        "--data",
        &data,
        "--original",
        &model,
        "--json",
    ])
    .json();
    assert_eq!(names(&seen), ["psnr", "ssim", "snr", "cosine"]);
    let snr = expected["snr"].as_f64().unwrap();
    is_close(measure(&seen, "snr", "original"), snr, None, 1e-3);
    // Nothing differs from itself, and JSON has no infinity.
    let itself = ["eval", &model, "--data", &data, "--original", &model];
    let seen = sepconv(&[itself.as_slice(), &["--json"]].concat()).json();
    assert_eq!(measure(&seen, "snr", "original")["value"], json!(null));
    assert_eq!(measure(&seen, "cosine", "original")["value"], 1.0);
    let text = sepconv(&itself).ok();
    assert!(
        text.contains("psnr") && text.contains("infinite dB"),
        "{text}"
    );
}

#[test]
fn unlabelled_data_and_no_original_is_refused_in_one_line() {
    let scratch = Scratch::new();
    let (model, data) = (digits().path, scratch.path("unlabelled.npz"));
    ask(json!({"do": "unlabelled", "data": digits_eval(), "out": data}));
    let refused = sepconv(&["eval", &model, "--data", &data]).refused();
    assert!(
        refused.contains(&data) && refused.contains("neither labels nor a target"),
        "{refused}"
    );
    assert!(refused.contains("--original"), "{refused}");
}

#[test]
fn a_target_of_another_shape_is_refused() {
    let scratch = Scratch::new();
    let [model, other] = ["model.onnx", "other.onnx"].map(|name| scratch.path(name));
    let data = scratch.path("data.npz");
    ask(json!({"do": "restorer", "model": model, "other": other, "data": data}));
    ask(json!({"do": "npz", "out": data, "arrays": {
        "input": {"dtype": "float32", "shape": [2, 1, 24, 20]},
        "target": {"dtype": "float32", "shape": [2, 1, 12, 10]},
    }}));
    let refused = sepconv(&["eval", &model, "--data", &data]).refused();
    for part in [data.as_str(), "'restored'", "[1, 12, 10]", "[1, 24, 20]"] {
        assert!(refused.contains(part), "{part} in {refused}");
    }
}

#[test]
fn an_original_with_other_outputs_is_refused() {
    let scratch = Scratch::new();
    // The same model with its output renamed, by bytes: a name of the same length.
    let mut model = std::fs::read(digits().path).unwrap();
    while let Some(i) = model.windows(6).position(|w| w == b"logits") {
        model[i..i + 6].copy_from_slice(b"scores");
    }
    let other = scratch.write("other.onnx", &model);
    let eval = ["eval", &other, "--data", &digits_eval()];
    let refused = sepconv(&[eval.as_slice(), &["--original", &digits().path]].concat()).refused();
    for part in [other.as_str(), "scores", "logits"] {
        assert!(refused.contains(part), "{part} in {refused}");
    }
}

#[test]
fn compress_measures_on_unlabelled_data_against_the_original() {
    let scratch = Scratch::new();
    let (model, out, report) = (
        digits().path,
        scratch.path("out.onnx"),
        scratch.path("report"),
    );
    let data = scratch.path("unlabelled.npz");
    ask(json!({"do": "unlabelled", "data": digits_eval(), "out": data, "count": 60}));
    let args = [
        "compress",
        &model,
        "--rank",
        "4",
        "--data-free=weights",
        "--skip",
        "stem/conv1",
        "--eval",
        &data,
        "--scale",
        "1/255",
        "-o",
        &out,
        "--report",
        &report,
    ];
    let text = sepconv(&args).ok();
    assert!(
        text.contains("agreement") && text.contains("against the original"),
        "{text}"
    );
    let file = |name: &str| std::fs::read_to_string(format!("{report}/{name}")).unwrap();
    let seen: Value = serde_json::from_str(&file("report.json")).unwrap();
    let (before, after) = (
        &seen["original"]["evaluation"],
        &seen["compressed"]["evaluation"],
    );
    assert_eq!(names(after), ["agreement", "kl"]);
    // The original agrees with itself.
    assert_eq!(before["primary"]["value"], 100.0);
    assert_eq!(measure(before, "kl", "original")["value"], 0.0);
    // The figures of eval for the file that was written.
    let eval = ["eval", &out, "--original", &model, "--data", &data];
    let again = sepconv(&[eval.as_slice(), &["--scale", "1/255", "--json"]].concat()).json();
    assert_eq!(*after, again);
    assert!(file("curve.svg").contains(">agreement with the original (%)<"));
    assert!(file("report.html").contains("KL divergence"));
}
