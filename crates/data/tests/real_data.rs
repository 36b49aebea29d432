//! The loader on real data, where a checkout has it beside the project; skipped elsewhere.

#![allow(clippy::unwrap_used)]

#[path = "../../../tests/e2e/support/skipped.rs"]
mod skipped;

use std::path::PathBuf;

use sepconv_data::{Dataset, InputSpec, Labels, Preprocess, Request};
use sepconv_ir::DType;
use skipped::skipped;

/// The directory of real data, none where this checkout lacks it.
fn data() -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    path.is_dir().then_some(path)
}

fn request(dims: [Option<usize>; 4]) -> Request {
    Request::new(vec![InputSpec::new("input", DType::F32, dims.to_vec())])
}

#[test]
fn cifar() {
    let Some(data) = data() else {
        return skipped("no ../shared");
    };
    let mut request = request([None, Some(3), Some(32), Some(32)]);
    request.labels = Labels::Required;
    request.class_count = Some(10);
    request.preprocess = Preprocess {
        scale: 1.0 / 255.0,
        mean: vec![0.485, 0.456, 0.406],
        std: vec![0.229, 0.224, 0.225],
        ..Preprocess::default()
    };
    let dataset = Dataset::open(&data.join("cifar10_eval.npz"), &request).unwrap();
    assert_eq!(dataset.len(), 846);
    let labels = dataset.labels().unwrap();
    assert_eq!(labels[..5], [3, 8, 8, 0, 6]);
    let mut sums = [0.0f64; 3];
    for batch in dataset.batches(100) {
        let batch = batch.unwrap();
        for (i, plane) in batch.inputs[0]
            .to_f32()
            .unwrap()
            .chunks_exact(1024)
            .enumerate()
        {
            sums[i % 3] += plane.iter().map(|&x| f64::from(x)).sum::<f64>();
        }
    }
    for sum in sums {
        assert!((sum / (846.0 * 1024.0)).abs() < 0.5, "{sums:?}");
    }
    request.labels = Labels::Ignore;
    let calib = Dataset::open(&data.join("cifar10_calib.npz"), &request).unwrap();
    assert_eq!(calib.len(), 1024);
}

#[test]
fn denoising() {
    let Some(data) = data() else {
        return skipped("no ../shared");
    };
    let mut request = request([None, Some(1), None, None]);
    request.labels = Labels::Required;
    let dataset = Dataset::open(&data.join("denoise_sigma25_eval.npz"), &request).unwrap();
    assert_eq!(
        (dataset.len(), dataset.sample_shapes()),
        (7, &[vec![1, 256, 256]][..])
    );
    let batch = dataset.batch(0..7).unwrap();
    let [noisy, clean] = [&batch.inputs[0], &batch.targets[0]].map(|t| t.to_f32().unwrap());
    let pairs = noisy.iter().zip(clean.iter());
    let error: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let psnr = -10.0 * (error / noisy.len() as f64).log10();
    assert!((psnr - 20.16).abs() < 0.1, "{psnr}");
    request.labels = Labels::IfPresent;
    let calib = Dataset::open(&data.join("denoise_sigma25_calib.npz"), &request).unwrap();
    assert_eq!((calib.len(), calib.has_target()), (87, false));
}

#[test]
fn imagenet() {
    let Some(data) = data() else {
        return skipped("no ../shared");
    };
    let data = data.join("imagenet_sample");
    let mut request = request([None, Some(3), Some(224), Some(224)]);
    request.classes = Some(data.join("classes_tiny_darknet.txt"));
    request.class_count = Some(1000);
    request.labels = Labels::Required;
    request.preprocess.scale = 1.0 / 255.0;
    request.preprocess.crop = "224".parse().ok();
    let dataset = Dataset::open(&data.join("eval"), &request).unwrap();
    assert_eq!(dataset.len(), 700);
    let mut labels = dataset.labels().unwrap().to_vec();
    assert!(labels.iter().all(|l| (0..1000).contains(l)));
    labels.sort_unstable();
    labels.dedup();
    assert_eq!(labels.len(), 700);
    let batch = dataset.batch(690..700).unwrap();
    assert_eq!(batch.inputs[0].dims(), [10, 3, 224, 224]);
    let values = batch.inputs[0].to_f32().unwrap();
    assert!(values.iter().all(|v| (0.0..=1.0).contains(v)));
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    assert!((0.2..0.7).contains(&mean), "{mean}");

    request.labels = Labels::Ignore;
    request.max_samples = Some(20);
    let calib = Dataset::open(&data.join("calib"), &request).unwrap();
    assert_eq!(calib.len(), 20);
    assert!(calib.batches(8).all(|batch| batch.is_ok()));
    request.class_count = None;
    request.labels = Labels::Required;
    let error = Dataset::open(&data.join("calib"), &request).unwrap_err();
    assert!(error.to_string().ends_with("found neither"), "{error}");
}
