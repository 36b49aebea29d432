//! Bad input: exit code 1, one line that names the file and the reason, nothing written.

use serde_json::json;

use crate::support::{Finished, Scratch, ask, compress, digits, digits_eval, sepconv};

/// The run was refused with a line that holds all of `words`.
#[track_caller]
fn says(run: &Finished, words: &[&str]) {
    let line = run.refused();
    for word in words {
        assert!(line.contains(word), "'{word}' is not in: {line}");
    }
}

/// A file that is no model is refused by every command that reads one, and nothing is written.
#[track_caller]
fn no_model(scratch: &Scratch, path: &str) {
    let before = scratch.names();
    let (out, model) = (scratch.path("out.onnx"), digits().path);
    let data = digits_eval();
    let commands: [&[&str]; 6] = [
        &["compress", path, "-o", &out, "--rank", "2"],
        &["inspect", path],
        &["compare", path, &model],
        &["compare", &model, path],
        &["eval", path, "--data", &data],
        &["run", path, "--output", &out],
    ];
    for args in commands {
        says(&sepconv(args), &[path]);
    }
    assert_eq!(scratch.names(), before);
}

#[test]
fn a_text_file_is_no_model() {
    let scratch = Scratch::new();
    let path = scratch.write("notes.onnx", b"These are notes, not a neural network.\n");
    no_model(&scratch, &path);
    let path = scratch.write("manifest.onnx", include_bytes!("../../Cargo.toml"));
    no_model(&scratch, &path);
}

#[test]
fn an_empty_file_is_no_model() {
    let scratch = Scratch::new();
    let path = scratch.write("empty.onnx", b"");
    no_model(&scratch, &path);
}

#[test]
fn a_truncated_model_is_refused() {
    let scratch = Scratch::new();
    let model = std::fs::read(digits().path).unwrap();
    for (name, length) in [
        ("short", 1000),
        ("half", model.len() / 2),
        ("last", model.len() - 1),
    ] {
        let path = scratch.write(&format!("{name}.onnx"), &model[..length]);
        no_model(&scratch, &path);
    }
}

#[test]
fn a_directory_is_no_model() {
    let scratch = Scratch::new();
    let path = scratch.path("folder.onnx");
    std::fs::create_dir(&path).unwrap();
    no_model(&scratch, &path);
}

#[test]
fn a_missing_file_is_named() {
    let scratch = Scratch::new();
    no_model(&scratch, &scratch.path("missing.onnx"));
}

#[test]
fn an_npz_file_is_no_model() {
    let scratch = Scratch::new();
    let path = scratch.write("data.onnx", &std::fs::read(digits_eval()).unwrap());
    no_model(&scratch, &path);
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let scratch = Scratch::new();
    let model = digits().path;
    // Root may write anywhere, but not into a folder that is not there, nor over a folder.
    let folder = scratch.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let file = scratch.write("file", b"");
    for out in [
        scratch.path("missing/out.onnx"),
        folder,
        format!("{file}/out.onnx"),
    ] {
        says(&compress(&model, &out, &[]), &[&out]);
        says(&compress(&model, &out, &["--force"]), &[&out]);
        says(&sepconv(&["run", &model, "--output", &out]), &[&out]);
    }
    let report = format!("{file}/report");
    let out = scratch.path("out.onnx");
    says(&compress(&model, &out, &["--report", &report]), &[&report]);
    assert_eq!(scratch.names(), ["file", "folder"]);
    assert_eq!(
        std::fs::read_dir(scratch.path("folder")).unwrap().count(),
        0
    );
}

#[test]
fn settings_out_of_range_are_refused() {
    let scratch = Scratch::new();
    let (model, out) = (digits().path, scratch.path("out.onnx"));
    let cases: [(&[&str], &[&str]); 11] = [
        (&["--rank", "0"], &["rank 0"]),
        (&["--rank", "10"], &["rank 10", "9"]),
        (&["--energy", "0"], &["energy 0"]),
        (&["--energy", "1.5"], &["energy 1.5"]),
        (&["--energy", "nan"], &["energy"]),
        (&["--target-macs", "0"], &["target 0"]),
        (&["--target-macs", "1.5"], &["target 1.5"]),
        (&["--target-macs", "0.01"], &["budget", "0.01"]),
        (&["--rank", "2", "--layers", "stge*"], &["'stge*'", "none"]),
        (
            &["--rank", "2", "--skip", "nothing"],
            &["'nothing'", "none"],
        ),
        (
            &["--rank", "2", "--layers", "stage?/block0/shortcut"],
            &["nothing was written"],
        ),
    ];
    for (options, words) in cases {
        let run = sepconv(&[["compress", &model, "-o", &out].as_slice(), options].concat());
        says(&run, &[words, &[&model]].concat());
    }
    let args = [
        "compress", &model, "-o", &out, "--rank", "2", "--layers", "[",
    ];
    says(&sepconv(&args), &["'['"]);
    assert_eq!(scratch.names(), [""; 0]);
}

