//! Convolutions in the bodies of `If`, `Loop` and `Scan` and in local functions. That every form of
//! them is exact at full rank, `forms` shows; the models are of tests/cases.py.

use serde_json::{Value, json};

use crate::support::{Scratch, ask, compress, sepconv, worst};

/// Name, form and reason of every layer.
fn layers(report: &Value) -> Vec<[String; 3]> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let layers = report["layers"].as_array().unwrap().iter();
    layers
        .map(|l| ["name", "form", "reason"].map(|key| text(&l[key])))
        .collect()
}

fn built(case: &str) -> (Scratch, String, String) {
    let scratch = Scratch::new();
    let [model, out] = ["model.onnx", "out.onnx"].map(|name| scratch.path(name));
    ask(json!({"do": "build", "case": case, "out": model}));
    (scratch, model, out)
}

/// The distance of `out` from `model` for ONNX Runtime, once it is found to keep its names and types.
#[track_caller]
fn judged(scratch: &Scratch, model: &str, out: &str) -> (Value, f64) {
    let inputs = scratch.path("inputs.npz");
    ask(json!({"do": "inputs", "model": model, "out": inputs}));
    let seen = ask(json!({"do": "interface", "original": model, "rewritten": out}));
    assert_eq!(seen["problems"], json!([]));
    let found = ask(json!({"do": "agree", "model": out, "reference": model, "inputs": inputs}));
    (seen, worst(&found["error"]))
}

const FULL: [&str; 6] = [
    "--data-free=weights",
    "--energy",
    "1",
    "--allow-costlier",
    "--json",
    "--force",
];

/// Both branches of an `If` and one within another: weights of their own, of the graphs around
/// them and in `Constant`s; names that are the same everywhere.
#[test]
fn branches_are_rewritten() {
    let (scratch, model, out) = built("choosing");
    let options = [&["compress", &model, "-o", &out][..], &FULL].concat();
    let report = sepconv(&options).json();
    let found = layers(&report);
    let names: Vec<&str> = found.iter().map(|l| l[0].as_str()).collect();
    assert_eq!(names[0], "conv");
    let deep = "unless/else_branch/inner/then_branch/conv";
    for name in ["if/then_branch/conv", "if/else_branch/f1", deep] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert_eq!(names.len(), 11);
    assert!(found.iter().all(|l| l[1] != "kept"), "{found:?}");
    let (seen, error) = judged(&scratch, &model, &out);
    assert!(error <= 1e-4, "{error:e}");
    // The batch norms of both branches went into their convolutions; values without a reader left.
    assert_eq!(seen["added"]["BatchNormalization"], json!(-2));
    let kept = seen["initializers"].as_array().unwrap();
    assert!(!kept.contains(&json!("w")), "{kept:?}");
    assert!(!kept.contains(&json!("shape")), "{kept:?}");
    assert_eq!(seen["added"]["Reshape"], json!(-1));
    // Shapes are those of the outer graph: MACs per run of the branch.
    let mut layers = report["layers"].as_array().unwrap().iter();
    let layer = layers.find(|l| l["name"] == deep).unwrap();
    assert_eq!(layer["macs_before"], json!(2 * 6 * 4 * 9 * 9 * 8));
    assert_eq!(layer["in_subgraph"], json!(true));
}

