//! Convolutions and pools made of the library's own operations, for devices that this crate has no
//! kernels for: their gradients are the library's.

use candle_core::{Error, Result, Tensor};

use super::kernels::Channels;
use super::runs::Window;

/// The part that each tap of a window reads of `x` `[N, C, input...]`: one tensor
/// `[N, C, output...]` per tap, in the order of the kernel. `outside` is the value of the padding.
pub(crate) fn taps(
    x: &Tensor,
    window: &Window,
    output: &[usize],
    outside: f64,
) -> Result<Vec<Tensor>> {
    let padded = padded(x, window, output, outside)?;
    let mut found = vec![padded];
    for (axis, count) in output.iter().enumerate() {
        let mut next = Vec::new();
        for x in &found {
            for tap in 0..window.kernel[axis] {
                let start = tap * window.dilations[axis];
                next.push(every(x, axis + 2, start, window.strides[axis], *count)?);
            }
        }
        found = next;
    }
    found.iter().map(Tensor::contiguous).collect()
}

/// `x` with its padding, long enough for the last stride of the last tap.
fn padded(x: &Tensor, window: &Window, output: &[usize], outside: f64) -> Result<Tensor> {
    let mut made = x.clone();
    // Elements of the input count 1.
    let mut inside = (outside != 0.0)
        .then(|| x.detach().ones_like())
        .transpose()?;
    for (axis, count) in output.iter().enumerate() {
        let reach = (window.kernel[axis] - 1) * window.dilations[axis];
        let begin = window.begins[axis];
        let end = (reach + window.strides[axis] * count).saturating_sub(begin + x.dim(axis + 2)?);
        made = made.pad_with_zeros(axis + 2, begin, end)?;
        inside = inside
            .map(|i| i.pad_with_zeros(axis + 2, begin, end))
            .transpose()?;
    }
    match inside {
        Some(inside) => made + inside.affine(-outside, outside)?,
        None => Ok(made),
    }
}

/// `count` elements of an axis from `start` on, one of `stride` each.
fn every(x: &Tensor, axis: usize, start: usize, stride: usize, count: usize) -> Result<Tensor> {
    let whole = x.narrow(axis, start, stride * count)?;
    if stride == 1 {
        return Ok(whole);
    }
    let mut apart = whole.dims().to_vec();
    apart.splice(axis..=axis, [count, stride]);
    whole
        .contiguous()?
        .reshape(apart)?
        .narrow(axis + 1, 0, 1)?
        .squeeze(axis + 1)
}

/// A grouped convolution of `x` `[N, Ci, input...]` by `w` `[Co, Ci / groups, k...]`.
pub(crate) fn conv(
    c: Channels,
    window: &Window,
    output: &[usize],
    x: &Tensor,
    w: &Tensor,
) -> Result<Tensor> {
    let batch = x.dim(0)?;
    let area: usize = output.iter().product();
    let found = taps(x, window, output, 0.0)?;
    let shape = [&[batch, c.outputs], output].concat();
    if c.is_depthwise() {
        let many = c.group_out();
        let weights = w.reshape((1, c.groups, many, found.len()))?;
        let mut sum: Option<Tensor> = None;
        for (tap, x) in found.iter().enumerate() {
            let x = x.reshape((batch, c.groups, 1, area))?;
            let own = x.broadcast_mul(&weights.narrow(3, tap, 1)?)?;
            sum = Some(match sum {
                Some(sum) => (sum + own)?,
                None => own,
            });
        }
        let sum = sum.ok_or_else(|| Error::Msg("a window without taps".into()))?;
        return sum.reshape(shape);
    }
    let depth = c.group_in() * found.len();
    // One product per group, over the samples side by side.
    let columns = Tensor::stack(&found, 2)?
        .reshape((batch, c.groups, depth, area))?
        .permute((1, 2, 0, 3))?
        .contiguous()?
        .reshape((c.groups, depth, batch * area))?;
    let weights = w.reshape((c.groups, c.group_out(), depth))?;
    weights
        .matmul(&columns)?
        .reshape((c.outputs, batch, area))?
        .transpose(0, 1)?
        .contiguous()?
        .reshape(shape)
}
