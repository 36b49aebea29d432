//! The loader from end to end, on files made in temporary directories.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use sepconv_data::{
    Batch, DataError, Dataset, InputSpec, Labels, Layout, Preprocess, Request, SyntheticKind,
    synthetic, write_npz,
};
use sepconv_ir::{DType, Tensor};
use tempfile::tempdir;

fn spec(name: &str, dtype: DType, dims: &[usize]) -> InputSpec {
    let dims = dims.iter().map(|&d| (d > 0).then_some(d)).collect();
    InputSpec::new(name, dtype, dims)
}

/// A request for one input; axes of 0 are free.
fn request(name: &str, dtype: DType, dims: &[usize]) -> Request {
    Request::new(vec![spec(name, dtype, dims)])
}

fn ramp(shape: &[usize]) -> Tensor {
    let values: Vec<u8> = (0..shape.iter().product())
        .map(|i: usize| i as u8)
        .collect();
    Tensor::from_slice(shape, &values).unwrap()
}

fn all(dataset: &Dataset, size: usize) -> Vec<Batch> {
    dataset.batches(size).map(Result::unwrap).collect()
}

/// The message of a refusal: one line that names `part`.
fn refusal(result: Result<Dataset, DataError>, part: &str) {
    let text = result.map(|d| d.len()).unwrap_err().to_string();
    assert!(text.contains(part), "'{part}' not in: {text}");
    assert!(!text.contains('\n'), "{text}");
}

fn picture(path: &Path, width: u32, height: u32, tint: u8) {
    RgbImage::from_fn(width, height, |x, y| Rgb([tint, x as u8, y as u8]))
        .save(path)
        .unwrap();
}

/// A TensorProto by hand: dims, data_type, raw_data.
fn tensor(path: &Path, dims: &[u8], data_type: u8, raw: &[u8]) {
    let mut bytes = Vec::new();
    for &d in dims {
        bytes.extend([0x08, d]);
    }
    bytes.extend([0x10, data_type, 0x4a, u8::try_from(raw.len()).unwrap()]);
    bytes.extend(raw);
    fs::write(path, bytes).unwrap();
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn npz_with_labels_and_target() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.npz");
    let images = ramp(&[5, 1, 2, 3]);
    let labels = Tensor::from_slice(&[5], &[4i32, 3, 2, 1, 0]).unwrap();
    let target = Tensor::from_f32(vec![5, 2], vec![0., 1., 2., 3., 4., 5., 6., 7., 8., 9.]);
    write_npz(
        &path,
        &[
            ("images", &images),
            ("labels", &labels),
            ("target", &target),
        ],
    )
    .unwrap();
    let mut request = request("x", DType::F32, &[0, 1, 0, 0]);
    let dataset = Dataset::open(&path, &request).unwrap();
    assert_eq!(
        (dataset.len(), dataset.sample_shapes()),
        (5, &[vec![1, 2, 3]][..])
    );
    assert_eq!(dataset.labels(), Some(&[4i64, 3, 2, 1, 0][..]));
    let batches = all(&dataset, 2);
    assert_eq!(
        batches.iter().map(|b| b.start).collect::<Vec<_>>(),
        [0, 2, 4]
    );
    assert_eq!(dataset.batches(2).len(), 3);
    let last = &batches[2];
    assert_eq!((last.valid, last.inputs[0].dims()), (1, &[1, 1, 2, 3][..]));
    assert_eq!(last.inputs[0].to_f32().unwrap()[5], 29.0);
    assert_eq!(last.labels, Some(vec![0]));
    assert_eq!(&*last.targets[0].to_f32().unwrap(), &[8.0, 9.0]);
    assert_eq!(dataset.target_dtype(), Some(DType::F32));

    request.class_count = Some(4);
    refusal(
        Dataset::open(&path, &request),
        "label of sample 0: expected 0 to 3, found 4",
    );
    request.labels = Labels::Ignore;
    let dataset = Dataset::open(&path, &request).unwrap();
    assert!(dataset.labels().is_none() && !dataset.has_target());
    assert_eq!(dataset.target_dtype(), None);

    request.labels = Labels::Required;
    let bytes = Tensor::from_slice(&[5], &[0u8, 1, 2, 254, 255]).unwrap();
    write_npz(&path, &[("images", &images), ("target", &bytes)]).unwrap();
    let dataset = Dataset::open(&path, &request).unwrap();
    assert_eq!(dataset.target_dtype(), Some(DType::U8));
    let batch = dataset.batch(3..5).unwrap();
    assert_eq!(batch.targets[0].to_i64().unwrap(), [254, 255]);
    let words = Tensor::from_slice(&[5], &[0i32, 1, 2, 3, 4]).unwrap();
    write_npz(&path, &[("images", &images), ("target", &words)]).unwrap();
    refusal(
        Dataset::open(&path, &request),
        "expected floats or u8 with a first axis of 5, found i32",
    );
}

