//! Files: their places, those that are never overwritten, and that runs repeat.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use crate::support::{Scratch, ask, compress, digits, sepconv, sepconv_with};
use serde_json::{Value, json};

/// A copy of the shipped model in a folder of its own.
fn copy() -> (Scratch, String) {
    let scratch = Scratch::new();
    let model = scratch.write("m.onnx", &std::fs::read(digits().path).unwrap());
    (scratch, model)
}

#[test]
fn the_output_stands_beside_the_model_by_default() {
    let (scratch, model) = copy();
    let text = sepconv(&["compress", &model, "--rank", "2", "--data-free=weights"]).ok();
    assert_eq!(scratch.names(), ["m.onnx", "m.sep.onnx"]);
    assert!(text.contains("m.sep.onnx"), "{text}");
    assert_eq!(
        std::fs::read(&model).unwrap(),
        std::fs::read(digits().path).unwrap()
    );
}

#[test]
fn nothing_is_overwritten_without_force() {
    let (scratch, model) = copy();
    let out = scratch.write("out.onnx", b"precious");
    let line = compress(&model, &out, &[]).refused();
    assert!(line.contains(&out) && line.contains("--force"), "{line}");
    assert_eq!(std::fs::read(&out).unwrap(), b"precious");
    let line = compress(&model, &model, &[]).refused();
    assert!(line.contains(&model) && line.contains("--force"), "{line}");
    assert_eq!(
        std::fs::read(&model).unwrap(),
        std::fs::read(digits().path).unwrap()
    );
    compress(&model, &out, &["--force"]).ok();
    assert!(std::fs::read(&out).unwrap().len() > 100_000);
    assert_eq!(scratch.names(), ["m.onnx", "out.onnx"]);
}

#[test]
fn a_model_can_be_replaced_by_its_own_rewrite_with_force() {
    let (scratch, model) = copy();
    compress(&model, &model, &["--force"]).ok();
    assert_eq!(scratch.names(), ["m.onnx"]);
    let seen = ask(json!({"do": "interface", "original": digits().path, "rewritten": model}));
    assert_eq!(seen["problems"], json!([]));
}

#[test]
fn a_report_of_a_model_that_is_replaced_has_the_curve_of_the_original() {
    let (scratch, model) = copy();
    let curve = |out: &str, name: &str| {
        let folder = scratch.path(name);
        compress(&model, out, &["--force", "--report", &folder]).ok();
        let text = std::fs::read(format!("{folder}/report.json")).unwrap();
        let report: Value = serde_json::from_slice(&text).unwrap();
        let points = report["curve"].as_array().unwrap().iter();
        // Times differ.
        let known = points.map(|p| ["label", "macs", "snr_db"].map(|key| p[key].clone()));
        known.collect::<Vec<_>>()
    };
    let beside = curve(&scratch.path("out.onnx"), "beside");
    assert_eq!(curve(&model, "in-place"), beside);
}

/// Even with `--force`: one of the two would be lost.
#[test]
fn no_file_is_two_of_those_that_a_command_reads_and_writes() {
    let (scratch, model) = copy();
    let (out, plan) = (scratch.path("out.onnx"), scratch.path("plan.json"));
    let calib = scratch.write("calib.npz", b"precious");
    let folder = scratch.path("out.onnx/deep");
    let compress = ["compress", &model, "--rank", "2", "--data-free=weights"];
    let bench = ["bench", &model, "--runs", "1"];
    let quantize = ["quantize", &model, "--calib", &calib];
    let before = scratch.names();
    let refused: [(&[&str], &[&str], [&str; 2]); 7] = [
        (
            &compress,
            &["-o", &out, "--save-plan", &out],
            ["the output", "--save-plan"],
        ),
        (
            &compress,
            &["-o", &out, "--save-plan", &model],
            ["the model", "--save-plan"],
        ),
        (
            &compress,
            &["-o", &calib, "--calib", &calib],
            ["--calib", "the output"],
        ),
        (
            &compress,
            &["-o", &out, "--report", &folder],
            ["the output", "--report"],
        ),
        (&bench, &["-o", &model], ["the model", "the output"]),
        (&quantize, &["-o", &calib], ["--calib", "the output"]),
        (
            &["run", &model],
            &["-o", &model],
            ["the model", "the output"],
        ),
    ];
    for (command, files, named) in refused {
        let line = sepconv(&[command, files, &["--force"]].concat()).refused();
        assert!(named.iter().all(|name| line.contains(name)), "{line}");
    }
    assert_eq!(scratch.names(), before);
    assert_eq!(std::fs::read(&calib).unwrap(), b"precious");
    let in_place = ["-o", &model, "--save-plan", &plan, "--force"];
    sepconv(&[&compress[..], &in_place].concat()).ok();
    // A plan may take its own place.
    let again = [
        "compress",
        &model,
        "-o",
        &out,
        "--plan",
        &plan,
        "--save-plan",
        &plan,
        "--force",
    ];
    let line = sepconv(&again).refused();
    assert!(line.contains("made for"), "{line}");
}

