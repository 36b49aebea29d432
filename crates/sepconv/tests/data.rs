//! Data as models take them: channels last, values of the wrong range, indices.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use prost::Message;
use sepconv::data::{Labels, Layout, Preprocess, SyntheticKind};
use sepconv::ir::{DType, Tensor};
use sepconv::onnx::Document;
use sepconv::onnx::proto::attribute_proto::AttributeType;
use sepconv::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use sepconv::onnx::proto::type_proto::{self, Value};
use sepconv::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TypeProto, ValueInfoProto,
};
use sepconv::targets::{Target, find};
use sepconv::{
    Budget, CalibrationSettings, Compressed, DataFree, DataSource, DataWarning, Error, LayerFit,
    Loaded, Pins, Settings, compare, compress, data_specs, synthetic_inputs,
};

const F32: i32 = 1;
const U8: i32 = 2;
const I64: i32 = 7;

/// A graph that grows operator by operator; each gives the value that the next one reads.
#[derive(Default)]
struct Net {
    graph: GraphProto,
    last: String,
}

impl Net {
    /// With an input `x`; extents of 0 are free.
    fn of(dtype: i32, dims: &[i64]) -> Self {
        let mut net = Self::default();
        net.input("x", dtype, dims);
        net
    }

    fn input(&mut self, name: &str, dtype: i32, dims: &[i64]) {
        let dim = |d: &i64| Dimension {
            value: Some(match d {
                0 => dimension::Value::DimParam("n".into()),
                d => dimension::Value::DimValue(*d),
            }),
            ..Dimension::default()
        };
        let kind = Value::TensorType(type_proto::Tensor {
            elem_type: Some(dtype),
            shape: Some(TensorShapeProto {
                dim: dims.iter().map(dim).collect(),
            }),
        });
        self.graph.input.push(ValueInfoProto {
            name: Some(name.into()),
            r#type: Some(TypeProto {
                value: Some(kind),
                ..TypeProto::default()
            }),
            ..ValueInfoProto::default()
        });
        self.last = name.into();
    }

    fn constant(&mut self, dims: &[i64], values: &[f32]) -> String {
        self.tensor(TensorProto {
            data_type: Some(F32),
            dims: dims.to_vec(),
            float_data: values.to_vec(),
            ..TensorProto::default()
        })
    }

    fn integers(&mut self, dims: &[i64], values: &[i64]) -> String {
        self.tensor(TensorProto {
            data_type: Some(I64),
            dims: dims.to_vec(),
            int64_data: values.to_vec(),
            ..TensorProto::default()
        })
    }

    fn tensor(&mut self, tensor: TensorProto) -> String {
        let name = format!("w{}", self.graph.initializer.len());
        self.graph.initializer.push(TensorProto {
            name: Some(name.clone()),
            ..tensor
        });
        name
    }

    /// An operator of the last value and of others.
    fn then(self, op: &str, others: &[&str], ints: &[(&str, &[i64])]) -> Self {
        let last = self.last.clone();
        self.node(op, &[&[last.as_str()], others].concat(), ints)
    }

    fn node(mut self, op: &str, inputs: &[&str], ints: &[(&str, &[i64])]) -> Self {
        let name = format!("{}{}", op.to_lowercase(), self.graph.node.len());
        let attribute = |(name, values): &(&str, &[i64])| {
            // Attributes that ONNX declares as a single integer.
            let single = ["axis", "to"].contains(name);
            AttributeProto {
                name: Some((*name).into()),
                r#type: Some(if single {
                    AttributeType::Int
                } else {
                    AttributeType::Ints
                } as i32),
                i: single.then(|| values[0]),
                ints: if single { Vec::new() } else { values.to_vec() },
                ..AttributeProto::default()
            }
        };
        self.graph.node.push(NodeProto {
            op_type: Some(op.into()),
            name: Some(name.clone()),
            input: inputs.iter().map(|i| (*i).to_owned()).collect(),
            output: vec![name.clone()],
            attribute: ints.iter().map(attribute).collect(),
            ..NodeProto::default()
        });
        self.last = name;
        self
    }

    /// A 3x3 convolution with bias and a `Relu`; `size` scales weights that keep deviations.
    fn conv(self, [from, to]: [usize; 2], size: f32) -> Self {
        self.plain_conv([from, to], size).then("Relu", &[], &[])
    }

    fn plain_conv(mut self, [from, to]: [usize; 2], size: f32) -> Self {
        let scale = size * (2.0 / (from * 9) as f32).sqrt();
        let seed = self.graph.initializer.len() as u64;
        let weights: Vec<f32> = noise(from * to * 9, seed)
            .iter()
            .map(|w| w * scale)
            .collect();
        let w = self.constant(&[to as i64, from as i64, 3, 3], &weights);
        let b = self.constant(&[to as i64], &noise(to, seed + 77));
        self.then("Conv", &[&w, &b], &[("pads", &[1; 4])])
    }

    /// A batch normalisation that recorded this deviation.
    fn norm(mut self, channels: usize, deviation: f32) -> Self {
        let mut vector = |value: f32| self.constant(&[channels as i64], &vec![value; channels]);
        let names = [1.0, 0.0, 0.0, deviation * deviation].map(&mut vector);
        let names = names.each_ref().map(String::as_str);
        self.then("BatchNormalization", &names, &[])
    }

    /// An elementwise operator with a constant.
    fn by(mut self, op: &str, value: f32) -> Self {
        let c = self.constant(&[], &[value]);
        self.then(op, &[&c], &[])
    }

    fn model(mut self) -> Loaded {
        self.graph.name = Some("net".into());
        self.graph.output.push(ValueInfoProto {
            name: Some(self.last.clone()),
            ..ValueInfoProto::default()
        });
        let model = ModelProto {
            ir_version: Some(8),
            opset_import: vec![OperatorSetIdProto {
                version: Some(17),
                ..OperatorSetIdProto::default()
            }],
            graph: Some(self.graph),
            ..ModelProto::default()
        };
        let document = Document::from_bytes(model.encode_to_vec().into()).unwrap();
        Loaded::new(document, &Pins::default()).unwrap()
    }
}

