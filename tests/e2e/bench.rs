//! `sepconv bench`, and the target of other commands. No test judges a time.

use serde_json::Value;

use crate::support::{Finished, Scratch, digits, digits_eval, runtimes, sepconv_with};

/// Runs `sepconv` with ONNX Runtime and OpenVINO at hand.
fn sepconv(args: &[&str]) -> Finished {
    let at = runtimes();
    sepconv_with(
        args,
        &[("SEPCONV_ONNXRUNTIME", &at), ("SEPCONV_OPENVINO", &at)],
    )
}

fn positive(value: &Value) -> bool {
    value.as_f64().is_some_and(|v| v > 0.0)
}

#[test]
fn models_are_timed_beside_one_another_on_every_runtime() {
    let scratch = Scratch::new();
    let (model, file) = (digits(), scratch.path("bench.json"));
    let smaller = model.at_rank_2();
    let args = [
        "bench",
        &model.path,
        &smaller,
        "--target",
        "all",
        "--threads",
        "1,2",
        "--runs",
        "3",
        "--json",
        "-o",
        &file,
    ];
    let seen = sepconv(&args).json();
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(seen, written);
    let runs: Vec<(&str, u64)> = seen
        .as_array()
        .unwrap()
        .iter()
        .map(|r| {
            (
                r["target"].as_str().unwrap(),
                r["threads"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("tract", 1),
        ("tract", 2),
        ("onnxruntime", 1),
        ("onnxruntime", 2),
        ("openvino", 1),
        ("openvino", 2),
    ];
    assert_eq!(runs, expected);
    for run in seen.as_array().unwrap() {
        assert!(run["version"].as_str().unwrap().contains('.'), "{run}");
        let models = run["models"].as_array().unwrap();
        let files: Vec<&str> = models.iter().map(|m| m["file"].as_str().unwrap()).collect();
        assert_eq!(files, [model.path.as_str(), &smaller]);
        assert!(models[0]["macs"].as_u64() > models[1]["macs"].as_u64());
        for m in models {
            assert!(positive(&m["min"]) && positive(&m["median"]), "{m}");
            assert!(m["min"].as_f64() <= m["median"].as_f64(), "{m}");
            assert_eq!(m["samples"], 3, "{m}");
            let ratio = &m["speed_up"];
            assert!(
                ["low", "median", "high"]
                    .iter()
                    .all(|k| positive(&ratio[k])),
                "{m}"
            );
        }
        assert_eq!(models[0]["speed_up"]["median"], 1.0);
    }
}

#[test]
fn people_get_a_table() {
    let model = digits().path;
    let args = [
        "bench",
        &model,
        &model,
        "--threads",
        "1",
        "--seconds",
        "0.01",
    ];
    let text = sepconv(&args).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("tract ") && lines[0].contains("1 thread,"),
        "{text}"
    );
    assert!(
        lines[1].contains("median") && lines[1].contains("speed-up"),
        "{text}"
    );
    assert_eq!(lines.len(), 4, "{text}");
    assert!(
        lines[2].starts_with(&model) && lines[2].contains("1.00x"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_timed_is_refused() {
    let (scratch, model) = (Scratch::new(), digits().path);
    let missing = scratch.path("missing.onnx");
    let taken = scratch.write("taken.json", b"{}");
    let no_shape = "x=1x3";
    let cases: [(&[&str], &str); 7] = [
        (&["bench", &missing], "missing.onnx"),
        (&["bench", &model, &missing], "missing.onnx"),
        (
            &["bench", &model, "--target", "gpu"],
            "no target 'gpu' (there are tract, onnxruntime, openvino)",
        ),
        (
            &["bench", &model, "-o", &taken],
            "taken.json: exists already",
        ),
        (&["bench", &model, "--seconds", "0"], "--seconds 0"),
        (&["bench", &model, "--input-shape", no_shape], "digits.onnx"),
        (
            &["eval", &model, "--data", "x.npz", "--target", "gpu"],
            "no target 'gpu'",
        ),
    ];
    for (args, expected) in cases {
        let line = sepconv(args).refused();
        assert!(line.contains(expected), "{line}");
    }
    assert_eq!(std::fs::read(taken).unwrap(), b"{}");
}

#[test]
fn a_missing_library_is_refused_on_one_line() {
    let (scratch, model) = (Scratch::new(), digits().path);
    let garbage = scratch.write("library.so", b"not a library");
    let nowhere = scratch.path("nowhere.so");
    let runtimes = [
        ("onnxruntime", "SEPCONV_ONNXRUNTIME", "--onnxruntime"),
        ("openvino", "SEPCONV_OPENVINO", "--openvino"),
    ];
    for library in [&garbage, &nowhere] {
        for (target, variable, flag) in runtimes {
            for command in ["bench", "compare"] {
                let args = [command, &model, &model, "--target", target];
                let by_variable = sepconv_with(&args, &[(variable, library)]);
                let by_flag = sepconv(&[&args[..], &[flag, library]].concat());
                for run in [by_variable, by_flag] {
                    let line = run.refused();
                    let expected = format!("{target} is not available");
                    assert!(line.contains(&expected), "{line}");
                    assert!(line.contains(library.as_str()), "{line}");
                }
            }
        }
    }
    // One that is named by its flag is.
    let out = scratch.path("out.onnx");
    let named = [
        "compress",
        &model,
        "-o",
        &out,
        "--rank",
        "2",
        "--onnxruntime",
        &nowhere,
    ];
    assert!(sepconv(&named).refused().contains(nowhere.as_str()));
    // Runtimes that are not asked for are not needed.
    sepconv_with(
        &["bench", &model, "--runs", "1"],
        &[("SEPCONV_ONNXRUNTIME", &nowhere)],
    )
    .ok();
}

#[test]
fn runtimes_agree() {
    let (scratch, model) = (Scratch::new(), digits());
    let smaller = model.at_rank_2();
    let seen = ["tract", "onnxruntime", "openvino"].map(|target| {
        let data = digits_eval();
        let eval = [
            "eval",
            &model.path,
            "--data",
            &data,
            "--scale",
            "1/255",
            "--json",
        ];
        let accuracy = sepconv(&[&eval[..], &["--target", target]].concat()).json();
        let output = scratch.path(&format!("{target}.npz"));
        sepconv(&["run", &model.path, "-o", &output, "--target", target]).ok();
        let compare = [
            "compare",
            &model.path,
            &smaller,
            "--json",
            "--target",
            target,
        ];
        let comparison = sepconv(&compare).json();
        assert_eq!(comparison["target"], target);
        (
            accuracy,
            comparison["outputs"][0]["snr_db"].as_f64().unwrap(),
        )
    });
    for other in &seen[1..] {
        assert_eq!(seen[0].0, other.0);
        assert!((seen[0].1 - other.1).abs() < 0.1, "{seen:?}");
    }
}
