//! The transform on a model that was read from ONNX by tract itself.
#![allow(clippy::unwrap_used)]

mod common;

use common::{distance, fma, run, verify};
use sepconv_tract::{Choice, SeparateConvs};
use tract_onnx::prelude::*;

fn digits() -> TypedModel {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/digits.onnx");
    let model = tract_onnx::onnx().model_for_path(path).unwrap();
    let fact = f32::fact([1, 1, 32, 32]);
    let model = model.with_input_fact(0, fact.into()).unwrap();
    model.into_typed().unwrap().into_decluttered().unwrap()
}

#[test]
fn digits_at_full_rank_and_at_rank_1() {
    let model = digits();
    let before = run(&model, 1);
    let exact = SeparateConvs {
        costlier: true,
        ..SeparateConvs::rank(9)
    };
    let mut same = model.clone();
    let plan = exact.apply(&mut same).unwrap();
    assert_eq!(plan.rewritten().count(), 8, "{plan:?}");
    verify(&same);
    let d = distance(&before, &run(&same, 1));
    assert!(d < 1e-4, "{d}");

    let mut cheap = model.clone();
    let plan = SeparateConvs::rank(1).apply(&mut cheap).unwrap();
    verify(&cheap);
    assert!(
        fma(&cheap) * 2 < fma(&model),
        "{} {}",
        fma(&cheap),
        fma(&model)
    );
    assert_eq!(run(&cheap, 1).shape(), before.shape());
    // Every layer has a name of the file and either a form or a reason.
    for layer in &plan.layers {
        assert!(!layer.layer.is_empty());
        if let Choice::Keep(kept) = &layer.choice {
            assert!(!kept.to_string().is_empty());
        }
    }
}
