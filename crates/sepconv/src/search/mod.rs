//! The decision of a budget.
//!
//! A budget that holds per layer is decided layer by layer ([`per_layer`]). Any other is allocated
//! over all layers by one search: a [`Goal`] names the cost of the next plan, the plan with the least
//! expected loss within it is found, and the goal considers that plan, until it has seen enough. There
//! are three kinds of goal: a cost that is counted ([`counted`]), a cost that is measured on the
//! planned model ([`measured`]), and an acceptance criterion that the fitted model has to meet
//! ([`judged`]).

mod acceptance;
mod counted;
mod judged;
mod measured;
mod per_layer;

use std::ops::ControlFlow;

use sepconv_calibrate::{Fitting, Score, SurveyedModel, score};
use sepconv_model::{Error, Stage, Unshaped};
use sepconv_passes::PassError;
use sepconv_planning::{
    Costing, Costs, Planning, Solution, Unit, expected_losses, losses_by_weights, thin,
};
use sepconv_spec::{CalibrationSettings, LayerTime, Try};

use crate::compressed::Compressed;
use crate::job::Job;
use crate::materialise::materialise;
use crate::pipeline::step;
use crate::prepared::Prepared;
use crate::settings::{Budget, DataFree};

use acceptance::Acceptance;
use counted::Counted;
use judged::Judged;
use measured::Measured;

/// Tries that a search takes where its goal does not say.
const TRIES: usize = 6;

/// Rewrites the layers of the main graph so that the budget is met.
///
/// # Errors
/// [`Error::UnknownShapes`] and [`Error::Nothing`] where no layer can be rewritten, [`Error::Pass`]
/// where the budget is out of range or can't be met; as [`crate::compress()`].
pub(crate) fn decide(job: &Job<'_>, prepared: &mut Prepared) -> Result<Compressed, Error> {
    if is_per_layer(job.settings.budget) && prepared.only_in_bodies() {
        return decide_with(job, prepared, None);
    }
    check_layers(job, prepared)?;
    let calibration = job.fitted_to(&prepared.surveyed);
    let unasked = job.settings.calibration.is_none()
        && calibration.is_some()
        && matches!(job.settings.data_free, DataFree::Auto(_));
    match decide_with(job, prepared, calibration.as_ref()) {
        // Nobody asked for a run: layers that a runtime can't run are decomposed by their weights.
        Err(Error::Target { .. }) if unasked => decide_with(job, prepared, None),
        other => other,
    }
}

fn is_per_layer(budget: Budget) -> bool {
    matches!(budget, Budget::Rank(_) | Budget::Energy(_))
}

/// Refuses models of which no layer can be rewritten.
fn check_layers(job: &Job<'_>, prepared: &Prepared) -> Result<(), Error> {
    let budget = job.settings.budget;
    // Parameters and bytes are counted without shapes.
    let counts_macs =
        !is_per_layer(budget) && !matches!(budget, Budget::TargetParams(_) | Budget::TargetSize(_));
    let surveyed = &prepared.surveyed;
    if counts_macs && let Some(unshaped) = Unshaped::all(&surveyed.folded, &surveyed.survey) {
        return Err(Error::UnknownShapes {
            file: job.model.file(),
            unshaped,
        });
    }
    if !is_per_layer(budget) && surveyed.survey.sites().next().is_none() {
        let what = match prepared.bodies.names().next() {
            Some(_) => "can be rewritten",
            None => "qualifies",
        };
        let reasons = prepared.reasons();
        return Err(job.nothing(format!("no convolution {what}: {reasons}")));
    }
    Ok(())
}

fn decide_with(
    job: &Job<'_>,
    prepared: &mut Prepared,
    calibration: Option<&CalibrationSettings>,
) -> Result<Compressed, Error> {
    if let Some(planner) = &job.settings.planner {
        return per_layer::by_planner(job, prepared, calibration, &**planner);
    }
    match job.settings.budget {
        Budget::Rank(rank) => per_layer::uniform(job, prepared, calibration, rank),
        Budget::Energy(energy) => per_layer::energy(job, prepared, calibration, energy),
        Budget::TargetMacs(f) => to_fraction(job, prepared, calibration, Unit::Macs, f),
        Budget::TargetParams(f) => to_fraction(job, prepared, calibration, Unit::Params, f),
        Budget::TargetSize(f) => to_fraction(job, prepared, calibration, Unit::Size, f),
        Budget::TargetLatency(f) => to_fraction(job, prepared, calibration, Unit::Latency, f),
        Budget::TargetCost(f) => to_fraction(job, prepared, calibration, Unit::Cost, f),
        Budget::MaxDrop(_) | Budget::MinSnr(_) => {
            let criterion = step("reference", || Acceptance::new(job, calibration))?;
            let search = Search::new(job, prepared, calibration, job.settings.unit())?;
            let least = search.planning.least();
            search.run(Judged::new(criterion, least))
        }
    }
}

