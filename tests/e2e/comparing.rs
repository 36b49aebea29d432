//! `sepconv compare`.

use serde_json::json;

use crate::support::{Scratch, ask, digits, models, runtimes, sepconv, sepconv_with};

#[test]
fn a_model_compared_with_itself_has_no_error() {
    let model = digits().path;
    let seen = sepconv(&["compare", &model, &model, "--json"]).json();
    let outputs = seen["outputs"].as_array().unwrap();
    assert_eq!(outputs.len(), 1, "{seen}");
    let output = &outputs[0];
    assert_eq!(output["name"], "logits");
    assert_eq!(output["identical"], true);
    assert_eq!(output["max_abs"], 0.0);
    assert_eq!(output["max_rel"], 0.0);
    assert!((output["cosine"].as_f64().unwrap() - 1.0).abs() < 1e-12);
    assert_eq!(output["top1_agreement"], 1.0);
    // JSON has no infinity.
    assert_eq!(output["snr_db"], json!(null));
    let text = sepconv(&["compare", &model, &model]).ok();
    assert!(
        text.contains("logits") && text.contains("infinite"),
        "{text}"
    );
}

#[test]
fn every_rewritten_model_is_compared_output_by_output() {
    for model in models() {
        let out = model.at_rank_2();
        let compare = ["compare", &model.path, &out, "--samples", "2", "--json"];
        let seen = sepconv(&[compare.as_slice(), &model.pins()].concat()).json();
        assert_eq!(seen["not_run"], json!(null), "{}: {seen}", model.name);
        let outputs = seen["outputs"].as_array().unwrap();
        assert_eq!(outputs.len(), model.outputs, "{}: {seen}", model.name);
        for output in outputs {
            assert_eq!(output["identical"], false, "{}: {seen}", model.name);
            let max_abs = output["max_abs"].as_f64().unwrap();
            assert!(max_abs > 0.0, "{}: {seen}", model.name);
            let cosine = output["cosine"].as_f64().unwrap();
            assert!(
                (-1.0..1.0 + 1e-9).contains(&cosine),
                "{}: {seen}",
                model.name
            );
            assert!(output["snr_db"].is_f64(), "{}: {seen}", model.name);
        }
    }
}

/// The figures of a compression come from ONNX Runtime then; a command that is given no runtime names it.
#[test]
fn a_model_that_tract_can_not_load_is_run_by_the_runtime_that_is_there() {
    let scratch = Scratch::new();
    let [model, data, out] = ["foreign.onnx", "x.npz", "out.onnx"].map(|name| scratch.path(name));
    ask(json!({"do": "build", "case": "foreign", "out": model}));
    ask(json!({"do": "inputs", "model": model, "out": data, "free": {"N": 32}}));
    let compress = ["compress", &model, "--calib", &data, "-o", &out, "--json"];
    let report = scratch.path("report");
    let options = ["--rank", "1", "--target", "macs", "--report", &report];
    let args = [&compress[..], &options].concat();
    let onnxruntime = runtimes();
    let seen = sepconv_with(&args, &[("SEPCONV_ONNXRUNTIME", onnxruntime.as_str())]).json();
    assert_eq!(seen["not_run"], json!(null), "{seen}");
    assert!(seen["outputs"][0]["snr_db"].is_f64(), "{seen}");
    let curve = seen["curve"].as_array().unwrap();
    let mut uniform = curve.iter().filter(|p| p["series"] == "uniform");
    assert!(uniform.clone().count() > 0, "{seen}");
    assert!(uniform.all(|p| p["snr_db"].is_f64()), "{seen}");
    let refused = sepconv(&["run", &model, "-o", &scratch.path("y.npz")]).refused();
    assert!(
        refused.contains("tract can't load it") && refused.contains("--target onnxruntime"),
        "{refused}"
    );
}
