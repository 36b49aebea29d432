//! Models measured by their task.

use serde_json::json;

use crate::support::{Scratch, ask, digits, digits_eval, sepconv};

/// The masks of a detector are part of its verdict: one whose prototypes alone changed has the same boxes.
#[test]
fn a_detector_of_masks_is_measured_by_its_masks_too() {
    let scratch = Scratch::new();
    let [model, lossy, data] = ["model.onnx", "lossy.onnx", "data.npz"].map(|n| scratch.path(n));
    ask(json!({"do": "build", "case": "detector-masks", "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": data, "free": {"n": 48}}));
    let rank = [
        "--rank",
        "1",
        "--layers",
        "prototypes",
        "--data-free=weights",
    ];
    sepconv(&[&["compress", &model, "-o", &lossy][..], &rank].concat()).ok();
    let of = |file: &str| {
        let eval = [
            "eval",
            file,
            "--original",
            &model,
            "--data",
            &data,
            "--json",
        ];
        sepconv(&eval).json()
    };
    let seen = of(&lossy);
    let why = seen["task"]["why"].as_str().unwrap();
    assert!(
        why.contains("'prototypes'") && why.ends_with("masks beside"),
        "{why}"
    );
    let f1 = |seen: &serde_json::Value| seen["primary"]["value"].as_f64().unwrap();
    assert!(f1(&seen) < 95.0, "{seen}");
    assert_eq!(f1(&of(&model)), 100.0);
    // Their boxes are the same to the last bit.
    let boxes =
        ask(json!({"do": "detections", "model": lossy, "reference": model, "inputs": data}));
    assert_eq!(boxes["original"], boxes["both"], "{boxes}");
}

/// Labels of which a sample has several are judged by all of them, not by the greatest; drops are of these too.
#[test]
fn a_tagger_is_measured_by_all_its_labels() {
    let scratch = Scratch::new();
    let [model, lossy, data] = ["model.onnx", "lossy.onnx", "data.npz"].map(|n| scratch.path(n));
    ask(json!({"do": "build", "case": "tagger", "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": data, "free": {"n": 48}}));
    let rank = ["--rank", "1", "--data-free=weights"];
    sepconv(&[&["compress", &model, "-o", &lossy][..], &rank].concat()).ok();
    let eval = |options: &[&str]| {
        let of = [
            "eval",
            &lossy,
            "--original",
            &model,
            "--data",
            &data,
            "--json",
        ];
        sepconv(&[&of[..], options].concat()).json()
    };
    let seen = eval(&[]);
    assert_eq!(seen["task"]["task"], "tag", "{seen:#}");
    let named = |seen: &serde_json::Value, name: &str| {
        let all = seen["measures"].as_array().unwrap().iter();
        let found = all.clone().find(|m| m["metric"] == name);
        found.unwrap_or_else(|| panic!("{name}: {seen:#}"))["value"]
            .as_f64()
            .unwrap()
    };
    assert_eq!(seen["primary"]["metric"], "label-f1");
    let [f1, recall, precision] =
        ["label-f1", "label-recall", "label-precision"].map(|n| named(&seen, n));
    assert!(f1 < 99.0 && f1 > 20.0, "{f1}");
    assert!((f1 - 2.0 * recall * precision / (recall + precision)).abs() < 1e-6);
    let by_class = eval(&["--task", "classify"]);
    assert!(named(&by_class, "agreement") > 0.0);
    let out = scratch.path("out.onnx");
    let loose = [
        "--calib",
        &data,
        "--max-drop",
        "60",
        "--target",
        "macs",
        "--json",
    ];
    let made = sepconv(&[&["compress", &model, "-o", &out][..], &loose].concat()).json();
    assert_eq!(made["verdict"]["metric"], "F1 of labels", "{made:#}");
}

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
    let plan = scratch.path("plan.json");
    let allowed = ["--layers", "features", "--max-drop", "50", "--json"];
    let allowed = [&allowed[..], &["--save-plan", &plan]].concat();
    let report = sepconv(&[&judged[..], &allowed].concat()).json();
    let verdict = &report["verdict"];
    assert_eq!(
        (&verdict["metric"], &verdict["allowed"]),
        (&json!("F1 of detections"), &json!(50.0))
    );
    assert!(verdict["shown"].as_bool().unwrap(), "{verdict}");
    // Half of the samples are judged on.
    let plan: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&plan).unwrap()).unwrap();
    assert_eq!(
        plan["fit"]["to"]["data"]["part"],
        json!({"train": {"every": 2}}),
        "{plan}"
    );
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

