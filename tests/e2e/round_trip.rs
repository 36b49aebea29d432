//! A model that nothing was done to.

use crate::support::{Scratch, models, sepconv};

#[test]
fn untouched_models_come_back_byte_for_byte() {
    for model in models() {
        let scratch = Scratch::new();
        let out = scratch.path("out.onnx");
        let compress = ["compress", &model.path, "--skip", "*", "-o", &out];
        sepconv(&[compress.as_slice(), &model.pins()].concat()).ok();
        let same = std::fs::read(&model.path).unwrap() == std::fs::read(&out).unwrap();
        assert!(same, "{} differs", model.name);
        assert_eq!(scratch.names(), ["out.onnx"], "{}", model.name);
    }
}
