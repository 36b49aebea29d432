//! Models whose weights are larger than protobuf allows, in a file beside them.
#![cfg(unix)]

use serde_json::json;

use crate::support::{Scratch, ask, skipped};

/// Disk that may be needed where the file system has no holes.
const ROOM: u64 = 8_000_000_000;

/// 2.2 GB of external data are mapped, never held; the ranges that the model still refers to are copied, holes
/// and all, to a file of its own.
#[test]
fn external_data_above_two_gigabytes() {
    let scratch = Scratch::new();
    let folder = scratch.path("");
    let free = ask(json!({"do": "room", "folder": folder}))["free"].as_u64();
    if free.unwrap() < ROOM {
        return skipped("less than 8 GB of disk are free");
    }
    std::fs::create_dir(scratch.path("away")).unwrap();
    let [model, data] = ["model.onnx", "weights.bin"].map(|n| scratch.path(n));
    ask(json!({"do": "build", "case": "huge", "out": model}));
    let before = ask(json!({"do": "external", "model": model, "data": data}));
    for (out, copy) in [
        ("out.onnx", "out.onnx.data"),
        ("away/out.onnx", "away/out.onnx.data"),
    ] {
        let [out, copy] = [out, copy].map(|n| scratch.path(n));
        let made = ask(json!({"do": "peak", "command": [
            env!("CARGO_BIN_EXE_sepconv"), "compress", model, "-o", out, "--rank", "2",
            "--data-free=weights",
        ]}));
        assert_eq!(made["code"], json!(0), "{made}");
        let said = made["stdout"].as_str().unwrap();
        assert!(said.contains("1 of 1 rewritten"), "{said}");
        let memory = made["memory"].as_u64().unwrap();
        assert!(memory < 500_000_000, "{memory} bytes in memory");
        let after = ask(json!({"do": "external", "model": out, "data": copy}));
        assert_eq!(after["places"]["big"]["offset"], "0");
        assert_eq!(
            after["places"]["big"]["length"],
            before["places"]["big"]["length"]
        );
        assert_eq!(after["places"].get("w"), None);
        let [was, is] = [&before, &after].map(|a| a["size"].as_u64().unwrap());
        assert_eq!(is, was - 864, "the weight that was replaced is not there");
        let [was, is] = [&before, &after].map(|a| a["allocated"].as_u64().unwrap());
        assert!(is <= was + 1_000_000, "{is} bytes on disk, {was} before");
    }
}