#[test]
fn an_existing_report_is_kept_and_then_no_model_is_written() {
    let (scratch, model) = copy();
    std::fs::create_dir(scratch.path("report")).unwrap();
    let report = scratch.write("report/report.json", b"precious");
    let (out, folder) = (scratch.path("out.onnx"), scratch.path("report"));
    let line = compress(&model, &out, &["--report", &folder]).refused();
    assert!(line.contains(&report) && line.contains("--force"), "{line}");
    assert_eq!(std::fs::read(&report).unwrap(), b"precious");
    assert_eq!(scratch.names(), ["m.onnx", "report"]);
}

#[test]
fn what_can_not_be_written_in_the_end_is_refused_in_the_beginning() {
    let (scratch, model) = copy();
    let (file, absent) = (
        scratch.write("file", b"precious"),
        scratch.path("absent/a.json"),
    );
    let inside = format!("{file}/deep");
    let sweep = ["sweep", &model, "--fractions", "0.5", "--no-baselines"];
    let models = scratch.path("models");
    std::fs::create_dir(&models).unwrap();
    scratch.write("models/0.5.onnx", b"precious");
    let refused: [(&[&str], &[&str], &str); 5] = [
        (
            &["bench", &model],
            &["-o", &absent],
            "absent does not exist",
        ),
        (
            &["bench", &model],
            &["--report", &inside],
            "is not a folder",
        ),
        (
            &["inspect", &model],
            &["--report", &inside],
            "is not a folder",
        ),
        (&sweep, &["--models", &models], "0.5.onnx: exists already"),
        (&sweep, &["--models", &inside], "deep/0.5.onnx: "),
    ];
    for (command, files, why) in refused {
        let line = sepconv(&[command, files].concat()).refused();
        assert!(line.contains(why), "{line}");
    }
    assert_eq!(scratch.names(), ["file", "m.onnx", "models"]);
}

#[test]
fn a_report_that_can_not_be_written_costs_no_figures() {
    let (scratch, model) = copy();
    let (out, folder) = (scratch.path("out.onnx"), scratch.path("report"));
    let options = [
        "--rank",
        "2",
        "--data-free=weights",
        "--report",
        &folder,
        "-vv",
    ];
    let mut child = Command::new(env!("CARGO_BIN_EXE_sepconv"))
        .args([&["compress", &model, "-o", &out][..], &options].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("step=\"survey\"") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0);
    }
    // Where the folder is to be made, there is a file by then.
    scratch.write("report", b"");
    let mut told = String::new();
    log.read_to_string(&mut told).unwrap();
    let ended = child.wait_with_output().unwrap();
    let figures = String::from_utf8(ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    let wrote = format!("wrote {out}\n");
    assert!(
        figures.contains("MACs") && figures.ends_with(&wrote),
        "{figures}"
    );
    let last = told.lines().last().unwrap();
    let why = format!("error: {out} was written, its report was not: {folder}");
    assert!(last.starts_with(&why), "{last}");
    assert_eq!(scratch.names(), ["m.onnx", "out.onnx", "report"]);
}