#[test]
fn npz_refusals() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.npz");
    let (a, b) = (ramp(&[4, 3]), ramp(&[3, 3]));
    write_npz(&path, &[("a", &a), ("b", &b)]).unwrap();
    let one = |name| request(name, DType::F32, &[0, 3]);
    refusal(
        Dataset::open(&path, &one("x")),
        "expected an array 'x' or 'images', found 'a', 'b'",
    );
    assert_eq!(Dataset::open(&path, &one("b")).unwrap().len(), 3);
    let two = Request::new(vec![
        spec("a", DType::F32, &[0, 3]),
        spec("b", DType::F32, &[0, 3]),
    ]);
    refusal(
        Dataset::open(&path, &two),
        "expected 4 samples, as for the first input, found 3",
    );
    refusal(
        Dataset::open(&path, &request("a", DType::F32, &[0, 4])),
        "expected shape [?,4] with samples first, found [4, 3]",
    );
    let mut required = one("a");
    required.labels = Labels::Required;
    refusal(Dataset::open(&path, &required), "found neither");
    let labels = Tensor::from_slice(&[3], &[0u8, 1, 2]).unwrap();
    write_npz(&path, &[("a", &a), ("labels", &labels)]).unwrap();
    refusal(
        Dataset::open(&path, &one("a")),
        "expected shape [4], one label per sample",
    );
    write_npz(&path, &[("a", &a), ("target", &b)]).unwrap();
    refusal(
        Dataset::open(&path, &one("a")),
        "expected floats or u8 with a first axis of 4, found u8 [3, 3]",
    );
    write_npz(&path, &[]).unwrap();
    refusal(Dataset::open(&path, &one("a")), "found no arrays");
    fs::write(&path, "hello").unwrap();
    refusal(
        Dataset::open(&path, &one("a")),
        "found a file of other content",
    );
    refusal(
        Dataset::open(&dir.path().join("none"), &one("a")),
        "cannot open",
    );
}

#[test]
fn several_inputs_come_in_the_order_of_the_model() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.npz");
    let ids = Tensor::from_slice(&[3, 2], &[1i64, 2, 3, 4, 5, 6]).unwrap();
    let mask = Tensor::from_i64s(DType::Bool, vec![3, 1], &[1, 0, 1]).unwrap();
    write_npz(&path, &[("mask", &mask), ("ids", &ids)]).unwrap();
    let request = Request::new(vec![
        spec("ids", DType::I32, &[0, 2]),
        spec("mask", DType::Bool, &[0, 1]),
    ]);
    let dataset = Dataset::open(&path, &request).unwrap();
    let batch = dataset.batch(1..3).unwrap();
    assert_eq!(&*batch.inputs[0].as_slice::<i32>().unwrap(), &[3, 4, 5, 6]);
    assert_eq!(batch.inputs[1].to_i64().unwrap(), [0, 1]);
    let narrow = Request::new(vec![spec("ids", DType::Bool, &[0, 2])]);
    let error = Dataset::open(&path, &narrow)
        .unwrap()
        .batch(0..3)
        .unwrap_err();
    assert!(error.to_string().contains("a.npz: array 'ids'"), "{error}");
}

