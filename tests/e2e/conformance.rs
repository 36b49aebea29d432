//! ONNX's own backend tests: `tests/conformance.py`.

use std::process::Command;

use crate::support::{python, root};

#[test]
fn full_rank_passes_onnx_backend_tests_as_documented() {
    let root = root();
    let done = Command::new(python())
        .arg(root.join("tests/conformance.py"))
        .args(["--binary", env!("CARGO_BIN_EXE_sepconv"), "--check"])
        .arg(root.join("docs/conformance.md"))
        .output()
        .unwrap();
    let problems = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{problems}");
}
