//! Ranges of activations, seen by running a model on data.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sepconv_factor::is_held_out;
use sepconv_ir::ValueId;
use sepconv_model::Error;

use crate::behind::Behind;
use crate::grid::Grid;
use crate::histogram::Histogram;
use crate::windows::{Run, valid_part};

/// One sample of so many does not choose ranges, but judges them.
const HELD_OUT_EVERY: u64 = 4;

/// Grids of the activations of a model.
///
/// A range is that of the least mean squared error behind the activation that reads the value (after Banner et al. 2019, arXiv 1810.05723, by
/// histogram), or that of all values where this errs less on samples that chose neither.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ranges {
    grids: BTreeMap<ValueId, Grid>,
}

impl Ranges {
    /// Runs a model and looks at the values `wanted`, which are f32; `behind` has their readers.
    /// Values that are not finite for a sample have no grid.
    pub(crate) fn of(
        run: Run<'_>,
        wanted: &[ValueId],
        behind: &dyn Fn(ValueId) -> Behind,
        seed: u64,
    ) -> Result<Self, Error> {
        let empty = || Mutex::new([Histogram::default(), Histogram::default()]);
        let histograms: Vec<Mutex<[Histogram; 2]>> = wanted.iter().map(|_| empty()).collect();
        let samples = run.samples;
        let see = |batch: usize, values: Vec<sepconv_ir::Tensor>| {
            for (value, own) in values.iter().zip(&histograms) {
                let Some(numbers) = value.to_f32() else {
                    continue;
                };
                let (valid, rows) = (samples.valid(batch), samples.rows());
                let numbers = valid_part(&numbers, valid, rows);
                let held = is_held_out(seed, samples.first(batch) as u64, HELD_OUT_EVERY);
                let mut own = own.lock().unwrap_or_else(PoisonError::into_inner);
                own[usize::from(held)].add(numbers);
            }
        };
        run.each("ranges", wanted, see, drop)?;
        let grids = wanted.iter().zip(histograms).filter_map(|(value, own)| {
            let [seen, held] = own.into_inner().unwrap_or_else(PoisonError::into_inner);
            Some((*value, grid(&seen, &held, behind(*value))?))
        });
        Ok(Self {
            grids: grids.collect(),
        })
    }

    /// These grids.
    pub(crate) fn fixed(grids: impl IntoIterator<Item = (ValueId, Grid)>) -> Self {
        Self {
            grids: grids.into_iter().collect(),
        }
    }

    /// The grid of a value, where it has one.
    pub fn get(&self, value: ValueId) -> Option<Grid> {
        self.grids.get(&value).copied()
    }
}

fn grid(seen: &Histogram, held: &Histogram, behind: Behind) -> Option<Grid> {
    if seen.is_odd() || held.is_odd() {
        return None;
    }
    // Of a few samples all may be held out.
    let seen = if seen.is_empty() { held } else { seen };
    if seen.is_empty() {
        return None;
    }
    let spectrum = seen.spectrum();
    let judge = if held.is_empty() {
        seen.spectrum()
    } else {
        held.spectrum()
    };
    let (best, full) = (spectrum.best(behind), spectrum.full());
    let (low, high) = if judge.error(best, behind) <= judge.error(full, behind) {
        best
    } else {
        full
    };
    Some(Grid::over(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(values: impl Iterator<Item = f32>) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.add(&values.collect::<Vec<_>>());
        histogram
    }

    #[test]
    fn samples_that_chose_no_range_judge_both() {
        let narrow = || (0..1_000_000).map(|i| (i % 500) as f32 / 500.0);
        let seen = histogram(narrow().chain([4.0]));
        let cut = grid(&seen, &histogram(narrow()), Behind::Nothing).map(|g| g.high());
        assert!(cut.is_some_and(|high| high < 3.9), "{cut:?}");
        let wide = histogram(narrow().chain((0..5000).map(|_| 4.0)));
        let kept = grid(&seen, &wide, Behind::Nothing).map(|g| g.high());
        assert!(
            kept.is_some_and(|high| (high - 4.0).abs() < 0.1),
            "{kept:?}"
        );
        assert_eq!(
            grid(&histogram([f32::NAN].into_iter()), &seen, Behind::Nothing),
            None
        );
    }
}
