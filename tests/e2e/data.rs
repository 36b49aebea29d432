//! Data as people have them: the words of a command before the work.

use std::fs;

use crate::support::{Scratch, digits, root, sepconv};

#[test]
fn values_of_another_range_than_the_models_are_told_with_the_flag() {
    let scratch = Scratch::new();
    let (model, out) = (digits().path, scratch.path("out.onnx"));
    let calib = root().join("models/digits_calib.npz");
    let fixed = ["compress", &model, "-o", &out, "--skip", "*", "--force"];
    let run = |options: &[&str]| {
        let data = ["--calib", calib.to_str().unwrap()];
        sepconv(&[&fixed[..], &data, options].concat())
    };
    for options in [&[][..], &["--json"]] {
        let raw = run(options);
        raw.ok();
        let told = raw.stderr();
        let expected =
            "input 'input' is given 0 to 255, but seems to take values about 255 times smaller";
        assert!(
            told.contains(expected) && told.contains("--scale 1/255"),
            "{raw}"
        );
    }
    assert_eq!(run(&["--quiet"]).stderr(), "");
    let scaled = run(&["--scale", "1/255"]);
    scaled.ok();
    assert_eq!(scaled.stderr(), "");
}

#[test]
fn what_a_folder_holds_beside_pictures_is_counted() {
    let scratch = Scratch::new();
    let (model, out, folder) = (
        digits().path,
        scratch.path("out.onnx"),
        scratch.path("pictures"),
    );
    fs::create_dir_all(format!("{folder}/below")).unwrap();
    let picture = [&b"P5 32 32 255\n"[..], &[7; 512], &[200; 512]].concat();
    for name in ["a.pgm", "below/b.PGM"] {
        fs::write(format!("{folder}/{name}"), &picture).unwrap();
    }
    for name in ["notes.txt", "below/Thumbs.db", ".hidden"] {
        fs::write(format!("{folder}/{name}"), "words").unwrap();
    }
    let fixed = [
        "compress", &model, "-o", &out, "--rank", "2", "--scale", "1/255", "--calib", &folder,
    ];
    let run = sepconv(&fixed);
    run.ok();
    let expected = "passed over 3 that are no pictures: notes.txt, .hidden, Thumbs.db";
    assert!(run.stderr().contains(expected), "{run}");
    fs::write(format!("{folder}/c.pgm"), "P5 32 32 255\n").unwrap();
    let refused = sepconv(&[&fixed[..], &["--force"]].concat());
    assert!(refused.stderr().contains("c.pgm"), "{refused}");
    assert_eq!(refused.code(), Some(1), "{refused}");
}