/// Boxes that are known take the place of the original's detections: in figures, verdicts and reports.
#[test]
fn a_detector_is_measured_by_boxes_where_they_are_known() {
    let scratch = Scratch::new();
    let [model, lossy, data] = ["model.onnx", "lossy.onnx", "data.npz"].map(|n| scratch.path(n));
    let boxes = scratch.path("boxes.json");
    ask(json!({"do": "build", "case": "detector", "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": data, "free": {"n": 48}}));
    ask(json!({"do": "boxes", "model": model, "inputs": data, "out": boxes}));
    let rank = ["--rank", "2", "--layers", "features", "--data-free=weights"];
    sepconv(&[&["compress", &model, "-o", &lossy][..], &rank].concat()).ok();
    let measured = |model: &str| {
        let eval = ["eval", model, "--data", &data, "--labels", &boxes, "--json"];
        let seen = sepconv(&eval).json();
        assert_eq!(seen["primary"], seen["measures"][0]);
        assert_eq!(seen["primary"]["against"], "labels");
        let values = ["map", "map-50"].map(|metric| {
            let mut all = seen["measures"].as_array().unwrap().iter();
            all.find(|m| m["metric"] == metric).unwrap()["value"]
                .as_f64()
                .unwrap()
        });
        let expected =
            ask(json!({"do": "precision", "model": model, "inputs": data, "boxes": boxes}));
        if let [Some(all), Some(half)] = ["map", "map-50"].map(|key| expected[key].as_f64()) {
            // A score may lie at the threshold within rounding.
            let near = (values[0] - all).abs() < 0.01 && (values[1] - half).abs() < 0.01;
            assert!(near, "{values:?}: {expected}");
        }
        values
    };
    let [all, half] = measured(&model);
    assert!(all > 60.0 && half > all + 5.0, "{all} {half}");
    let [lost, lost_half] = measured(&lossy);
    assert!(
        lost < 0.8 * all && lost_half < 0.9 * half,
        "{lost} {lost_half}"
    );
    let against = ["eval", &lossy, "--original", &model, "--data", &data];
    let said = sepconv(&[&against[..], &["--labels", &boxes]].concat()).ok();
    let first = said.lines().next().unwrap();
    assert!(first.starts_with("detect: mAP "), "{first}");
    let (labels, original) = first.split_once("; ").unwrap();
    assert!(labels.ends_with("against the labels"), "{first}");
    assert!(original.starts_with("F1 of detections"), "{first}");
    // A drop is one of mAP.
    let out = scratch.path("judged.onnx");
    let judged = [
        "compress", &model, "-o", &out, "--calib", &data, "--eval", &data,
    ];
    let judged = [&judged[..], &["--labels", &boxes, "--layers", "features"]].concat();
    let macs = ["--target", "macs", "--json"];
    let report = sepconv(&[&judged[..], &["--max-drop", "40"], &macs].concat()).json();
    let verdict = &report["verdict"];
    assert_eq!(verdict["metric"], "mAP", "{verdict}");
    let allowed = verdict["allowed"].as_f64().unwrap();
    assert!((allowed - (all - 40.0)).abs() < 1e-6, "{verdict}");
    let kept = report["compressed"]["evaluation"]["primary"]["value"].as_f64();
    assert!(kept.unwrap() >= allowed, "{report}");
    let refused = sepconv(&[&judged[..], &["--max-drop", "0.1"], &macs, &["--force"]].concat());
    let refused = refused.refused();
    assert!(refused.contains("keeps mAP at"), "{refused}");
    // The page shows samples before and after, with what both find.
    let folder = scratch.path("report");
    let shown = [
        "--report",
        &folder,
        "--max-drop",
        "40",
        "--target",
        "macs",
        "--force",
    ];
    sepconv(&[&judged[..], &shown].concat()).ok();
    let page = std::fs::read_to_string(format!("{folder}/report.html")).unwrap();
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 6);
    let counts =
        page.matches("<span>original: ").count() + page.matches("<span>rewritten: ").count();
    assert_eq!(counts, 6);
    assert!(page.contains("mAP"), "no figure of the labels");
    // Boxes are no labels of masks or classes, and want data that they are of.
    let segment = [&against[..], &["--labels", &boxes, "--task", "regress"]].concat();
    let refused = sepconv(&segment).refused();
    assert!(
        refused.contains("the task of the model is regress"),
        "{refused}"
    );
    let alone = [
        "compress", &model, "-o", &out, "--labels", &boxes, "--rank", "2",
    ];
    let refused = sepconv(&alone).refused();
    assert!(refused.contains("--labels needs data: --eval"), "{refused}");
}

