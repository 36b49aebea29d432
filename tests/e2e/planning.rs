//! Budgets that are allocated over the layers, by data.

use serde_json::{Value, json};

use crate::support::{Scratch, ask, digits, digits_eval, root, runtimes, sepconv, sepconv_with};

/// Runs a command on the digits model with 64 calibration pictures and few positions.
#[track_caller]
fn on_digits(command: &str, options: &[&str], cache: &Scratch) -> Value {
    let calib = root().join("models/digits_calib.npz");
    let (model, calib) = (digits().path, calib.to_str().unwrap().to_owned());
    let fixed = [command, &model, "--scale", "1/255", "--calib", &calib];
    let few = [
        "--max-samples",
        "64",
        "--positions",
        "4000",
        "--rounds",
        "1",
        "--json",
    ];
    // Two families keep the test quick.
    let families: &[&str] = if options.contains(&"--families") {
        &[]
    } else {
        &["--families", "dw-pw,pw-dw"]
    };
    let args = [&fixed[..], &few, families, options].concat();
    sepconv_with(&args, &[("SEPCONV_CACHE", &cache.path("cache"))]).json()
}

fn figure(report: &Value, of: &str, key: &str) -> f64 {
    report[of][key].as_f64().unwrap()
}

#[test]
fn parameters_and_bytes_are_budgets_too() {
    let scratch = Scratch::new();
    for (flag, key) in [("--target-params", "params"), ("--target-size", "bytes")] {
        let out = scratch.path(&format!("{key}.onnx"));
        let report = on_digits("compress", &[flag, "0.5", "-o", &out], &scratch);
        let kept = figure(&report, "compressed", key) / figure(&report, "original", key);
        assert!(kept <= 0.5 && kept > 0.3, "{key} {kept}");
    }
    let written = std::fs::metadata(scratch.path("bytes.onnx")).unwrap().len() as f64;
    let original = std::fs::metadata(digits().path).unwrap().len() as f64;
    assert!(written <= 0.5 * original, "{written} {original}");
}

#[test]
fn a_budget_out_of_reach_says_what_can_be_reached() {
    let scratch = Scratch::new();
    let out = scratch.path("out.onnx");
    let model = digits().path;
    let args = [
        "compress",
        &model,
        "--target-macs",
        "0.001",
        "--data-free=weights",
        "-o",
        &out,
    ];
    let line = sepconv(&args).refused();
    assert!(line.contains("0.001") || line.contains("0.1 %"), "{line}");
    assert!(scratch.names().is_empty());
}

#[test]
fn without_a_budget_data_keep_the_model_within_a_point_of_itself() {
    let scratch = Scratch::new();
    let out = scratch.path("out.onnx");
    let eval = digits_eval();
    let family = ["--families", "dw-pw"];
    let options = [&family[..], &["-o", &out, "--eval", &eval]].concat();
    let report = on_digits("compress", &options, &scratch);
    let macs = |of| figure(&report, of, "macs");
    assert!(macs("compressed") < 0.6 * macs("original"), "{report:#}");
    let top1 = |of: &str| {
        report[of]["evaluation"]["primary"]["value"]
            .as_f64()
            .unwrap()
    };
    assert!(top1("compressed") >= top1("original") - 1.0, "{report:#}");
    // The same on held-out calibration data alone.
    let out = scratch.path("held.onnx");
    let options = [&family[..], &["-o", &out, "--max-drop", "7"]].concat();
    let report = on_digits("compress", &options, &scratch);
    assert!(figure(&report, "compressed", "macs") < 0.6 * figure(&report, "original", "macs"));
}

#[test]
fn time_on_onnx_runtime_is_measured_and_chooses_the_form() {
    let scratch = Scratch::new();
    let out = scratch.path("out.onnx");
    let library = runtimes();
    let options = [
        "--rank",
        "2",
        "--target",
        "onnxruntime",
        "--onnxruntime",
        &library,
    ];
    let options = [&options[..], &["-o", &out, "--order", "dw-pw"]].concat();
    let report = on_digits("compress", &options, &scratch);
    let timing = &report["timing"];
    assert_eq!(timing["target"], "onnxruntime", "{report:#}");
    let layers = report["layers"].as_array().unwrap();
    let mut rewritten = layers.iter().filter(|l| l["form"] != "kept").peekable();
    assert!(rewritten.peek().is_some());
    for layer in rewritten {
        let seconds = |key: &str| layer[key].as_f64().unwrap();
        assert!(seconds("time_after") < seconds("time_before"), "{layer:#}");
    }
    assert!(timing["models"][1]["speed_up"]["median"].as_f64().unwrap() > 0.0);
    assert!(
        scratch.names().iter().any(|n| n == "cache"),
        "timings are kept"
    );
}

