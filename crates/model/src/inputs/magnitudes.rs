//! Deviations of the values within a network on given inputs.

use sepconv_analysis::NodeRow;
use sepconv_ir::{Tensor, ValueId};
use sepconv_targets::{InputSpec, Target};

use crate::error::Error;
use crate::loaded::Loaded;

/// The outputs of the convolutions, in graph order, up to so many MACs of all operators before;
/// the first in any case.
pub fn convolutions(model: &Loaded, macs: u64) -> Vec<ValueId> {
    let graph = model.graph();
    let cost = |row: &NodeRow| row.cost.macs.unwrap_or(0);
    let rows = model.cost.nodes.iter();
    let costs: std::collections::HashMap<_, u64> = rows.map(|r| (r.node, cost(r))).collect();
    let mut sum = 0u64;
    let mut found = Vec::new();
    for (node, op) in graph.operators() {
        sum = sum.saturating_add(costs.get(&node).copied().unwrap_or(0));
        if !(op.is("Conv") || op.is("ConvTranspose")) {
            continue;
        }
        if sum > macs && !found.is_empty() {
            break;
        }
        found.extend(op.output(0));
    }
    found
}

/// Sets of inputs of a model.
#[derive(Clone, Copy)]
pub struct InputSets<'a> {
    /// The graph inputs, in order.
    pub specs: &'a [InputSpec],
    /// Sets of one tensor per graph input.
    pub sets: &'a [Vec<Tensor>],
}

/// For every value, the mean over the sets of inputs of the median over channels of the deviation
/// within a map.
pub fn deviations(
    model: &Loaded,
    target: &dyn Target,
    values: &[ValueId],
    inputs: InputSets<'_>,
) -> Result<Vec<f64>, Error> {
    let mut sums = vec![0.0; values.len()];
    each(model, target, values, inputs, |maps| {
        for (sum, map) in sums.iter_mut().zip(maps) {
            *sum += median(spreads(map));
        }
    })?;
    Ok(sums
        .into_iter()
        .map(|s| s / inputs.sets.len().max(1) as f64)
        .collect())
}

/// Runs the operators that `values` depend on for every set of inputs, and shows the values.
pub fn each(
    model: &Loaded,
    target: &dyn Target,
    values: &[ValueId],
    inputs: InputSets<'_>,
    mut see: impl FnMut(&[Tensor]),
) -> Result<(), Error> {
    let failed = |source| Error::Target {
        file: model.file(),
        source,
    };
    let session = target
        .load(&model.document.probe(values), inputs.specs)
        .map_err(failed)?;
    for set in inputs.sets {
        see(&session.run(set).map_err(failed)?);
    }
    Ok(())
}

/// Distances of two figures of a network's maps from 1, as logarithms: of the deviation at the
/// first convolution, and of the geometric mean over all. With values of its own range a network's
/// maps are about as large as its biases.
pub fn distances(deviations: &[f64]) -> [f64; 2] {
    let first = deviations.first().copied().unwrap_or(1.0);
    let logs = deviations.iter().map(|d| d.max(1e-9).ln());
    let all = logs.sum::<f64>() / deviations.len().max(1) as f64;
    [first.max(1e-9).ln().abs(), all.abs()]
}

/// The deviation within every map of `[rows, channels, ...]`.
fn spreads(map: &Tensor) -> Vec<f64> {
    let (Some(values), [rows, channels, ..]) = (map.to_f32(), map.dims()) else {
        return Vec::new();
    };
    let plane = values.len() / (rows * channels).max(1);
    let maps = values.chunks_exact(plane.max(1));
    maps.map(|map| {
        let n = map.len() as f64;
        let mean = map.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        (map.iter()
            .map(|v| (f64::from(*v) - mean).powi(2))
            .sum::<f64>()
            / n)
            .sqrt()
    })
    .collect()
}

/// The upper median; 1 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(1.0)
}
