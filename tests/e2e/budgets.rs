//! Budgets: ranks, energies, MACs, and none at all.

use serde_json::{Value, json};

use crate::support::{Finished, Scratch, ask, digits, models, sepconv, worst};

/// Compresses the shipped model with a report and returns that.
#[track_caller]
fn report(options: &[&str]) -> Value {
    let scratch = Scratch::new();
    let (out, folder) = (scratch.path("out.onnx"), scratch.path("report"));
    let model = digits().path;
    let args = ["compress", &model, "-o", &out, "--report", &folder];
    sepconv(&[args.as_slice(), options].concat()).ok();
    let text = std::fs::read_to_string(format!("{folder}/report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    let bytes = std::fs::metadata(&out).unwrap().len();
    assert_eq!(report["compressed"]["bytes"], bytes);
    report
}

fn macs(of: &Value) -> f64 {
    of["macs"].as_f64().unwrap()
}

/// Layers that were rewritten.
fn rewritten(report: &Value) -> impl Iterator<Item = &Value> {
    let layers = report["layers"].as_array().unwrap().iter();
    layers.filter(|l| l["form"] != "kept")
}

#[test]
fn a_mac_budget_is_met_and_nearly_spent() {
    for target in ["0.5", "0.3"] {
        let report = report(&["--target-macs", target]);
        let ratio = macs(&report["compressed"]) / macs(&report["original"]);
        let target: f64 = target.parse().unwrap();
        assert!(ratio <= target, "{ratio} of {target}");
        assert!(ratio >= 0.85 * target, "{ratio} of {target}");
    }
}

#[test]
fn the_macs_of_the_layers_add_up_to_those_of_the_model() {
    let report = report(&["--target-macs", "0.5"]);
    let sum = |key: &str| -> f64 {
        let layers = report["layers"].as_array().unwrap().iter();
        layers.map(|l| l[key].as_f64().unwrap()).sum()
    };
    // 1280 MACs of the head; batch norms that were folded may count before.
    let convs = sum("macs_before");
    assert!((convs + 1280.0 - macs(&report["original"])).abs() < 0.01 * convs);
    let saved = convs - sum("macs_after");
    let total = macs(&report["original"]) - macs(&report["compressed"]);
    assert!((saved - total).abs() < 0.02 * convs, "{saved} {total}");
}

#[test]
fn an_energy_threshold_bounds_the_error_of_every_layer() {
    let report = report(&["--energy", "0.9"]);
    assert!(rewritten(&report).count() > 0);
    for layer in rewritten(&report) {
        // The share of the energy lost is the squared relative Frobenius error.
        let error = layer["weight_error"].as_f64().unwrap();
        assert!(error * error <= 0.1 + 1e-9, "{layer}");
    }
    let loose = self::report(&["--energy", "0.6"]);
    assert!(macs(&loose["compressed"]) < macs(&report["compressed"]));
}

#[test]
fn no_layer_is_rewritten_where_that_saves_nothing() {
    // At rank 7 a depthwise-separable form of most layers is nearly as dear as the original.
    for rank in ["2", "7"] {
        let report = report(&["--rank", rank]);
        assert!(rewritten(&report).count() > 0);
        for layer in rewritten(&report) {
            assert!(
                layer["macs_after"].as_u64() < layer["macs_before"].as_u64(),
                "{layer}"
            );
        }
    }
}

/// The plain command on a model: whether it wrote `out`.
fn plain(model: &str, out: &str, pins: &[&str]) -> (Finished, bool) {
    let run = sepconv(&[["compress", model, "-o", out].as_slice(), pins].concat());
    let written = std::path::Path::new(out).exists();
    (run, written)
}

#[test]
fn the_plain_command_never_spoils_a_model_in_silence() {
    let mut written_at_all = 0;
    for model in models() {
        let scratch = Scratch::new();
        let out = scratch.path("plain.onnx");
        let pins = model.pins();
        let (run, written) = plain(&model.path, &out, &pins);
        if !written {
            assert!(run.refused().contains(&model.path), "{run}");
            assert!(run.refused().contains("nothing was written"), "{run}");
            assert_eq!(scratch.names(), [""; 0]);
            continue;
        }
        written_at_all += 1;
        let text = run.ok();
        assert!(
            text.contains("30 dB") && text.contains("calibration"),
            "{run}"
        );
        // Judged by another runtime, on other inputs: normal noise, which is harder than pictures.
        let inputs = scratch.path("inputs.npz");
        ask(json!({"do": "inputs", "model": model.path, "out": inputs, "free": model.free}));
        let seen = ask(json!({
            "do": "agree", "model": out, "reference": model.path, "inputs": inputs
        }));
        let least = seen["snr_db"].as_object().unwrap().values();
        let least = least.map(|v| v.as_f64().unwrap()).fold(f64::MAX, f64::min);
        assert!(least >= 27.0, "{}: {seen}", model.name);
        assert!(worst(&seen["error"]) > 0.0, "{}: {seen}", model.name);
    }
    assert!(written_at_all > 0);
}

#[test]
fn a_floor_that_nothing_meets_writes_nothing() {
    let scratch = Scratch::new();
    let out = scratch.path("out.onnx");
    let model = digits().path;
    let run = sepconv(&["compress", &model, "-o", &out, "--min-snr", "150"]);
    let line = run.refused();
    assert!(
        line.contains(&model) && line.contains("nothing was written"),
        "{line}"
    );
    assert_eq!(scratch.names(), [""; 0]);
}

#[test]
fn a_lower_floor_saves_more() {
    let left = |floor: &str| macs(&report(&["--min-snr", floor])["compressed"]);
    assert!(left("3") < left("10"));
}
