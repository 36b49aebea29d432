//! The data-free figures of the Python prototype (`../shared/design.md`, section 2).

use crate::support::{NO_SHARED, Scratch, sepconv, shared, skipped};

/// ResNet-20 with every 3x3 convolution but the first at one rank, DW->PW: top-1 in percent.
fn top1_at_rank(rank: &str) -> Option<f64> {
    let model = shared("models/resnet20_cifar10.onnx")?;
    let data = shared("data/cifar10_eval.npz")?;
    let scratch = Scratch::new();
    let out = scratch.path("resnet20.onnx");
    let form = ["--rank", rank, "--order", "dw-pw", "--skip", "n_conv1_out"];
    let form = [form.as_slice(), &["--data-free=weights"]].concat();
    sepconv(&[["compress", &model, "-o", &out].as_slice(), &form].concat()).ok();
    let channels = ["--mean", ".485,.456,.406", "--std", ".229,.224,.225"];
    let args = ["eval", &out, "--data", &data, "--scale", "1/255", "--json"];
    let seen = sepconv(&[args.as_slice(), &channels].concat()).json();
    Some(seen["primary"]["value"].as_f64().unwrap())
}

#[test]
fn resnet_20_at_rank_3_scores_what_the_prototype_did() {
    let Some(top1) = top1_at_rank("3") else {
        return skipped(NO_SHARED);
    };
    assert!((top1 - 28.6).abs() <= 1.5, "{top1}");
}

#[test]
fn resnet_20_at_rank_4_scores_what_the_prototype_did() {
    let Some(top1) = top1_at_rank("4") else {
        return skipped(NO_SHARED);
    };
    assert!((top1 - 76.1).abs() <= 1.5, "{top1}");
}
