//! Models of all kinds run, and one candidate that does not run ends nothing.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/networks.rs"]
mod networks;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use prost::Message;
use sepconv_data::{Labels, Part};
use sepconv_eval::{Evaluator, OriginalOutputs};
use sepconv_ir::{DType, Tensor, ValueId};
use sepconv_model::{Samples, Task};
use sepconv_onnx::Detached;
use sepconv_onnx::proto::{ModelProto, StringStringEntryProto};
use sepconv_passes::Selection;
use sepconv_quantize::{QuantizeSettings, quantize};
use sepconv_targets::{InputSpec, LoadOptions, Session, Target, TargetError, reference};

use networks::{Arg, Net, noise, onnxruntime, samples};
use sepconv::{
    Advice, Budget, CalibrationSettings, DataFree, DataSource, Error, Loaded, Outcome, Pictures,
    Pins, PrecisionChoice, Schedule, Settings, Source, Spec, compress, compress_bytes, run,
};

/// Three convolutions, a pool and a product.
fn classifier(dtype: DType, ir_version: i64) -> Net {
    let mut net = Net::new(dtype);
    net.ir_version = ir_version;
    net.input("x", &[1, 3, 12, 12]);
    let mut last = ("x".to_owned(), 3);
    for (k, channels) in [12, 16, 16].into_iter().enumerate() {
        let (w, b, c, r) = (
            format!("w{k}"),
            format!("b{k}"),
            format!("c{k}"),
            format!("r{k}"),
        );
        net.weight(&w, &[channels, last.1, 3, 3]);
        net.weight(&b, &[channels]);
        net.node(
            "Conv",
            &[&last.0, &w, &b],
            &c,
            &[("pads", Arg::Ints(&[1; 4]))],
        );
        net.node("Relu", &[&c], &r, &[]);
        last = (r, channels);
    }
    net.weight("f", &[10, 16]);
    net.weight("fb", &[10]);
    net.node("GlobalAveragePool", &[&last.0], "pooled", &[]);
    net.node("Flatten", &["pooled"], "flat", &[]);
    net.node(
        "Gemm",
        &["flat", "f", "fb"],
        "y",
        &[("transB", Arg::Int(1))],
    );
    net.output("y");
    net
}

fn settings(budget: Budget) -> Settings {
    Settings {
        budget,
        calibration: Some(CalibrationSettings {
            positions: 2_000,
            ..CalibrationSettings::new(samples(&[24, 3, 12, 12]))
        }),
        ..Settings::default()
    }
}

/// Filters of which each is nearly a sum of two separable ones.
fn nearly_separable(channels: usize) -> Vec<f32> {
    let [mixes, filters] = [(channels * channels * 2, 5), (channels * 2 * 9, 6)]
        .map(|(count, seed)| noise(count, seed));
    let rest = noise(channels * channels * 9, 7);
    let of = |at: usize| {
        let (pair, tap) = (at / 9, at % 9);
        let sum = |r: usize| mixes[pair * 2 + r] * filters[(pair % channels * 2 + r) * 9 + tap];
        (sum(0) + sum(1)) / 20.0 + rest[at] / 120.0
    };
    (0..channels * channels * 9).map(of).collect()
}

/// Ratio of the original's outputs to their difference from those of a result, in decibels.
fn snr(original: &Loaded, made: &Loaded, dims: &[usize]) -> f64 {
    let x = Tensor::from_f32(dims.to_vec(), noise(dims.iter().product(), 4711));
    let of = |model| run(model, reference(), &[vec![x.clone()]], &()).unwrap();
    let [a, b] = [of(original), of(made)].map(|all| all[0][0].to_f32().unwrap().to_vec());
    let power = |values: &mut dyn Iterator<Item = f32>| -> f64 {
        values.map(|v| f64::from(v) * f64::from(v)).sum()
    };
    let noise = power(&mut a.iter().zip(&b).map(|(a, b)| a - b));
    10.0 * (power(&mut a.iter().copied()) / noise).log10()
}

#[test]
fn few_samples_do_not_undo_the_weights_alone() {
    for activation in [None, Some("Relu")] {
        let mut net = Net::new(DType::F32);
        net.input("x", &[1, 64, 4, 4]);
        net.constant("w", &[64, 64, 3, 3], nearly_separable(64));
        let output = if activation.is_some() { "c" } else { "y" };
        let pads = ("pads", Arg::Ints(&[1; 4]));
        net.node("Conv", &["x", "w"], output, &[pads]);
        if let Some(op) = activation {
            net.node(op, &["c"], "y", &[]);
        }
        net.output("y");
        let fitted = |calibration| {
            let settings = Settings {
                budget: Budget::Rank(2),
                calibration,
                ..Settings::default()
            };
            let (_, outcome) = compress_bytes(net.bytes(), &settings, &()).unwrap();
            assert_eq!(rewritten(&outcome), 1);
            snr(&net.loaded(), &outcome.model, &[1, 64, 4, 4])
        };
        let few = CalibrationSettings::new(samples(&[10, 64, 4, 4]));
        let (by_weights, by_few) = (fitted(None), fitted(Some(few)));
        assert!(by_weights > 10.0, "{by_weights}");
        assert!(by_few > by_weights - 1.0, "{by_few} {by_weights}");
    }
}