fn tract() -> &'static dyn Target {
    find("tract").unwrap()
}

/// Numbers in -1 to 1.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Pictures `[count, 12, 12, 3]` of bytes, channels last or first.
fn pictures(count: usize, layout: Layout) -> Tensor {
    let value = |n: usize, p: usize, c: usize| {
        let wave = ((p / 12 + n) as f32 * 0.7 + c as f32).sin() * ((p % 12) as f32 * 0.4).cos();
        (127.5 + 127.0 * wave) as u8
    };
    let (mut bytes, mut shape) = (Vec::new(), vec![count, 12, 12, 3]);
    for n in 0..count {
        for i in 0..432 {
            let (p, c) = match layout {
                Layout::Nhwc => (i / 3, i % 3),
                Layout::Nchw => (i % 144, i / 144),
            };
            bytes.push(value(n, p, c));
        }
    }
    if layout == Layout::Nchw {
        shape = vec![count, 3, 12, 12];
    }
    Tensor::new(DType::U8, shape, bytes.into()).unwrap()
}

/// Three convolutions on pictures of 0 to 1.
fn three(net: Net) -> Net {
    net.conv([3, 16], 1.0)
        .conv([16, 16], 1.0)
        .conv([16, 16], 1.0)
}

fn first() -> Net {
    Net::of(F32, &[0, 3, 12, 12])
}

/// The same with channels last, transposed at the start and at the end.
fn last() -> Loaded {
    let net = Net::of(F32, &[0, 12, 12, 3]).then("Transpose", &[], &[("perm", &[0, 3, 1, 2])]);
    three(net)
        .then("Transpose", &[], &[("perm", &[0, 2, 3, 1])])
        .model()
}

fn source(arrays: Vec<Tensor>, scale: f64, layout: Option<Layout>) -> DataSource {
    let mut source = DataSource::memory(arrays);
    source.preprocess = Preprocess {
        scale,
        layout,
        mean: vec![0.4, 0.5, 0.6],
        std: vec![0.2, 0.3, 0.4],
        ..Preprocess::default()
    };
    source
}

fn fits(made: &Compressed) -> impl Iterator<Item = LayerFit> {
    made.layers.iter().filter_map(|l| l.fit)
}

