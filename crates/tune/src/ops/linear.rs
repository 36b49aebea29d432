//! Linear operators: `Conv`, `Gemm`, `MatMul`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{Error, Result, Tensor};
use sepconv_analysis::{ConvAttributes, constants};

use super::rule::{OpContext, Rule};
use crate::conv::{Channels, Conv, Window};

pub(super) fn rule(context: &OpContext<'_>) -> Option<Rule> {
    match context.op.op_type.as_str() {
        "Conv" => conv(context),
        "Gemm" => gemm(context),
        "MatMul" => matmul(context),
        _ => None,
    }
}

/// `Conv` (1 to 22).
fn conv(context: &OpContext<'_>) -> Option<Rule> {
    let weight = constants::resolve(context.graph, context.input(1)?)?
        .dims()
        .to_vec();
    let attributes = ConvAttributes::read(context.op, &weight).ok()?;
    let known: Mutex<HashMap<Vec<usize>, Conv>> = Mutex::default();
    let apply = move |x: &Tensor, w: &Tensor| -> Result<Tensor> {
        let extents = x.dims().get(2..).unwrap_or_default().to_vec();
        let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = lock().get(&extents).cloned();
        let conv = match found {
            Some(conv) => conv,
            None => {
                let conv = over(&attributes, &extents);
                let conv = conv.ok_or_else(|| Error::Msg(format!("no window fits {extents:?}")))?;
                lock().insert(extents, conv.clone());
                conv
            }
        };
        conv.apply(x, w)
    };
    if context.input(2).is_none() {
        return context.of(&[0, 1], move |x| apply(&x[0], &x[1]));
    }
    context.of(&[0, 1, 2], move |x| {
        let y = apply(&x[0], &x[1])?;
        let mut dims = vec![1; y.rank()];
        dims[1] = x[2].elem_count();
        y.broadcast_add(&x[2].reshape(dims)?)
    })
}

fn over(a: &ConvAttributes, extents: &[usize]) -> Option<Conv> {
    let sizes = |v: &[u64]| v.iter().map(|n| *n as usize).collect::<Vec<usize>>();
    let input: Vec<u64> = extents.iter().map(|n| *n as u64).collect();
    let pads = sizes(&a.explicit_pads(&input)?);
    let (begins, ends) = pads.split_at(a.axes());
    let window = Window {
        kernel: sizes(&a.kernel),
        strides: sizes(&a.strides),
        dilations: sizes(&a.dilations),
        begins: begins.to_vec(),
        ends: ends.to_vec(),
    };
    let channels = Channels {
        inputs: a.in_channels as usize,
        outputs: a.out_channels as usize,
        groups: a.group as usize,
    };
    Conv::new(channels, &window, extents)
}

/// `Gemm` (7 to 13) of a batch of rows.
fn gemm(context: &OpContext<'_>) -> Option<Rule> {
    let op = context.op;
    if op.int("transA", 0) != 0 || constants::resolve(context.graph, context.input(1)?).is_none() {
        return None;
    }
    let (alpha, beta) = (
        f64::from(op.float("alpha", 1.0)),
        f64::from(op.float("beta", 1.0)),
    );
    let transposed = op.int("transB", 0) != 0;
    let product = move |x: &[Tensor]| {
        let b = if transposed { x[1].t()? } else { x[1].clone() };
        let y = x[0].matmul(&b.contiguous()?)?;
        if alpha == 1.0 { Ok(y) } else { y * alpha }
    };
    match context.input(2) {
        None => context.of(&[0, 1], product),
        Some(c) => {
            // A bias with a row for each sample belongs to one batch only.
            let dims = constants::resolve(context.graph, c)?.dims().to_vec();
            if dims.len() == 2 && dims[0] != 1 {
                return None;
            }
            context.of(&[0, 1, 2], move |x| {
                product(x)?.broadcast_add(&(&x[2] * beta)?)
            })
        }
    }
}

/// `MatMul` (1 to 13) by a constant matrix.
fn matmul(context: &OpContext<'_>) -> Option<Rule> {
    let right = constants::resolve(context.graph, context.input(1)?)?
        .dims()
        .to_vec();
    let &[depth, wide] = right.as_slice() else {
        return None;
    };
    (context.rank(0)? >= 2).then_some(())?;
    context.of(&[0, 1], move |x| {
        let mut dims = x[0].dims().to_vec();
        let rows = x[0].elem_count() / depth.max(1);
        dims.pop();
        dims.push(wide);
        x[0].reshape((rows, depth))?.matmul(&x[1])?.reshape(dims)
    })
}