/// Convolutions of 24 channels on maps of 8 x 8, one behind the other.
fn chain(weights: &[Vec<f32>]) -> Net {
    let mut net = Net::new(DType::F32);
    net.input("x", &[1, 24, 8, 8]);
    let mut last = "x".to_owned();
    for (k, weights) in weights.iter().enumerate() {
        let (w, c) = (format!("w{k}"), format!("c{k}"));
        let weights = weights.iter().map(|w| w / 15.0).collect();
        net.constant(&w, &[24, 24, 3, 3], weights);
        net.node("Conv", &[&last, &w], &c, &[("pads", Arg::Ints(&[1; 4]))]);
        last = c;
    }
    net.output(&last);
    net
}

#[test]
fn layers_of_a_block_see_the_same_network_in_any_memory() {
    let weights: Vec<Vec<f32>> = (0..6).map(|k| noise(24 * 24 * 9, k)).collect();
    let net = chain(&weights);
    let made = |schedule, max_memory| {
        let mut settings = Settings {
            max_memory,
            ..settings(Budget::Rank(1))
        };
        if let Some(calibration) = &mut settings.calibration {
            calibration.source = Source::Data(samples(&[24, 24, 8, 8]));
            calibration.schedule = schedule;
            calibration.fit.steps = 0;
            calibration.weighted = false;
        }
        let (_, outcome) = compress_bytes(net.bytes(), &settings, &()).unwrap();
        assert_eq!(rewritten(&outcome), 6);
        outcome.model.document.encode().to_bytes()
    };
    let blocks = Schedule::Blocks(3);
    let [ample, tight] = [8 << 30, 8 << 20].map(|memory| made(blocks, memory));
    assert!(ample == tight);
    assert!(ample != made(Schedule::Parallel, 8 << 30));
}

#[test]
fn pictures_come_in_batches_of_any_number() {
    let mut net = Net::new(DType::F32);
    net.input("x", &[3, 3, 16, 16]);
    net.weight("w", &[16, 3, 3, 3]);
    net.weight("v", &[16, 16, 3, 3]);
    net.node("Conv", &["x", "w"], "c", &[]);
    net.node("Conv", &["c", "v"], "y", &[]);
    net.output("y");
    let settings = Settings {
        budget: Budget::TargetMacs(0.6),
        calibration: Some(CalibrationSettings {
            positions: 2_000,
            ..CalibrationSettings::of(Source::Pictures(Pictures {
                samples: 64,
                ..Pictures::default()
            }))
        }),
        ..Settings::default()
    };
    let (_, outcome) = compress_bytes(net.bytes(), &settings, &()).unwrap();
    assert!(rewritten(&outcome) > 0);
}

/// Two convolutions and outputs of their mean: each a name, its number of values, and whether Softmax makes it.
fn heads(outputs: &[(&str, usize, bool)]) -> Net {
    let mut net = Net::new(DType::F32);
    net.input("x", &[1, 8, 10, 10]);
    for (w, c, r, last, channels) in [("w0", "c0", "r0", "x", 8), ("w1", "c1", "r1", "r0", 24)] {
        net.weight(w, &[24, channels, 3, 3]);
        net.node("Conv", &[last, w], c, &[("pads", Arg::Ints(&[1; 4]))]);
        net.node("Relu", &[c], r, &[]);
    }
    net.node("GlobalMaxPool", &["r1"], "pooled", &[]);
    net.node("Flatten", &["pooled"], "flat", &[]);
    for (name, values, softmax) in outputs {
        let (weight, logits) = (format!("{name}.w"), format!("{name}.logits"));
        // Of a mean of 0 by output, so that all classes have samples.
        let weights = noise(24 * values, *values as u64);
        let mean = |output: usize| weights[output..].iter().step_by(*values).sum::<f32>() / 24.0;
        let centred = weights.iter().enumerate();
        let centred = centred.map(|(at, w)| 3.0 * (w - mean(at % values)));
        net.constant(&weight, &[24, *values], centred.collect());
        let made = if *softmax { logits.as_str() } else { name };
        net.node("MatMul", &["flat", &weight], made, &[]);
        if *softmax {
            net.node("Softmax", &[made], name, &[("axis", Arg::Int(1))]);
        }
        net.output(name);
    }
    net
}

/// Settings of a great drop, with 80 samples.
fn drop_of(task: Task) -> Settings {
    let mut settings = settings(Budget::MaxDrop(45.0));
    if let Some(calibration) = &mut settings.calibration {
        // Samples differ in the size of each channel.
        let sizes = noise(80 * 8, 31);
        let values = noise(80 * 800, 32).into_iter().enumerate();
        let values = values.map(|(at, v)| v * 2.0 * sizes[at / 100]).collect();
        let data = DataSource::memory(vec![Tensor::from_f32(vec![80, 8, 10, 10], values)]);
        calibration.source = Source::Data(DataSource { task, ..data });
    }
    settings
}

fn within_a_drop(net: &Net, task: Task) -> Option<Outcome> {
    let made = compress_bytes(net.bytes(), &drop_of(task), &());
    made.ok().map(|(_, outcome)| outcome)
}

/// A class of two says next to nothing of ten numbers beside it.
#[test]
fn numbers_beside_classes_are_judged_as_well() {
    let net = heads(&[("prob", 2, true), ("land", 10, false)]);
    kept_beside(&net, Task::Classify, "agreement", "land");
}