#[test]
fn npy_in_nhwc() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.npy");
    let array = ndarray::Array4::from_shape_fn((2, 2, 2, 3), |(n, h, w, c)| {
        (n * 100 + h * 20 + w * 10 + c) as f32
    });
    ndarray_npy::write_npy(&path, &array).unwrap();
    let mut request = request("x", DType::F32, &[0, 3, 2, 2]);
    refusal(Dataset::open(&path, &request), "(layout nhwc would fit)");
    request.preprocess.layout = Some(Layout::Nhwc);
    let batch = Dataset::open(&path, &request).unwrap().batch(1..2).unwrap();
    let expected = [
        100., 110., 120., 130., 101., 111., 121., 131., 102., 112., 122., 132.,
    ];
    assert_eq!(&*batch.inputs[0].to_f32().unwrap(), &expected);
}

#[test]
fn a_fixed_batch_is_padded() {
    let inputs = [spec("x", DType::F32, &[4, 2])];
    let dataset = Dataset::from_arrays(&inputs, vec![ramp(&[6, 2])]).unwrap();
    assert_eq!(dataset.fixed_batch(), Some(4));
    let batches = all(&dataset, 1);
    assert_eq!(batches.iter().map(|b| b.valid).collect::<Vec<_>>(), [4, 2]);
    assert_eq!(
        &*batches[1].inputs[0].to_f32().unwrap(),
        &[8., 9., 10., 11., 10., 11., 10., 11.]
    );
    assert!(dataset.batch(0..5).is_err());
    assert!(dataset.batch(2..2).is_err());
    assert!(dataset.batch(5..7).is_err());
}

#[test]
fn arrays_of_an_axis_more_are_whole_inputs() {
    // Frames by bands: of a network that takes one recording.
    let inputs = [spec("x", DType::F32, &[0, 3])];
    let clips = Dataset::from_arrays(&inputs, vec![ramp(&[5, 4, 3])]).unwrap();
    assert_eq!((clips.len(), clips.fixed_batch()), (5, None));
    assert_eq!(
        (clips.whole(), clips.sample_shapes()),
        (&[true][..], &[vec![4, 3]][..])
    );
    let third = clips.batch(2..3).unwrap().inputs;
    assert_eq!(third[0].dims(), [4, 3]);
    assert_eq!(third[0].to_f32().unwrap()[0], 24.0);
    // Of a fixed number of frames, which is no batch then.
    let fixed = [spec("x", DType::F32, &[4, 3])];
    let clips = Dataset::from_arrays(&fixed, vec![ramp(&[5, 4, 3])]).unwrap();
    assert_eq!((clips.len(), clips.fixed_batch()), (5, None));
    let rows = Dataset::from_arrays(&fixed, vec![ramp(&[8, 3])]).unwrap();
    assert_eq!((rows.fixed_batch(), rows.whole()), (Some(4), &[false][..]));
    refusal(
        Dataset::from_arrays(&fixed, vec![ramp(&[5, 6, 3])]),
        "samples first",
    );
    // One row each: an axis too many.
    let one = Dataset::from_arrays(&inputs, vec![ramp(&[5, 1, 3])]).unwrap();
    assert_eq!(
        (one.whole(), one.sample_shapes()),
        (&[false][..], &[vec![3]][..])
    );
    // Pictures keep their axis, and test sets have no other.
    let pictures = [spec("x", DType::F32, &[0, 3, 2, 2])];
    let found = Dataset::from_arrays(&pictures, vec![ramp(&[5, 2, 3, 2, 2])]);
    refusal(found, "samples first");
}

#[test]
fn a_spread_keeps_rows_and_labels_together() {
    let scratch = tempdir().unwrap();
    let path = scratch.path().join("d.npz");
    let labels = Tensor::from_slice(&[5], &[4i32, 3, 2, 1, 0]).unwrap();
    write_npz(&path, &[("a", &ramp(&[5, 1])), ("labels", &labels)]).unwrap();
    let request = Request::new(vec![spec("a", DType::F32, &[0, 1])]);
    let spread = |most| Dataset::open(&path, &request).unwrap().spread(most);
    let some = spread(2);
    assert_eq!(some.selected(), [0, 2]);
    assert_eq!(some.labels(), Some(&[4i64, 2][..]));
    assert_eq!(
        &*some.batch(0..2).unwrap().inputs[0].to_f32().unwrap(),
        &[0., 2.]
    );
    assert_eq!(spread(0).len(), 1);
    assert_eq!(spread(9).selected(), [0, 1, 2, 3, 4]);
}