/// Loops run the rewritten body every time; a function is rewritten for all its callers.
#[test]
fn loops_scans_and_functions_are_rewritten() {
    let (scratch, model, out) = built("repeating");
    let report = sepconv(&[&["compress", &model, "-o", &out][..], &FULL].concat()).json();
    let found = layers(&report);
    let names: Vec<&str> = found.iter().map(|l| l[0].as_str()).collect();
    assert_eq!(names, ["loop/body/conv", "scan/body/conv"]);
    assert!(found.iter().all(|l| l[1] != "kept"), "{found:?}");
    let (seen, error) = judged(&scratch, &model, &out);
    assert!(error <= 1e-4, "{error:e}");
    assert!(
        !seen["initializers"]
            .as_array()
            .unwrap()
            .contains(&json!("w"))
    );

    let (scratch, model, out) = built("called");
    let report = sepconv(&[&["compress", &model, "-o", &out][..], &FULL].concat()).json();
    let found = layers(&report);
    let names: Vec<&str> = found.iter().map(|l| l[0].as_str()).collect();
    let within = |name: &str| format!("local.Block/{name}");
    let expected = [
        "conv",
        "given",
        "if/else_branch/conv",
        "if/then_branch/conv",
    ]
    .map(within);
    assert_eq!(names, expected);
    let given = "an attribute is given by the function's caller";
    assert_eq!(found[1], [&within("given"), "kept", given]);
    assert!(
        [0, 2, 3].iter().all(|i| found[*i][1] != "kept"),
        "{found:?}"
    );
    let (seen, error) = judged(&scratch, &model, &out);
    assert!(error <= 1e-4, "{error:e}");
    // Other layers read the weight before the norm.
    assert_eq!(seen["added"]["BatchNormalization"], Value::Null);
    let text = sepconv(&["inspect", &model]).ok();
    assert!(text.contains("local.Block/conv"), "{text}");
}

/// Layers are selected by the names that the table shows; a body of which nothing is meant stays.
#[test]
fn bodies_are_selected_by_name() {
    let (scratch, model, out) = built("choosing");
    let only = ["--layers", "unless/then_branch/*", "--json"];
    let report = compress(&model, &out, &only).json();
    let found = layers(&report);
    let made = found.iter().filter(|l| l[1] != "kept");
    let made: Vec<&str> = made.map(|l| l[0].as_str()).collect();
    assert_eq!(made, ["unless/then_branch/conv"]);
    let (seen, error) = judged(&scratch, &model, &out);
    assert!(error > 0.0 && error < 1.0, "{error:e}");
    assert_eq!(seen["added"]["BatchNormalization"], json!(-1));
    let odd = compress(&model, &out, &["--skip", "if/nowhere/*", "--force"]).refused();
    assert!(odd.contains("matches none of the 11 convolutions"), "{odd}");
}

/// Budgets over the whole model don't count layers that run an unknown number of times, and say so.
#[test]
fn budgets_over_the_model_leave_bodies_alone() {
    let (scratch, model, out) = built("choosing");
    let options = ["--target-macs", "0.9", "--data-free=weights", "--json"];
    let report = sepconv(&[&["compress", &model, "-o", &out][..], &options].concat()).json();
    let found = layers(&report);
    assert_ne!(found[0][1], "kept");
    let why = "in a subgraph or function, whose runs are not counted";
    assert!(
        found[1..].iter().all(|l| l[1] == "kept" && l[2] == why),
        "{found:?}"
    );
    let (seen, _) = judged(&scratch, &model, &out);
    assert_eq!(seen["added"]["BatchNormalization"], json!(null));
    let (_scratch, model, out) = built("repeating");
    let line = sepconv(&["compress", &model, "-o", &out, "--target-macs", "0.9"]).refused();
    let hint = "(--rank and --energy without --target reach it)";
    assert!(line.contains(why) && line.ends_with(hint), "{line}");
    let line = sepconv(&["compress", &model, "-o", &out, "--rank", "99"]).refused();
    assert!(line.contains("rank 99 is outside 1..="), "{line}");
}

