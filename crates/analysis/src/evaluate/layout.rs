//! Operators that move elements without looking at them.

use sepconv_ir::{AttributeValue, Tensor};

use super::Call;
use super::walk::{among, axis, broadcast, spread, strides, walk};

/// The same elements with other extents.
fn with_dims(tensor: &Tensor, dims: Vec<usize>) -> Option<Tensor> {
    // Refuses extents whose product is not the number of elements.
    Tensor::new(tensor.dtype(), dims, tensor.data()?.clone())
}

/// Elements of `tensor` in the order in which a result of `dims` reads them by `strides`.
fn strided(
    call: &Call<'_>,
    tensor: &Tensor,
    dims: Vec<usize>,
    strides: &[usize],
) -> Option<Tensor> {
    let size = tensor.dtype().size()?;
    let data = tensor.data()?;
    let count = call.room(&dims)?;
    let mut out = Vec::with_capacity(count.checked_mul(size)?);
    walk(&dims, [strides], |[at]| {
        out.extend_from_slice(&data[at * size..(at + 1) * size]);
    });
    Tensor::new(tensor.dtype(), dims, out.into())
}

/// The elements of `tensor` at chosen indices along every axis: of a result element at `i`, that
/// at `picks[axis][i[axis]]`, and `fill` (one element) where that is none.
pub(super) fn pick(
    call: &Call<'_>,
    tensor: &Tensor,
    picks: &[Vec<Option<usize>>],
    fill: &[u8],
) -> Option<Tensor> {
    let size = tensor
        .dtype()
        .size()
        .filter(|n| fill.is_empty() || *n == fill.len())?;
    let data = tensor.data()?;
    let dims: Vec<usize> = picks.iter().map(Vec::len).collect();
    let count = call.room(&dims)?;
    let own = strides(tensor.dims());
    let mut out = Vec::with_capacity(count.checked_mul(size)?);
    let zero = vec![0; dims.len()];
    let mut at = vec![0usize; dims.len()];
    walk(&dims, [&zero], |_| {
        let parts = at.iter().zip(picks).zip(&own);
        let index: Option<usize> = parts.map(|((i, pick), s)| Some(pick[*i]? * s)).sum();
        match index {
            Some(index) => out.extend_from_slice(&data[index * size..(index + 1) * size]),
            None => out.extend_from_slice(fill),
        }
        for (i, n) in at.iter_mut().zip(&dims).rev() {
            *i += 1;
            if *i < *n {
                break;
            }
            *i = 0;
        }
    });
    Tensor::new(tensor.dtype(), dims, out.into())
}

/// Every index along every axis.
pub(super) fn whole(dims: &[usize]) -> Vec<Vec<Option<usize>>> {
    dims.iter().map(|n| (0..*n).map(Some).collect()).collect()
}

/// `Reshape` (opset 1: an attribute): 0 keeps an extent (unless `allowzero`), -1 is the rest.
pub(super) fn reshape(call: &Call<'_>) -> Option<Tensor> {
    let tensor = call.input(0)?;
    let mut dims = Vec::new();
    let mut free = None;
    for (axis, extent) in call.ints("shape", 1)??.iter().enumerate() {
        dims.push(match extent {
            0 if call.op.int("allowzero", 0) == 0 => *tensor.dims().get(axis)?,
            -1 if free.is_none() => {
                free = Some(axis);
                1
            }
            n => usize::try_from(*n).ok()?,
        });
    }
    if let Some(axis) = free {
        let known = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        dims[axis] = tensor.len().checked_div(known)?;
    }
    with_dims(tensor, dims)
}

/// `Flatten`: the axes before `axis` (by default 1) and those from it on.
pub(super) fn flatten(call: &Call<'_>) -> Option<Tensor> {
    let tensor = call.input(0)?;
    let rank = tensor.dims().len();
    let at = match call.op.int("axis", 1) {
        n if usize::try_from(n) == Ok(rank) => rank,
        n => axis(n, rank)?,
    };
    let (before, behind) = tensor.dims().split_at(at);
    with_dims(
        tensor,
        vec![before.iter().product(), behind.iter().product()],
    )
}

/// `Squeeze`: without the named axes of extent 1, or without all of those.
pub(super) fn squeeze(call: &Call<'_>) -> Option<Tensor> {
    let tensor = call.input(0)?;
    let dims = tensor.dims();
    let gone = match call.ints("axes", 1)? {
        Some(axes) => among(&axes, dims.len())?,
        None => dims.iter().map(|n| *n == 1).collect(),
    };
    if gone.iter().zip(dims).any(|(gone, n)| *gone && *n != 1) {
        return None;
    }
    let kept = dims.iter().zip(gone).filter(|(_, gone)| !gone);
    with_dims(tensor, kept.map(|(n, _)| *n).collect())
}