#[test]
fn an_input_shape_that_does_not_fit_is_refused() {
    let scratch = Scratch::new();
    let (model, out) = (digits().path, scratch.path("out.onnx"));
    for shape in [
        "pictures=1x1x32x32",
        "input=1x1x32",
        "input=1x3x32x32",
        "input=1x1x32x33",
    ] {
        let args = [
            "compress",
            &model,
            "-o",
            &out,
            "--rank",
            "2",
            "--input-shape",
            shape,
        ];
        let name = shape.split('=').next().unwrap();
        says(&sepconv(&args), &[&model, name]);
    }
    assert_eq!(scratch.names(), [""; 0]);
}

/// Writes an npz file of zeros: (name, dtype, shape) of every array.
fn npz(scratch: &Scratch, name: &str, arrays: &[(&str, &str, &[usize])]) -> String {
    let path = scratch.path(name);
    let arrays: serde_json::Map<_, _> = arrays
        .iter()
        .map(|(n, dtype, shape)| ((*n).to_owned(), json!({"dtype": dtype, "shape": shape})))
        .collect();
    ask(json!({"do": "npz", "out": path, "arrays": arrays}));
    path
}

#[test]
fn labelled_data_that_does_not_fit_is_refused() {
    let scratch = Scratch::new();
    let model = digits().path;
    let (images, labels) = (
        ("images", "uint8", &[4, 1, 32, 32][..]),
        ("labels", "int64", &[4][..]),
    );
    let cases = [
        (
            "channels",
            vec![("images", "uint8", &[4, 3, 32, 32][..]), labels],
            "images",
        ),
        (
            "size",
            vec![("images", "uint8", &[4, 1, 28, 28][..]), labels],
            "images",
        ),
        (
            "rank",
            vec![("images", "uint8", &[4, 32][..]), labels],
            "images",
        ),
        (
            "complex",
            vec![("images", "complex64", &[4, 1, 32, 32][..]), labels],
            "images",
        ),
        (
            "text",
            vec![("images", "<U3", &[4, 1, 32, 32][..]), labels],
            "images",
        ),
        (
            "float-labels",
            vec![images, ("labels", "float32", &[4][..])],
            "labels",
        ),
        (
            "few-labels",
            vec![images, ("labels", "int64", &[3][..])],
            "labels",
        ),
        (
            "square-labels",
            vec![images, ("labels", "int64", &[4, 2][..])],
            "labels",
        ),
        ("no-labels", vec![images], "labels"),
        ("no-images", vec![labels], "images"),
        (
            "none",
            vec![
                ("images", "uint8", &[0, 1, 32, 32][..]),
                ("labels", "int64", &[0][..]),
            ],
            "sample",
        ),
    ];
    for (name, arrays, word) in cases {
        let data = npz(&scratch, &format!("{name}.npz"), &arrays);
        says(&sepconv(&["eval", &model, "--data", &data]), &[&data, word]);
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused() {
    let scratch = Scratch::new();
    let model = digits().path;
    let cases = [
        ("shape", "input", "float32", &[1, 3, 32, 32][..]),
        ("dtype", "input", "complex64", &[1, 1, 32, 32][..]),
    ];
    for (name, array, dtype, shape) in cases {
        let data = npz(&scratch, &format!("{name}.npz"), &[(array, dtype, shape)]);
        let out = scratch.path("out.npz");
        says(
            &sepconv(&["run", &model, "--data", &data, "--output", &out]),
            &[&data, "input"],
        );
        says(
            &sepconv(&["compare", &model, &model, "--data", &data]),
            &[&data, "input"],
        );
    }
    assert_eq!(scratch.names(), ["dtype.npz", "shape.npz"]);
}

#[test]
fn data_that_is_no_npz_is_refused() {
    let scratch = Scratch::new();
    let model = digits().path;
    let npz = std::fs::read(digits_eval()).unwrap();
    let mut flipped = npz.clone();
    flipped[npz.len() / 3] ^= 0xff;
    let files = [
        scratch.write("text.npz", b"not a zip archive"),
        scratch.write("empty.npz", b""),
        scratch.write("truncated.npz", &npz[..npz.len() / 2]),
        scratch.write("flipped.npz", &flipped),
        scratch.path("missing.npz"),
    ];
    for data in &files {
        says(&sepconv(&["eval", &model, "--data", data]), &[data]);
        says(
            &sepconv(&["compare", &model, &model, "--data", data]),
            &[data],
        );
    }
}

#[test]
fn preprocessing_that_makes_no_sense_is_refused() {
    let (model, data) = (digits().path, digits_eval());
    let eval = ["eval", &model, "--data", &data];
    for options in [["--mean", ".1,.2,.3"], ["--std", "0"], ["--scale", "1/0"]] {
        let run = sepconv(&[eval.as_slice(), &options].concat());
        assert!(matches!(run.code(), Some(1 | 2)), "{run}");
        assert!(run.stderr().contains(options[0].trim_matches('-')), "{run}");
    }
}

#[test]
fn models_with_other_outputs_are_not_compared() {
    let scratch = Scratch::new();
    // The same model with its output renamed, by bytes: a name of the same length.
    let mut model = std::fs::read(digits().path).unwrap();
    let at = |m: &[u8]| m.windows(6).position(|w| w == b"logits");
    while let Some(i) = at(&model) {
        model[i..i + 6].copy_from_slice(b"scores");
    }
    let other = scratch.write("other.onnx", &model);
    says(
        &sepconv(&["compare", &digits().path, &other]),
        &[&other, "scores", "logits"],
    );
}