/// Nor do masks of features beside them; other masks are not judged.
#[test]
fn numbers_beside_masks_are_judged_as_well() {
    let mut net = heads(&[]);
    for (weight, name, seed) in [("m.w", "m", 5), ("n.w", "n", 6)] {
        net.constant(weight, &[5, 24, 1, 1], noise(120, seed));
        net.node("Conv", &["r1", weight], name, &[]);
        net.output(name);
    }
    let masks = within_a_drop(&net, Task::Auto).unwrap().verdict.unwrap();
    assert_eq!((masks.metric, masks.outputs), ("IoU of masks", None));
    net.output("pooled");
    kept_beside(&net, Task::Segment, "IoU of masks", "pooled");
}

/// A great drop of a task's figure that is named costs an output of numbers much, and little where the task is recognised.
fn kept_beside(net: &Net, task: Task, metric: &str, output: &str) {
    let loose = within_a_drop(net, task).unwrap();
    let verdict = loose.verdict.clone().unwrap();
    assert_eq!((verdict.metric, verdict.outputs), (metric, None));
    let ratio = |outcome: &Outcome| {
        let own = outcome.comparison.outputs.iter().find(|o| o.name == output);
        own.unwrap().worst_channel_snr().unwrap()
    };
    assert!(ratio(&loose) < 25.0, "{}", ratio(&loose));
    // Nothing is written where the numbers are not kept, and the error says why.
    let judged = match compress_bytes(net.bytes(), &drop_of(Task::Auto), &()) {
        Ok((_, outcome)) => outcome,
        Err(error) => {
            let advised = matches!(
                error,
                Error::Advised {
                    advice: Advice::NameTask,
                    ..
                }
            );
            assert!(advised, "{error}");
            return;
        }
    };
    let verdict = judged.verdict.as_ref().unwrap();
    assert!(verdict.outputs.is_some(), "{verdict:?}");
    assert!(ratio(&judged) > 28.0, "{}", ratio(&judged));
}

#[test]
fn every_output_of_classes_is_judged_on_all_samples() {
    let net = heads(&[("a", 3, false), ("b", 12, false)]);
    let outcome = within_a_drop(&net, Task::Auto).unwrap();
    let verdict = outcome.verdict.unwrap();
    let output = verdict.outputs.as_deref().unwrap();
    assert!(["a", "b"].contains(&output), "{verdict:?}");
    assert_eq!((verdict.metric, verdict.samples), ("agreement", 20));
}

/// A head of which one class has all samples agrees with anything: its numbers are judged, on evaluation data as well.
#[test]
fn a_head_of_one_class_is_judged_by_its_numbers() {
    let mut net = heads(&[("a", 6, false)]);
    net.constant("b.w", &[24, 3], noise(72, 3));
    net.constant("b.bias", &[1, 3], vec![1e3, 0.0, 0.0]);
    net.node("MatMul", &["flat", "b.w"], "b.raw", &[]);
    net.node("Add", &["b.raw", "b.bias"], "b", &[]);
    net.output("b");
    let mut settings = drop_of(Task::Auto);
    let calibration = settings.calibration.as_ref().unwrap();
    settings.eval = calibration.source.data().cloned();
    // No plan keeps them, and nothing is written.
    let error = compress_bytes(net.bytes(), &settings, &()).err().unwrap();
    assert!(error.to_string().contains("of b at 30.00 dB"), "{error}");
}

#[test]
fn logits_beside_their_probabilities_are_the_same_output() {
    let mut net = heads(&[("prob", 6, true)]);
    net.output("prob.logits");
    let outcome = within_a_drop(&net, Task::Auto).unwrap();
    let verdict = outcome.verdict.unwrap();
    assert_eq!((verdict.metric, verdict.outputs), ("agreement", None));
}

/// Nothing can be kept of an output that is no number, by calibration data or by others.
#[test]
fn an_output_that_is_no_number_refuses_no_plan() {
    let mut net = heads(&[("prob", 3, true)]);
    net.node("Neg", &["flat"], "below", &[]);
    net.node("Log", &["below"], "none", &[]);
    net.output("none");
    for evaluated in [false, true] {
        let mut settings = drop_of(Task::Auto);
        let data = settings.sources().next().cloned();
        settings.eval = data.filter(|_| evaluated);
        let (_, outcome) = compress_bytes(net.bytes(), &settings, &()).unwrap();
        let verdict = outcome.verdict.unwrap();
        assert_eq!((verdict.metric, verdict.outputs), ("agreement", None));
    }
}

/// What is held out of a compression is held out of its quantisation.
#[test]
fn eight_bits_are_made_of_the_part_that_is_given() {
    let net = heads(&[("y", 4, false)]);
    let model = net.loaded();
    let target = onnxruntime().unwrap_or(reference());
    let data = |changed: &[usize]| {
        let values = (0..40).flat_map(|i| {
            let seed = if changed.contains(&i) { 900 } else { 1 };
            let mut sample = noise(800, seed + i as u64);
            sample[0] = i as f32 / 64.0;
            sample
        });
        let array = Tensor::from_f32(vec![40, 8, 10, 10], values.collect());
        let source = DataSource::memory(vec![array]);
        source.of_part(Part::Train { every: 2 })
    };
    let made = |changed: &[usize]| {
        let settings = QuantizeSettings::new(data(changed), target);
        let made = quantize(&model, &settings, &()).unwrap();
        made.model.document.encode().to_bytes()
    };
    let test = data(&[]).of_part(Part::Test { every: 2 });
    let test = Samples::of(&model, test.open(&model, Labels::Ignore).unwrap()).unwrap();
    let number = |i: usize| test.inputs(i).unwrap()[0].to_f32().unwrap()[0] * 64.0;
    let held: Vec<usize> = (0..test.batches()).map(|i| number(i) as usize).collect();
    assert_eq!(held.len(), 20);
    let fitted: Vec<usize> = (0..40).filter(|i| !held.contains(i)).collect();
    assert!(made(&[]) == made(&held));
    assert!(made(&[]) != made(&fitted));
}