fn compressed(model: &Loaded, source: DataSource) -> Compressed {
    let settings = Settings {
        budget: Budget::TargetMacs(0.5),
        calibration: Some(CalibrationSettings {
            positions: 1_000,
            ..CalibrationSettings::new(source)
        }),
        ..Settings::default()
    };
    compress(model, &settings, &()).unwrap()
}

#[test]
fn channels_last_are_compressed_as_channels_first() {
    let data = |array, layout| source(vec![pictures(12, array)], 1.0 / 255.0, layout);
    let expected = compressed(&three(first()).model(), data(Layout::Nchw, None));
    assert!(expected.rewritten().count() >= 2);
    // Fits differ a little: channels are weighed by a random projection of the outputs as they lie.
    let forms =
        |made: &Compressed| -> Vec<_> { made.layers.iter().map(|l| l.choice.clone()).collect() };
    let model = last();
    assert_eq!(data_specs(&model).unwrap()[0].layout, Some(Layout::Nhwc));
    for (array, layout) in [
        (Layout::Nhwc, None),
        (Layout::Nhwc, Some(Layout::Nhwc)),
        (Layout::Nchw, Some(Layout::Nchw)),
    ] {
        let made = compressed(&model, data(array, layout));
        assert_eq!(forms(&made), forms(&expected), "{array:?} {layout:?}");
        let errors = fits(&made).zip(fits(&expected));
        for (a, b) in errors {
            assert!(
                (a.output_error - b.output_error).abs() < 5e-3,
                "{a:?} {b:?}"
            );
        }
    }
    let inputs = synthetic_inputs(&model, 2, 1, SyntheticKind::Normal).unwrap();
    assert_eq!(inputs[0][0].dims(), [1, 12, 12, 3]);
}

#[test]
fn without_data_channels_last_are_fitted_to_pictures() {
    let settings = Settings {
        budget: Budget::Rank(2),
        data_free: DataFree::Pictures(None),
        ..Settings::default()
    };
    let made = compress(&last(), &settings, &()).unwrap();
    assert!(made.calibration.is_some() && fits(&made).count() >= 2);
    let expected = compress(&three(first()).model(), &settings, &()).unwrap();
    for (a, b) in fits(&made).zip(fits(&expected)) {
        assert!(
            (a.output_error - b.output_error).abs() < 1e-4,
            "{a:?} {b:?}"
        );
    }
}

