//! The shipped model in eight bits, on tract.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use sepconv_analysis::Pins;
use sepconv_analysis::constants::Sight;
use sepconv_data::Preprocess;
use sepconv_factor::WeightBits;
use sepconv_ir::{DType, Graph, Operator};
use sepconv_model::{DataSource, Loaded};
use sepconv_onnx::Document;
use sepconv_quantize::{QuantizeError, QuantizeSettings, Quantized, quantize};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../models")
        .join(name)
}

fn digits() -> Loaded {
    Loaded::open(&file("digits.onnx"), &Pins::default()).unwrap()
}

fn settings() -> QuantizeSettings {
    let source = DataSource {
        preprocess: Preprocess {
            scale: 1.0 / 255.0,
            ..Preprocess::default()
        },
        max_samples: Some(48),
        ..DataSource::new(file("digits_calib.npz"))
    };
    QuantizeSettings {
        positions: 512,
        ..QuantizeSettings::new(source, sepconv_targets::reference())
    }
}

fn quantized(settings: &QuantizeSettings) -> Quantized {
    quantize(&digits(), settings, &()).unwrap()
}

fn bytes(model: &Loaded) -> Vec<u8> {
    model.document.encode().to_bytes().to_vec()
}

fn count(graph: &Graph, op_type: &str) -> usize {
    graph.operators().filter(|(_, op)| op.is(op_type)).count()
}

#[test]
fn all_layers_go_into_eight_bits_and_the_outputs_stay() {
    let original = digits();
    let found = quantized(&settings());
    assert_eq!(found.layers.len(), 11);
    assert!(
        found.layers.iter().all(|l| l.kept.is_none()),
        "{:?}",
        found.layers
    );
    assert!(found.comparison.worst_channel_snr().unwrap() > 30.0);
    let (before, after) = (original.graph(), found.model.graph());
    let names = |g: &Graph| -> Vec<String> {
        g.inputs()
            .chain(g.outputs())
            .map(|v| g.name(v).to_owned())
            .collect()
    };
    assert_eq!(names(before), names(after));
    assert_eq!(count(after, "BatchNormalization"), 0);
    // No pair between a convolution and its activation: one for every activation, and the input.
    let pairs = count(after, "QuantizeLinear");
    assert_eq!(pairs, 1 + 10 + 3 + 1 + 1, "{after}");
    for (_, op) in after.operators().filter(|(_, op)| op.is("Relu")) {
        let (_, before) = after.producer(op.input(0).unwrap()).unwrap();
        assert!(before.is("Conv") || before.is("Add"));
    }
    let sizes = [bytes(&original).len(), bytes(&found.model).len()];
    assert!(3 * sizes[1] < sizes[0], "{sizes:?}");
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let made = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| bytes(&quantized(&settings()).model))
    });
    assert!(made[0] == made[1]);
}

/// Scale and zero point of a `QuantizeLinear` or `DequantizeLinear`.
fn grid(graph: &Graph, op: &Operator) -> (Vec<f64>, Vec<i64>) {
    let read = |slot: usize| graph.constant(op.input(slot).unwrap()).unwrap();
    (read(1).to_f64().unwrap(), read(2).to_i64().unwrap())
}

#[test]
fn grids_and_weights_survive_the_file() {
    let found = quantized(&settings());
    let document = Document::from_bytes(bytes(&found.model).into()).unwrap();
    let (before, after) = (found.model.graph(), &document.model.graph);
    let all = |g: &Graph| -> Vec<(String, Vec<f64>, Vec<i64>)> {
        let ops = g
            .operators()
            .filter(|(_, op)| op.op_type.ends_with("quantizeLinear") || op.is("QuantizeLinear"));
        ops.map(|(id, op)| {
            let (scale, zero) = grid(g, op);
            (g.label(id).to_owned(), scale, zero)
        })
        .collect()
    };
    assert_eq!(all(before), all(after));
    for (_, op) in after.operators().filter(|(_, op)| op.is("Conv")) {
        let weight = op.input(1).unwrap();
        let floats = Sight::Quantized.resolve(after, weight).unwrap();
        let (_, read) = after.producer(weight).unwrap();
        let stored = after.constant(read.input(0).unwrap()).unwrap();
        assert_eq!(stored.dtype(), DType::I8);
        let (scales, zeros) = grid(after, read);
        let integers = stored.to_i64().unwrap();
        let d = integers.len() / scales.len();
        assert!(zeros.iter().all(|z| *z == 0) && integers.iter().all(|q| *q >= -127));
        let expected = integers
            .iter()
            .enumerate()
            .map(|(i, q)| (*q as f32) * (scales[i / d] as f32));
        assert!(expected.eq(floats.to_f32().unwrap().iter().copied()));
        // The bias is stored in steps of a weight's and the input's.
        let (_, bias) = after.producer(op.input(2).unwrap()).unwrap();
        let (_, input) = after.producer(op.input(0).unwrap()).unwrap();
        let (steps, of_input) = (grid(after, bias).0, grid(after, input).0[0] as f32);
        assert!(
            steps
                .iter()
                .zip(&scales)
                .all(|(b, w)| *b == f64::from(*w as f32 * of_input))
        );
    }
}

