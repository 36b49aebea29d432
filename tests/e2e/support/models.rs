//! The models that the tests run on.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A model file.
pub struct Model {
    pub name: &'static str,
    pub path: String,
    /// Values for its symbolic dimensions.
    pub free: Value,
    /// `--input-shape` for a model whose pictures may be of any size.
    pub shape: Option<&'static str>,
    /// Number of its outputs.
    pub outputs: usize,
    /// Largest `max|a - b| / max|b|` at which two ways to compute its outputs agree.
    pub tolerance: f64,
}

impl Model {
    /// Options that pin its picture size, where that is free: as small as `free` says.
    pub fn pins(&self) -> Vec<&'static str> {
        let shape = self.shape.into_iter();
        shape.flat_map(|s| ["--input-shape", s]).collect()
    }
}

/// The repository.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap().to_owned()
}

fn file(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A file of `../shared`, which may not be there.
pub fn shared(name: &str) -> Option<String> {
    let path = root().join("../shared").join(name);
    path.exists().then(|| file(&path.canonicalize().unwrap()))
}

/// The model that the repository ships.
pub fn digits() -> Model {
    Model {
        name: "digits",
        path: file(&root().join("models/digits.onnx")),
        free: json!({"N": 4}),
        shape: None,
        outputs: 1,
        tolerance: 1e-4,
    }
}

/// Its held-out pictures and labels.
pub fn digits_eval() -> String {
    file(&root().join("models/digits_eval.npz"))
}

/// The models of `../shared/models`.
const SHARED: [&str; 8] = [
    "dncnn_gray_sigma25",
    "mnist_opset7",
    "resnet20_cifar10",
    "resnet8_cifar10_mlperf_tiny",
    "squeezenet_fp16_opset7",
    "tiny_darknet_imagenet",
    "ultraface_slim_320_opset9",
    "vdsr",
];

/// The shipped model, and those of `../shared/models` that are there.
pub fn models() -> Vec<Model> {
    let shared = SHARED.into_iter().filter_map(|name| {
        let fully_convolutional = matches!(name, "dncnn_gray_sigma25" | "vdsr");
        Some(Model {
            name,
            path: shared(&format!("models/{name}.onnx"))?,
            free: json!({"N": 1, "H": 40, "W": 48}),
            shape: fully_convolutional.then_some("input=1x1x40x48"),
            outputs: if name.starts_with("ultraface") { 2 } else { 1 },
            // Half precision: weights, inputs and outputs of 11 bits, through 26 layers.
            tolerance: if name.contains("fp16") { 2e-2 } else { 1e-4 },
        })
    });
    [digits()].into_iter().chain(shared).collect()
}