/// Depthwise layers have no separable form, and are quantised all the same.
#[test]
fn eight_bits_need_no_layer_that_can_be_rewritten() {
    let mut net = Net::new(DType::F32);
    net.input("x", &[1, 16, 10, 10]);
    net.weight("w", &[16, 1, 3, 1]);
    net.weight("f", &[16, 5]);
    net.node("Conv", &["x", "w"], "c", &[("group", Arg::Int(16))]);
    net.node("Relu", &["c"], "r", &[]);
    net.node("GlobalAveragePool", &["r"], "p", &[]);
    net.node("Flatten", &["p"], "flat", &[]);
    net.node("MatMul", &["flat", "f"], "y", &[]);
    net.output("y");
    for budget in [
        Budget::MaxDrop(1.0),
        Budget::MinSnr(30.0),
        Budget::TargetMacs(0.5),
    ] {
        let mut settings = Settings {
            precision: PrecisionChoice::Int8,
            slower: true,
            ..settings(budget)
        };
        if let Some(calibration) = &mut settings.calibration {
            calibration.source = Source::Data(samples(&[40, 16, 10, 10]));
        }
        let (_, outcome) = compress_bytes(net.bytes(), &settings, &()).unwrap();
        let eight = outcome.eight_bits.unwrap();
        assert!(eight.layers.iter().any(|layer| layer.kept.is_none()));
        let reason = outcome.unrewritten.unwrap();
        assert!(reason.contains("depthwise"), "{budget:?} {reason}");
    }
}

/// A column is added along the axis of the batch, which is as long here.
#[test]
fn a_bias_of_another_axis_is_none_of_a_layer() {
    let mut net = Net::new(DType::F32);
    net.input("x", &[3, 8]);
    net.weight("w", &[8, 3]);
    net.weight("b", &[3, 1]);
    net.node("Gemm", &["x", "w", "b"], "y", &[]);
    net.output("y");
    let settings = QuantizeSettings::new(samples(&[24, 8]), reference());
    let refused = quantize(&net.loaded(), &settings, &()).unwrap_err();
    assert!(
        refused.to_string().contains("other than a bias"),
        "{refused}"
    );
}

/// Moves the weights of a model into a file beside it.
fn with_data_beside(net: &Net, folder: &Path) -> PathBuf {
    let mut proto = ModelProto::decode(net.bytes()).unwrap();
    let mut data = Vec::new();
    for tensor in &mut proto.graph.as_mut().unwrap().initializer {
        let raw = tensor.raw_data.take().unwrap();
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: Some(key.into()),
            value: Some(value),
        };
        tensor.external_data = vec![
            entry("location", "weights".into()),
            entry("offset", data.len().to_string()),
            entry("length", raw.len().to_string()),
        ];
        tensor.data_location = Some(1);
        data.extend_from_slice(&raw);
    }
    std::fs::write(folder.join("weights"), data).unwrap();
    let path = folder.join("model.onnx");
    std::fs::write(&path, proto.encode_to_vec()).unwrap();
    path
}

#[test]
fn statistics_of_other_weights_in_the_same_place_are_not_taken() {
    let scratch = tempfile::tempdir().unwrap();
    let made = |seed: u64, cache: &str| {
        let weights = [0, 1, 2].map(|k| noise(24 * 24 * 9, seed + k));
        let path = with_data_beside(&chain(&weights), scratch.path());
        let model = Loaded::open(&path, &Pins::default()).unwrap();
        let mut settings = settings(Budget::TargetMacs(0.5));
        if let Some(calibration) = &mut settings.calibration {
            calibration.source = Source::Data(samples(&[24, 24, 8, 8]));
            calibration.cache = Some(scratch.path().join(cache));
        }
        let made = compress(&model, &settings, &()).unwrap();
        assert!(made.is_rewritten());
        made.model.document.encode().to_bytes()
    };
    let first = made(1, "cache");
    let (second, fresh) = (made(100, "cache"), made(100, "another"));
    assert!(first != second);
    assert!(second == fresh);
}

fn rewritten(outcome: &Outcome) -> usize {
    outcome.layers.iter().filter(|l| l.is_rewritten()).count()
}

#[test]
fn initializers_that_are_inputs_are_no_inputs_to_run_with() {
    let bytes = classifier(DType::F32, 3).bytes();
    for budget in [
        Budget::Rank(2),
        Budget::Energy(0.8),
        Budget::TargetMacs(0.6),
    ] {
        let (small, outcome) = compress_bytes(bytes.clone(), &settings(budget), &()).unwrap();
        assert!(rewritten(&outcome) > 1, "{budget:?}");
        assert_eq!(outcome.comparison.not_run, None);
        let proto = ModelProto::decode(small).unwrap();
        assert_eq!(proto.ir_version, Some(3));
        let graph = proto.graph.unwrap();
        let inputs: Vec<&str> = graph.input.iter().map(|i| i.name()).collect();
        assert!(graph.initializer.len() > 10);
        for initializer in &graph.initializer {
            assert!(inputs.contains(&initializer.name()), "{budget:?}");
        }
        assert_eq!(inputs.len(), graph.initializer.len() + 1);
    }
}

