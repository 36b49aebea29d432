//! The crates depend on one another, and on foreign packages, as docs/architecture.md says.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Normal dependencies of every workspace crate, by name, without those of a feature alone.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|p| {
            let dependencies = p["dependencies"].as_array().unwrap().iter();
            let normal = dependencies.filter(|d| d["kind"].is_null() && d["optional"] == false);
            (text(&p["name"]), normal.map(|d| text(&d["name"])).collect())
        })
        .collect()
}

#[test]
fn arrows_point_one_way() {
    let expected: [(&str, &[&str]); 20] = [
        ("sepconv-ir", &[]),
        ("sepconv-factor", &[]),
        ("sepconv-onnx", &["sepconv-ir"]),
        ("sepconv-analysis", &["sepconv-ir"]),
        ("sepconv-data", &["sepconv-ir", "sepconv-onnx"]),
        (
            "sepconv-passes",
            &["sepconv-analysis", "sepconv-factor", "sepconv-ir"],
        ),
        (
            "sepconv-targets",
            &["sepconv-analysis", "sepconv-ir", "sepconv-onnx"],
        ),
        ("sepconv-tract", &["sepconv-factor", "sepconv-passes"]),
        (
            "sepconv-tune",
            &["sepconv-analysis", "sepconv-factor", "sepconv-ir"],
        ),
        (
            "sepconv-latency",
            &[
                "sepconv-analysis",
                "sepconv-factor",
                "sepconv-ir",
                "sepconv-onnx",
                "sepconv-passes",
                "sepconv-targets",
            ],
        ),
        (
            "sepconv-model",
            &[
                "sepconv-analysis",
                "sepconv-data",
                "sepconv-ir",
                "sepconv-latency",
                "sepconv-onnx",
                "sepconv-passes",
                "sepconv-targets",
            ],
        ),
        (
            "sepconv-eval",
            &[
                "sepconv-data",
                "sepconv-ir",
                "sepconv-latency",
                "sepconv-model",
                "sepconv-targets",
            ],
        ),
        (
            "sepconv-spec",
            &[
                "sepconv-analysis",
                "sepconv-data",
                "sepconv-factor",
                "sepconv-model",
                "sepconv-onnx",
                "sepconv-passes",
            ],
        ),
        (
            "sepconv-calibrate",
            &[
                "sepconv-analysis",
                "sepconv-data",
                "sepconv-factor",
                "sepconv-ir",
                "sepconv-model",
                "sepconv-onnx",
                "sepconv-passes",
                "sepconv-spec",
                "sepconv-targets",
                "sepconv-tune",
            ],
        ),
        (
            "sepconv-planning",
            &[
                "sepconv-calibrate",
                "sepconv-eval",
                "sepconv-factor",
                "sepconv-ir",
                "sepconv-latency",
                "sepconv-model",
                "sepconv-onnx",
                "sepconv-passes",
                "sepconv-spec",
                "sepconv-targets",
            ],
        ),
        (
            "sepconv-quantize",
            &[
                "sepconv-analysis",
                "sepconv-calibrate",
                "sepconv-data",
                "sepconv-eval",
                "sepconv-factor",
                "sepconv-ir",
                "sepconv-latency",
                "sepconv-model",
                "sepconv-onnx",
                "sepconv-passes",
                "sepconv-spec",
                "sepconv-targets",
            ],
        ),
        (
            "sepconv",
            &[
                "sepconv-analysis",
                "sepconv-calibrate",
                "sepconv-data",
                "sepconv-eval",
                "sepconv-factor",
                "sepconv-ir",
                "sepconv-latency",
                "sepconv-model",
                "sepconv-onnx",
                "sepconv-passes",
                "sepconv-planning",
                "sepconv-quantize",
                "sepconv-spec",
                "sepconv-targets",
                "sepconv-tune",
            ],
        ),
        (
            "sepconv-report",
            &[
                "sepconv",
                "sepconv-data",
                "sepconv-eval",
                "sepconv-factor",
                "sepconv-latency",
                "sepconv-model",
                "sepconv-onnx",
                "sepconv-passes",
                "sepconv-planning",
                "sepconv-spec",
                "sepconv-tune",
            ],
        ),
        ("sepconv-cli", &["sepconv", "sepconv-report"]),
        (
            "sepconv-python",
            &["sepconv", "sepconv-cli", "sepconv-report"],
        ),
    ];
    let found = dependencies();
    assert_eq!(
        found.len(),
        expected.len(),
        "a crate is missing in the table"
    );
    for (name, allowed) in expected {
        let ours: BTreeSet<&str> = found[name]
            .iter()
            .map(String::as_str)
            .filter(|d| d.starts_with("sepconv"))
            .collect();
        assert_eq!(ours, allowed.iter().copied().collect(), "{name}");
    }
}

