//! Operators that move elements.

use candle_core::{Error, Result, Tensor};
use sepconv_ir::AttributeValue;

use super::rule::{OpContext, Rule};

pub(super) fn rule(context: &OpContext<'_>) -> Option<Rule> {
    match context.op.op_type.as_str() {
        "Flatten" => {
            (context.op.int("axis", 1) == 1).then(|| context.unary(|x| x.flatten_from(1)))?
        }
        "Reshape" => reshape(context),
        "Squeeze" | "Unsqueeze" => {
            let rest = context.extents(context.op.output(0))?.split_off(1);
            let axes = context.ints("axes", 1)?;
            axes.iter().all(|a| *a != 0).then_some(())?;
            // Extents of one come and go: the others stay the same.
            context.unary(move |x| to_rows(x, &rest))
        }
        "Transpose" => {
            let perm = context.op.ints("perm")?;
            (perm.first() == Some(&0)).then_some(())?;
            let perm: Vec<usize> = perm
                .iter()
                .map(|p| usize::try_from(*p).ok())
                .collect::<Option<_>>()?;
            context.unary(move |x| x.permute(perm.clone())?.contiguous())
        }
        "Concat" => concat(context),
        "Split" => split(context),
        "Slice" => slice(context),
        "Pad" => pad(context),
        "Resize" | "Upsample" => upsample(context),
        "DepthToSpace" => depth_to_space(context),
        _ => None,
    }
}

/// `x` with its rows in other extents.
fn to_rows(x: &Tensor, rest: &[usize]) -> Result<Tensor> {
    let rows = x.dim(0)?;
    x.reshape([&[rows], rest].concat())
}

/// `Reshape` (5 to 25) that leaves the batch alone.
fn reshape(context: &OpContext<'_>) -> Option<Rule> {
    let (before, after) = (
        context.extents(context.input(0))?,
        context.extents(context.op.output(0))?,
    );
    if before.first() != after.first() || context.op.int("allowzero", 0) != 0 {
        return None;
    }
    let known = after.get(1..)?.to_vec();
    let target = context.ints("shape", 1).filter(|t| t.len() == after.len());
    let Some(target) = target.filter(|t| t[1..].iter().any(|n| *n <= 0)) else {
        return context.unary(move |x| to_rows(x, &known));
    };
    context.unary(move |x| {
        let mut rest = Vec::new();
        for (axis, n) in target.iter().enumerate().skip(1) {
            rest.push(match *n {
                0 => x.dim(axis)?,
                -1 => 1,
                n => n as usize,
            });
        }
        if let Some(free) = target[1..].iter().position(|n| *n == -1) {
            let row = x.elem_count() / x.dim(0)?.max(1);
            rest[free] = row / rest.iter().product::<usize>().max(1);
        }
        to_rows(x, &rest)
    })
}

/// `Concat` (4 to 13). Zeros of a `ConstantOfShape` are made anew, as long along the axis as they
/// are known to be: the source of their other extents has no gradient.
fn concat(context: &OpContext<'_>) -> Option<Rule> {
    let axis = context.axis(context.op.int("axis", 1), context.rank(0)?)?;
    let zeros = |slot: usize| {
        let value = context.input(slot)?;
        let (_, maker) = context.graph.producer(value)?;
        let zero = match maker.attribute("value") {
            Some(AttributeValue::Tensor(t)) => t.to_f32()?.iter().all(|v| *v == 0.0),
            Some(_) => false,
            None => true,
        };
        let extent = context.shapes.get(value)?.dims.get(axis)?.known()?;
        (maker.is("ConstantOfShape") && zero).then_some(extent as usize)
    };
    let parts: Vec<Option<usize>> = (0..context.op.inputs.len()).map(zeros).collect();
    let is_read = |slot: &usize| parts[*slot].is_none();
    let read: Vec<usize> = (0..parts.len()).filter(is_read).collect();
    if read.is_empty() {
        return None;
    }
    context.of(&read, move |x| {
        let rows = x.iter().filter_map(|x| x.dims().first().copied());
        let rows = rows.max().unwrap_or(1);
        let mut read = x.iter();
        let mut made = Vec::new();
        for part in &parts {
            made.extend(match (part, read.as_slice()) {
                (Some(count), _) => {
                    let mut dims = x[0].dims().to_vec();
                    (dims[0], dims[axis]) = (rows, *count);
                    Some(Tensor::zeros(dims, x[0].dtype(), x[0].device())?)
                }
                (None, []) => None,
                (None, [own, rest @ ..]) => {
                    read = rest.iter();
                    // A constant is the same for all rows of the batch.
                    let mut dims = own.dims().to_vec();
                    dims[0] = rows;
                    Some(own.broadcast_as(dims)?)
                }
            });
        }
        Tensor::cat(&made, axis)
    })
}

/// `Split` (2 to 18).
fn split(context: &OpContext<'_>) -> Option<Rule> {
    let axis = context.axis(context.op.int("axis", 0), context.rank(0)?)?;
    let sizes = context
        .op
        .outputs
        .iter()
        .map(|v| Some(context.extents(*v)?[axis]));
    let sizes: Vec<usize> = sizes.collect::<Option<_>>()?;
    Some(Rule {
        operands: vec![context.input(0)?],
        forward: Box::new(move |x| {
            let mut from = 0;
            let mut parts = Vec::new();
            for size in &sizes {
                parts.push(x[0].narrow(axis, from, *size)?);
                from += size;
            }
            Ok(parts)
        }),
    })
}

