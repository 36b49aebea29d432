//! `src/proto.rs` is generated from `proto/onnx-ml.proto` (ONNX 1.23, Apache-2.0).
//! Regenerate it with `SEPCONV_BLESS=1 cargo test -p sepconv-onnx --test generated`.
#![allow(clippy::unwrap_used)]

use std::path::Path;

#[test]
fn the_committed_types_are_those_of_the_proto_file() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let files = protox::compile(["onnx-ml.proto"], [root.join("proto")]).unwrap();
    prost_build::Config::new()
        .bytes(["."])
        .out_dir(out.path())
        .disable_comments(["."])
        .compile_fds(files)
        .unwrap();
    let fresh = std::fs::read_to_string(out.path().join("onnx.rs")).unwrap();
    let committed = root.join("src/proto.rs");
    if std::env::var_os("SEPCONV_BLESS").is_some() {
        std::fs::write(&committed, &fresh).unwrap();
    }
    assert_eq!(std::fs::read_to_string(committed).unwrap(), fresh);
}