#[test]
fn a_fraction_is_planned_once() {
    let (scratch, model) = (Scratch::new(), digits().path);
    let folder = scratch.path("models");
    let sweep = [
        "sweep",
        &model,
        "--fractions",
        "0.9,0.8,0.90",
        "--no-baselines",
    ];
    let options = ["--data-free=weights", "--models", &folder, "--json"];
    let report = sepconv(&[&sweep[..], &options].concat()).json();
    let curve = report["curve"].as_array().unwrap().iter();
    let labels: Vec<&str> = curve.map(|p| p["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["budget 0.8", "budget 0.9", "original"]);
    // The inputs that signal-to-noise ratios are of.
    assert_eq!(report["inputs"], "random");
    assert_ne!(report["samples"], json!(0));
}

#[test]
fn a_sweep_has_the_plans_and_the_paper_beside_them() {
    let scratch = Scratch::new();
    let [models, eval] = ["models", "eval.npz"].map(|name| scratch.path(name));
    ask(json!({"do": "first", "data": digits_eval(), "out": eval, "count": 200}));
    // Every point of the curve is fitted and evaluated: two stages and few pictures.
    let options = [
        "--fractions",
        "0.8,0.7",
        "--layers",
        "stage[23]/*",
        "--models",
        &models,
        "--eval",
        &eval,
    ];
    let report = on_digits("sweep", &options, &scratch);
    let points = report.get("curve").unwrap_or(&report).as_array().unwrap();
    let of =
        |series: &str| -> Vec<&Value> { points.iter().filter(|p| p["series"] == series).collect() };
    let value = |p: &Value| p["evaluation"]["primary"]["value"].as_f64().unwrap();
    assert_eq!((of("original").len(), of("allocated").len()), (1, 2));
    for point in of("allocated") {
        assert!(value(point) > 97.0, "{point:#}");
        let macs = point["macs"].as_f64().unwrap();
        let paper = points
            .iter()
            .filter(|p| p["series"].as_str().unwrap().starts_with("paper"));
        let dearer = paper.filter(|p| p["macs"].as_f64().unwrap() <= macs);
        for other in dearer {
            assert!(value(point) >= value(other), "{point:#} {other:#}");
        }
    }
    for series in ["uniform", "paper-dw-pw", "paper-pw-dw", "paper-energy"] {
        assert!(!of(series).is_empty(), "{series}");
    }
    for name in ["0.8.onnx", "0.7.onnx"] {
        let path = format!("{models}/{name}");
        let seen = sepconv(&["inspect", &path, "--json"]).json();
        assert!(seen["macs"].as_u64().is_some(), "{seen:#}");
    }
}

#[test]
fn statistics_are_kept_and_a_damaged_file_is_collected_again() {
    let scratch = Scratch::new();
    let [one, two, three] = ["one.onnx", "two.onnx", "three.onnx"].map(|n| scratch.path(n));
    let compress = |out: &str, more: &[&str]| {
        let budget = ["--target-macs", "0.8", "--layers", "stage[23]/*"];
        let family = ["--families", "dw-pw", "-o", out];
        on_digits("compress", &[&budget[..], &family, more].concat(), &scratch);
    };
    compress(&one, &[]);
    let folder = std::path::PathBuf::from(scratch.path("cache")).join("statistics-v1");
    // The statistics, and the factors of the channels.
    let files = || -> Vec<_> {
        let entries = std::fs::read_dir(&folder).unwrap();
        let mut all: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
        all.sort();
        all
    };
    let times = || -> Vec<_> {
        let about = |file: std::path::PathBuf| std::fs::metadata(file).unwrap();
        files()
            .into_iter()
            .map(|f| about(f).modified())
            .map(Result::unwrap)
            .collect()
    };
    assert_eq!(files().len(), 2);
    let before = times();
    compress(&two, &[]);
    assert_eq!(before, times(), "collected again");
    let sizes = || {
        files()
            .iter()
            .map(|f| std::fs::metadata(f).unwrap().len())
            .collect::<Vec<_>>()
    };
    let whole = sizes();
    for file in files() {
        std::fs::write(file, b"SCST").unwrap();
    }
    compress(&three, &[]);
    let read = |path: &str| std::fs::read(path).unwrap();
    assert!(read(&one) == read(&two) && read(&one) == read(&three));
    assert_eq!(sizes(), whole);
    // Channels count alike where outputs are classes.
    compress(&three, &["--unweighted", "--force"]);
    assert!(read(&one) == read(&three));
}

/// A layer's channels count by how much the outputs depend on them.
#[test]
fn channels_that_outputs_depend_on_are_fitted_best() {
    let scratch = Scratch::new();
    let [model, data, out] = ["model.onnx", "data.npz", "out.onnx"].map(|n| scratch.path(n));
    ask(json!({"do": "uneven", "model": model, "data": data}));
    let snr = |options: &[&str]| {
        let fixed = ["compress", &model, "-o", &out, "--rank", "1", "--force"];
        let fit = ["--order", "dw-pw", "--calib", &data, "--json"];
        sepconv(&[&fixed, fit.as_slice(), options].concat()).json();
        let agree = json!({"do": "agree", "model": out, "reference": model, "inputs": data});
        ask(agree)["snr_db"]["y"].as_f64().unwrap()
    };
    let (weighted, alike) = (snr(&[]), snr(&["--unweighted"]));
    assert!(weighted > alike + 0.5, "{weighted} dB, {alike} dB");
}
