//! Calibration within a bound of memory: wide layers, small bounds, and layers that can't be fitted.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use sepconv::data::Preprocess;
use sepconv::ir::{DType, Tensor};
use sepconv::onnx::Document;
use sepconv::passes::{Choice, Kept};
use sepconv::{
    Budget, CalibrationSettings, Compressed, DataSource, Error, LayerFit, Loaded, Pins, Settings,
    compress,
};

/// Encodes ONNX's protobuf messages, as far as these models need them.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 128 {
            self.0.push(value as u8 | 128);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn int(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u64, bytes: impl AsRef<[u8]>) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.as_ref().len() as u64);
        self.0.extend(bytes.as_ref());
        self
    }

    fn message(self, field: u64, message: Self) -> Self {
        self.bytes(field, message.0)
    }
}

/// A node of the main operator set, with attributes of integers.
fn node(op: &str, inputs: &[&str], output: &str, attributes: &[(&str, &[u64])]) -> Message {
    let mut node = Message::default();
    for input in inputs {
        node = node.bytes(1, input);
    }
    node = node.bytes(2, output).bytes(3, output).bytes(4, op);
    for (name, values) in attributes {
        let mut attribute = Message::default().bytes(1, name).int(20, 7);
        for value in *values {
            attribute = attribute.int(8, *value);
        }
        node = node.message(5, attribute);
    }
    node
}

/// A value of f32 of these extents.
fn value(name: &str, dims: &[usize]) -> Message {
    let dim = |d: &usize| Message::default().int(1, *d as u64);
    let shape = dims
        .iter()
        .fold(Message::default(), |s, d| s.message(1, dim(d)));
    let tensor = Message::default().int(1, 1).message(2, shape);
    let kind = Message::default().message(1, tensor);
    Message::default().bytes(1, name).message(2, kind)
}

/// Noise in -1 to 1.
fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A kernel of f32 noise, scaled by the root of an output's number of terms.
fn kernel(name: &str, dims: &[usize]) -> Message {
    let scale = (dims[1..].iter().product::<usize>() as f32).sqrt();
    let weights = noise(dims.iter().product(), dims.len() as u64 + dims[0] as u64);
    let weights: Vec<f32> = weights.iter().map(|w| w / scale).collect();
    let tensor = Message::default()
        .int(2, 1)
        .bytes(8, name)
        .bytes(9, bytes(&weights));
    dims.iter().fold(tensor, |t, d| t.int(1, *d as u64))
}

/// A model from `x` of these extents.
fn model(nodes: Vec<Message>, kernels: Vec<Message>, x: &[usize], outputs: Vec<Message>) -> Loaded {
    let mut graph = Message::default().bytes(2, "g");
    for node in nodes {
        graph = graph.message(1, node);
    }
    for kernel in kernels {
        graph = graph.message(5, kernel);
    }
    graph = graph.message(11, value("x", x));
    for output in outputs {
        graph = graph.message(12, output);
    }
    let model = Message::default().int(1, 8).message(7, graph);
    let model = model.message(8, Message::default().int(2, 13));
    let document = Document::from_bytes(model.0.into()).unwrap();
    Loaded::new(document, &Pins::default()).unwrap()
}

fn settings(data: Tensor, budget: Budget) -> Settings {
    Settings {
        budget,
        calibration: Some(CalibrationSettings::new(DataSource::memory(vec![data]))),
        ..Settings::default()
    }
}

/// A 1-D convolution of 96 channels and 64 taps, whose patches have 6,144 values, and a narrow one.
fn wide() -> (Loaded, Tensor) {
    let nodes = vec![
        node("Conv", &["x", "W"], "c", &[("pads", &[31, 32])]),
        node("Relu", &["c"], "r", &[]),
        node("Conv", &["r", "V"], "y", &[("pads", &[1, 1])]),
    ];
    let kernels = vec![kernel("W", &[24, 96, 64]), kernel("V", &[16, 24, 3])];
    let (n, x) = (16, [1, 96, 12]);
    // Smooth along the time, so that there is something to fit to.
    let values: Vec<f32> = noise(n * 96, 5)
        .iter()
        .flat_map(|phase| (0..12).map(move |t| (phase * 9.0 + t as f32 * 0.3).sin()))
        .collect();
    let data = Tensor::new(DType::F32, vec![n, 96, 12], bytes(&values).into()).unwrap();
    (
        model(nodes, kernels, &x, vec![value("y", &[1, 16, 12])]),
        data,
    )
}

fn fit(made: &Compressed, name: &str) -> Option<LayerFit> {
    made.layers.iter().find(|l| l.name == name)?.fit
}

fn weights(compressed: &Compressed) -> Vec<u8> {
    compressed.model.document.encode().to_bytes().to_vec()
}