#[test]
fn halves_run_as_singles_and_stay_halves() {
    let x = Tensor::from_f32(vec![1, 3, 12, 12], noise(432, 4));
    let whole = classifier(DType::F32, 9).loaded();
    let wanted = run(&whole, reference(), &[vec![x.clone()]], &()).unwrap();
    let wanted = wanted[0][0].to_f32().unwrap().into_owned();
    for (dtype, within) in [(DType::F16, 4e-3), (DType::BF16, 4e-2)] {
        let net = classifier(dtype, 9);
        let x = Tensor::from_floats(dtype, x.dims().to_vec(), x.to_f32().unwrap().to_vec());
        let y = run(&net.loaded(), reference(), &[vec![x.unwrap()]], &()).unwrap();
        assert_eq!(y[0][0].dtype(), dtype);
        let y = y[0][0].to_f32().unwrap().into_owned();
        for (a, b) in y.iter().zip(&wanted) {
            assert!((a - b).abs() < within, "{dtype}: {y:?} and {wanted:?}");
        }
        let (small, outcome) =
            compress_bytes(net.bytes(), &settings(Budget::Rank(2)), &()).unwrap();
        assert_eq!(rewritten(&outcome), 3);
        assert!(outcome.layers.iter().all(|l| l.fit.is_some()));
        let graph = ModelProto::decode(small).unwrap().graph.unwrap();
        let types = graph
            .initializer
            .iter()
            .map(|i| DType::from_code(i.data_type()));
        assert!(types.clone().count() > 8 && types.clone().all(|t| t == dtype));
    }
}

#[test]
fn transposed_convolutions_of_all_paddings_are_exact_at_full_rank() {
    let two = ("strides", Arg::Ints(&[2, 2]));
    let three = ("strides", Arg::Ints(&[3, 2]));
    let auto = || ("auto_pad", Arg::Text("SAME_UPPER"));
    let kinds: [&[(&str, Arg<'_>)]; 4] = [
        &[two, ("output_shape", Arg::Ints(&[20, 21]))],
        &[three, ("output_shape", Arg::Ints(&[31, 22]))],
        &[("strides", Arg::Ints(&[2, 2])), auto()],
        &[
            ("strides", Arg::Ints(&[2, 2])),
            auto(),
            ("output_padding", Arg::Ints(&[1, 1])),
        ],
    ];
    let judge = onnxruntime().unwrap_or(reference());
    for (kind, args) in kinds.into_iter().enumerate() {
        let mut net = Net::new(DType::F32);
        net.input("x", &[1, 6, 10, 10]);
        net.weight("w", &[6, 6, 3, 3]);
        net.weight("b", &[6]);
        net.node("ConvTranspose", &["x", "w", "b"], "t", args);
        net.node("Relu", &["t"], "y", &[]);
        net.output("y");
        let calibration = CalibrationSettings {
            positions: 4_000,
            ..CalibrationSettings::new(samples(&[16, 6, 10, 10]))
        };
        let settings = Settings {
            budget: Budget::Rank(6),
            costlier: true,
            calibration: Some(calibration.clone()),
            ..Settings::default()
        };
        let (_, outcome) = compress_bytes(net.bytes(), &settings, &()).unwrap();
        assert_eq!(rewritten(&outcome), 1, "kind {kind}");
        assert!(outcome.layers[0].fit.unwrap().output_error < 1e-4);
        let x = Tensor::from_f32(vec![1, 6, 10, 10], noise(600, 9));
        let of = |model| run(model, judge, &[vec![x.clone()]], &()).unwrap();
        let (a, b) = (of(&net.loaded()), of(&outcome.model));
        assert_eq!(a[0][0].dims(), b[0][0].dims());
        let (a, b) = (a[0][0].to_f32().unwrap(), b[0][0].to_f32().unwrap());
        let apart = a.iter().zip(&*b).map(|(a, b)| (a - b).abs());
        let apart = apart.fold(0.0, f32::max);
        assert!(apart < 1e-3, "kind {kind}: {apart}");
        // And budgets of a whole model have candidates that run.
        let settings = Settings {
            budget: Budget::TargetMacs(0.6),
            calibration: Some(calibration),
            ..Settings::default()
        };
        let (_, outcome) = compress_bytes(net.bytes(), &settings, &()).unwrap();
        assert_eq!((rewritten(&outcome), outcome.dropped.len()), (1, 0));
    }
}

#[test]
fn sparse_weights_are_made_dense_to_run() {
    let mut net = Net::new(DType::F32);
    net.input("x", &[1, 3, 12, 12]);
    net.sparse_weight("w", &[8, 3, 3, 3]);
    net.weight("v", &[12, 8, 3, 3]);
    net.node("Conv", &["x", "w"], "sparse", &[]);
    net.node("Conv", &["sparse", "v"], "y", &[]);
    net.output("y");
    let (_, outcome) = compress_bytes(net.bytes(), &settings(Budget::Rank(2)), &()).unwrap();
    let forms: Vec<bool> = outcome.layers.iter().map(|l| l.fit.is_some()).collect();
    assert_eq!(forms, [false, true]);
    assert_eq!(outcome.comparison.not_run, None);
    // Every third value of the sparse weight is not zero: its output for ones is their sum.
    let ones = Tensor::from_f32(vec![1, 3, 12, 12], vec![1.0; 432]);
    let model = net.loaded();
    let value = model.graph().find("sparse").unwrap();
    let spec = InputSpec {
        name: "x".into(),
        dtype: DType::F32,
        dims: ones.dims().to_vec(),
    };
    let session = reference().load(&model.document.probe(&[value]), &[spec]);
    let made = session.unwrap().run(&[ones]).unwrap();
    let made = made[0].to_f32().unwrap().into_owned();
    let kept = noise(72, 5);
    let sums: Vec<f32> = kept.chunks_exact(9).map(|k| k.iter().sum()).collect();
    for (map, sum) in made.chunks_exact(100).zip(sums) {
        assert!((map[42] - sum).abs() < 1e-4, "{} {sum}", map[42]);
    }
}

/// tract, which takes no model in which all of some names occur.
struct Picky(&'static [&'static str]);

impl Target for Picky {
    fn name(&self) -> &'static str {
        "picky"
    }

    fn version(&self) -> String {
        String::new()
    }

    fn load_with(
        &self,
        model: &Detached,
        inputs: &[InputSpec],
        options: LoadOptions,
    ) -> Result<Box<dyn Session>, TargetError> {
        let occurs = |name: &&str| {
            let mut windows = model.skeleton.windows(name.len());
            windows.any(|w| w == name.as_bytes())
        };
        if self.0.iter().all(occurs) {
            return Err(TargetError::Load {
                target: "picky",
                reason: format!("'{}' is not to my taste", self.0.join("', '")),
            });
        }
        reference().load_with(model, inputs, options)
    }
}