#[test]
fn foreign_packages_have_one_owner() {
    let owners = [
        ("petgraph", "sepconv-ir"),
        ("memmap2", "sepconv-onnx"),
        ("nalgebra", "sepconv-factor"),
        ("pulp", "sepconv-factor"),
        ("candle-core", "sepconv-tune"),
        ("pyo3", "sepconv-python"),
        ("numpy", "sepconv-python"),
        ("globset", "sepconv-passes"),
        ("image", "sepconv-data"),
        ("png", "sepconv-data"),
        // tract has two users: the runtime reads files, the transform knows tract's models alone.
        ("tract-onnx", "sepconv-targets"),
        ("tract-core", "sepconv-tract"),
        ("tract-linalg", "sepconv-targets"),
        ("ort", "sepconv-targets"),
        ("libloading", "sepconv-targets"),
        ("etcetera", "sepconv-latency"),
        // The options of `sepconv-spec` are arguments by a feature of its own.
        ("clap", "sepconv-cli"),
        ("anyhow", "sepconv-cli"),
        ("indicatif", "sepconv-cli"),
    ];
    let found = dependencies();
    for (package, owner) in owners {
        let users = found.iter().filter(|(_, d)| d.contains(package));
        let users: Vec<&str> = users.map(|(name, _)| name.as_str()).collect();
        assert_eq!(users, [owner], "{package}");
    }
}

/// Libraries keep no state of the process beside that of docs/library.md.
#[test]
fn statics_are_those_that_are_told() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    let mut folders = vec![crates.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let inside = path.strip_prefix(&crates).unwrap().to_str().unwrap();
            let program = ["cli", "python"].contains(&inside);
            if path.is_dir() && !program && !inside.ends_with("target") {
                folders.push(path);
            } else if inside.contains("/src/") && inside.ends_with(".rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let statics = text.lines().filter_map(|line| {
                    let words = line.split_whitespace();
                    let mut words = words.skip_while(|w| w.starts_with("pub"));
                    let named = words.next() == Some("static");
                    let name = words.next().filter(|_| named)?;
                    Some(format!("{inside} {}", name.trim_end_matches(':')))
                });
                found.extend(statics);
            }
        }
    }
    found.sort();
    assert_eq!(
        found,
        [
            // The stand-in for no stored values; never changes.
            "calibrate/src/checkpoints/checkpoint.rs INPUTS",
            // Temporary files, for a program that has to end meanwhile.
            "onnx/src/staging.rs REGISTRY",
            // Folders of packages of the Python on the path, which is asked once.
            "targets/src/library.rs FOUND",
            // Shared libraries of runtimes.
            "targets/src/onnxruntime.rs LIBRARY",
            "targets/src/openvino.rs LIBRARY",
            // Of one thread: the flag that a runtime's panic is caught.
            "targets/src/panics.rs GUARDED",
        ]
    );
}

/// A program that embeds the pass never builds a runtime.
#[test]
fn the_pass_needs_no_runtime() {
    let found = dependencies();
    let mut seen = BTreeSet::new();
    let mut next = vec!["sepconv-onnx".to_owned(), "sepconv-passes".to_owned()];
    while let Some(name) = next.pop() {
        if let (true, Some(needed)) = (seen.insert(name.clone()), found.get(&name)) {
            next.extend(needed.iter().cloned());
        }
    }
    assert!(seen.contains("sepconv-factor") && seen.contains("petgraph"));
    let runtimes = ["sepconv-targets", "sepconv-tract", "sepconv-tune", "ort"];
    let heavy = |name: &&String| name.starts_with("tract") || runtimes.contains(&name.as_str());
    assert_eq!(seen.iter().find(heavy), None);
}
