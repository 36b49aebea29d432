//! Sequences of classes: what a recogniser of text or speech reads, against what the original reads.

use sepconv_model::classes::{are_sequences, argmax};

use super::seen::Seen;
use crate::evaluate::rows::Rows;
use crate::evaluate::{Against, Measure, Metric};

/// The output of probabilities of classes at every step.
pub(super) fn recognised(seen: Seen<'_>) -> Option<usize> {
    (0..seen.outputs()).find(|output| {
        let mut runs = seen.of(*output).peekable();
        runs.peek().is_some()
            && runs.all(|rows| {
                let (dims, values) = rows.all();
                are_sequences(&dims, values)
            })
    })
}

/// The first output shaped `[n, steps, classes]` or `[steps, 1, classes]`.
pub(super) fn shaped(seen: Seen<'_>) -> Option<usize> {
    (0..seen.outputs()).find(|output| {
        matches!(*seen.sample(*output), [steps, classes] | [steps, 1, classes] if steps > 1 && classes > 1)
    })
}

/// Agreement of one sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Read {
    /// The sequences are the same, repeats merged.
    same: bool,
    /// Share of the steps with the same class.
    steps: f64,
}

impl Read {
    /// Of sample `i`, `[steps, classes]` or `[steps, 1, classes]`, of the original and of another model.
    pub fn of(a: &Rows, b: &Rows, i: usize) -> Option<Self> {
        let classes = (*a.sample().last()?).max(1);
        let read = |rows: &Rows| -> Vec<Option<usize>> {
            rows.row(i).chunks_exact(classes).map(argmax).collect()
        };
        let (mut a, mut b) = (read(a), read(b));
        let alike = a.iter().zip(&b).filter(|(a, b)| a.is_some() && a == b);
        let steps = alike.count() as f64 / a.len().max(1) as f64;
        // A class that follows itself counts once: connectionist temporal classification (Graves et al., ICML 2006)
        // reads so.
        a.dedup();
        b.dedup();
        Some(Self {
            same: a == b && !a.contains(&None),
            steps,
        })
    }
}

/// Share of samples that are read as the original reads them; share of the steps.
pub(super) fn measures(output: &str, read: &[Read]) -> Vec<Measure> {
    let same: Vec<bool> = read.iter().map(|read| read.same).collect();
    let steps: Vec<f64> = read.iter().map(|read| 100.0 * read.steps).collect();
    let original = Against::Original;
    vec![
        Measure::share_of(Metric::Sequences, original, output, &same),
        Measure::mean(Metric::Steps, original, output, &steps),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_ir::Tensor;

    use super::*;

    #[test]
    fn steps_that_are_no_numbers_agree_with_none() {
        let tensor = Tensor::from_f32(vec![1, 4, 3], vec![f32::NAN; 12]);
        let none = Rows::of(&tensor, 1, 1).unwrap();
        let read = Read::of(&rows(&[[0; 4]]), &none, 0).unwrap();
        assert!(!read.same && read.steps == 0.0, "{read:?}");
        assert!(!Read::of(&none, &none, 0).unwrap().same);
    }

    fn rows(classes: &[[usize; 4]]) -> Rows {
        let steps = classes.iter().flatten();
        let values =
            steps.flat_map(|class| (0..3).map(move |k| if k == *class { 0.8 } else { 0.1 }));
        let tensor = Tensor::from_f32(vec![classes.len(), 4, 3], values.collect());
        Rows::of(&tensor, classes.len(), classes.len()).unwrap()
    }

    #[test]
    fn sequences_agree_whatever_the_length_of_a_class() {
        let a = rows(&[[0, 1, 1, 2], [0, 1, 2, 2], [0, 0, 0, 0]]);
        let b = rows(&[[0, 0, 1, 2], [0, 1, 2, 2], [0, 1, 0, 0]]);
        let read: Vec<Read> = (0..3).filter_map(|i| Read::of(&a, &b, i)).collect();
        let seen = measures("y", &read);
        assert!((seen[0].value - 200.0 / 3.0).abs() < 1e-9, "{seen:?}");
        assert!(
            (seen[1].value - (75.0 + 100.0 + 75.0) / 3.0).abs() < 1e-9,
            "{seen:?}"
        );
    }
}
