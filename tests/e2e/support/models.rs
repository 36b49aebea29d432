//! The models that the tests run on.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::{ask, sepconv};

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
    /// True where its weights are of half precision.
    pub half: bool,
    /// Largest `max|a - b| / max|b|` at which two ways to compute its outputs agree.
    pub tolerance: f64,
}

impl Model {
    /// Options that pin its picture size, where that is free: as small as `free` says.
    pub fn pins(&self) -> Vec<&'static str> {
        let shape = self.shape.into_iter();
        shape.flat_map(|s| ["--input-shape", s]).collect()
    }

    /// Writes seeded inputs of normal noise for it.
    pub fn inputs(&self, path: &str) {
        ask(json!({"do": "inputs", "model": self.path, "out": path, "free": self.free}));
    }

    /// Its rewrite at rank 2, made once for all tests. Not to be changed.
    #[track_caller]
    pub fn at_rank_2(&self) -> String {
        static MADE: Mutex<Option<HashMap<&str, String>>> = Mutex::new(None);
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let made = made.get_or_insert_default();
        if let Some(path) = made.get(self.name) {
            return path.clone();
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rank2");
        std::fs::create_dir_all(&folder).unwrap();
        let path = file(&folder.join(format!("{}.onnx", self.name)));
        let compress = [
            "compress", &self.path, "-o", &path, "--rank", "2", "--force",
        ];
        // Fits to pictures take long for the large ones; the shipped model stands for them.
        let weights: &[&str] = if self.name == "digits" {
            &[]
        } else {
            &["--data-free=weights"]
        };
        sepconv(&[compress.as_slice(), &self.pins(), weights].concat()).ok();
        made.insert(self.name, path.clone());
        path
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

/// The reason to skip a test of files that are not there.
pub const NO_SHARED: &str = "no ../shared";

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
        half: false,
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
            half: name.contains("fp16"),
            // Half precision has 11 bits, and there are 26 layers of it.
            tolerance: if name.contains("fp16") { 2e-2 } else { 1e-4 },
        })
    });
    [digits()].into_iter().chain(shared).collect()
}