#[test]
fn weights_of_seven_bits_are_integers_up_to_64() {
    let [seven, eight] = [WeightBits::Seven, WeightBits::Eight].map(|bits| {
        quantized(&QuantizeSettings {
            weight_bits: Some(bits),
            ..settings()
        })
    });
    assert!(seven.layers.iter().all(|l| l.weight_bits == Some(7)));
    let largest = |made: &Quantized| {
        let graph = made.model.graph();
        let convolutions = graph.operators().filter(|(_, op)| op.is("Conv"));
        let read = convolutions.map(|(_, op)| {
            let (_, read) = graph.producer(op.input(1).unwrap()).unwrap();
            let stored = graph.constant(read.input(0).unwrap()).unwrap();
            let integers = stored.to_i64().unwrap();
            integers.iter().map(|q| q.abs()).max().unwrap()
        });
        read.max().unwrap()
    };
    assert_eq!((largest(&seven), largest(&eight)), (64, 127));
    let snr = |made: &Quantized| made.comparison.outputs[0].snr_db.unwrap();
    assert!(snr(&seven) > 25.0 && snr(&seven) < snr(&eight));
    // tract adds exactly: where nothing is said, weights have eight bits.
    let usual = quantized(&settings());
    assert!(usual.layers.iter().all(|l| l.weight_bits == Some(8)));
    assert!(bytes(&usual.model) == bytes(&eight.model));
}

#[test]
fn layers_stay_where_the_outputs_lose_too_much() {
    let snr = |q: &Quantized| q.comparison.worst_channel_snr().unwrap();
    let all = quantized(&QuantizeSettings {
        least_snr: None,
        ..settings()
    });
    let bound = snr(&all) + 3.0;
    let some = quantized(&QuantizeSettings {
        least_snr: Some(bound),
        ..settings()
    });
    let kept = some.layers.iter().filter(|l| l.kept.is_some()).count();
    assert!((1..11).contains(&kept), "{:?}", some.layers);
    assert!(snr(&some) >= bound, "{} {bound}", snr(&some));
}

#[test]
fn compensation_and_corrected_biases_lower_the_error() {
    let plain = QuantizeSettings {
        compensate: false,
        correct_bias: false,
        ..settings()
    };
    let snr = |q: &Quantized| q.comparison.outputs[0].snr_db.unwrap();
    let [best, plain] = [settings(), plain].map(|settings| quantized(&settings));
    assert!(snr(&best) > snr(&plain));
    assert_eq!(best.errors.len(), 11);
    for (layer, error) in &best.errors {
        let plain = plain.errors[layer];
        assert!(
            error.weights <= plain.weights,
            "{layer} {error:?} {plain:?}"
        );
        // The pictures are bytes, and lie on their grid.
        let on_grid = layer.starts_with("stem");
        let least = if on_grid { 0.0 } else { 1e-6 };
        assert!((least..1e-2).contains(&error.inputs), "{layer} {error:?}");
    }
}

#[test]
fn layers_that_are_named_stay_with_their_reasons() {
    let reason = "it is wanted so".to_owned();
    let found = quantized(&QuantizeSettings {
        floats: [("stage1/block0".to_owned(), reason.clone())].into(),
        ..settings()
    });
    let (named, others): (Vec<_>, Vec<_>) = found
        .layers
        .iter()
        .partition(|layer| layer.name.starts_with("stage1/block0/"));
    assert!(named.len() == 2 && named.iter().all(|l| l.kept.as_ref() == Some(&reason)));
    assert!(others.iter().all(|l| l.kept.is_none()), "{others:?}");
    // ONNX Runtime rounds the weights of layers that read one scale for all channels.
    let graph = found.model.graph();
    let floats = graph.operators().filter(|(_, op)| {
        let weights = op.is("Conv").then(|| graph.constant(op.input(1).unwrap()));
        weights.flatten().is_some()
    });
    let readers = floats.map(|(_, op)| graph.producer(op.input(0).unwrap()).unwrap().1);
    let readers: Vec<&Operator> = readers.filter(|op| op.is("DequantizeLinear")).collect();
    // The second layer reads the first one's floats.
    assert_eq!(readers.len(), 1);
    assert!(readers[0].int("axis", 0) == 1 && grid(graph, readers[0]).0.len() > 1);
}

#[test]
fn models_in_eight_bits_and_old_ones_are_refused() {
    let found = quantized(&settings());
    let twice = quantize(&found.model, &settings(), &()).err().unwrap();
    assert!(matches!(twice, QuantizeError::Quantized { .. }), "{twice}");
    let mut document = digits().document.clone();
    document.model.opsets[0].version = 12;
    let old = Loaded::new(document, &Pins::default()).unwrap();
    let error = quantize(&old, &settings(), &()).err().unwrap();
    assert!(
        matches!(error, QuantizeError::Opset { opset: 12, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("opset 13"), "{error}");
}