#[test]
fn a_layer_whose_candidates_do_not_run_stays_and_the_others_are_done() {
    let picky: &Picky = Box::leak(Box::new(Picky(&["c1/"])));
    let bytes = classifier(DType::F32, 9).bytes();
    for budget in [Budget::Rank(2), Budget::TargetMacs(0.75)] {
        let settings = Settings {
            target: picky,
            ..settings(budget)
        };
        let (_, outcome) = compress_bytes(bytes.clone(), &settings, &()).unwrap();
        assert_eq!(outcome.layers[1].form(), "kept", "{budget:?}");
        let others = if let Budget::Rank(_) = budget { 2 } else { 1 };
        assert!(rewritten(&outcome) >= others, "{budget:?}");
        let refused = "picky can't load it: 'c1/' is not to my taste";
        assert!(!outcome.dropped.is_empty());
        for line in &outcome.dropped {
            assert!(line.starts_with("layer 'c1': "), "{line}");
            assert!(line.ends_with(refused), "{line}");
        }
        if let Budget::Rank(_) = budget {
            assert_eq!(outcome.layers[1].reason().as_deref(), Some(refused));
        }
    }
}

#[test]
fn a_family_that_does_not_run_leaves_the_layer_to_the_others() {
    let picky: &Picky = Box::leak(Box::new(Picky(&["c1/dw"])));
    let bytes = classifier(DType::F32, 9).bytes();
    let settings = Settings {
        target: picky,
        ..settings(Budget::TargetMacs(0.6))
    };
    let (_, outcome) = compress_bytes(bytes, &settings, &()).unwrap();
    assert_eq!(outcome.comparison.not_run, None);
    assert!(!["dw-pw", "pw-dw"].contains(&outcome.layers[1].form()));
}

#[test]
fn a_whole_that_the_runtime_refuses_is_judged_where_it_is_deployed() {
    let picky: &Picky = Box::leak(Box::new(Picky(&["c1/", "c2/"])));
    let other = onnxruntime().unwrap_or(reference()).name();
    let bytes = classifier(DType::F32, 9).bytes();
    for budget in [Budget::TargetMacs(0.5), Budget::MinSnr(2.0)] {
        let settings = Settings {
            target: picky,
            runner: Some(reference()),
            eval: Some(samples(&[8, 3, 12, 12])),
            ..settings(budget)
        };
        let (_, outcome) = compress_bytes(bytes.clone(), &settings, &()).unwrap();
        assert!(rewritten(&outcome) > 1, "{budget:?}");
        let compared = &outcome.comparison;
        assert_eq!((&compared.not_run, compared.target), (&None, other));
        assert!(outcome.compressed.evaluation.is_some());
        let judged = matches!(budget, Budget::MinSnr(_));
        assert_eq!(outcome.verdict.is_some(), judged, "{budget:?}");
    }
}

#[test]
fn what_is_not_changed_is_not_run() {
    let picky: &Picky = Box::leak(Box::new(Picky(&["x"])));
    let bytes = classifier(DType::F16, 9).bytes();
    let settings = Settings {
        target: picky,
        selection: Selection::new(&[], &["*"]).unwrap(),
        ..Settings::default()
    };
    let (same, outcome) = compress_bytes(bytes.clone(), &settings, &()).unwrap();
    assert_eq!(same, bytes);
    let reason = outcome.comparison.not_run.unwrap();
    assert_eq!(reason, "nothing was changed");
}

/// tract, and the bytes of the models that it was given, weights apart.
struct Counting(AtomicUsize);

impl Target for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn version(&self) -> String {
        String::new()
    }

    fn load_with(
        &self,
        model: &Detached,
        inputs: &[InputSpec],
        options: LoadOptions,
    ) -> Result<Box<dyn Session>, TargetError> {
        self.0.fetch_add(model.skeleton.len(), Ordering::Relaxed);
        reference().load_with(model, inputs, options)
    }
}

