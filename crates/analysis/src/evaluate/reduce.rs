//! Sums, means, norms and extremes along axes.

use sepconv_ir::Tensor;

use super::Call;
use super::numbers::Numbers;
use super::walk::{among, strides, walk};

/// `ReduceSum` and its kin: along `axes`, an attribute or (opset 18; `ReduceSum` 13) an input, or
/// along all; `noop_with_empty_axes` leaves the tensor as it is where there are none.
pub(super) fn reduce(call: &Call<'_>) -> Option<Tensor> {
    let x = call.input(0)?;
    let name = call.op.op_type.strip_prefix("Reduce")?;
    let axes = call.ints("axes", 1)?.unwrap_or_default();
    if axes.is_empty() && call.op.int("noop_with_empty_axes", 0) != 0 {
        let same = matches!(name, "Max" | "Mean" | "Min" | "Prod" | "Sum");
        return same.then(|| x.clone());
    }
    let dims = x.dims();
    let gone = match axes.is_empty() {
        true => vec![true; dims.len()],
        false => among(&axes, dims.len())?,
    };
    let axes = || dims.iter().zip(&gone);
    let kept: Vec<usize> = axes().map(|(n, gone)| if *gone { 1 } else { *n }).collect();
    let count: usize = axes().filter(|(_, gone)| **gone).map(|(n, _)| n).product();
    if count == 0 {
        return None;
    }
    let own = strides(&kept);
    let to: Vec<usize> = own
        .iter()
        .zip(&gone)
        .map(|(s, gone)| if *gone { 0 } else { *s })
        .collect();
    let into = (dims, &to[..], kept.iter().product());
    let made = match Numbers::of(x)? {
        Numbers::Floats(all) => Numbers::Floats(floats(name, &all, into, count)?),
        Numbers::Ints(all) => Numbers::Ints(integers(name, &all, into)?),
    };
    let keeps = call.op.int("keepdims", 1) != 0;
    let left = kept.iter().zip(&gone).filter(|(_, gone)| keeps || !**gone);
    made.tensor(x.dtype(), left.map(|(n, _)| *n).collect())
}

/// Extents of the operand, strides into the result, and elements of that.
type Into<'a> = (&'a [usize], &'a [usize], usize);

fn gather<T: Copy>(all: &[T], into: Into<'_>, start: T, f: impl Fn(T, T) -> T) -> Vec<T> {
    let mut out = vec![start; into.2];
    let mut next = all.iter();
    walk(into.0, [into.1], |[at]| {
        if let Some(v) = next.next() {
            out[at] = f(out[at], *v);
        }
    });
    out
}

fn floats(name: &str, all: &[f64], into: Into<'_>, count: usize) -> Option<Vec<f64>> {
    let start = match name {
        "Max" => f64::NEG_INFINITY,
        "Min" => f64::INFINITY,
        "Prod" => 1.0,
        _ => 0.0,
    };
    let made = match name {
        "Sum" | "Mean" | "LogSum" => gather(all, into, start, |a, v| a + v),
        "SumSquare" | "L2" => gather(all, into, start, |a, v| a + v * v),
        "L1" => gather(all, into, start, |a, v| a + v.abs()),
        "LogSumExp" => gather(all, into, start, |a, v| a + v.exp()),
        "Prod" => gather(all, into, start, |a, v| a * v),
        "Max" => gather(
            all,
            into,
            start,
            |a, v| if v > a || v.is_nan() { v } else { a },
        ),
        "Min" => gather(
            all,
            into,
            start,
            |a, v| if v < a || v.is_nan() { v } else { a },
        ),
        _ => return None,
    };
    let end: fn(f64, f64) -> f64 = match name {
        "Mean" => |v, n| v / n,
        "L2" => |v, _| v.sqrt(),
        "LogSum" | "LogSumExp" => |v, _| v.ln(),
        _ => |v, _| v,
    };
    Some(made.into_iter().map(|v| end(v, count as f64)).collect())
}

fn integers(name: &str, all: &[i64], into: Into<'_>) -> Option<Vec<i64>> {
    Some(match name {
        "Sum" => gather(all, into, 0, i64::wrapping_add),
        "SumSquare" => gather(all, into, 0, |a, v| a.wrapping_add(v.wrapping_mul(v))),
        "L1" => gather(all, into, 0, |a, v| a.wrapping_add(v.wrapping_abs())),
        "Prod" => gather(all, into, 1, i64::wrapping_mul),
        "Max" => gather(all, into, i64::MIN, i64::max),
        "Min" => gather(all, into, i64::MAX, i64::min),
        _ => return None,
    })
}