#[test]
fn the_draw_is_seeded_and_ordered() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.npz");
    let labels: Vec<i64> = (0..50).collect();
    let labels = Tensor::from_slice(&[50], &labels).unwrap();
    write_npz(&path, &[("x", &ramp(&[50, 1])), ("labels", &labels)]).unwrap();
    let mut request = request("x", DType::U8, &[0, 1]);
    request.max_samples = Some(10);
    request.seed = 3;
    let dataset = Dataset::open(&path, &request).unwrap();
    let rows = dataset.selected().to_vec();
    assert!(rows.len() == 10 && rows.windows(2).all(|w| w[0] < w[1]));
    let batch = dataset.batch(0..10).unwrap();
    let values: Vec<usize> = batch.inputs[0]
        .data()
        .unwrap()
        .iter()
        .map(|&b| b.into())
        .collect();
    assert_eq!(values, rows);
    let labels = batch.labels.unwrap();
    assert!(labels.iter().zip(&rows).all(|(&l, &r)| l as usize == r));
    assert_eq!(Dataset::open(&path, &request).unwrap().selected(), rows);
    request.seed = 4;
    assert_ne!(Dataset::open(&path, &request).unwrap().selected(), rows);
}

#[test]
fn a_flat_directory_of_pictures() {
    let dir = tempdir().unwrap();
    picture(&dir.path().join("b.png"), 6, 4, 20);
    picture(&dir.path().join("a.png"), 6, 4, 10);
    fs::write(dir.path().join(".hidden"), "x").unwrap();
    let mut request = request("x", DType::F32, &[0, 3, 4, 4]);
    refusal(
        Dataset::open(dir.path(), &request),
        "a.png: picture size (width x height): expected 4x4 for input 'x' (or a resize or crop), found 6x4",
    );
    request.preprocess = Preprocess {
        crop: "4".parse().ok(),
        scale: 0.5,
        mean: vec![1.0],
        ..Preprocess::default()
    };
    let dataset = Dataset::open(dir.path(), &request).unwrap();
    assert!(dataset.labels().is_none());
    let batch = dataset.batch(0..2).unwrap();
    let values = batch.inputs[0].to_f32().unwrap();
    // Red is the tint, green is x (cropped by 1), blue is y.
    assert_eq!(
        (values[0], values[16], values[17], values[32 + 4]),
        (4.0, -0.5, 0.0, -0.5)
    );
    assert_eq!(values[48], 9.0);

    picture(&dir.path().join("c.png"), 5, 9, 10);
    request.inputs = vec![spec("x", DType::U8, &[0, 3, 0, 0])];
    request.preprocess = Preprocess::default();
    refusal(
        Dataset::open(dir.path(), &request),
        "c.png: picture size: expected 6x4",
    );
    request.preprocess.resize = "8x8".parse().ok();
    let dataset = Dataset::open(dir.path(), &request).unwrap();
    assert_eq!(dataset.sample_shapes(), [vec![3, 8, 8]]);
    fs::write(dir.path().join("d.txt"), "words").unwrap();
    let dataset = Dataset::open(dir.path(), &request).unwrap();
    assert_eq!((dataset.len(), dataset.skipped().count), (3, 2));
    assert_eq!(dataset.skipped().names(), "d.txt, .hidden");
    fs::write(dir.path().join("d.PNG"), "words").unwrap();
    refusal(
        Dataset::open(dir.path(), &request),
        "d.PNG: expected a JPEG, PNG, BMP, GIF, WebP, TIFF or PNM picture, found other content",
    );
}