/// Budgets over the whole model and fits to data have the calls of functions written out; the model
/// is the same but for that, its layers are fitted, and a plan gives the same bytes again.
#[test]
fn budgets_and_data_reach_functions() {
    let (scratch, model, out) = built("modules");
    let [data, plan, again] = ["data.npz", "plan.json", "again.onnx"].map(|n| scratch.path(n));
    ask(json!({"do": "inputs", "model": model, "out": data, "free": {"N": 24}}));
    let judge = |out: &str| {
        let seen = ask(json!({"do": "functions", "original": model, "rewritten": out}));
        assert_eq!(seen["problems"], json!([]));
        let found = ask(json!({"do": "agree", "model": out, "reference": model, "inputs": data}));
        worst(&found["error"])
    };
    // At full rank nothing but the calls changes.
    let exact = [
        "--rank",
        "8",
        "--allow-costlier",
        "--calib",
        &data,
        "--json",
    ];
    let report = sepconv(&[&["compress", &model, "-o", &out][..], &exact].concat()).json();
    let found = layers(&report);
    let names: Vec<&str> = found.iter().map(|l| l[0].as_str()).collect();
    let expected = [
        "conv",
        "block/first/conv",
        "block/d/conv",
        "e/first/conv",
        "e/d/conv",
    ];
    assert_eq!(names, [&expected[..], &["last/conv"]].concat());
    assert!(found.iter().all(|l| l[1] != "kept"), "{found:?}");
    let error = judge(&out);
    assert!(error <= 1e-4, "{error:e}");

    let half = [
        "--target-macs",
        "0.7",
        "--calib",
        &data,
        "--force",
        "--json",
    ];
    let half = [
        &["compress", &model, "-o", &out, "--save-plan", &plan][..],
        &half,
    ]
    .concat();
    let report = sepconv(&half).json();
    let kept = report["compressed"]["macs"].as_f64().unwrap();
    assert!(kept <= 0.7 * report["original"]["macs"].as_f64().unwrap());
    assert_eq!(report["comparison"]["not_run"], json!(null));
    let error = judge(&out);
    assert!(error > 0.0 && error < 1.0, "{error:e}");
    let replay = [
        "compress", &model, "-o", &again, "--plan", &plan, "--calib", &data,
    ];
    let note = sepconv(&replay);
    note.ok();
    assert!(
        note.stderr().contains("local functions were written out"),
        "{note}"
    );
    let [first, second] = [&out, &again].map(|path| std::fs::read(path).unwrap());
    assert!(first == second);
}

/// Functions stay functions where a layer is meant by its name there, and under a rank for all.
#[test]
fn functions_stay_where_they_can() {
    let (scratch, model, out) = built("modules");
    let count = |out: &str| ask(json!({"do": "functions", "original": model, "rewritten": out}));
    let report = compress(&model, &out, &["--json"]).json();
    let found = layers(&report);
    assert!(
        found.iter().any(|l| l[0] == "conv" && l[1] != "kept"),
        "{found:?}"
    );
    assert_eq!(count(&out)["functions"], json!(2));
    let named = [
        "--target-macs",
        "0.95",
        "--skip",
        "local.Layer/*",
        "--force",
    ];
    let named = [&["compress", &model, "-o", &out][..], &named].concat();
    sepconv(&[&named[..], &["--data-free=weights"]].concat()).ok();
    assert_eq!(count(&out)["functions"], json!(2));
    let data = scratch.path("data.npz");
    ask(json!({"do": "inputs", "model": model, "out": data, "free": {"N": 8}}));
    let line = sepconv(&[&named[..], &["--calib", &data]].concat()).refused();
    assert!(line.contains("(such as 'conv')"), "{line}");
    // Runtimes without functions are given the functions' operators.
    let text = sepconv(&["compare", &model, &out, "--target", "tract"]).ok();
    assert!(text.contains("dB"), "{text}");
}

/// A plan holds the decisions for bodies, and gives the same bytes again.
#[test]
fn plans_reach_into_bodies() {
    for case in ["choosing", "repeating", "called"] {
        let (scratch, model, out) = built(case);
        let [plan, again] = ["plan.json", "again.onnx"].map(|name| scratch.path(name));
        compress(&model, &out, &["--save-plan", &plan]).ok();
        sepconv(&["compress", &model, "-o", &again, "--plan", &plan]).ok();
        let [first, second] = [&out, &again].map(|path| std::fs::read(path).unwrap());
        assert!(first == second, "{case}");
        assert!(first != std::fs::read(&model).unwrap(), "{case}");
    }
}
