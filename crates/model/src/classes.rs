//! Outputs of classes.

use std::collections::BTreeMap;

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

/// Share of the samples that are of the most frequent of their `classes`; `None` without samples.
pub fn largest_share(classes: impl Iterator<Item = usize>) -> Option<f64> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    classes.for_each(|class| *counts.entry(class).or_default() += 1);
    let most = *counts.values().max()?;
    Some(most as f64 / counts.values().sum::<usize>() as f64)
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
