//! Outputs of classes.

/// Rows and columns of an output of shape `[n, classes]`, trailing 1s aside; `None` for other
/// shapes.
pub fn class_rows(dims: &[usize]) -> Option<(usize, usize)> {
    match dims {
        [n, classes, rest @ ..] if *classes > 1 && rest.iter().all(|d| *d == 1) => {
            Some((*n, *classes))
        }
        _ => None,
    }
}

/// Index of the greatest value; the first of several.
pub fn argmax(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in row.iter().enumerate() {
        if *v > row[best] {
            best = i;
        }
    }
    best
}