/// `Unsqueeze`: with axes of extent 1 where the result is to have them.
pub(super) fn unsqueeze(call: &Call<'_>) -> Option<Tensor> {
    let tensor = call.input(0)?;
    let axes = call.ints("axes", 1)??;
    let new = among(&axes, tensor.dims().len() + axes.len())?;
    let mut old = tensor.dims().iter().copied();
    let dims: Option<Vec<usize>> = new
        .iter()
        .map(|n| if *n { Some(1) } else { old.next() })
        .collect();
    with_dims(tensor, dims?)
}

/// `Transpose`: axis `i` of the result is axis `perm[i]`, by default in reverse.
pub(super) fn transpose(call: &Call<'_>) -> Option<Tensor> {
    let tensor = call.input(0)?;
    let rank = tensor.dims().len();
    let perm: Vec<usize> = match call.op.attribute("perm") {
        None => (0..rank).rev().collect(),
        Some(AttributeValue::Ints(perm)) if perm.len() == rank && among(perm, rank).is_some() => {
            perm.iter().map(|a| axis(*a, rank)).collect::<Option<_>>()?
        }
        Some(_) => return None,
    };
    let own = strides(tensor.dims());
    let dims = perm.iter().map(|a| tensor.dims()[*a]).collect();
    let moved: Vec<usize> = perm.iter().map(|a| own[*a]).collect();
    strided(call, tensor, dims, &moved)
}

/// `Concat` along `axis` (by default 1, in opset 1).
pub(super) fn concat(call: &Call<'_>) -> Option<Tensor> {
    let all: Vec<&Tensor> = call
        .inputs
        .iter()
        .map(Option::as_ref)
        .collect::<Option<_>>()?;
    let first = *all.first()?;
    let rank = first.dims().len();
    let at = axis(call.op.int("axis", 1), rank)?;
    let mut dims = first.dims().to_vec();
    dims[at] = 0;
    for t in &all {
        let others = |d: &[usize]| [&d[..at], &d[at + 1..]].concat();
        let fits = t.dtype() == first.dtype() && t.dims().len() == rank;
        if !fits || others(t.dims()) != others(first.dims()) {
            return None;
        }
        dims[at] = dims[at].checked_add(t.dims()[at])?;
    }
    let size = first.dtype().size()?;
    let bytes = call.room(&dims)?.checked_mul(size)?;
    let outer: usize = dims[..at].iter().product();
    let mut out = Vec::with_capacity(bytes);
    for i in 0..outer {
        for t in &all {
            let chunk = t.dims()[at..].iter().product::<usize>() * size;
            out.extend_from_slice(t.data()?.get(i * chunk..(i + 1) * chunk)?);
        }
    }
    Tensor::new(first.dtype(), dims, out.into())
}

/// `Expand` to a shape that the input broadcasts with.
pub(super) fn expand(call: &Call<'_>) -> Option<Tensor> {
    let tensor = call.input(0)?;
    let wanted: Vec<usize> = extents(call.input(1)?)?;
    let dims = broadcast([tensor.dims(), &wanted].into_iter())?;
    let strides = spread(tensor.dims(), &dims);
    strided(call, tensor, dims, &strides)
}

/// A shape.
pub(super) fn extents(tensor: &Tensor) -> Option<Vec<usize>> {
    let all = tensor.to_i64().filter(|_| tensor.dims().len() == 1)?;
    all.into_iter().map(|n| usize::try_from(n).ok()).collect()
}

/// `Tile` (opset 6 and later).
pub(super) fn tile(call: &Call<'_>) -> Option<Tensor> {
    let tensor = call.input(0)?;
    let repeats = extents(call.input(1)?)?;
    if repeats.len() != tensor.dims().len() {
        return None;
    }
    let mut dims = Vec::new();
    for (n, r) in tensor.dims().iter().zip(&repeats) {
        dims.push(n.checked_mul(*r)?);
    }
    call.room(&dims)?;
    let axes = tensor.dims().iter().zip(&dims);
    let picks: Vec<_> = axes
        .map(|(own, all)| (0..*all).map(|i| i.checked_rem(*own)).collect())
        .collect();
    pick(call, tensor, &picks, &[])
}

/// `Gather` along `axis`.
pub(super) fn gather(call: &Call<'_>) -> Option<Tensor> {
    let (tensor, indices) = (call.input(0)?, call.input(1)?);
    let at = axis(call.op.int("axis", 0), tensor.dims().len())?;
    let extent = tensor.dims()[at];
    let chosen = indices
        .to_i64()?
        .into_iter()
        .map(|i| axis(i, extent).map(Some));
    let chosen: Vec<Option<usize>> = chosen.collect::<Option<_>>()?;
    let (before, behind) = (&tensor.dims()[..at], &tensor.dims()[at + 1..]);
    let dims = [before, indices.dims(), behind].concat();
    call.room(&dims)?;
    let mut picks = whole(tensor.dims());
    picks[at] = chosen;
    with_dims(&pick(call, tensor, &picks, &[])?, dims)
}
