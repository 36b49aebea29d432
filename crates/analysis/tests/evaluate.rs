//! Operators on constants compute the values of ONNX Runtime (`tests/operators.py`).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use sepconv_analysis::constants::Sight;
use sepconv_ir::{DType, Tensor};
use sepconv_onnx::Document;

/// Difference of `a` from `b`, which it is to be: another type or shape, or an element that is
/// some units in the last place off. Runtimes add in f32, and in another order.
fn differs(a: &Tensor, b: &Tensor) -> Option<String> {
    let types = |t: &Tensor| format!("{}{:?}", t.dtype(), t.dims());
    if types(a) != types(b) {
        return Some(format!("{} is to be {}", types(a), types(b)));
    }
    if !a.dtype().is_float() {
        return (a.data() != b.data()).then(|| "other integers".into());
    }
    let tolerance = match a.dtype() {
        DType::BF16 => 8e-3,
        DType::F16 => 1e-3,
        DType::F64 => 1e-12,
        _ => 2e-6,
    };
    let (a, b) = (a.to_f64()?, b.to_f64()?);
    let far = |(a, b): (&f64, &f64)| {
        let near = (a - b).abs() <= tolerance * (1.0 + b.abs());
        (!(near || a.is_nan() && b.is_nan())).then(|| format!("{a} is to be {b}"))
    };
    a.iter().zip(&b).find_map(far)
}

#[test]
fn operators_on_constants_are_those_of_onnx_runtime() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var_os("SEPCONV_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| root.join(".venv/bin/python"));
    let folder = tempfile::tempdir().unwrap();
    let script = Command::new(&python)
        .arg(root.join("tests/operators.py"))
        .arg(folder.path())
        .status()
        .unwrap_or_else(|e| panic!("{}: {e}; run tests/run, which makes it", python.display()));
    assert!(script.success());
    let mut wrong = Vec::new();
    let mut operators = BTreeSet::new();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let Some(opset) = name.strip_suffix(".expected.onnx") else {
            continue;
        };
        let expected = Document::open(&path).unwrap();
        let model = Document::open(&path.with_file_name(format!("{opset}.onnx"))).unwrap();
        let graph = &model.model.graph;
        for init in expected.model.graph.initializers() {
            let name = expected.model.graph.name(init.value);
            let value = graph.find(name).unwrap();
            operators.insert(graph.producer(value).unwrap().1.op_type.clone());
            let problem = match Sight::Quantized.resolve(graph, value) {
                Some(made) => differs(&made, &init.tensor),
                None => Some("not computed".into()),
            };
            wrong.extend(problem.map(|p| format!("opset {opset}, {name}: {p}")));
        }
    }
    assert!(operators.len() > 60, "{operators:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
