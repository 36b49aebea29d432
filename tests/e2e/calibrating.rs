//! Fits to unlabelled data: their gain, and that they are reproducible.

use serde_json::Value;

use crate::support::{Scratch, digits, digits_eval, root, runtimes, sepconv, sepconv_with};

/// Compresses the digits model in all layers but the first, with 64 calibration pictures unless
/// `options` say how many.
#[track_caller]
fn compress(out: &str, options: &[&str], threads: &str) -> Value {
    compress_in(out, options, &[("RAYON_NUM_THREADS", threads)])
}

/// [`compress`] in an environment.
#[track_caller]
fn compress_in(out: &str, options: &[&str], environment: &[(&str, &str)]) -> Value {
    let (model, eval) = (digits().path, digits_eval());
    let calib = root().join("models/digits_calib.npz");
    let calib = calib.to_str().unwrap();
    let fixed = [
        "compress",
        &model,
        "--skip",
        "stem/conv1",
        "--scale",
        "1/255",
        "--calib",
        calib,
        "--rounds",
        "1",
        "--eval",
        &eval,
        "-o",
        out,
        "--json",
    ];
    let size: &[&str] = if options.contains(&"--max-samples") {
        &[]
    } else {
        &["--max-samples", "64", "--positions", "6000"]
    };
    let args = [fixed.as_slice(), size, options].concat();
    sepconv_with(&args, environment).json()
}

#[test]
fn too_little_time_makes_a_model_all_the_same_and_says_so() {
    let scratch = Scratch::new();
    let out = scratch.path("hurried.onnx");
    let (model, calib) = (digits().path, root().join("models/digits_calib.npz"));
    let calib = calib.to_str().unwrap();
    let eval = root().join("models/digits_eval.npz");
    let args = [
        "compress",
        &model,
        "--calib",
        calib,
        "--eval",
        eval.to_str().unwrap(),
        "--scale",
        "1/255",
        "--target-macs",
        "0.5",
        "--max-samples",
        "32",
        "--max-time",
        "0.005s",
        "-o",
        &out,
    ];
    let run = sepconv(&args);
    run.ok();
    let told = "note: --max-time was short: ";
    assert!(run.stderr().contains(told), "{}", run.stderr());
    let left_out = "samples not evaluated; another run may differ";
    assert!(run.stderr().contains(left_out), "{}", run.stderr());
    assert!(std::fs::exists(&out).unwrap());
    let refused = sepconv(&["compress", &model, "--max-time", "soon"]);
    assert!(
        refused
            .stderr()
            .contains("expected a time such as 90s, 5m or 1h, found 'soon'")
    );
}

/// ONNX Runtime runs the network, in a session for each thread, and times the file; for MACs tract does,
/// and nothing is timed.
#[test]
fn little_effort_is_reproducible() {
    let scratch = Scratch::new();
    let paths = ["one.onnx", "two.onnx"].map(|name| scratch.path(name));
    let options = ["--target-macs", "0.4", "--effort", "quick"];
    let library = runtimes();
    for (path, threads) in paths.iter().zip(["1", "2"]) {
        let environment = [
            ("RAYON_NUM_THREADS", threads),
            ("SEPCONV_ONNXRUNTIME", &library),
        ];
        let seen = compress_in(path, &options, &environment);
        assert_eq!(seen["timing"]["target"], "onnxruntime", "{seen:#}");
    }
    let [one, two] = paths.map(|path| std::fs::read(path).unwrap());
    assert!(one == two);
    let by_macs = [&options[..], &["--target", "macs"]].concat();
    let seen = compress(&scratch.path("macs.onnx"), &by_macs, "2");
    assert_eq!(seen["timing"], Value::Null);
}

fn accuracy(report: &Value) -> f64 {
    report["compressed"]["evaluation"]["primary"]["value"]
        .as_f64()
        .unwrap()
}

