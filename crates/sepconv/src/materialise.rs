//! Plans made into models.

use std::cell::RefCell;

use sepconv_calibrate::{Committed, Fitting, Revision, calibrate};
use sepconv_model::Error;
use sepconv_passes::{Candidate, Choice, Kept, Plan};
use sepconv_planning::{Planning, Solution};
use sepconv_spec::{CalibrationSettings, Effort};

use crate::compressed::Compressed;
use crate::job::Job;
use crate::prepared::Prepared;

/// The rest of the budget is planned again after every layer of up to so many; of more, about
/// [`OF_MANY`] times, since the time of a plan grows with the layers.
const REPLANNED: usize = 64;
const OF_MANY: usize = 16;

/// The model that a solution plans: fitted to data, or with weights of the data-free
/// decomposition. The part that fits leave of the budget, because another family was better for less, is
/// spent on the layers that follow where the planning is there.
///
/// # Errors
/// As [`calibrate`]; [`Error::Pass`] where a chain can't be written.
pub(crate) fn materialise(
    prepared: &Prepared,
    planning: Option<&Planning>,
    solution: Solution,
    calibration: Option<&CalibrationSettings>,
    job: &Job<'_>,
) -> Result<Compressed, Error> {
    let rewrites = solution.chosen.iter().any(Option::is_some);
    let Some(calibration) = calibration.filter(|_| rewrites) else {
        let made = prepared.with(plan(prepared, |i| solution.chosen[i].clone()), job)?;
        return Ok(Compressed {
            in_floats: in_floats(prepared, &solution),
            solution: Some(solution),
            ..made
        });
    };
    let all = solution.chosen.iter().zip(&solution.alternatives);
    let all = all.map(|(own, others)| own.iter().chain(others).cloned().collect());
    let effort = calibration.effort;
    let planned = within_reach(prepared, all.collect(), effort);
    let layers = solution.chosen.iter().flatten().count();
    let every = match layers {
        0..=REPLANNED => 1,
        _ => layers.div_ceil(OF_MANY),
    };
    let last = RefCell::new(None);
    let revise = |committed: &Committed| {
        let mut last = last.borrow_mut();
        if committed.len().is_multiple_of(every) {
            let again = planning?.replan(&solution, committed);
            *last = again.map(|again| within_reach(prepared, again, effort));
        }
        last.clone()
    };
    let made = fitted(prepared, &planned, &revise, job.fitting(calibration))?;
    Ok(Compressed {
        in_floats: in_floats(prepared, &solution),
        solution: Some(solution),
        ..made
    })
}

/// Names of the layers that a solution has in floats.
pub(crate) fn in_floats(prepared: &Prepared, solution: &Solution) -> Vec<String> {
    let layers = prepared.surveyed.survey.layers.iter();
    let all = layers.zip(&solution.floats);
    let left = all.filter(|(_, floats)| **floats);
    left.map(|(layer, _)| layer.name.clone()).collect()
}

/// Fits every layer to data with the best of its admissible candidates.
///
/// # Errors
/// As [`calibrate`].
pub(crate) fn fitted(
    prepared: &Prepared,
    admissible: &[Vec<Candidate>],
    revise: Revision<'_>,
    fitting: Fitting<'_>,
) -> Result<Compressed, Error> {
    let surveyed = &prepared.surveyed;
    let result = calibrate(surveyed, admissible, revise, fitting)?;
    let model = surveyed.folded.with(result.document)?;
    Ok(Compressed {
        calibration: Some(fitting.calibration.clone()),
        ..Compressed::of(model, result.layers, prepared.norms)
    })
}

/// Of the candidates of every layer, the one planned first, those that are fitted.
fn within_reach(
    prepared: &Prepared,
    mut all: Vec<Vec<Candidate>>,
    effort: Effort,
) -> Vec<Vec<Candidate>> {
    for (layer, candidates) in all.iter_mut().enumerate() {
        let alternatives = match effort {
            Effort::Quick => 0,
            _ => alternatives_of(prepared, layer),
        };
        candidates.truncate(alternatives.saturating_add(1));
    }
    all
}

/// Number of candidates of other families that are fitted beside the chosen one: by the length of
/// a patch, since the time of a fit grows as its cube.
fn alternatives_of(prepared: &Prepared, layer: usize) -> usize {
    let site = prepared.surveyed.survey.layers[layer].site.as_ref();
    let patch = site.map_or(0, |(site, _)| site.kernel.group_in() * site.kernel.taps());
    match patch {
        0..=1152 => usize::MAX,
        1153..=2304 => 2,
        _ => 0,
    }
}

/// The plan that takes the candidate that `chosen` names for a layer of the survey.
pub(crate) fn plan(
    prepared: &Prepared,
    mut chosen: impl FnMut(usize) -> Option<Candidate>,
) -> Plan {
    Plan::choosing(&prepared.surveyed.survey, |i, _| {
        chosen(i).map_or(Choice::Keep(Kept::Planned), Choice::Separate)
    })
}
