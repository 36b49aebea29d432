//! The forms that convolutions and their weights take, built by tests/cases.py.

use serde_json::json;

use crate::support::{Scratch, ask, compress, sepconv, worst};

/// Every case at full rank, in every family and lowering, equals the original.
#[test]
fn every_form_is_rewritten_exactly() {
    let mut rewritten = 0;
    for case in ask(json!({"do": "cases"})).as_array().unwrap() {
        let case = case.as_str().unwrap();
        let scratch = Scratch::new();
        let model = scratch.path("model.onnx");
        ask(json!({"do": "build", "case": case, "out": model}));
        let inputs = scratch.path("inputs.npz");
        ask(json!({"do": "inputs", "model": model, "out": inputs}));
        for form in [
            "--order dw-pw --lowering branches",
            "--order dw-pw --lowering concat",
            "--order dw-pw --lowering tiled",
            "--order dw-pw --lowering fused",
            "--order pw-dw --lowering branches",
            "--order pw-dw --lowering fused",
            "--families spatial",
            "--families tucker",
        ] {
            let out = scratch.path("out.onnx");
            let mut options = vec!["compress", &model, "-o", &out, "--energy", "1", "--force"];
            options.extend(["--allow-costlier", "--data-free=weights", "--json"]);
            options.extend(form.split(' '));
            let report = sepconv(&options);
            let spatial = form.ends_with("spatial");
            if spatial && matches!(case, "transposed-shaped" | "transposed-narrow") {
                // `output_shape` can't be divided among stages; a 1 x 5 kernel has no second axis.
                let reason = report.refused();
                assert!(reason.contains("no convolution qualifies"), "{reason}");
                continue;
            }
            let layers = report.json();
            let made = layers["layers"].as_array().unwrap().iter();
            rewritten += made.filter(|l| l["rank"].is_u64()).count();
            let found = ask(json!({"do": "interface", "original": model, "rewritten": out}));
            assert_eq!(found["problems"], json!([]), "{case} {form}");
            let found =
                ask(json!({"do": "agree", "model": out, "reference": model, "inputs": inputs}));
            let error = worst(&found["error"]);
            assert!(error <= 1e-4, "{case} {form}: {error:e}");
        }
    }
    assert!(rewritten >= 100, "{rewritten} layers were rewritten");
}

/// What made a weight goes with it, unless something else reads it.
#[test]
fn the_makers_of_a_weight_go_with_it() {
    let scratch = Scratch::new();
    let added = |case: &str| {
        let model = scratch.path(&format!("{case}.onnx"));
        let out = scratch.path(&format!("{case}.out.onnx"));
        ask(json!({"do": "build", "case": case, "out": model}));
        compress(&model, &out, &[]).ok();
        ask(json!({"do": "interface", "original": model, "rewritten": out}))["added"].clone()
    };
    assert_eq!(
        added("behind"),
        json!({"Constant": -2, "Reshape": -1, "Transpose": -1, "Identity": -1, "Conv": 3, "Add": 1})
    );
    assert_eq!(
        added("shared"),
        json!({"Identity": -1, "Conv": 6, "Add": 2})
    );
    assert_eq!(added("read-twice"), json!({"Conv": 3, "Add": 1}));
}

/// The fit of a transposed convolution: on its own calibration data never worse than without.
#[test]
fn transposed_convolutions_are_calibrated() {
    let scratch = Scratch::new();
    let data = scratch.path("data.npz");
    for case in ["transposed-strided", "transposed-grouped"] {
        let model = scratch.path(&format!("{case}.onnx"));
        ask(json!({"do": "build", "case": case, "out": model}));
        ask(json!({"do": "inputs", "model": model, "out": data}));
        let snr = |options: &[&str]| {
            let out = scratch.path("out.onnx");
            let all = ["compress", &model, "-o", &out, "--rank", "1", "--force"];
            sepconv(&[&all, options].concat()).ok();
            let found = sepconv(&["compare", &model, &out, "--input", &data, "--json"]).json();
            found["outputs"][0]["snr_db"].as_f64().unwrap()
        };
        let (free, fitted) = (snr(&["--data-free=weights"]), snr(&["--calib", &data]));
        assert!(fitted > free, "{case}: {fitted} dB, {free} dB data-free");
    }
}
