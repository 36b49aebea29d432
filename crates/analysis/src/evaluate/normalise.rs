//! Normalisations, by which exporters write weight standardisation and weight normalisation.

use sepconv_ir::Tensor;

use super::Call;
use super::walk::axis;

/// A vector of one number per channel.
fn vector(call: &Call<'_>, slot: usize, channels: usize) -> Option<Vec<f64>> {
    let tensor = call.input(slot).filter(|t| t.dims() == [channels])?;
    tensor.to_f64()
}

/// Batch, channels and positions of a tensor of at least two axes.
fn maps(x: &Tensor) -> Option<(usize, usize)> {
    let (_, rest) = x.dims().split_first()?;
    let (channels, positions) = rest.split_first()?;
    Some((*channels, positions.iter().product()))
}

/// Mean and variance (biased) of some numbers.
fn moments(all: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = all.clone().count() as f64;
    let mean = all.clone().sum::<f64>() / n;
    let variance = all.map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    (mean, variance)
}

/// `BatchNormalization` (opset 7 and later), by its statistics or (`training_mode`, opset 14) by
/// those of the input.
pub(super) fn batch(call: &Call<'_>) -> Option<Tensor> {
    let x = call.input(0)?;
    let (channels, positions) = maps(x)?;
    if call.output != 0 || call.op.int("spatial", 1) != 1 {
        return None;
    }
    let (scale, shift) = (vector(call, 1, channels)?, vector(call, 2, channels)?);
    let (mut mean, mut variance) = (vector(call, 3, channels)?, vector(call, 4, channels)?);
    let all = x.to_f64()?;
    let of = |channel: usize| {
        let rows = all.chunks(positions.max(1)).enumerate();
        let own = rows.filter(move |(i, _)| i % channels == channel);
        own.flat_map(|(_, row)| row.iter().copied())
    };
    if call.op.int("training_mode", 0) != 0 {
        for c in 0..channels {
            (mean[c], variance[c]) = moments(of(c));
        }
    }
    let epsilon = f64::from(call.op.float("epsilon", 1e-5));
    let made = all.iter().enumerate().map(|(i, v)| {
        let c = i / positions.max(1) % channels;
        (v - mean[c]) / (variance[c] + epsilon).sqrt() * scale[c] + shift[c]
    });
    Tensor::from_f64s(x.dtype(), x.dims().to_vec(), &made.collect::<Vec<_>>())
}

/// `InstanceNormalization`: every channel of every sample by its own mean and variance.
pub(super) fn instance(call: &Call<'_>) -> Option<Tensor> {
    let x = call.input(0)?;
    let (channels, positions) = maps(x)?;
    let (scale, shift) = (vector(call, 1, channels)?, vector(call, 2, channels)?);
    let epsilon = f64::from(call.op.float("epsilon", 1e-5));
    let mut all = x.to_f64()?;
    for (i, row) in all.chunks_mut(positions.max(1)).enumerate() {
        let (mean, variance) = moments(row.iter().copied());
        let factor = scale[i % channels] / (variance + epsilon).sqrt();
        let shift = shift[i % channels];
        row.iter_mut()
            .for_each(|v| *v = (*v - mean) * factor + shift);
    }
    Tensor::from_f64s(x.dtype(), x.dims().to_vec(), &all)
}

/// `LayerNormalization` (opset 17) over the axes from `axis` on, by default the last.
pub(super) fn layer(call: &Call<'_>) -> Option<Tensor> {
    let x = call.input(0).filter(|_| call.output == 0)?;
    let at = axis(call.op.int("axis", -1), x.dims().len())?;
    let behind = &x.dims()[at..];
    let count = behind.iter().product::<usize>();
    let whole = |slot: usize| {
        let tensor = call.input(slot).filter(|t| t.dims() == behind)?;
        tensor.to_f64()
    };
    let scale = whole(1)?;
    let shift = match call.input(2) {
        Some(_) => whole(2)?,
        None => vec![0.0; count],
    };
    let epsilon = f64::from(call.op.float("epsilon", 1e-5));
    let mut all = x.to_f64()?;
    for row in all.chunks_mut(count.max(1)) {
        let (mean, variance) = moments(row.iter().copied());
        let deviation = (variance + epsilon).sqrt();
        for (v, (scale, shift)) in row.iter_mut().zip(scale.iter().zip(&shift)) {
            *v = (*v - mean) / deviation * scale + shift;
        }
    }
    Tensor::from_f64s(x.dtype(), x.dims().to_vec(), &all)
}

/// Changes every row of numbers along an axis.
fn rows(call: &Call<'_>, at: usize, change: impl Fn(&mut [f64])) -> Option<Tensor> {
    let x = call.input(0)?;
    let inner = x.dims()[at + 1..].iter().product::<usize>().max(1);
    let extent = x.dims()[at];
    let mut all = x.to_f64()?;
    let mut row = vec![0.0; extent];
    for block in all.chunks_mut((inner * extent).max(1)) {
        for i in 0..inner {
            for (to, from) in row.iter_mut().zip(block.iter().skip(i).step_by(inner)) {
                *to = *from;
            }
            change(&mut row);
            for (to, from) in block.iter_mut().skip(i).step_by(inner).zip(&row) {
                *to = *from;
            }
        }
    }
    Tensor::from_f64s(x.dtype(), x.dims().to_vec(), &all)
}

/// `LpNormalization` along `axis`, by default the last.
pub(super) fn lp(call: &Call<'_>) -> Option<Tensor> {
    let at = axis(call.op.int("axis", -1), call.input(0)?.dims().len())?;
    let p = call.op.int("p", 2);
    rows(call, at, |row| {
        let norm = match p {
            1 => row.iter().map(|v| v.abs()).sum::<f64>(),
            _ => row.iter().map(|v| v * v).sum::<f64>().sqrt(),
        };
        if norm != 0.0 {
            row.iter_mut().for_each(|v| *v /= norm);
        }
    })
}

/// `Softmax` (opset 13 and later: along `axis`, by default the last). `None` where `axis` is not
/// the last: opsets before 13 mean all axes from there on.
pub(super) fn softmax(call: &Call<'_>) -> Option<Tensor> {
    let rank = call.input(0)?.dims().len();
    let named = call.op.attribute("axis").is_some();
    let at = axis(call.op.int("axis", -1), rank)?;
    if at + 1 != rank || !named && rank > 2 {
        return None;
    }
    rows(call, at, |row| {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.iter_mut().for_each(|v| *v = (*v - most).exp());
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|v| *v /= sum);
    })
}
