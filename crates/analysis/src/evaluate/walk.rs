//! Walking over the elements of tensors of several shapes at once.

/// Row-major strides, in elements.
pub(super) fn strides(dims: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(dims[axis]);
    }
    strides
}

/// The extents that operands broadcast to (ONNX multidirectional broadcasting).
pub(super) fn broadcast<'a>(all: impl Iterator<Item = &'a [usize]>) -> Option<Vec<usize>> {
    let mut out: Vec<usize> = Vec::new();
    for dims in all {
        if dims.len() > out.len() {
            out.splice(0..0, vec![1; dims.len() - out.len()]);
        }
        let lead = out.len() - dims.len();
        for (o, d) in out[lead..].iter_mut().zip(dims) {
            match (*o, *d) {
                (o, d) if o == d => {}
                (1, d) => *o = d,
                (_, 1) => {}
                _ => return None,
            }
        }
    }
    Some(out)
}

/// Strides by which a result of extents `out` reads an operand that broadcasts to it.
pub(super) fn spread(dims: &[usize], out: &[usize]) -> Vec<usize> {
    let lead = out.len().saturating_sub(dims.len());
    let own = strides(dims);
    let own = own.iter().zip(dims);
    let own = own.map(|(stride, extent)| if *extent == 1 { 0 } else { *stride });
    std::iter::repeat_n(0, lead).chain(own).collect()
}

/// Calls `each` for every element of a tensor of `dims`, row-major, with the element's index in
/// tensors of these strides.
pub(super) fn walk<const N: usize>(
    dims: &[usize],
    strides: [&[usize]; N],
    mut each: impl FnMut([usize; N]),
) {
    if dims.contains(&0) {
        return;
    }
    let mut at = vec![0; dims.len()];
    let mut index = [0usize; N];
    loop {
        each(index);
        let mut axis = dims.len();
        loop {
            let Some(outer) = axis.checked_sub(1) else {
                return;
            };
            axis = outer;
            at[axis] += 1;
            for (i, s) in index.iter_mut().zip(strides) {
                *i += s[axis];
            }
            if at[axis] < dims[axis] {
                break;
            }
            at[axis] = 0;
            for (i, s) in index.iter_mut().zip(strides) {
                *i -= s[axis] * dims[axis];
            }
        }
    }
}

/// An axis, counted from the end where it is negative.
pub(super) fn axis(axis: i64, rank: usize) -> Option<usize> {
    let from_end = if axis < 0 {
        i64::try_from(rank).ok()?
    } else {
        0
    };
    let axis = usize::try_from(axis.checked_add(from_end)?).ok()?;
    (axis < rank).then_some(axis)
}

/// Which of the axes are among `axes`. `None` where one is none of them, or comes twice.
pub(super) fn among(axes: &[i64], rank: usize) -> Option<Vec<bool>> {
    let mut found = vec![false; rank];
    for a in axes {
        let seen = found.get_mut(axis(*a, rank)?)?;
        if std::mem::replace(seen, true) {
            return None;
        }
    }
    Some(found)
}