/// Masks that are known take the place of the original's.
#[test]
fn a_segmentation_model_is_measured_by_masks_where_they_are_known() {
    let scratch = Scratch::new();
    let [model, lossy, inputs] = ["model.onnx", "lossy.onnx", "in.npz"].map(|n| scratch.path(n));
    let data = scratch.path("data.npz");
    ask(json!({"do": "build", "case": "segmenter", "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": inputs, "free": {"n": 40}}));
    ask(json!({"do": "masks", "model": model, "inputs": inputs, "out": data}));
    let rank = ["--rank", "1", "--layers", "features", "--data-free=weights"];
    sepconv(&[&["compress", &model, "-o", &lossy][..], &rank].concat()).ok();
    let measured = |model: &str| {
        let seen = sepconv(&["eval", model, "--data", &data, "--json"]).json();
        let primary = &seen["primary"];
        assert_eq!(
            (&primary["metric"], &primary["against"]),
            (&json!("iou"), &json!("labels"))
        );
        let expected = ask(json!({"do": "overlap", "model": model, "data": data}));
        let value = primary["value"].as_f64().unwrap();
        // A position may have two classes of one value within rounding.
        let near = (value - expected["iou"].as_f64().unwrap()).abs() < 0.05;
        assert!(near, "{primary}: {expected}");
        value
    };
    assert!(measured(&model) > 99.9);
    let lost = measured(&lossy);
    assert!(lost < 90.0, "{lost}");
    let out = scratch.path("judged.onnx");
    let judged = [
        "compress", &model, "-o", &out, "--calib", &inputs, "--eval", &data,
    ];
    let drop = ["--max-drop", "60", "--target", "macs", "--json"];
    let report = sepconv(&[&judged[..], &drop].concat()).json();
    let verdict = &report["verdict"];
    assert_eq!(verdict["metric"], "IoU of masks", "{verdict}");
    assert!(verdict["value"].as_f64().unwrap() > 39.9, "{verdict}");
    let folder = scratch.path("report");
    let shown = [&drop[..4], &["--force", "--report", &folder]].concat();
    sepconv(&[&judged[..], &shown].concat()).ok();
    let page = std::fs::read_to_string(format!("{folder}/report.html")).unwrap();
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 9);
    let eval = ["eval", &lossy, "--original", &model, "--data", &data];
    let said = sepconv(&eval).ok();
    assert!(
        said.lines()
            .next()
            .unwrap()
            .starts_with("segment: IoU of masks "),
        "{said}"
    );
}
