//! Times and costs of a model's layers.

use std::time::Duration;

use sepconv_calibrate::{SurveyedModel, little_time_to_time, timed_until};
use sepconv_eval::LatencyTarget;
use sepconv_latency::{Bench, CostModel, LatencyError, Measured, Precision};
use sepconv_model::{Advice, Deadline, Error, Loaded, Progress};
use sepconv_passes::Families;

use crate::activations::expanded;
use crate::cost::{Costs, Totals, Unit, geometry};

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
    /// True where activations are written as [`expanded`] writes them.
    pub expanded: bool,
    /// Names of layers that stay in floats in any result of that precision.
    pub floats: &'a [String],
    /// Costs of the caller's, for [`Unit::Cost`].
    pub cost: Option<&'a dyn CostModel>,
    /// Seed of synthetic inputs.
    pub seed: u64,
    /// The time by which the work is to end.
    pub deadline: Option<Deadline>,
    /// Told of progress.
    pub progress: &'a dyn Progress,
}

/// A layer is planned in floats as well where it takes so many times its time in the precision of results at most.
const ABOUT: f64 = 1.5;

/// Share of a limited time for which each of two networks is timed beside the other, and seconds at least.
const NETWORK: f64 = 0.01;
const SHORTEST: f64 = 0.12;

/// [`Bench::long`], shorter where the time is limited.
pub fn long_bench(deadline: Option<Deadline>) -> Bench {
    let allowed = deadline.map(|deadline| NETWORK * deadline.allowed().as_secs_f64());
    let enough = allowed.and_then(|s| Duration::try_from_secs_f64(s.max(SHORTEST)).ok());
    Bench::long().enough_at(enough.unwrap_or(Duration::MAX))
}

impl Costing<'_> {
    /// Costs in seconds on the target of the candidates for which `wanted` holds, in the precision of results;
    /// of layers that stay in floats in these.
    ///
    /// # Errors
    /// [`Error::Target`] and [`Error::Latency`] where layers can't be timed.
    pub fn costs(&self, wanted: &dyn Fn(usize, usize) -> bool) -> Result<Costs, Error> {
        let outline = self.outline(&self.surveyed.folded, self.floats)?;
        let folded = outline.as_ref().unwrap_or(&self.surveyed.folded);
        let both = [self.original, folded];
        let bench = match little_time_to_time(self.deadline) {
            true => Bench::hasty(),
            false => long_bench(self.deadline),
        };
        let run = self.latency()?;
        let run = run.time(&both, bench, self.seed, self.progress)?;
        let seconds = |i: usize| run.models.get(i).map_or(f64::NAN, |m| m.timing.min);
        let totals = Totals {
            original: seconds(0),
            folded: seconds(1),
        };
        let blocks = self.blocks()?;
        let mut costs = Costs::measured(self, totals, &blocks, &self.part(false, wanted))?;
        if self.some_stay() {
            let floats = Costs::of_layers(self, &blocks, true, &self.part(true, wanted))?;
            let layers = floats.kept.into_iter().zip(floats.candidates).enumerate();
            for (layer, (kept, candidates)) in layers.filter(|(layer, _)| self.stays(*layer)) {
                costs.kept[layer] = kept;
                costs.candidates[layer] = candidates;
            }
        }
        Ok(costs)
    }

    /// Costs in seconds of layers in floats in a model of the precision of results, conversions included: of those
    /// that are about as fast so, and of the candidates for which `wanted` holds of those that are faster so. `None`
    /// where results are in floats.
    ///
    /// # Errors
    /// As [`Costing::costs`].
    pub fn in_floats(
        &self,
        costs: &Costs,
        wanted: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Option<Costs>, Error> {
        if self.precision.is_none() {
            return Ok(None);
        }
        let blocks = self.blocks()?;
        let none = |_, _| false;
        let mut floats = Costs::of_layers(self, &blocks, true, &none)?;
        for (layer, (own, other)) in floats.kept.iter_mut().zip(&costs.kept).enumerate() {
            let near = |own: f64| other.is_some_and(|other| own <= ABOUT * other);
            let open = self.is_framed(layer) && !self.stays(layer);
            *own = own.filter(|own| open && near(*own));
        }
        let faster = |(own, other): (&Option<f64>, &Option<f64>)| own.is_some() && own < other;
        let faster: Vec<bool> = floats.kept.iter().zip(&costs.kept).map(faster).collect();
        floats.extend(self, &blocks, true, &|layer, c| {
            faster[layer] && wanted(layer, c)
        })?;
        Ok(Some(floats))
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
        let blocks = self.blocks()?;
        costs.extend(self, &blocks, false, &self.part(false, wanted))?;
        if self.some_stay() {
            costs.extend(self, &blocks, true, &self.part(true, wanted))?;
        }
        Ok(())
    }

    /// The candidates for which `wanted` holds, of the layers that stay in floats or of the others.
    fn part(
        &self,
        floats: bool,
        wanted: &dyn Fn(usize, usize) -> bool,
    ) -> impl Fn(usize, usize) -> bool {
        move |layer, candidate| self.stays(layer) == floats && wanted(layer, candidate)
    }

    /// True for a layer that stays in floats in any result of another precision.
    fn stays(&self, layer: usize) -> bool {
        let name = &self.surveyed.survey.layers[layer].name;
        self.precision.is_some() && self.floats.contains(name)
    }

    fn some_stay(&self) -> bool {
        (0..self.surveyed.survey.layers.len()).any(|layer| self.stays(layer))
    }

    /// True for a layer whose block has conversions at its end, where it is in floats.
    fn is_framed(&self, layer: usize) -> bool {
        let site = self.surveyed.survey.layers[layer].site.as_ref().ok();
        let geometry = site.and_then(|(site, _)| geometry(self.surveyed, site));
        geometry.is_some_and(|geometry| geometry.is_framed())
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

    /// A model of the original's as it is timed: with its activations as they are written, in [`Costing::precision`], with
    /// the layers of the names `floats` in floats; `None`: as it is.
    ///
    /// # Errors
    /// [`Error::Latency`] where it has no such form; as [`expanded`].
    pub fn outline(&self, model: &Loaded, floats: &[String]) -> Result<Option<Loaded>, Error> {
        let written = match self.expanded {
            true => expanded(model)?,
            false => None,
        };
        let Some(precision) = self.precision else {
            return Ok(written);
        };
        let model = written.as_ref().unwrap_or(model);
        let outline = precision.outline(&model.document, floats);
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
        let measured = measured.map(Measured::of_those_that_pay);
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