#[test]
fn folders_within_folders() {
    let dir = tempdir().unwrap();
    for (at, tint) in [
        ("b/2.png", 3),
        ("b/a/1.png", 4),
        ("a.png", 1),
        ("a/0.png", 2),
    ] {
        let file = dir.path().join(at);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        picture(&file, 2, 2, tint);
    }
    let mut request = request("x", DType::U8, &[0, 3, 2, 2]);
    request.labels = Labels::Ignore;
    let read = |request: &Request| {
        let dataset = Dataset::open(dir.path(), request).unwrap();
        let batch = dataset.batch(0..dataset.len()).unwrap();
        let tints = batch.inputs[0].data().unwrap().chunks(12).map(|p| p[0]);
        (tints.collect::<Vec<u8>>(), batch.labels)
    };
    assert_eq!(read(&request), (vec![1, 2, 3, 4], None));
    request.labels = Labels::IfPresent;
    refusal(
        Dataset::open(dir.path(), &request),
        "both file 'a.png' and folder 'a'",
    );
    // With labels, pictures below a class folder are of its class, and words alone are no class.
    fs::rename(dir.path().join("a.png"), dir.path().join("a/1.png")).unwrap();
    fs::create_dir(dir.path().join("about")).unwrap();
    fs::write(dir.path().join("about/readme"), "words").unwrap();
    fs::write(dir.path().join("Thumbs.db"), "words").unwrap();
    request.class_count = Some(2);
    let (tints, labels) = read(&request);
    assert_eq!((tints, labels), (vec![2, 1, 3, 4], Some(vec![0, 0, 1, 1])));
    let dataset = Dataset::open(dir.path(), &request).unwrap();
    assert_eq!(dataset.skipped().names(), "Thumbs.db, readme");
}

#[test]
fn a_folder_of_other_things() {
    let dir = tempdir().unwrap();
    fs::create_dir(dir.path().join("raw")).unwrap();
    fs::write(dir.path().join("raw/a.heic"), "words").unwrap();
    fs::write(dir.path().join("a.npz"), "words").unwrap();
    let mut request = request("x", DType::F32, &[0, 3, 2, 2]);
    let expected = "a directory without pictures, 2 of other kinds: a.npz, a.heic";
    refusal(Dataset::open(dir.path(), &request), expected);
    request.labels = Labels::Ignore;
    refusal(Dataset::open(dir.path(), &request), expected);
}

#[test]
fn pictures_for_models_with_channels_last() {
    let dir = tempdir().unwrap();
    picture(&dir.path().join("a.png"), 6, 4, 20);
    let mut request = request("x", DType::F32, &[0, 4, 4, 3]);
    refusal(
        Dataset::open(dir.path(), &request),
        "expected 4x4 for input 'x' (or a resize or crop), found 6x4",
    );
    request.preprocess = Preprocess {
        crop: "4".parse().ok(),
        scale: 0.5,
        mean: vec![1.0, 2.0, 3.0],
        std: vec![1.0, 2.0, 4.0],
        ..Preprocess::default()
    };
    let dataset = Dataset::open(dir.path(), &request).unwrap();
    assert_eq!(dataset.sample_shapes(), [vec![4, 4, 3]]);
    let batch = dataset.batch(0..1).unwrap();
    let values = batch.inputs[0].to_f32().unwrap();
    // Red is the tint, green is x (cropped by 1), blue is y.
    assert_eq!(values[..6], [9.0, -0.75, -0.75, 9.0, -0.5, -0.75]);
    assert_eq!(values[12 * 3 + 3..][..3], [9.0, -0.5, -0.375]);

    request.preprocess.channel_order = "bgr".parse().unwrap();
    let batch = Dataset::open(dir.path(), &request)
        .unwrap()
        .batch(0..1)
        .unwrap();
    assert_eq!(batch.inputs[0].to_f32().unwrap()[..3], [-1.0, -0.75, 1.75]);

    // One channel is luma; free extents are those of the layout that the graph or the recipe names.
    request.preprocess = Preprocess::default();
    request.inputs = vec![spec("x", DType::U8, &[0, 0, 0, 1])];
    let dataset = Dataset::open(dir.path(), &request).unwrap();
    assert_eq!(dataset.sample_shapes(), [vec![4, 6, 1]]);
    request.inputs = vec![spec("x", DType::U8, &[0, 0, 0, 0])];
    let shape = |request: &Request| {
        let dataset = Dataset::open(dir.path(), request).unwrap();
        dataset.sample_shapes()[0].clone()
    };
    assert_eq!(shape(&request), [3, 4, 6]);
    request.preprocess.layout = Some(Layout::Nhwc);
    assert_eq!(shape(&request), [4, 6, 3]);
    request.inputs[0].layout = Some(Layout::Nchw);
    assert_eq!(shape(&request), [3, 4, 6]);
}

