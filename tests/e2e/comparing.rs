//! `sepconv compare`.

use serde_json::json;

use crate::support::{digits, models, sepconv};

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
