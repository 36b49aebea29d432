//! The one search, and the goals that it serves.

use std::ops::ControlFlow;

use sepconv_calibrate::{Fitting, Score, SurveyedModel, score};
use sepconv_model::{Advice, Deadline, Error, Stage, step};
use sepconv_planning::{
    Costing, Losses, Planning, Rounding, Solution, Unit, expected_losses, losses_by_weights, thin,
};
use sepconv_spec::{CalibrationSettings, Try};

use super::floats::saved_by_floats;
use crate::compressed::Compressed;
use crate::job::Job;
use crate::materialise::materialise;
use crate::prepared::Prepared;
use crate::quantizing::rounding;

/// Tries that a search takes where its goal does not say.
pub(super) const TRIES: usize = 6;

/// Share of the time by which a search ends whose plan is fitted afterwards, and by which one ends that fits every plan.
const PLANNED: f64 = 0.6;
pub(super) const TRIED: f64 = 0.85;
/// The same while no plan holds.
pub(super) const UNMET: f64 = 1.2;
/// Share of the time behind which plans may be missing that would pay.
const SHORT: f64 = 0.5;
/// Share of the original's time by which layers in floats may save less than their blocks say.
const NEAR: f64 = 0.01;
/// Time of a try over that of the one before, at most: plans that rewrite more take longer.
pub(super) const LONGER: f64 = 1.5;

/// The aim of a plan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim {
    /// Cost as a fraction of the original's.
    pub fraction: f64,
    /// Share of the saved cost that is to be saved time, where layers were timed.
    pub share: f64,
}

/// A goal of a search.
pub(super) trait Goal {
    /// Name of the search, for progress.
    fn stage(&self) -> &'static str;

    /// Tries at most.
    fn most(&self) -> usize {
        TRIES
    }

    /// Share of the time by which tries are to end.
    fn end(&self) -> f64 {
        PLANNED
    }

    /// Time of the next try over that of the last, at most.
    fn longer(&self) -> f64 {
        LONGER
    }

    /// True while the next plan is to be tried whatever the time: none has been measured.
    fn waits(&self) -> bool {
        false
    }

    /// The aim of the next plan; `None` ends the search.
    fn aim(&mut self, planning: &Planning) -> Option<Aim>;

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
    /// True once layers in floats were measured to save as much as their blocks say.
    floats_hold: bool,
    /// True where no plan was begun, since its quantisation would take longer than is left.
    no_time: bool,
}

impl<'a> Search<'a> {
    /// Collects statistics, weighs and costs all candidates of `prepared`, which are thinned out.
    pub fn new(
        job: &'a Job<'a>,
        prepared: &'a mut Prepared,
        calibration: Option<&'a CalibrationSettings>,
        unit: Unit,
    ) -> Result<Self, Error> {
        let rounding = rounding(job)?;
        let fitting = calibration.map(|calibration| job.fitting(calibration));
        thin(&mut prepared.surveyed, job.channel_step());
        let scores = step("collect", || collect(&mut prepared.surveyed, fitting))?;
        let prepared = &*prepared;
        let losses = step("sensitivity", || {
            sensitivity(&prepared.surveyed, scores, fitting, &rounding)
        })?;
        let costing = job.costing(&prepared.surveyed, unit)?;
        let planning = step("cost", || Planning::new(&costing, losses))?;
        Ok(Self {
            job,
            prepared,
            calibration,
            costing,
            planning,
            floats_hold: false,
            no_time: false,
        })
    }

