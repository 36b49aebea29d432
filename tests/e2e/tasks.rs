//! Models measured by their task.

use serde_json::json;

use crate::support::{Scratch, ask, digits, digits_eval, sepconv};

/// A detector that loses detections says so first, however good the whole tensor looks, and is
/// measured by them wherever it is judged.
#[test]
fn a_detector_is_measured_by_its_detections() {
    let scratch = Scratch::new();
    let [model, lossy, data] = ["model.onnx", "lossy.onnx", "data.npz"].map(|n| scratch.path(n));
    ask(json!({"do": "build", "case": "detector", "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": data, "free": {"n": 48}}));
    let rank = ["--rank", "2", "--layers", "features", "--data-free=weights"];
    let rank = [&["compress", &model, "-o", &lossy][..], &rank].concat();
    sepconv(&rank).ok();
    let eval = ["eval", &lossy, "--original", &model, "--data", &data];
    let said = sepconv(&eval).ok();
    let first = said.lines().next().unwrap();
    assert!(first.starts_with("detect: F1 of detections "), "{said}");
    assert!(
        first.contains("recall") && first.contains("precision"),
        "{said}"
    );
    assert!(said.contains("task detect: 'y' [6, 64]"), "{said}");
    let seen = sepconv(&[&eval[..], &["--json"]].concat()).json();
    assert_eq!(seen["task"]["task"], "detect");
    assert_eq!(seen["primary"]["metric"], "f1");
    // As ONNX Runtime and a suppression written in Python have it.
    let expected = ask(json!({
        "do": "detections", "model": lossy, "reference": model, "inputs": data
    }));
    let [original, rewritten, both] =
        ["original", "model", "both"].map(|key| expected[key].as_f64().unwrap());
    assert!(original > 50.0 && both < 0.9 * original, "{expected}");
    let value = |metric: &str| {
        let mut all = seen["measures"].as_array().unwrap().iter();
        let found = all.find(|m| m["metric"] == metric).unwrap();
        (
            found["value"].as_f64().unwrap(),
            found["stderr"].as_f64().unwrap(),
        )
    };
    for (metric, share) in [
        ("recall", both / original),
        ("precision", both / rewritten),
        ("f1", 2.0 * both / (original + rewritten)),
    ] {
        let (value, stderr) = value(metric);
        // A score may lie at the threshold within rounding.
        assert!(
            (value - 100.0 * share).abs() < 1.0,
            "{metric} {value}: {expected}"
        );
        assert!(stderr > 0.0, "{metric}");
    }
    // The default budget is a drop of F1, and its verdict names it.
    let out = scratch.path("judged.onnx");
    let judged = ["compress", &model, "-o", &out, "--calib", &data];
    let refused = sepconv(&[&judged[..], &["--layers", "features"]].concat()).refused();
    assert!(refused.contains("F1 of detections at 95.00 %"), "{refused}");
    let allowed = ["--layers", "features", "--max-drop", "50", "--json"];
    let report = sepconv(&[&judged[..], &allowed].concat()).json();
    let verdict = &report["verdict"];
    assert_eq!(
        (&verdict["metric"], &verdict["allowed"]),
        (&json!("F1 of detections"), &json!(50.0))
    );
    assert!(verdict["shown"].as_bool().unwrap(), "{verdict}");
    // Held for a ratio in place of its task, scores above the threshold count as well.
    let ratio = ["--layers", "features", "--min-snr", "3", "--json"];
    let report = sepconv(&[&judged[..], &ratio, &["--force"]].concat()).json();
    let scores = &report["outputs"][0]["scores"];
    let [original, rewritten, both] =
        ["original", "model", "both"].map(|key| scores[key].as_f64().unwrap());
    let kept = both / original.max(rewritten);
    assert!(kept >= 1.0 - 10f64.powf(-3.0 / 20.0), "{scores}");
    assert!(original > 20.0 && kept < 1.0, "{scores}");
    // The share of other operators is told before the work.
    let far = ["--layers", "features", "--target-macs", "0.4", "--force"];
    let said = sepconv(&[&judged[..4], &far].concat());
    let note = "note: 0.4 of all MACs leaves the layers that can be rewritten 0.27 of theirs";
    assert!(said.stderr().contains(note), "{said}");
    // Another task is taken by its name, and refused where the outputs don't fit it.
    let named = |task: &str| sepconv(&[&eval[..], &["--task", task, "--json"]].concat());
    assert_eq!(
        named("regress").json()["primary"]["metric"],
        "relative-error"
    );
    let refused = named("classify").refused();
    assert!(
        refused.contains("no output is shaped [n, classes]"),
        "{refused}"
    );
}

/// Classes stay classes, and a vector that is named one is measured as such.
#[test]
fn classes_are_measured_as_before_and_vectors_by_their_directions() {
    let (original, model, data) = (digits().path, digits().at_rank_2(), digits_eval());
    let eval = ["eval", &model, "--original", &original, "--data", &data];
    let read = ["--scale", "1/255", "--json"];
    let seen = sepconv(&[&eval[..], &read].concat()).json();
    assert_eq!(seen["task"]["task"], "classify");
    assert_eq!(seen["primary"]["metric"], "top-1");
    let seen = sepconv(&[&eval[..], &read, &["--task", "embed"]].concat()).json();
    let all = seen["measures"].as_array().unwrap().iter();
    let names: Vec<&str> = all.map(|m| m["metric"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        ["nearest", "mean-cosine", "top-1", "top-5", "snr", "cosine"]
    );
    assert!(
        seen["measures"][1]["value"].as_f64().unwrap() > 0.9,
        "{seen}"
    );
}