/// The factor of the warning about the range of bytes times `scale`, if there is one.
fn doubt(net: Net, scale: f64) -> Option<f64> {
    let mut source = DataSource::memory(vec![pictures(4, Layout::Nchw)]);
    source.preprocess.scale = scale;
    let model = net.model();
    let warnings = source.warnings(&model, tract()).unwrap();
    match warnings.as_slice() {
        [] => None,
        [DataWarning::Range { input, factor, .. }] => {
            assert_eq!(input, "x");
            Some(*factor)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn samples_that_say_nothing_are_told() {
    let model = first().plain_conv([3, 8], 1.0).model();
    let told = |change: &dyn Fn(usize, f32) -> f32| {
        let values = (0..4 * 3 * 12 * 12).map(|at| change(at, (at % 97) as f32 / 97.0));
        let array = Tensor::from_f32(vec![4, 3, 12, 12], values.collect());
        DataSource::memory(vec![array])
            .warnings(&model, tract())
            .unwrap()
    };
    assert_eq!(told(&|_, value| value), []);
    assert!(matches!(
        told(&|_, _| 0.5)[..],
        [DataWarning::Alike { samples: 4, .. }]
    ));
    let broken = told(&|at, value| if at == 77 { f32::INFINITY } else { value });
    let [warning @ DataWarning::NotFinite { .. }] = broken.as_slice() else {
        panic!("{broken:?}");
    };
    assert!(warning.to_string().contains("input 'x'"), "{warning}");
}

/// Statistics of a sample that is no number would be none, however late it comes.
#[test]
fn a_sample_that_is_no_number_is_refused_by_its_place() {
    let model = first().plain_conv([3, 8], 1.0).model();
    let values = (0..20 * 3 * 12 * 12).map(|at| match at == 17 * 3 * 12 * 12 + 5 {
        true => f32::NAN,
        false => (at % 97) as f32,
    });
    let array = Tensor::from_f32(vec![20, 3, 12, 12], values.collect());
    let settings = Settings {
        budget: Budget::Rank(1),
        calibration: Some(CalibrationSettings {
            cache: None,
            ..CalibrationSettings::new(DataSource::memory(vec![array]))
        }),
        ..Settings::default()
    };
    let refused = compress(&model, &settings, &()).unwrap_err().to_string();
    let said = "sample 17 of input 'x': expected numbers, found NaN";
    assert!(refused.contains(said), "{refused}");
}

#[test]
fn values_are_doubted_where_the_first_layers_say_so() {
    const UNIT: f64 = 1.0 / 255.0;
    let (down, up) = (Some(UNIT), Some(255.0));
    // Statistics that were recorded behind the first layer, of pictures of 0 to 1 or to 255.
    let normed = |deviation| {
        first()
            .plain_conv([3, 8], 1.0)
            .norm(8, deviation)
            .conv([8, 8], 1.0)
    };
    assert_eq!([1.0, UNIT].map(|s| doubt(normed(0.3), s)), [down, None]);
    assert_eq!([1.0, UNIT].map(|s| doubt(normed(90.0), s)), [None, up]);
    // Statistics of the input itself.
    let before = |deviation| first().norm(3, deviation).conv([3, 8], 1.0);
    assert_eq!([1.0, UNIT].map(|s| doubt(before(0.25), s)), [down, None]);
    assert_eq!([1.0, UNIT].map(|s| doubt(before(60.0), s)), [None, up]);
    // A graph that brings bytes to its own range, channels last or not.
    let scaled = |op, by| first().by(op, by).conv([3, 8], 1.0);
    for (op, by) in [("Div", 255.0), ("Mul", 1.0 / 255.0), ("Sub", 127.5)] {
        assert_eq!(
            [1.0, UNIT].map(|s| doubt(scaled(op, by), s)),
            [None, up],
            "{op}"
        );
    }
    assert_eq!(doubt(scaled("Mul", 2.0), 1.0), down);
    // Sizes of maps beside biases of size 1, as they are where norms were folded.
    assert_eq!([1.0, UNIT].map(|s| doubt(three(first()), s)), [down, None]);
    let bytes = || first().conv([3, 16], 1.0 / 255.0).conv([16, 16], 1.0);
    assert_eq!(doubt(bytes(), 1.0), None);
    // Norms of the sample make any range do.
    let mut net = first().plain_conv([3, 8], 1.0);
    let (one, zero) = (net.constant(&[8], &[1.0; 8]), net.constant(&[8], &[0.0; 8]));
    let net = net.then("InstanceNormalization", &[&one, &zero], &[]);
    assert_eq!(doubt(net, 1.0), None);
}

#[test]
fn quantised_inputs_say_their_range() {
    let quantised = |scale: f32| {
        let mut net = first();
        let scale = net.constant(&[], &[scale]);
        let zero = net.tensor(TensorProto {
            data_type: Some(U8),
            int32_data: vec![0],
            ..TensorProto::default()
        });
        let net = net.then("QuantizeLinear", &[&scale, &zero], &[]);
        net.then("DequantizeLinear", &[&scale, &zero], &[])
            .conv([3, 8], 1.0)
    };
    assert_eq!(doubt(quantised(1.0 / 255.0), 1.0), Some(1.0 / 255.0));
    assert_eq!(doubt(quantised(1.0 / 255.0), 1.0 / 255.0), None);
    assert_eq!(doubt(quantised(1.0), 1.0), None);
    assert_eq!(doubt(quantised(1.0), 1.0 / 255.0), Some(255.0));
}

/// A picture as a PPM file, whose format needs no encoder.
fn ppm(path: &Path, tint: u8) {
    let mut bytes = b"P6 12 12 255\n".to_vec();
    for i in 0..144u8 {
        bytes.extend([tint, i, 255 - i]);
    }
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn folders_serve_channels_last_and_tell_what_they_hold_beside() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("more")).unwrap();
    for (at, tint) in [("b.ppm", 2), ("more/a.ppm", 200), ("a.ppm", 90)] {
        ppm(&dir.path().join(at), tint);
    }
    std::fs::write(dir.path().join("notes.txt"), "words").unwrap();
    let mut source = DataSource::new(dir.path());
    source.preprocess.scale = 1.0 / 255.0;
    let model = last();
    let dataset = source.open(&model, Labels::Ignore).unwrap();
    assert_eq!(
        (dataset.len(), dataset.sample_shapes()),
        (3, &[vec![12, 12, 3]][..])
    );
    let inputs = dataset.batch(0..3).unwrap().inputs;
    let values = inputs[0].to_f32().unwrap();
    let reds: Vec<f32> = values
        .iter()
        .step_by(432)
        .map(|v| (v * 255.0).round())
        .collect();
    assert_eq!(reds, [90.0, 2.0, 200.0]);
    let warnings = source.warnings(&model, tract()).unwrap();
    let [only @ DataWarning::Skipped { .. }] = warnings.as_slice() else {
        panic!("{warnings:?}");
    };
    assert!(
        only.to_string()
            .ends_with(": passed over 1 that is no picture: notes.txt"),
        "{only}"
    );
    assert_eq!(compressed(&model, source).plan().layers.len(), 3);
}

/// A table of 5 rows of 12 numbers looked up by `x`, `[n, 12]`, and a convolution of the rows.
fn embedded(prepare: impl FnOnce(Net) -> Net) -> Loaded {
    let mut net = prepare(Net::of(I64, &[0, 12]));
    let (indices, table) = (net.last.clone(), net.constant(&[5, 12], &noise(60, 3)));
    let shape = net.integers(&[4], &[-1, 1, 12, 12]);
    let net = net.node("Gather", &[&table, &indices], &[]);
    net.then("Reshape", &[&shape], &[])
        .conv([1, 8], 1.0)
        .conv([8, 8], 1.0)
        .model()
}

fn ids(values: &[i64]) -> Tensor {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Tensor::new(DType::I64, vec![values.len() / 12, 12], bytes.into()).unwrap()
}

#[test]
fn indices_stay_within_what_is_looked_up() {
    let plain = embedded(|net| net);
    let cast = embedded(|mut net| {
        let shape = net.integers(&[2], &[-1, 12]);
        net.then("Cast", &[], &[("to", &[6])])
            .then("Reshape", &[&shape], &[])
    });
    let shifted = embedded(|mut net| {
        let one = net.integers(&[], &[1]);
        net.then("Add", &[&one], &[])
    });
    let doubled = embedded(|mut net| {
        let two = net.integers(&[], &[2]);
        net.then("Mul", &[&two], &[])
    });
    for (model, range) in [
        (&plain, -5..5),
        (&cast, -5..5),
        (&shifted, -6..4),
        (&doubled, -2..3),
    ] {
        assert_eq!(data_specs(model).unwrap()[0].indices, Some(range.clone()));
        let inputs = synthetic_inputs(model, 20, 7, SyntheticKind::Normal).unwrap();
        let drawn: Vec<i64> = inputs
            .iter()
            .flat_map(|set| set[0].to_i64().unwrap())
            .collect();
        let (least, most) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
        assert_eq!((*least, *most), (0, range.end - 1));
        // Runs: tract panics where an index is out of range.
        let target = tract();
        assert_eq!(
            compare(model, model, target, &inputs, &()).unwrap().not_run,
            None
        );
    }
    let values: Vec<i64> = (0..96).map(|i| i * 7 % 5).collect();
    let fitted = compressed(&plain, DataSource::memory(vec![ids(&values)]));
    assert!(fits(&fitted).next().is_some());
    let odd = DataSource::memory(vec![ids(&[5; 12])]).open(&plain, Labels::Ignore);
    let Err(Error::Data(error)) = odd else {
        panic!("{odd:?}");
    };
    assert!(
        error
            .to_string()
            .ends_with("expected indices -5 to 4, found 5"),
        "{error}"
    );
}

#[test]
fn what_is_not_looked_up_with_has_no_range() {
    let net = Net::of(I64, &[0, 1, 12, 12]).then("Cast", &[], &[("to", &[1])]);
    let model = net.conv([1, 8], 1.0).model();
    let spec = &data_specs(&model).unwrap()[0];
    assert_eq!(
        (spec.indices.clone(), spec.layout),
        (None, Some(Layout::Nchw))
    );
}