/// `Slice` (1 to 13) forwards.
fn slice(context: &OpContext<'_>) -> Option<Rule> {
    let (starts, ends) = (context.ints("starts", 1)?, context.ints("ends", 2)?);
    let has =
        |name: &str, slot: usize| context.op.ints(name).is_some() || context.input(slot).is_some();
    let axes = match has("axes", 3) {
        true => context.ints("axes", 3)?,
        false => (0..starts.len() as i64).collect(),
    };
    let steps = match has("steps", 4) {
        true => context.ints("steps", 4)?,
        false => vec![1; starts.len()],
    };
    let rank = context.rank(0)?;
    let mut cuts = Vec::new();
    for (i, axis) in axes.iter().enumerate() {
        let step = usize::try_from(*steps.get(i)?).ok().filter(|s| *s > 0)?;
        let (start, end) = (*starts.get(i)?, *ends.get(i)?);
        let whole = start == 0 && step == 1 && end >= i64::from(i32::MAX);
        // All of the batch is a slice too.
        match context.axis(*axis, rank) {
            Some(axis) => cuts.push((axis, start, end, step)),
            None if whole && *axis == 0 => {}
            None => return None,
        }
    }
    context.unary(move |x| {
        let mut y = x.clone();
        for (axis, start, end, step) in &cuts {
            let extent = y.dim(*axis)? as i64;
            let place = |at: i64| {
                if at < 0 {
                    at.saturating_add(extent)
                } else {
                    at
                }
                .clamp(0, extent)
            };
            let (start, end) = (place(*start), place(*end));
            if *step == 1 {
                y = y.narrow(*axis, start as usize, (end - start).max(0) as usize)?;
            } else {
                let at: Vec<u32> = (start..end).step_by(*step).map(|i| i as u32).collect();
                let count = at.len();
                let at = Tensor::from_vec(at, count, y.device())?;
                y = y.contiguous()?.index_select(&at, *axis)?;
            }
        }
        Ok(y)
    })
}

/// `Pad` (2 to 25) with zeros.
fn pad(context: &OpContext<'_>) -> Option<Rule> {
    let op = context.op;
    let zero = match context.input(2) {
        Some(_) => context.floats(2)?.iter().all(|v| *v == 0.0),
        None => op.float("value", 0.0) == 0.0,
    };
    let constant = op.string("mode").is_none_or(|m| m == "constant");
    if !zero || !constant || context.input(3).is_some() {
        return None;
    }
    let pads = context.ints("pads", 1)?;
    let pads: Vec<usize> = pads
        .iter()
        .map(|p| usize::try_from(*p).ok())
        .collect::<Option<_>>()?;
    let (begins, ends) = pads.split_at(pads.len() / 2);
    if begins.first() != Some(&0) || ends.first() != Some(&0) {
        return None;
    }
    let pairs: Vec<(usize, usize)> = begins.iter().copied().zip(ends.iter().copied()).collect();
    context.unary(move |x| {
        let padded = pairs.iter().enumerate().filter(|(_, p)| **p != (0, 0));
        padded
            .into_iter()
            .try_fold(x.clone(), |x, (axis, (begin, end))| {
                x.pad_with_zeros(axis, *begin, *end)
            })
    })
}

/// `Resize` (10 to 19) and `Upsample` (7 to 9): each element repeated.
fn upsample(context: &OpContext<'_>) -> Option<Rule> {
    let op = context.op;
    let coordinates = op
        .string("coordinate_transformation_mode")
        .unwrap_or("half_pixel");
    let rounding = op.string("nearest_mode").unwrap_or("round_prefer_floor");
    let asymmetric = op.is("Upsample")
        || context.opset < 11
        || coordinates == "asymmetric" && rounding == "floor";
    let repeats = asymmetric || coordinates == "half_pixel" && rounding == "round_prefer_floor";
    if op.string("mode").unwrap_or("nearest") != "nearest" || !repeats {
        return None;
    }
    let (before, after) = (
        context.extents(context.input(0))?,
        context.extents(op.output(0))?,
    );
    let whole = before.iter().zip(&after).all(|(b, a)| *b > 0 && a % b == 0);
    if before.len() != after.len() || !whole || before[0] != after[0] {
        return None;
    }
    let factors: Vec<usize> = before.iter().zip(&after).map(|(b, a)| a / b).collect();
    context.unary(move |x| {
        let pairs = || x.dims().iter().zip(&factors);
        let apart: Vec<usize> = pairs().flat_map(|(n, _)| [*n, 1]).collect();
        let wide: Vec<usize> = pairs().flat_map(|(n, f)| [*n, *f]).collect();
        let joined: Vec<usize> = pairs().map(|(n, f)| n * f).collect();
        x.contiguous()?
            .reshape(apart)?
            .broadcast_as(wide)?
            .contiguous()?
            .reshape(joined)
    })
}

/// `DepthToSpace` (1 to 13).
fn depth_to_space(context: &OpContext<'_>) -> Option<Rule> {
    let block = usize::try_from(context.op.int("blocksize", 1))
        .ok()
        .filter(|b| *b > 0)?;
    let by_column = match context.op.string("mode").unwrap_or("DCR") {
        "DCR" => false,
        "CRD" => true,
        _ => return None,
    };
    context.unary(move |x| {
        let &[n, c, h, w] = x.dims() else {
            return Err(Error::Msg("DepthToSpace wants four axes".into()));
        };
        let depth = c / (block * block);
        let (apart, order) = if by_column {
            ([n, depth, block, block, h, w], [0, 1, 4, 2, 5, 3])
        } else {
            ([n, block, block, depth, h, w], [0, 3, 4, 1, 5, 2])
        };
        let moved = x
            .reshape(apart.to_vec())?
            .permute(order.to_vec())?
            .contiguous()?;
        moved.reshape((n, depth, h * block, w * block))
    })
}