#[test]
fn patches_wider_than_their_number_are_fitted_in_any_memory_and_on_any_threads() {
    let (model, data) = wide();
    let run = |threads: usize, max_memory: u64| {
        let settings = Settings {
            max_memory,
            ..settings(data.clone(), Budget::Rank(2))
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().unwrap();
        pool.install(|| compress(&model, &settings, &())).unwrap()
    };
    let made = run(1, 8 << 30);
    assert_eq!(made.rewritten().count(), 2, "{:?}", made.layers);
    let own = fit(&made, "c").unwrap();
    assert!(own.output_error < 0.6, "{own:?}");
    assert!(weights(&made) == weights(&run(3, 8 << 30)));
    // A covariance of the patches alone would take 302 MB.
    let narrow = run(2, 96 << 20);
    assert_eq!(narrow.rewritten().count(), 2, "{:?}", narrow.layers);
    assert!(fit(&narrow, "c").unwrap().output_error < 0.6);
}

#[test]
fn a_budget_is_allocated_over_wide_layers() {
    let (model, data) = wide();
    let settings = settings(data, Budget::TargetMacs(0.5));
    let made = compress(&model, &settings, &()).unwrap();
    assert!(made.model.cost.macs * 2 <= model.cost.macs);
    assert!(fit(&made, "c").is_some(), "{:?}", made.layers);
}

fn digits() -> (Loaded, Tensor) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/digits.onnx");
    let pixel = |i: usize| {
        let (n, y, x) = (i / 1024, i / 32 % 32, i % 32);
        let stroke = (x + n * 7) % 32 / 4 == (y * (n % 3 + 1)) % 32 / 4;
        if stroke { 255 } else { (i * 31 % 9) as u8 }
    };
    let bytes: Vec<u8> = (0..24 * 1024).map(pixel).collect();
    let data = Tensor::new(DType::U8, vec![24, 1, 32, 32], bytes.into()).unwrap();
    (Loaded::open(&path, &Pins::default()).unwrap(), data)
}

fn within(max_memory: u64, budget: Budget) -> Result<Compressed, Error> {
    let (model, data) = digits();
    let mut settings = settings(data, budget);
    settings.max_memory = max_memory;
    if let Some(calibration) = &mut settings.calibration {
        calibration.positions = 3_000;
        calibration.fit.steps = 0;
        if let sepconv::Source::Data(source) = &mut calibration.source {
            source.preprocess = Preprocess {
                scale: 1.0 / 255.0,
                ..Preprocess::default()
            };
        }
    }
    compress(&model, &settings, &())
}

#[test]
fn with_less_memory_fewer_positions_and_layers_are_looked_at() {
    let all = within(8 << 30, Budget::Rank(2)).unwrap();
    let few = within(64 << 20, Budget::Rank(2)).unwrap();
    assert!(
        all.rewritten()
            .map(|l| &l.name)
            .eq(few.rewritten().map(|l| &l.name))
    );
    assert!(weights(&all) != weights(&few));
    for layer in all.rewritten() {
        let name = &layer.name;
        let (fit, other) = (layer.fit.unwrap(), fit(&few, name).unwrap());
        assert!(
            other.output_error < 2.0 * fit.output_error + 0.05,
            "{name} {fit:?} {other:?}"
        );
    }
}

#[test]
fn what_no_memory_is_left_for_stays_and_the_rest_goes_on() {
    let made = within(4 << 20, Budget::Rank(2)).unwrap();
    let choices = made.layers.iter().map(|l| &l.choice);
    let kept = choices.filter_map(|choice| match choice {
        Choice::Keep(kept @ Kept::Memory { needed, allowed }) => {
            assert!(needed > allowed);
            Some(kept.to_string())
        }
        _ => None,
    });
    let kept: Vec<String> = kept.collect();
    assert!(!kept.is_empty() && made.is_rewritten(), "{:?}", made.layers);
    assert!(kept[0].contains("of memory, 4 MB are allowed"), "{kept:?}");
    for budget in [Budget::Rank(2), Budget::TargetMacs(0.5)] {
        let error = within(1 << 10, budget).unwrap_err();
        assert!(matches!(error, Error::AllKept { .. }), "{error}");
        assert!(error.to_string().contains("of memory"), "{error}");
    }
}

#[test]
fn a_layer_that_saw_no_numbers_stays_and_the_others_are_fitted() {
    let nodes = vec![
        node("Conv", &["x", "W"], "a", &[("pads", &[1, 1, 1, 1])]),
        // The logarithm of a number below zero is NaN.
        node("Log", &["x"], "l", &[]),
        node("Conv", &["l", "V"], "b", &[("pads", &[1, 1, 1, 1])]),
    ];
    let kernels = vec![kernel("W", &[16, 8, 3, 3]), kernel("V", &[16, 8, 3, 3])];
    let outputs = vec![value("a", &[1, 16, 6, 6]), value("b", &[1, 16, 6, 6])];
    let model = model(nodes, kernels, &[1, 8, 6, 6], outputs);
    let values = bytes(&noise(16 * 8 * 36, 3));
    let data = Tensor::new(DType::F32, vec![16, 8, 6, 6], values.into()).unwrap();
    let made = compress(&model, &settings(data, Budget::Rank(2)), &()).unwrap();
    let choice = |name: &str| {
        let layer = made.layers.iter().find(|l| l.name == name).unwrap();
        layer.choice.clone()
    };
    assert!(
        matches!(choice("a"), Choice::Separate(_)),
        "{:?}",
        made.layers
    );
    let Choice::Keep(Kept::Unfitted(reason)) = choice("b") else {
        panic!("{:?}", made.layers);
    };
    assert!(reason.contains("not finite"), "{reason}");
}