#[cfg(unix)]
#[test]
fn names_need_not_be_unicode() {
    use std::os::unix::ffi::OsStringExt;
    let (scratch, model) = copy();
    let name = std::ffi::OsString::from_vec(b"b\xff.onnx".to_vec());
    let odd = std::path::Path::new(&scratch.path("")).join(name);
    std::fs::rename(model, &odd).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_sepconv"))
        .args(["compress", "--rank", "2", "--data-free=weights", "--json"])
        .arg(&odd)
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    let command = report["settings"]["command"].as_str().unwrap();
    assert!(command.ends_with("b\u{fffd}.onnx'"), "{command}");
}

#[test]
fn the_curve_of_a_report_ends_with_the_time() {
    let (scratch, model) = copy();
    let (out, folder) = (scratch.path("out.onnx"), scratch.path("report"));
    let run = compress(&model, &out, &["--report", &folder, "--max-time", "0.001s"]);
    run.ok();
    let note = "--max-time was over: points of the report's curve are missing";
    assert!(run.stderr().contains(note), "{run}");
    let text = std::fs::read_to_string(format!("{folder}/report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["curve_complete"], false);
    // The result and the original.
    assert_eq!(report["curve"].as_array().unwrap().len(), 2);
}

#[test]
fn outputs_of_run_are_not_overwritten_without_force() {
    let (scratch, model) = copy();
    let out = scratch.write("out.npz", b"precious");
    let line = sepconv(&["run", &model, "--output", &out]).refused();
    assert!(line.contains(&out) && line.contains("--force"), "{line}");
    assert_eq!(std::fs::read(&out).unwrap(), b"precious");
}

#[test]
fn the_number_of_threads_does_not_change_a_byte() {
    let (scratch, model) = copy();
    // Fits to pictures, to few positions of two stages.
    let fits = [
        "--target-macs",
        "0.9",
        "--layers",
        "stage[23]/*",
        "--families",
        "dw-pw,spatial",
        "--positions",
        "2000",
        "--rounds",
        "1",
    ];
    let budgets: [&[&str]; 3] = [
        &["--rank", "2", "--data-free=weights"],
        &fits,
        &["--min-snr", "10"],
    ];
    for (i, budget) in budgets.iter().enumerate() {
        let written = ["1", "2"].map(|threads| {
            let out = scratch.path(&format!("{i}-{threads}.onnx"));
            let args = [["compress", &model, "-o", &out].as_slice(), budget].concat();
            sepconv_with(&args, &[("RAYON_NUM_THREADS", threads)]).ok();
            std::fs::read(&out).unwrap()
        });
        assert!(written[0] == written[1], "{budget:?}");
    }
}

#[test]
fn the_report_holds_what_its_schema_promises() {
    let (scratch, model) = copy();
    let folder = scratch.path("new/report");
    sepconv(&[
        "compress",
        &model,
        "--rank",
        "2",
        "--data-free=weights",
        "--report",
        &folder,
    ])
    .ok();
    let text = std::fs::read_to_string(format!("{folder}/report.json")).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    for key in [
        "schema",
        "model",
        "original",
        "compressed",
        "outputs",
        "layers",
        "settings",
        "seed",
        "versions",
    ] {
        assert!(!report[key].is_null(), "{key}");
    }
    for size in ["original", "compressed"] {
        for key in ["macs", "params", "bytes"] {
            assert!(report[size][key].as_u64() > Some(0), "{size}.{key}");
        }
    }
    let bytes = std::fs::metadata(&model).unwrap().len();
    assert_eq!(report["original"]["bytes"], bytes);
    // The count of models/README.md: 48,563,456 MACs.
    assert_eq!(report["original"]["macs"], 48_563_456);
    for layer in report["layers"].as_array().unwrap() {
        for key in ["name", "form", "macs_before", "macs_after", "weight_error"] {
            assert!(!layer[key].is_null(), "{key} of {layer}");
        }
        assert_eq!(layer["form"] == "kept", layer["rank"].is_null(), "{layer}");
    }
    let page = std::fs::read_to_string(format!("{folder}/report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("stage1/block0/conv1"));
}
