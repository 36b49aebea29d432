//! Normalisations and `Softmax`.

use candle_core::{D, Result, Tensor};

use super::rule::{OpContext, Rule};

pub(super) fn rule(context: &OpContext<'_>) -> Option<Rule> {
    match context.op.op_type.as_str() {
        "BatchNormalization" => batch_norm(context),
        "LRN" => lrn(context),
        "Softmax" => along(context, |x| log_softmax(x)?.exp()),
        "LogSoftmax" => along(context, log_softmax),
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
fn along(context: &OpContext<'_>, f: fn(&Tensor) -> Result<Tensor>) -> Option<Rule> {
    let rank = context.rank(0)?;
    let default = if context.opset < 13 { 1 } else { -1 };
    let axis = context.axis(context.op.int("axis", default), rank)?;
    if context.opset < 13 && axis + 1 != rank {
        return None;
    }
    context.unary(move |x| {
        f(&x.transpose(axis, rank - 1)?.contiguous()?)?
            .transpose(axis, rank - 1)?
            .contiguous()
    })
}

/// `BatchNormalization` (7 to 15) with constant statistics.
fn batch_norm(context: &OpContext<'_>) -> Option<Rule> {
    let op = context.op;
    if op.int("training_mode", 0) != 0 || op.outputs.iter().flatten().count() != 1 {
        return None;
    }
    let epsilon = op.float("epsilon", 1e-5);
    let [scale, shift, mean, var] = [
        context.floats(1)?,
        context.floats(2)?,
        context.floats(3)?,
        context.floats(4)?,
    ];
    let factor: Vec<f32> = scale
        .iter()
        .zip(&var)
        .map(|(s, v)| s / (v + epsilon).sqrt())
        .collect();
    let offset: Vec<f32> = (0..factor.len())
        .map(|i| shift[i] - mean[i] * factor[i])
        .collect();
    context.unary(move |x| {
        let mut dims = vec![1; x.rank()];
        dims[1] = factor.len();
        let constant = |v: &[f32]| Tensor::from_slice(v, dims.clone(), x.device());
        x.broadcast_mul(&constant(&factor)?)?
            .broadcast_add(&constant(&offset)?)
    })
}

/// `LRN` (1 to 13): `x / (bias + alpha / size * sum of squares of near channels)^beta`.
fn lrn(context: &OpContext<'_>) -> Option<Rule> {
    let op = context.op;
    let size = usize::try_from(op.int("size", 0)).ok().filter(|s| *s > 0)?;
    let (alpha, beta) = (
        f64::from(op.float("alpha", 1e-4)),
        f64::from(op.float("beta", 0.75)),
    );
    let bias = f64::from(op.float("bias", 1.0));
    context.unary(move |x| {
        let channels = x.dim(1)?;
        let padded = x.sqr()?.pad_with_zeros(1, (size - 1) / 2, size / 2)?;
        let mut sum = padded.narrow(1, 0, channels)?;
        for shift in 1..size {
            sum = (sum + padded.narrow(1, shift, channels)?)?;
        }
        x * sum.affine(alpha / size as f64, bias)?.powf(-beta)?
    })
}