#[test]
fn indices_pass_as_they_are_and_have_to_be_in_range() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.npz");
    let ids = |values: &[i64]| Tensor::from_slice(&[2, 1, 1, 2], values).unwrap();
    write_npz(&path, &[("ids", &ids(&[0, 9, -10, 4]))]).unwrap();
    let mut request = request("ids", DType::I64, &[0, 1, 1, 2]);
    request.inputs[0].indices = Some(-10..10);
    request.preprocess.scale = 0.5;
    let batch = Dataset::open(&path, &request).unwrap().batch(0..2).unwrap();
    assert_eq!(batch.inputs[0], ids(&[0, 9, -10, 4]));
    write_npz(&path, &[("ids", &ids(&[0, 9, 10, 4]))]).unwrap();
    refusal(
        Dataset::open(&path, &request),
        "array 'ids' for input 'ids': expected indices -10 to 9, found 10",
    );
    request.inputs[0].indices = Some(-3..3);
    let drawn = synthetic(&request.inputs, 50, 1, SyntheticKind::Normal).unwrap();
    let drawn = drawn[0].to_i64().unwrap();
    assert!((0..3).all(|i| drawn.contains(&i)) && drawn.iter().all(|i| (0..3).contains(i)));
    request.inputs[0].indices = Some(-1000..-2);
    let drawn = synthetic(&request.inputs, 1, 1, SyntheticKind::Normal).unwrap();
    assert_eq!(drawn[0].to_i64().unwrap(), [-3, -3]);
}

#[test]
fn class_folders() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    for (class, tint) in [("cat", 1), ("ant", 2), ("bee", 3)] {
        fs::create_dir_all(data.join(class)).unwrap();
        picture(&data.join(class).join("0.png"), 2, 2, tint);
    }
    picture(&data.join("bee").join("1.jpg"), 2, 2, 3);
    let mut request = request("x", DType::F32, &[1, 1, 2, 2]);
    let dataset = Dataset::open(&data, &request).unwrap();
    assert_eq!(dataset.labels(), Some(&[0i64, 1, 1, 2][..]));
    let batches = all(&dataset, 64);
    assert_eq!(batches.len(), 4);
    // Luma of (2, 0, 0) is 0.598, rounded.
    assert_eq!(batches[0].inputs[0].to_f32().unwrap()[0], 1.0);
    request.class_count = Some(4);
    refusal(
        Dataset::open(&data, &request),
        "expected 4, the model's number of classes, found 3",
    );
    let classes = dir.path().join("classes.txt");
    fs::write(&classes, "bee\nowl\ncat\nant\n").unwrap();
    request.classes = Some(classes.clone());
    let dataset = Dataset::open(&data, &request).unwrap();
    assert_eq!(dataset.labels(), Some(&[3i64, 0, 0, 2][..]));
    fs::write(&classes, "bee\ncat\n").unwrap();
    refusal(
        Dataset::open(&data, &request),
        "a name listed in the classes file, found 'ant'",
    );
    request.labels = Labels::Ignore;
    assert_eq!(Dataset::open(&data, &request).unwrap().len(), 4);
}