#[test]
fn data_save_what_weights_alone_lose_and_the_bytes_are_reproducible() {
    let scratch = Scratch::new();
    let one = scratch.path("one.onnx");
    let fitted = compress(&one, &["--rank", "2", "--order", "dw-pw"], "1");
    assert!(accuracy(&fitted) > 95.0, "{fitted:#}");
    let two = scratch.path("two.onnx");
    compress(&two, &["--rank", "2", "--order", "dw-pw"], "2");
    assert!(std::fs::read(one).unwrap() == std::fs::read(two).unwrap());
    let free = scratch.path("free.onnx");
    let options = ["--rank", "2", "--order", "dw-pw", "--data-free=weights"];
    let weights_alone = compress(&free, &options, "2");
    assert!(accuracy(&weights_alone) < 50.0, "{weights_alone:#}");
}

#[test]
fn a_mac_budget_is_allocated_by_output_error() {
    let scratch = Scratch::new();
    let out = scratch.path("out.onnx");
    let families = ["--families", "dw-pw,pw-dw,tucker"];
    let few = ["--max-samples", "48", "--positions", "4000"];
    let options = [&["--target-macs", "0.4"][..], &families, &few].concat();
    let report = compress(&out, &options, "2");
    let macs = |of: &str| report[of]["macs"].as_f64().unwrap();
    assert!(macs("compressed") <= 0.4 * macs("original"));
    assert!(accuracy(&report) > 95.0, "{report:#}");
    let layers = report["layers"].as_array().unwrap().iter();
    for layer in layers.filter(|l| l["form"] != "kept") {
        let error = layer["fit"]["held_out_error"].as_f64().unwrap();
        assert!(error > 0.0 && error < 1.0, "{layer:#}");
    }
}

#[test]
fn without_data_pictures_that_nobody_took_beat_the_weights() {
    let scratch = Scratch::new();
    let options = ["--rank", "3", "--order", "dw-pw"];
    let with = |kind: &str, out: &str, threads| {
        let flag = format!("--data-free={kind}");
        compress(
            &scratch.path(out),
            &[&options[..], &[&flag]].concat(),
            threads,
        )
    };
    let pictures = with("pictures", "pictures.onnx", "1");
    let weights = with("weights", "weights.onnx", "2");
    assert!(
        accuracy(&pictures) > accuracy(&weights) + 20.0,
        "{pictures:#}"
    );
    with("pictures", "again.onnx", "2");
    let bytes = |name| std::fs::read(scratch.path(name)).unwrap();
    assert!(bytes("pictures.onnx") == bytes("again.onnx"));
}

#[test]
fn families_are_known_by_name_and_every_one_can_be_fitted() {
    let scratch = Scratch::new();
    let (model, out) = (digits().path, scratch.path("out.onnx"));
    let run = sepconv(&["compress", &model, "--families", "dwpw", "-o", &out]);
    assert!(run.refused().contains("no family 'dwpw'"));
    assert!(scratch.names().is_empty());
    // Every rank of every layer is fitted: two stages and few samples keep the test quick.
    let few = ["--max-samples", "32", "--positions", "2000"];
    let some = ["--target-macs", "0.8", "--layers", "stage[23]/*"];
    for family in ["dw-pw", "pw-dw", "spatial", "channel", "tucker", "cp"] {
        let out = scratch.path(&format!("{family}.onnx"));
        let options = [&some[..], &few, &["--families", family]].concat();
        let report = compress(&out, &options, "2");
        assert!(accuracy(&report) > 97.0, "{family} {}", accuracy(&report));
        let layers = report["layers"].as_array().unwrap().iter();
        let forms = layers.filter(|l| l["form"] != "kept");
        let forms: Vec<&Value> = forms.map(|l| &l["form"]).collect();
        assert!(!forms.is_empty(), "{family}");
        assert!(
            forms.iter().all(|form| **form == family),
            "{family} {forms:?}"
        );
    }
}
