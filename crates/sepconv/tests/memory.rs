//! Models in memory: arguments and result of `compress_bytes`.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use sepconv::data::Preprocess;
use sepconv::ir::{DType, Tensor};
use sepconv::{
    Budget, CalibrationSettings, DataSource, Error, Loaded, Pins, Settings, compress_bytes,
    compress_file,
};

fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/digits.onnx")
}

/// Pictures of strokes, `[count, 1, 32, 32]` of u8.
fn pictures(count: usize) -> Tensor {
    let pixel = |i: usize| {
        let (n, y, x) = (i / 1024, i / 32 % 32, i % 32);
        let stroke = (x + n * 7) % 32 / 4 == (y * (n % 3 + 1)) % 32 / 4;
        if stroke { 255 } else { (i * 31 % 9) as u8 }
    };
    let bytes: Vec<u8> = (0..count * 1024).map(pixel).collect();
    Tensor::new(DType::U8, vec![count, 1, 32, 32], bytes.into()).unwrap()
}

fn settings() -> Settings {
    let mut source = DataSource::memory(vec![pictures(24)]);
    source.preprocess = Preprocess {
        scale: 1.0 / 255.0,
        ..Preprocess::default()
    };
    Settings {
        budget: Budget::Rank(2),
        calibration: Some(CalibrationSettings {
            positions: 3_000,
            ..CalibrationSettings::new(source)
        }),
        ..Settings::default()
    }
}

#[test]
fn bytes_are_compressed_as_the_file_is() {
    let bytes = std::fs::read(digits()).unwrap();
    let (small, outcome) = compress_bytes(bytes.clone(), &settings(), &()).unwrap();
    assert!(
        small.len() * 3 < bytes.len() * 2,
        "{} {}",
        small.len(),
        bytes.len()
    );
    assert!(outcome.compressed.macs * 2 <= outcome.original.macs);
    assert_eq!(outcome.comparison.not_run, None);
    assert_eq!(outcome.compressed.bytes, small.len());
    assert!(outcome.layers.iter().any(|l| l.fit.is_some()));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.onnx");
    compress_file(&digits(), &path, &settings(), &()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), small);
    // The result is a model like any other.
    let again = Loaded::open(&path, &Pins::default()).unwrap();
    assert_eq!(again.cost.macs, outcome.compressed.macs);
}

#[test]
fn what_is_no_model_is_refused() {
    let error = compress_bytes(&b"no model"[..], &settings(), &()).unwrap_err();
    assert!(matches!(error, Error::Onnx(_)), "{error}");
    let bytes = std::fs::read(digits()).unwrap();
    let mut wrong = settings();
    let odd = Tensor::new(DType::U8, vec![2, 3, 8, 8], vec![0; 384].into()).unwrap();
    wrong.calibration = Some(CalibrationSettings::new(DataSource::memory(vec![odd])));
    let error = compress_bytes(bytes, &wrong, &()).unwrap_err();
    assert!(matches!(error, Error::Data(_)), "{error}");
}