#[test]
fn evaluators_that_share_an_original_load_it_once() {
    let counting: &Counting = Box::leak(Box::new(Counting(AtomicUsize::new(0))));
    let original = classifier(DType::F32, 9).loaded();
    let (data, outputs) = (samples(&[8, 3, 12, 12]), OriginalOutputs::default());
    let other = original.clone();
    let evaluated = || {
        let before = counting.0.load(Ordering::Relaxed);
        let evaluator = Evaluator::against(&original, &data, counting).unwrap();
        let found = evaluator.sharing(outputs.clone()).evaluate(&other, &());
        (
            found.unwrap().measures,
            counting.0.load(Ordering::Relaxed) - before,
        )
    };
    let (first, again) = (evaluated(), evaluated());
    assert_eq!(first.0, again.0);
    // The other model alone.
    assert_eq!(first.1, 2 * again.1);
}

#[test]
fn a_part_of_the_data_is_evaluated_where_asked() {
    let original = classifier(DType::F32, 9).loaded();
    let data = samples(&[8, 3, 12, 12]);
    let evaluator = Evaluator::against(&original, &data, reference()).unwrap();
    let each = evaluator.seconds_per_sample().unwrap();
    assert!(each.is_some_and(|seconds| seconds > 0.0));
    let evaluator = evaluator.of_samples(3);
    assert_eq!((evaluator.samples(), evaluator.left_out()), (3, 5));
    let found = evaluator.evaluate(&original.clone(), &()).unwrap();
    assert!(found.measures.iter().all(|measure| measure.n == 3));
    assert_eq!(evaluator.of_samples(100).left_out(), 5);
}

#[test]
fn the_work_of_planning_is_linear_in_the_depth() {
    let counting: &Counting = Box::leak(Box::new(Counting(AtomicUsize::new(0))));
    let work = |depth: usize| {
        let mut net = Net::new(DType::F32);
        net.input("x", &[1, 4, 3, 3]);
        let mut last = "x".to_owned();
        for k in 0..depth {
            let (w, c, t) = (format!("w{k}"), format!("c{k}"), format!("t{k}"));
            net.weight(&w, &[4, 4, 3, 3]);
            net.node("Conv", &[&last, &w], &c, &[("pads", Arg::Ints(&[1; 4]))]);
            net.node("Tanh", &[&c], &t, &[]);
            last = t;
        }
        net.output(&last);
        let settings = Settings {
            budget: Budget::TargetMacs(0.8),
            target: counting,
            calibration: Some(CalibrationSettings {
                positions: 100,
                weighted: false,
                ..CalibrationSettings::new(samples(&[8, 4, 3, 3]))
            }),
            ..Settings::default()
        };
        let before = counting.0.load(Ordering::Relaxed);
        let (_, outcome) = compress_bytes(net.bytes(), &settings, &()).unwrap();
        assert!(rewritten(&outcome) > depth / 8);
        counting.0.load(Ordering::Relaxed) - before
    };
    let (short, long) = (work(70), work(140));
    assert!(long < 3 * short, "{short} {long}");
}

/// A head on maps of three sizes, its weights shared or of three names; names of the same bytes have the same weights.
fn head(weights: [&str; 3]) -> Net {
    let mut net = Net::new(DType::F32);
    net.input("x", &[1, 3, 16, 16]);
    net.weight("s", &[12, 3, 3, 3]);
    net.node("Conv", &["x", "s"], "c", &[("pads", Arg::Ints(&[1; 4]))]);
    net.node("Relu", &["c"], "p0", &[]);
    for (level, weight) in weights.into_iter().enumerate() {
        let (map, next) = (format!("p{level}"), format!("p{}", level + 1));
        let (bias, y) = (format!("b{level}"), format!("y{level}"));
        if !weights[..level].contains(&weight) {
            net.weight(weight, &[16, 12, 3, 3]);
        }
        net.weight(&bias, &[16]);
        net.node("Conv", &[&map, weight, &bias], &y, &[]);
        net.output(&y);
        let halved = [
            ("kernel_shape", Arg::Ints(&[2, 2])),
            ("strides", Arg::Ints(&[2, 2])),
        ];
        net.node("MaxPool", &[&map], &next, &halved);
    }
    net
}

#[test]
fn layers_that_share_weights_share_them_in_eight_bits_and_not_in_floats() {
    let judge = onnxruntime().unwrap_or(reference());
    let quantizing = QuantizeSettings::new(samples(&[24, 3, 16, 16]), judge);
    let quantized = |weights| {
        let found = quantize(&head(weights).loaded(), &quantizing, &()).unwrap();
        assert!(found.layers.iter().all(|layer| layer.kept.is_none()));
        let graph = found.model.graph();
        let of_head = |value: &ValueId| {
            let tensor = graph.constant(*value);
            tensor.is_some_and(|t| t.dtype() == DType::I8 && t.dims() == [16, 12, 3, 3])
        };
        let readers = graph.operators().filter_map(|(_, op)| op.input(0));
        let mut read: Vec<ValueId> = readers.filter(of_head).collect();
        assert_eq!(read.len(), 3);
        read.dedup();
        (read.len(), found.comparison.worst_channel_snr().unwrap())
    };
    let floats = |weights: [&str; 3]| {
        let settings = Settings {
            calibration: Some(CalibrationSettings::new(samples(&[24, 3, 16, 16]))),
            ..settings(Budget::Rank(2))
        };
        let (_, outcome) = compress_bytes(head(weights).bytes(), &settings, &()).unwrap();
        assert!(rewritten(&outcome) >= 3);
        outcome.sharing
    };
    assert_eq!((floats(["abc"; 3]), floats(["abc", "bca", "cab"])), (3, 0));
    let shared = quantized(["abc"; 3]);
    let apart = quantized(["abc", "bca", "cab"]);
    assert_eq!((shared.0, apart.0), (1, 3));
    assert!(shared.1 > apart.1 - 1.0, "{shared:?} {apart:?}");
}

