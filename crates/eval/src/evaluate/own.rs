//! Metrics of the caller's.

use sepconv_ir::Tensor;

use super::rows::{BatchRows, Rows};

/// A figure of one's own, of a rewritten model's outputs held against the original's; see
/// `sepconv::Settings::metric`. Its value is the mean over samples, with the standard error of
/// that.
pub trait OwnMetric: Send + Sync {
    /// Name in JSON and on the command line, such as `mean-abs`.
    fn name(&self) -> &'static str;

    /// Its name in reports.
    fn label(&self) -> &'static str {
        self.name()
    }

    /// Unit of the value; empty where it has none.
    fn unit(&self) -> &'static str {
        ""
    }

    /// True where a greater value is a better one.
    fn higher_is_better(&self) -> bool {
        true
    }

    /// Decimals that are worth showing.
    fn decimals(&self) -> usize {
        4
    }

    /// The value of one sample. Both slices hold one entry per output of the model that is of
    /// numbers, in order; of the original itself they are the same.
    fn of_sample(&self, original: &[SampleOutput<'_>], rewritten: &[SampleOutput<'_>]) -> f64;
}

/// One output for one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleOutput<'a> {
    /// Name of the graph output.
    pub name: &'a str,
    /// Shape, without the batch.
    pub shape: &'a [usize],
    /// The elements, row-major.
    pub values: &'a [f64],
}

/// The value of every sample of a batch, whose outputs `original` and `rewritten` are.
pub fn of_batch(
    metric: &dyn OwnMetric,
    names: &[String],
    [original, rewritten]: [&[Tensor]; 2],
    batch: BatchRows,
) -> Vec<f64> {
    let divided = |outputs| Rows::of_outputs(outputs, batch, &[]);
    let (original, rewritten) = (divided(original), divided(rewritten));
    of_rows(metric, names, &original, &rewritten, batch.valid)
}

pub(super) fn of_rows(
    metric: &dyn OwnMetric,
    names: &[String],
    original: &[Option<Rows>],
    rewritten: &[Option<Rows>],
    valid: usize,
) -> Vec<f64> {
    fn sample<'a>(
        outputs: &'a [Option<Rows>],
        names: &'a [String],
        i: usize,
    ) -> Vec<SampleOutput<'a>> {
        let named = outputs.iter().zip(names);
        named
            .filter_map(|(rows, name)| {
                let rows = rows.as_ref()?;
                Some(SampleOutput {
                    name,
                    shape: rows.sample(),
                    // An output without a batch belongs to every sample.
                    values: rows.row(i.min(rows.count().saturating_sub(1))),
                })
            })
            .collect()
    }
    let samples = 0..valid;
    samples
        .map(|i| metric.of_sample(&sample(original, names, i), &sample(rewritten, names, i)))
        .collect()
}