#[test]
fn onnx_test_sets() {
    let dir = tempdir().unwrap();
    let (two, ten) = (
        dir.path().join("test_data_set_2"),
        dir.path().join("test_data_set_10"),
    );
    fs::write(dir.path().join("model.onnx"), "not read").unwrap();
    for set in [&two, &ten] {
        fs::create_dir(set).unwrap();
    }
    tensor(&two.join("input_0.pb"), &[1, 2], 1, &f32s(&[1., 2.]));
    tensor(&two.join("output_0.pb"), &[1, 1], 1, &f32s(&[0.5]));
    tensor(
        &ten.join("input_0.pb"),
        &[2, 2],
        1,
        &f32s(&[3., 4., 5., 6.]),
    );
    tensor(&ten.join("output_0.pb"), &[2, 1], 1, &f32s(&[0.25, 0.75]));
    let mut request = request("x", DType::F32, &[0, 2]);
    request.labels = Labels::Required;
    let dataset = Dataset::open(dir.path(), &request).unwrap();
    let batch = dataset.batch(0..3).unwrap();
    assert_eq!(
        &*batch.inputs[0].to_f32().unwrap(),
        &[1., 2., 3., 4., 5., 6.]
    );
    assert_eq!(batch.targets.len(), 1);
    assert_eq!(batch.targets[0].dims(), [3, 1]);
    assert_eq!(&*batch.targets[0].to_f32().unwrap(), &[0.5, 0.25, 0.75]);
    let batch = dataset.batch(2..3).unwrap();
    assert_eq!(&*batch.inputs[0].to_f32().unwrap(), &[5., 6.]);
    assert_eq!(Dataset::open(&ten, &request).unwrap().len(), 2);

    // A second output counts where every set has it, and in one shape.
    let second = |set: &Path, dims: &[u8], values: &[f32]| {
        tensor(&set.join("output_1.pb"), dims, 1, &f32s(values));
    };
    let targets = || {
        let dataset = Dataset::open(dir.path(), &request).unwrap();
        dataset.batch(0..3).unwrap().targets
    };
    second(&two, &[1, 2], &[1., 2.]);
    assert_eq!(targets().len(), 1);
    second(&ten, &[2, 1], &[3., 4.]);
    assert_eq!(targets().len(), 1);
    second(&ten, &[2, 2], &[3., 4., 5., 6.]);
    assert_eq!(&*targets()[1].to_f32().unwrap(), &[1., 2., 3., 4., 5., 6.]);

    fs::remove_file(ten.join("output_0.pb")).unwrap();
    refusal(Dataset::open(dir.path(), &request), "output_0.pb");
    request.labels = Labels::IfPresent;
    assert!(!Dataset::open(dir.path(), &request).unwrap().has_target());
    tensor(&ten.join("input_0.pb"), &[1, 3], 1, &f32s(&[3., 4., 5.]));
    refusal(Dataset::open(dir.path(), &request), "found [1, 3]");
    fs::write(ten.join("input_0.pb"), [0x4a, 0xff]).unwrap();
    refusal(
        Dataset::open(dir.path(), &request),
        "expected an ONNX TensorProto",
    );
    tensor(&ten.join("input_1.pb"), &[1, 2], 1, &f32s(&[3., 4.]));
    refusal(
        Dataset::open(dir.path(), &request),
        "expected 1, one per model input, found 2",
    );
}

#[test]
fn threads_read_the_same() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.npz");
    write_npz(&path, &[("x", &ramp(&[200, 7]))]).unwrap();
    let dataset = Dataset::open(&path, &request("x", DType::F32, &[0, 7])).unwrap();
    let expected = all(&dataset, 9);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(all(&dataset, 9), expected));
        }
    });
}

#[test]
fn synthetic_inputs_make_a_data_set() {
    let inputs = [
        spec("x", DType::F16, &[0, 3, 8, 8]),
        spec("ids", DType::I64, &[0, 4]),
    ];
    let arrays = synthetic(&inputs, 5, 1, SyntheticKind::Unit).unwrap();
    let dataset = Dataset::from_arrays(&inputs, arrays).unwrap();
    let batches = all(&dataset, 3);
    assert_eq!(batches[1].inputs[0].dims(), [2, 3, 8, 8]);
    assert_eq!(batches[1].inputs[1].dtype(), DType::I64);
    assert!(Dataset::from_arrays(&inputs, vec![ramp(&[1, 3, 8, 8])]).is_err());
}
