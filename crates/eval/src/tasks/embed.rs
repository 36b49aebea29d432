//! Embeddings: directions of a model's vectors against the original's, and who is nearest to whom.

use super::seen::Seen;
use crate::evaluate::rows::Rows;
use crate::evaluate::{Against, Measure, Metric};

/// Values of a vector that is recognised by its length, at least.
const LEAST: usize = 32;
/// Samples of which the nearest are looked for, at most.
const MOST: usize = 2048;
/// Rounding of the length of a vector.
const NEAR: f64 = 1e-3;

/// The output of vectors: of a name that says so, or of vectors of length 1 with values below 0.
pub(super) fn vectors(seen: Seen<'_>) -> Option<usize> {
    let is_recognised = |output: &usize| {
        let all = || {
            seen.of(*output)
                .flat_map(|rows| (0..rows.count()).map(|i| rows.row(i)))
        };
        let length = |row: &[f64]| row.iter().map(|v| v * v).sum::<f64>().sqrt();
        let of_one = seen.sample(*output).iter().product::<usize>() >= LEAST
            && all().all(|row| (length(row) - 1.0).abs() < NEAR)
            && all().flatten().any(|v| *v < 0.0);
        of_one || seen.is_named(*output, &["embed", "descriptor"])
    };
    shaped(seen).find(is_recognised)
}

/// The outputs of vectors, whatever their name and length.
pub(super) fn shaped(seen: Seen<'_>) -> impl Iterator<Item = usize> {
    let is_shaped = move |output: &usize| {
        let mut rows = seen.of(*output);
        rows.next().is_some_and(Rows::is_of_vectors)
    };
    (0..seen.outputs()).filter(is_shaped)
}

/// Vectors of the original and of another model, sample by sample.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vectors {
    original: Vec<Vec<f64>>,
    model: Vec<Vec<f64>>,
}

impl Vectors {
    pub fn of(a: &Rows, b: &Rows) -> Self {
        let unit = |rows: &Rows| (0..rows.count()).map(|i| normalised(rows.row(i))).collect();
        Self {
            original: unit(a),
            model: unit(b),
        }
    }

    pub fn append(&mut self, next: Self) {
        self.original.extend(next.original);
        self.model.extend(next.model);
    }
}

fn normalised(row: &[f64]) -> Vec<f64> {
    let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
    row.iter().map(|v| v / length).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The other sample whose vector is nearest by its direction, the first of several.
fn nearest(all: &[Vec<f64>], i: usize) -> Option<usize> {
    let others = (0..all.len()).filter(|j| *j != i);
    let near = others.map(|j| (j, dot(&all[i], &all[j])));
    let best = near.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)))?;
    best.1.is_finite().then_some(best.0)
}

/// Share of samples with the same nearest other sample, of three and more; mean cosine.
pub(super) fn measures(output: &str, vectors: &Vectors) -> Vec<Measure> {
    let pairs = vectors.original.iter().zip(&vectors.model);
    let cosines: Vec<f64> = pairs.map(|(a, b)| dot(a, b).clamp(-1.0, 1.0)).collect();
    let count = vectors.original.len().min(MOST);
    let (a, b) = (&vectors.original[..count], &vectors.model[..count]);
    let same = (0..count).map(|i| nearest(a, i).is_some() && nearest(a, i) == nearest(b, i));
    let original = Against::Original;
    let near = (count > 2)
        .then(|| Measure::share_of(Metric::Nearest, original, output, &same.collect::<Vec<_>>()));
    let cosine = Measure::mean(Metric::MeanCosine, original, output, &cosines);
    near.into_iter().chain([cosine]).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_ir::Tensor;

    use super::*;

    fn rows(values: &[[f32; 2]]) -> Rows {
        let tensor = Tensor::from_f32(vec![values.len(), 2], values.concat());
        Rows::of(&tensor, values.len(), values.len()).unwrap()
    }

    #[test]
    fn directions_and_neighbours_by_hand() {
        let a = rows(&[[1.0, 0.0], [2.0, 0.2], [0.0, 1.0], [0.1, 3.0]]);
        let seen = measures("y", &Vectors::of(&a, &a));
        assert_eq!((seen[0].metric.name(), seen[0].value), ("nearest", 100.0));
        assert!((seen[1].value - 1.0).abs() < 1e-12);
        // The second is now nearer to the fourth, and nothing changes by size alone.
        let b = rows(&[[9.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.1, 3.0]]);
        let seen = measures("y", &Vectors::of(&a, &b));
        assert_eq!(seen[0].value, 75.0, "{seen:?}");
        assert_eq!(
            measures(
                "y",
                &Vectors::of(&rows(&[[1.0, 0.0]]), &rows(&[[0.0, 1.0]]))
            )[0]
            .value,
            0.0
        );
    }
}