    /// Tries plans until the goal has seen enough.
    pub(super) fn run(mut self, mut goal: impl Goal) -> Result<Compressed, Error> {
        let mut tries = Vec::new();
        step("search", || {
            let stage = Stage::begin(self.job.progress, goal.stage(), goal.most());
            for done in 0..goal.most() {
                stage.step(done)?;
                let begun = self.spent();
                // Every plan is quantised.
                let takes = self.quantising();
                if done == 0 && takes > 0.0 && begun + takes > goal.end() {
                    self.no_time = true;
                    break;
                }
                let Some(aim) = goal.aim(&self.planning) else {
                    break;
                };
                let found = self.solved(aim);
                let (flow, tried) = goal.consider(found, &self)?;
                log(&tried);
                tries.push(tried);
                let now = self.spent();
                let is_over = now + goal.longer() * (now - begun) > goal.end();
                if flow.is_break() || (is_over && !goal.waits()) {
                    break;
                }
            }
            Ok(())
        })?;
        let made = step("fit", || goal.conclude(&self))?;
        Ok(Compressed { tries, ..made })
    }

    /// The plan of an aim. The first one with layers in floats is timed with these and without: runtimes choose layouts for
    /// a whole network, and a layer in floats may cost others more than its block says. No plan has any then.
    ///
    /// # Errors
    /// As [`Planning::solve_near`], and [`Error::Target`] where the plan can't be timed.
    pub fn solved(&mut self, aim: Aim) -> Result<Solution, Error> {
        let Aim { fraction, share } = aim;
        let found = self.planning.solve_near(&self.costing, fraction, share)?;
        let Some(expected) = self.planning.saved_by_floats(&found) else {
            return Ok(found);
        };
        if !self.floats_hold {
            let saved = saved_by_floats(self.job, self.prepared, &self.costing, &found)?;
            self.floats_hold = saved >= expected - NEAR;
        }
        if self.floats_hold {
            return Ok(found);
        }
        self.planning.without_floats();
        self.planning.solve_near(&self.costing, fraction, share)
    }

    /// Share of the time that is over, where it is limited.
    fn spent(&self) -> f64 {
        self.job.settings.deadline.map_or(0.0, Deadline::spent)
    }

    /// The error that no plan was measured.
    pub(super) fn no_plan(&self) -> Error {
        self.nothing(match self.no_time {
            true => "there was no time for a plan",
            false => "no rewrite pays",
        })
    }

    /// The error that nothing pays; where much of a limited time is over, with that advice.
    pub(super) fn nothing(&self, reason: impl Into<String>) -> Error {
        let nothing = self.job.nothing(reason);
        match self.spent() > SHORT {
            true => nothing.advising(Advice::GiveMoreTime),
            false => nothing,
        }
    }

    /// Share of the time that the quantisation of a plan takes; 0 in floats.
    fn quantising(&self) -> f64 {
        let deadline = self.job.settings.deadline;
        deadline.map_or(0.0, |deadline| deadline.share_of(self.job.quantising()))
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
        made.set_times(&times);
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
    surveyed.keep_unfitted(scores.iter().map(|s| s.kept.as_ref()))?;
    Ok(Some(scores))
}

/// Losses at the outputs that are expected of all candidates: by their scores, else by the energy
/// that they keep.
fn sensitivity(
    surveyed: &SurveyedModel,
    scores: Option<Vec<Score>>,
    fitting: Option<Fitting<'_>>,
    rounding: Rounding<'_>,
) -> Result<Losses, Error> {
    match scores.zip(fitting) {
        Some((scores, fitting)) => expected_losses(surveyed, scores, fitting, rounding),
        None => Ok(losses_by_weights(surveyed)),
    }
}

/// Tells the log of a try: where nothing is written no report does.
fn log(tried: &Try) {
    tracing::debug!(
        target: "sepconv::search",
        asked = tried.asked,
        fraction = tried.fraction,
        expected_loss = tried.expected_loss,
        measured = tried.measured,
        limit = tried.limit,
        holds = tried.holds,
    );
}

/// True for a plan that rewrites nothing and has no layer in floats.
pub(super) fn is_empty(solution: &Solution) -> bool {
    solution.chosen.iter().all(Option::is_none) && !solution.floats.contains(&true)
}
