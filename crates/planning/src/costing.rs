//! Times and costs of a model's layers.

use sepconv_calibrate::{SurveyedModel, little_time_to_time, timed_until};
use sepconv_eval::LatencyTarget;
use sepconv_latency::{Bench, CostModel, LatencyError, Measured, Precision};
use sepconv_model::{Advice, Deadline, Error, Loaded, Progress};
use sepconv_passes::Families;

use crate::cost::{Costs, Totals, Unit};

/// A model, and how its layers are timed and costed.
#[derive(Clone, Copy)]
pub struct Costing<'a> {
    /// The model as it came.
    pub original: &'a Loaded,
    /// The folded model with its candidates.
    pub surveyed: &'a SurveyedModel,
    /// The families that candidates are of.
    pub families: &'a Families,
    /// The unit of the budget.
    pub unit: Unit,
    /// The runtime that layers are timed on; `None` times none.
    pub latency: Option<LatencyTarget>,
    /// The precision that results are computed in and layers are timed in; `None`: that of their weights.
    pub precision: Option<&'static dyn Precision>,
    /// Costs of the caller's, for [`Unit::Cost`].
    pub cost: Option<&'a dyn CostModel>,
    /// Seed of synthetic inputs.
    pub seed: u64,
    /// The time by which the work is to end.
    pub deadline: Option<Deadline>,
    /// Told of progress.
    pub progress: &'a dyn Progress,
}

impl Costing<'_> {
    /// Costs in seconds on the target of the candidates for which `wanted` holds.
    ///
    /// # Errors
    /// [`Error::Target`] and [`Error::Latency`] where layers can't be timed.
    pub fn costs(&self, wanted: &dyn Fn(usize, usize) -> bool) -> Result<Costs, Error> {
        let outline = self.outline(&self.surveyed.folded)?;
        let folded = outline.as_ref().unwrap_or(&self.surveyed.folded);
        let both = [self.original, folded];
        let run = self
            .latency()?
            .time(&both, Bench::long(), self.seed, self.progress)?;
        let seconds = |i: usize| run.models.get(i).map_or(f64::NAN, |m| m.timing.min);
        let totals = Totals {
            original: seconds(0),
            folded: seconds(1),
        };
        Costs::measured(self, totals, &self.blocks()?, wanted)
    }

    /// Adds the candidates for which `wanted` holds to such costs.
    ///
    /// # Errors
    /// As [`Costing::costs`].
    pub fn more(
        &self,
        costs: &mut Costs,
        wanted: &dyn Fn(usize, usize) -> bool,
    ) -> Result<(), Error> {
        costs.extend(self, &self.blocks()?, wanted)
    }

    /// Costs in the unit of the budget, of the candidates that pay where layers were timed.
    ///
    /// # Errors
    /// [`Error::Setting`] where there is no cost model for [`Unit::Cost`].
    pub fn budgeted(&self, timed: Option<&Costs>) -> Result<Costs, Error> {
        let costs = match (self.unit, timed) {
            (Unit::Latency, Some(timed)) => return Ok(timed.clone()),
            (Unit::Cost, _) => {
                let cost = self.cost.ok_or_else(|| {
                    Error::Setting("a budget of cost needs a cost model (Settings::cost)".into())
                })?;
                Costs::modelled(self, cost)?
            }
            (unit, _) => Costs::counted(self.original, self.surveyed, unit),
        };
        Ok(match timed {
            Some(timed) => costs.paying(timed, self.unit),
            None => costs,
        })
    }

    /// A model of the original's as it is timed in [`Costing::precision`]; `None`: as it is.
    ///
    /// # Errors
    /// [`Error::Latency`] where it has no such form.
    pub fn outline(&self, model: &Loaded) -> Result<Option<Loaded>, Error> {
        let Some(precision) = self.precision else {
            return Ok(None);
        };
        let outline = precision.outline(&model.document);
        let outline = outline.map_err(|source| Error::Latency {
            file: model.file(),
            source: Box::new(LatencyError::Precision {
                block: precision.name().into(),
                source,
            }),
        })?;
        model.with(outline).map(Some)
    }

    fn latency(&self) -> Result<LatencyTarget, Error> {
        self.latency.ok_or_else(|| {
            let error = Error::Setting("a latency budget needs a target".into());
            error.advising(Advice::GiveLatencyTarget)
        })
    }

    /// The timer of blocks.
    fn blocks(&self) -> Result<Measured, Error> {
        let latency = self.latency()?;
        let until = timed_until(self.deadline);
        let measured = Measured::new(latency.target, latency.threads, self.precision);
        let measured = measured.map(|measured| match little_time_to_time(self.deadline) {
            true => measured.with_bench(Bench::hasty()).until(until),
            false => measured.until(until),
        });
        measured.map_err(|source| Error::Latency {
            file: self.original.file(),
            source: source.into(),
        })
    }
}
