//! Rewritten models against ONNX's checker, ONNX Runtime and tract.

use serde_json::{Value, json};

use crate::support::{Model, Scratch, ask, digits, models, sepconv, worst};

/// The full rank of the regular convolutions of a model: the largest `min(m, kh * kw)`, with
/// `m` the output channels for DW->PW and the input channels for PW->DW.
fn full_rank(model: &Model, order: &str) -> String {
    let convolutions = ask(json!({"do": "convolutions", "model": model.path}));
    let rank = |c: &Value| {
        let dim = |i: usize| c["weight"][i].as_u64().unwrap();
        let channels = if order == "dw-pw" { dim(0) } else { dim(1) };
        channels.min(dim(2) * dim(3))
    };
    let ranks = convolutions.as_array().unwrap().iter().map(rank);
    ranks.max().unwrap().to_string()
}

/// At full rank, ONNX Runtime computes the same with the rewritten model as with the original.
fn full_rank_is_exact(model: &Model, order: &str, lowering: &str) {
    let scratch = Scratch::new();
    let out = scratch.path("full.onnx");
    let rank = full_rank(model, order);
    let budget = ["--rank", &rank, "--allow-costlier"];
    let form = ["--order", order, "--lowering", lowering];
    let compress = ["compress", &model.path, "-o", &out];
    sepconv(&[compress.as_slice(), &budget, &form, &model.pins()].concat()).ok();
    let seen = ask(json!({"do": "interface", "original": model.path, "rewritten": out}));
    let case = format!("{} {order} {lowering}", model.name);
    assert_eq!(seen["problems"], json!([]), "{case}");
    assert!(seen["added"]["Conv"].as_i64() > Some(0), "{case}: {seen}");
    let inputs = scratch.path("inputs.npz");
    model.inputs(&inputs);
    let seen = ask(json!({
        "do": "agree", "model": out, "reference": model.path, "inputs": inputs
    }));
    assert!(worst(&seen["error"]) <= model.tolerance, "{case}: {seen}");
}

#[test]
fn full_rank_dw_pw_equals_the_original() {
    for model in models() {
        full_rank_is_exact(&model, "dw-pw", "auto");
    }
}

#[test]
fn full_rank_pw_dw_equals_the_original() {
    for model in models().iter().filter(|m| !m.half) {
        full_rank_is_exact(model, "pw-dw", "auto");
    }
}

#[test]
fn every_lowering_of_dw_pw_equals_the_original_at_full_rank() {
    for lowering in ["branches", "concat", "tiled", "fused", "tiled-padded"] {
        full_rank_is_exact(&digits(), "dw-pw", lowering);
    }
}

#[test]
fn every_lowering_of_pw_dw_equals_the_original_at_full_rank() {
    for lowering in [
        "branches",
        "fused",
        "branches-padded",
        "branches-input-padded",
    ] {
        full_rank_is_exact(&digits(), "pw-dw", lowering);
    }
}

#[test]
fn rank_2_models_pass_the_checker_and_keep_their_interface() {
    for model in models() {
        let out = model.at_rank_2();
        let seen = ask(json!({"do": "interface", "original": model.path, "rewritten": out}));
        assert_eq!(seen["problems"], json!([]), "{}", model.name);
        assert!(seen["added"]["Conv"].as_i64() > Some(0), "{seen}");
    }
}

#[test]
fn onnx_runtime_and_tract_agree_on_rank_2_models() {
    for model in models() {
        let scratch = Scratch::new();
        let [inputs, outputs] = ["inputs.npz", "outputs.npz"].map(|n| scratch.path(n));
        let out = model.at_rank_2();
        model.inputs(&inputs);
        sepconv(&["run", &out, "--data", &inputs, "--output", &outputs]).ok();
        let seen = ask(json!({
            "do": "outputs", "model": out, "inputs": inputs, "outputs": outputs
        }));
        let name = model.name;
        assert!(worst(&seen["error"]) <= model.tolerance, "{name}: {seen}");
    }
}