/// A weight that one of its readers keeps stays in the file: the others save no parameter.
#[test]
fn weights_that_a_layer_keeps_save_no_parameters() {
    let net = head(["abc"; 3]);
    let planned = |skip: &[&str]| {
        let settings = Settings {
            selection: Selection::new(&[], skip).unwrap(),
            calibration: None,
            data_free: DataFree::Weights,
            ..settings(Budget::TargetParams(0.7))
        };
        let made = compress_bytes(net.bytes(), &settings, &());
        made.map(|(_, outcome)| rewritten(&outcome))
    };
    assert!(planned(&[]).unwrap() >= 3);
    let error = planned(&["y0"]).unwrap_err().to_string();
    assert!(error.contains("least possible"), "{error}");
}

/// A network that takes one recording, `[frames, bands]`, and gives pitches by frame: the first frame is not its verdict.
#[test]
fn recordings_without_a_batch_axis_are_samples() {
    let mut net = Net::new(DType::F32);
    net.input("x", &[-1, 12]);
    net.node(
        "Constant",
        &[],
        "front",
        &[("value_ints", Arg::Ints(&[0, 1]))],
    );
    net.weight("a", &[8, 1, 3, 3]);
    net.weight("b", &[8, 8, 3, 10]);
    net.node("Unsqueeze", &["x", "front"], "u", &[]);
    net.node("Conv", &["u", "a"], "c", &[]);
    net.node("Relu", &["c"], "r", &[]);
    net.node("Conv", &["r", "b"], "d", &[]);
    net.node("Squeeze", &["d"], "s", &[]);
    net.node("Transpose", &["s"], "y", &[]);
    net.output("y");
    let data = samples(&[16, 30, 12]);
    let with = |budget| Settings {
        calibration: Some(CalibrationSettings::new(data.clone())),
        ..settings(budget)
    };
    let (_, outcome) = compress_bytes(net.bytes(), &with(Budget::Rank(2)), &()).unwrap();
    assert!(outcome.layers[1].fit.is_some());
    let comparison = &outcome.comparison;
    assert_eq!(
        (
            comparison.not_run.as_deref(),
            comparison.agreements().count()
        ),
        (None, 0)
    );
    assert!(comparison.runs > 1 && comparison.worst_channel_snr().is_some());
    let refused = compress_bytes(net.bytes(), &with(Budget::MaxDrop(1.0)), &()).unwrap_err();
    assert!(
        refused.to_string().contains("a drop is not defined"),
        "{refused}"
    );
    // Nor are distributions over the bands of a frame classes of a sample.
    net.node("Softmax", &["y"], "p", &[]);
    net.output("p");
    let model = || Ok(net.loaded());
    let usual = Settings::with_budget(&Spec::default(), Some(data.clone()), model).unwrap();
    assert_eq!(usual.budget, Budget::MinSnr(30.0));
}

#[test]
fn states_and_settings_serve_for_all_samples_or_come_one_by_one() {
    let mut net = Net::new(DType::F32);
    net.input("x", &[-1, 3, 10, 10]);
    net.input("h", &[2, -1, 4]);
    net.input("gain", &[]);
    net.weight("w", &[8, 3, 3, 3]);
    net.node("Conv", &["x", "w"], "c", &[]);
    net.node("Mul", &["c", "gain"], "y", &[]);
    net.node("Tanh", &["h"], "hn", &[]);
    net.output("y");
    net.output("hn");
    let x = Tensor::from_f32(vec![24, 3, 10, 10], noise(7200, 3));
    let gain = Tensor::from_f32(vec![], vec![2.0]);
    let one = Tensor::from_f32(vec![2, 1, 4], noise(8, 4));
    let each = Tensor::from_f32(vec![24, 2, 1, 4], noise(192, 5));
    for state in [one, each] {
        let data = DataSource::memory(vec![x.clone(), state, gain.clone()]);
        let settings = Settings {
            calibration: Some(CalibrationSettings::new(data.clone())),
            ..settings(Budget::Rank(2))
        };
        let (_, outcome) = compress_bytes(net.bytes(), &settings, &()).unwrap();
        assert!(outcome.layers[0].fit.is_some());
        assert_eq!(outcome.comparison.not_run, None);
        let outputs = &outcome.comparison.outputs;
        assert_eq!(outputs.len(), 2);
        let quantizing = QuantizeSettings::new(data, reference());
        let found = quantize(&net.loaded(), &quantizing, &()).unwrap();
        assert_eq!(found.layers.len(), 1);
    }
    // Synthetic inputs have a scalar, too.
    let settings = Settings {
        budget: Budget::Rank(2),
        ..Settings::default()
    };
    let (_, outcome) = compress_bytes(net.bytes(), &settings, &()).unwrap();
    assert_eq!(outcome.comparison.not_run, None);
}