/// The model of least loss that costs at most `fraction` of the original.
fn to_fraction(
    job: &Job<'_>,
    prepared: &mut Prepared,
    calibration: Option<&CalibrationSettings>,
    unit: Unit,
    fraction: f64,
) -> Result<Compressed, Error> {
    if !(fraction > 0.0 && fraction < 1.0) {
        return Err(prepared.failed(PassError::Budget(fraction)));
    }
    let counted = matches!(unit, Unit::Macs | Unit::Params | Unit::Size);
    if counted {
        // Known before the work that scores the candidates.
        let least = Costs::counted(&job.model, &prepared.surveyed, unit).least();
        if fraction < least {
            let target = fraction;
            return Err(prepared.failed(PassError::Unreachable { target, least }));
        }
    }
    let search = Search::new(job, prepared, calibration, unit)?;
    let exact = matches!(unit, Unit::Macs | Unit::Params | Unit::Cost);
    match exact && job.settings.latency.is_none() {
        true => search.run(Counted::new(fraction)),
        false => search.run(Measured::new(fraction)),
    }
}

/// The aim of a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim {
    /// Cost as a fraction of the original's.
    pub fraction: f64,
    /// Share of the saved cost that is to be saved time, where layers were timed.
    pub share: f64,
}

/// A goal of a search.
trait Goal {
    /// Name of the search, for progress.
    fn stage(&self) -> &'static str;

    /// Tries at most.
    fn most(&self) -> usize {
        TRIES
    }

    /// The aim of the next plan; `None` ends the search.
    fn aim(&mut self) -> Option<Aim>;

    /// Considers the plan of the last aim, or the error that there is none. A break ends the search;
    /// the try goes on record.
    fn consider(
        &mut self,
        found: Result<Solution, Error>,
        search: &Search<'_>,
    ) -> Result<(ControlFlow<()>, Try), Error>;

    /// The model of the best plan that was considered.
    fn conclude(self, search: &Search<'_>) -> Result<Compressed, Error>;
}

/// A search over plans for one model.
pub(crate) struct Search<'a> {
    pub job: &'a Job<'a>,
    pub prepared: &'a Prepared,
    pub calibration: Option<&'a CalibrationSettings>,
    pub costing: Costing<'a>,
    pub planning: Planning,
}

impl<'a> Search<'a> {
    /// Collects statistics, weighs and costs all candidates of `prepared`, which are thinned out.
    pub fn new(
        job: &'a Job<'a>,
        prepared: &'a mut Prepared,
        calibration: Option<&'a CalibrationSettings>,
        unit: Unit,
    ) -> Result<Self, Error> {
        let fitting = calibration.map(|calibration| job.fitting(calibration));
        thin(&mut prepared.surveyed, job.channel_step());
        let scores = step("collect", || collect(&mut prepared.surveyed, fitting))?;
        let prepared = &*prepared;
        let losses = step("sensitivity", || {
            sensitivity(&prepared.surveyed, scores, fitting)
        })?;
        let costing = job.costing(&prepared.surveyed, unit);
        let planning = step("cost", || Planning::new(&costing, losses))?;
        Ok(Self {
            job,
            prepared,
            calibration,
            costing,
            planning,
        })
    }

    /// Tries plans until the goal has seen enough.
    fn run(mut self, mut goal: impl Goal) -> Result<Compressed, Error> {
        let mut tries = Vec::new();
        step("search", || {
            let stage = Stage::begin(self.job.progress, goal.stage(), goal.most());
            for done in 0..goal.most() {
                stage.step(done)?;
                let Some(aim) = goal.aim() else { break };
                let found = self
                    .planning
                    .solve_near(&self.costing, aim.fraction, aim.share);
                let (flow, tried) = goal.consider(found, &self)?;
                tries.push(tried);
                if flow.is_break() {
                    break;
                }
            }
            Ok(())
        })?;
        let made = step("fit", || goal.conclude(&self))?;
        Ok(Compressed { tries, ..made })
    }

    /// The model that a solution plans.
    pub fn materialise(&self, solution: Solution) -> Result<Compressed, Error> {
        let planning = Some(&self.planning);
        let mut made = materialise(
            self.prepared,
            planning,
            solution,
            self.calibration,
            self.job,
        )?;
        let times = self.planning.times(&self.prepared.surveyed, &made.plan());
        for layer in &mut made.layers {
            layer.time = times.get(&layer.name).map(|(before, after)| LayerTime {
                before: *before,
                after: *after,
            });
        }
        Ok(made)
    }
}

/// Scores of all candidates, where there is data; layers that can't be fitted stay.
fn collect(
    surveyed: &mut SurveyedModel,
    fitting: Option<Fitting<'_>>,
) -> Result<Option<Vec<Score>>, Error> {
    let Some(fitting) = fitting else {
        return Ok(None);
    };
    let scores = score(surveyed, fitting)?;
    surveyed.keep_unfitted(&scores)?;
    Ok(Some(scores))
}

/// Losses at the outputs that are expected of all candidates: by their scores, else by the energy
/// that they keep.
fn sensitivity(
    surveyed: &SurveyedModel,
    scores: Option<Vec<Score>>,
    fitting: Option<Fitting<'_>>,
) -> Result<Vec<Vec<f64>>, Error> {
    match scores.zip(fitting) {
        Some((scores, fitting)) => expected_losses(surveyed, scores, fitting),
        None => Ok(losses_by_weights(surveyed)),
    }
}

/// Whether a plan rewrites nothing.
fn is_empty(solution: &Solution) -> bool {
    solution.chosen.iter().all(Option::is_none)
}
