//! Budgets: ranks, energies, MACs, and none at all.

use serde_json::{Value, json};

use crate::support::{Model, Scratch, ask, digits, models, sepconv};

/// Compresses the shipped model and returns the report.
#[track_caller]
fn report(options: &[&str]) -> Value {
    let scratch = Scratch::new();
    let (model, out) = (digits().path, scratch.path("out.onnx"));
    let args = [
        "compress",
        &model,
        "-o",
        &out,
        "--json",
        "--data-free=weights",
    ];
    sepconv(&[args.as_slice(), options].concat()).json()
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

/// Compresses to a floor of `floor` dB (`options` ask for it). Either nothing was written and
/// that was said, or the outputs are as near as asked. True where a model was written.
#[track_caller]
fn stays_within(model: &Model, floor: f64, options: &[&str]) -> bool {
    let scratch = Scratch::new();
    let out = scratch.path("out.onnx");
    let compress = ["compress", &model.path, "-o", &out];
    let run = sepconv(&[compress.as_slice(), &model.pins(), options].concat());
    if !std::path::Path::new(&out).exists() {
        let line = run.refused();
        assert!(line.contains(&model.path), "{line}");
        assert!(line.contains("nothing was written"), "{line}");
        assert_eq!(scratch.names(), [""; 0]);
        return false;
    }
    run.ok();
    let note = run.stderr();
    assert!(note.contains(&format!("{floor} dB")), "{run}");
    assert!(
        note.contains("calibration data would allow far more"),
        "{run}"
    );
    assert_eq!(
        note.contains("no budget was given"),
        options.is_empty(),
        "{run}"
    );
    // Judged by another runtime on other inputs, so with some slack.
    let inputs = scratch.path("inputs.npz");
    model.inputs(&inputs);
    let seen = ask(json!({
        "do": "agree", "model": out, "reference": model.path, "inputs": inputs
    }));
    for snr in seen["snr_db"].as_object().unwrap().values() {
        let snr = snr.as_f64().unwrap();
        assert!(
            (floor - 3.0..300.0).contains(&snr),
            "{}: {seen}",
            model.name
        );
    }
    true
}

#[test]
fn the_plain_command_never_spoils_a_model_in_silence() {
    for model in models().iter().filter(|m| !m.half) {
        stays_within(model, 30.0, &[]);
    }
}

#[test]
fn a_floor_that_can_be_met_is_kept() {
    assert!(stays_within(&digits(), 8.0, &["--min-snr", "8"]));
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

/// The weights leave once no layer reads them: rewriting one of four adds parameters.
#[test]
fn parameters_of_shared_weights_are_counted_once() {
    let scratch = Scratch::new();
    let [model, out] = ["twins.onnx", "out.onnx"].map(|n| scratch.path(n));
    ask(json!({"do": "build", "case": "twins", "out": model}));
    let options = [
        "compress",
        &model,
        "-o",
        &out,
        "--target-params",
        "0.75",
        "--data-free=weights",
        "--json",
    ];
    let report = sepconv(&options).json();
    let params = |which: &str| report[which]["params"].as_f64().unwrap();
    let kept = params("compressed") / params("original");
    assert!(kept <= 0.75, "{kept}");
}
