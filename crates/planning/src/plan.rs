//! Costs and expected losses of all candidates, from which budgets are solved.

use std::collections::BTreeMap;

use sepconv_calibrate::SurveyedModel;
use sepconv_factor::random::Mmix;
use sepconv_model::Error;
use sepconv_passes::{Candidate, Plan};

use crate::candidates::{promising, timed_at_first};
use crate::cost::{Costs, Unit};
use crate::costing::Costing;
use crate::losses::Losses;
use crate::solution::{Solution, Terms};

/// Costs and expected losses of a model's candidates: budgets are solved without running it again.
pub struct Planning {
    pub(crate) costs: Costs,
    /// Seconds on the settings' target, where there is one.
    pub(crate) timed: Option<Costs>,
    pub(crate) losses: Losses,
    /// Seconds of layers in floats in a model of another precision, where they are planned so.
    pub(crate) floats: Option<Costs>,
    pub(crate) candidates: Vec<Vec<Candidate>>,
    /// Costs are counted, and so known without a measurement.
    pub(crate) counted: bool,
    /// Per layer and candidate: true where it is timed.
    pub(crate) looked: Vec<Vec<bool>>,
}

impl Planning {
    /// Costs all candidates of the surveyed model, of which `losses` are expected. Where time is budgeted and results
    /// are of another precision, layers may also stay in floats.
    ///
    /// # Errors
    /// [`Error::Target`] and [`Error::Latency`] where layers can't be timed, [`Error::Setting`]
    /// where the unit needs a target or a cost model that is not there, [`Error::Cancelled`].
    pub fn new(costing: &Costing<'_>, losses: Losses) -> Result<Self, Error> {
        let most = timed_at_first(costing.deadline);
        let mut looked = promising(costing.surveyed, &losses.candidates, most);
        // Dropped candidates are not timed either.
        let all = looked
            .iter_mut()
            .flatten()
            .zip(losses.candidates.iter().flatten());
        all.for_each(|(looked, loss)| *looked &= loss.is_finite());
        let timed = match costing.latency {
            None if costing.unit != Unit::Latency => None,
            _ => {
                let wanted = |layer: usize, candidate: usize| looked[layer][candidate];
                Some(costing.costs(&wanted)?)
            }
        };
        let mut costs = costing.budgeted(timed.as_ref())?;
        costs.drop_infinite(&losses.candidates);
        let floats = match (costing.unit, &timed) {
            (Unit::Latency, Some(timed)) => {
                costing.in_floats(timed, &|layer, candidate| looked[layer][candidate])?
            }
            _ => None,
        };
        let layers = costing.surveyed.survey.layers.iter();
        let candidates = layers.map(|layer| match &layer.site {
            Ok((_, candidates)) => candidates.clone(),
            Err(_) => Vec::new(),
        });
        Ok(Self {
            costs,
            timed,
            losses,
            floats,
            candidates: candidates.collect(),
            counted: matches!(costing.unit, Unit::Macs | Unit::Params),
            looked,
        })
    }

    /// Seconds of a plan's rewritten layers before and after, where they were timed.
    pub fn times(&self, surveyed: &SurveyedModel, plan: &Plan) -> BTreeMap<String, (f64, f64)> {
        let timed = self.timed.as_ref();
        timed.map_or_else(BTreeMap::new, |costs| costs.of_plan(surveyed, plan))
    }

    /// The least fraction of the original's cost that can be reached.
    pub fn least(&self) -> f64 {
        self.costs.least()
    }

    /// The share of the original's cost that layers of a solution do not save which stay in `plan`, since they
    /// could not be fitted.
    pub fn unsaved(
        &self,
        chosen: &[Option<Candidate>],
        surveyed: &SurveyedModel,
        plan: &Plan,
    ) -> f64 {
        let stays = |name: &str| plan.rewritten().all(|(layer, _)| layer != name);
        let layers = surveyed.survey.layers.iter().zip(chosen).enumerate();
        let lost = layers.filter_map(|(place, (layer, chosen))| {
            let chosen = chosen.as_ref().filter(|_| stays(&layer.name))?;
            let candidate = self.place(place, chosen)?;
            Some(self.costs.of(place, None)? - self.costs.of(place, Some(candidate))?)
        });
        lost.sum::<f64>() / self.costs.original
    }

    /// The fraction of the original's cost of the model with no layer rewritten.
    pub fn unrewritten(&self) -> f64 {
        self.costs.total / self.costs.original
    }

    /// The time that the layers of a solution which stay in floats save so, by their blocks, as a share of the
    /// original's; negative where they take more. `None` where none stays.
    pub fn saved_by_floats(&self, solution: &Solution) -> Option<f64> {
        let layers = solution.floats.iter().enumerate();
        let left = layers.filter(|(_, floats)| **floats).map(|(layer, _)| {
            let chosen = solution.chosen[layer].as_ref();
            self.saved_in_floats(layer, chosen)
        });
        let saved: Vec<f64> = left.collect();
        (!saved.is_empty()).then(|| saved.into_iter().sum())
    }

    /// Plans no layer in floats any more.
    pub fn without_floats(&mut self) {
        self.floats = None;
    }

    /// The expected loss of the model with no layer rewritten: that of rounding it.
    pub fn unrewritten_loss(&self) -> f64 {
        self.losses.unrewritten()
    }

    /// A plan that takes an arbitrary candidate of about half of the layers, with its
    /// predicted loss, to compare with the measured one.
    pub fn arbitrary(&self, seed: u64) -> Solution {
        let mut generator = Mmix::new(seed);
        let mut draw = |n: usize| generator.below(n);
        let mut loss = 0.0;
        let mut chosen = Vec::new();
        for (candidates, losses) in self.candidates.iter().zip(&self.losses.candidates) {
            let all = 0..candidates.len().min(losses.len());
            // The others were dropped.
            let known: Vec<usize> = all.filter(|i| losses[*i].is_finite()).collect();
            let one = (!known.is_empty() && draw(2) == 0).then(|| known[draw(known.len())]);
            loss += one.map_or(0.0, |i| losses[i]);
            chosen.push(one.map(|i| candidates[i].clone()));
        }
        Solution {
            fraction: 1.0,
            loss,
            bound: loss,
            time: None,
            floats: vec![false; chosen.len()],
            alternatives: Vec::new(),
            terms: Terms {
                fraction: 1.0,
                multiplier: 0.0,
            },
            chosen,
        }
    }
}
