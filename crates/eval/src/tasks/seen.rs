//! The facts of a model's outputs before its task is known.

use crate::evaluate::rows::Rows;

/// Share of the values behind a `Relu` that are zero, at least.
const ACTIVATED: f64 = 0.05;

/// Outputs of a model in some runs.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'s> {
    pub names: &'s [String],
    /// By run, then by output.
    pub runs: &'s [Vec<Option<Rows>>],
    /// Channels, height and width of the pictures that go in, where they are known.
    pub picture: Option<[usize; 3]>,
}

impl<'s> Seen<'s> {
    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.names.len()
    }

    /// The rows of one output in all runs.
    pub fn of(&self, output: usize) -> impl Iterator<Item = &'s Rows> + Clone + use<'s> {
        let runs = self.runs.iter();
        runs.filter_map(move |run| run.get(output)?.as_ref())
    }

    /// Shape of a sample of an output in the first run.
    pub fn sample(&self, output: usize) -> &'s [usize] {
        self.of(output).next().map_or(&[], Rows::sample)
    }

    /// All values of an output.
    pub fn values(&self, output: usize) -> impl Iterator<Item = f64> + Clone + use<'s> {
        self.of(output)
            .flat_map(|rows| rows.all().1.iter().copied())
    }

    /// True for features behind a `Relu`: none is below zero, and many are zero.
    pub fn are_activated(&self, output: usize) -> bool {
        let (mut all, mut zeros) = (0_usize, 0_usize);
        for value in self.values(output) {
            if value < 0.0 {
                return false;
            }
            all += 1;
            zeros += usize::from(value == 0.0);
        }
        zeros as f64 >= ACTIVATED * all.max(1) as f64
    }

    /// True where the name of an output holds one of some words.
    pub fn is_named(&self, output: usize, words: &[&str]) -> bool {
        let name = self.names.get(output).map(|name| name.to_lowercase());
        name.is_some_and(|name| words.iter().any(|word| name.contains(word)))
    }

    /// Height and width of the pictures that go in.
    pub fn extents(&self) -> Option<[usize; 2]> {
        self.picture.map(|[_, height, width]| [height, width])
    }
}
