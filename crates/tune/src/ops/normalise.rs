//! Normalisations and `Softmax`.

use candle_core::{D, Result, Tensor};

use super::rule::{Rule, Site};

pub(super) fn rule(site: &Site<'_>) -> Option<Rule> {
    match site.op.op_type.as_str() {
        "BatchNormalization" => batch_norm(site),
        "LRN" => lrn(site),
        "Softmax" => along(site, |x| log_softmax(x)?.exp()),
        "LogSoftmax" => along(site, log_softmax),
        _ => None,
    }
}

/// The logarithm of the softmax over the last axis.
pub(crate) fn log_softmax(x: &Tensor) -> Result<Tensor> {
    // The shift cancels out: no gradient goes through it.
    let shifted = x.broadcast_sub(&x.detach().max_keepdim(D::Minus1)?)?;
    let norm = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    shifted.broadcast_sub(&norm)
}

/// An operation over one axis (opset 13), or of rows (before).
fn along(site: &Site<'_>, f: fn(&Tensor) -> Result<Tensor>) -> Option<Rule> {
    let rank = site.rank(0)?;
    let default = if site.opset < 13 { 1 } else { -1 };
    let axis = site.axis(site.op.int("axis", default), rank)?;
    if site.opset < 13 && axis + 1 != rank {
        return None;
    }
    site.unary(move |x| {
        f(&x.transpose(axis, rank - 1)?.contiguous()?)?
            .transpose(axis, rank - 1)?
            .contiguous()
    })
}

/// `BatchNormalization` (7 to 15) with constant statistics.
fn batch_norm(site: &Site<'_>) -> Option<Rule> {
    let op = site.op;
    if op.int("training_mode", 0) != 0 || op.outputs.iter().flatten().count() != 1 {
        return None;
    }
    let epsilon = op.float("epsilon", 1e-5);
    let [scale, shift, mean, var] = [
        site.floats(1)?,
        site.floats(2)?,
        site.floats(3)?,
        site.floats(4)?,
    ];
    let factor: Vec<f32> = scale
        .iter()
        .zip(&var)
        .map(|(s, v)| s / (v + epsilon).sqrt())
        .collect();
    let offset: Vec<f32> = (0..factor.len())
        .map(|i| shift[i] - mean[i] * factor[i])
        .collect();
    site.unary(move |x| {
        let mut dims = vec![1; x.rank()];
        dims[1] = factor.len();
        let constant = |v: &[f32]| Tensor::from_slice(v, dims.clone(), x.device());
        x.broadcast_mul(&constant(&factor)?)?
            .broadcast_add(&constant(&offset)?)
    })
}

/// `LRN` (1 to 13): `x / (bias + alpha / size * sum of squares of near channels)^beta`.
fn lrn(site: &Site<'_>) -> Option<Rule> {
    let op = site.op;
    let size = usize::try_from(op.int("size", 0)).ok().filter(|s| *s > 0)?;
    let (alpha, beta) = (
        f64::from(op.float("alpha", 1e-4)),
        f64::from(op.float("beta", 0.75)),
    );
    let bias = f64::from(op.float("bias", 1.0));
    site.unary(move |x| {
        let channels = x.dim(1)?;
        let padded = x.sqr()?.pad_with_zeros(1, (size - 1) / 2, size / 2)?;
        let mut sum = padded.narrow(1, 0, channels)?;
        for shift in 1..size {
            sum = (sum + padded.narrow(1, shift, channels)?)?;
        }
        x * sum.affine(alpha / size as f64, bias)?.powf(-beta)?
    })
}
