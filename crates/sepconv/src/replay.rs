//! A saved plan, applied.

use sepconv_calibrate::AS_PLANNED;
use sepconv_model::Error;
use sepconv_passes::{Candidate, Choice, Families, Kept, LayerPlan, PassError, Plan};
use sepconv_spec::SavedPlan;

use crate::compressed::Compressed;
use crate::job::Job;
use crate::materialise::fitted;
use crate::prepared::Prepared;

/// Rewrites the layers of the main graph as `plan` says.
///
/// # Errors
/// [`Error::Pass`] where the plan was edited and names a layer, family or rank that is not there; as
/// [`crate::compress()`] for fits.
pub(crate) fn replay(
    job: &Job<'_>,
    prepared: &Prepared,
    plan: &SavedPlan,
) -> Result<Compressed, Error> {
    let in_floats = plan.in_floats.clone();
    let decided = prepared.bodies.split(plan.plan()).main;
    let families = &job.settings.families;
    let admissible =
        admissible(prepared, families, &decided, &in_floats).map_err(|e| prepared.failed(e))?;
    let decided = completed(prepared, &decided, &admissible).map_err(|e| prepared.failed(e))?;
    let mut made = match &job.settings.calibration {
        Some(calibration) if !admissible.iter().all(Vec::is_empty) => {
            fitted(prepared, &admissible, &AS_PLANNED, job.fitting(calibration))?
        }
        _ => {
            let made = prepared.with(decided, job)?;
            written_as_planned(&made, &admissible).map_err(|e| prepared.failed(e))?;
            return Ok(Compressed { in_floats, ..made });
        }
    };
    made.in_floats = in_floats;
    for (entry, layer) in decided.layers.iter().zip(&mut made.layers) {
        // Reasons found now, such as of a layer that the target can't run, hold.
        if layer.choice == Choice::Keep(Kept::Planned) {
            layer.choice = entry.choice.clone();
        }
    }
    written_as_planned(&made, &admissible).map_err(|e| prepared.failed(e))?;
    Ok(made)
}

/// The plan with an entry for every layer of the survey, in its order, and with the figures that a candidate has
/// here: the file's may be edited, or be of other extents. A layer without an entry stays.
fn completed(
    prepared: &Prepared,
    plan: &Plan,
    admissible: &[Vec<Candidate>],
) -> Result<Plan, PassError> {
    let survey = &prepared.surveyed.survey;
    let mut entries: Vec<Option<&LayerPlan>> = plan.layers.iter().map(Some).collect();
    let layers = survey.layers.iter().zip(admissible);
    let layers = layers.map(|(layer, planned)| {
        let own = entries
            .iter_mut()
            .find(|e| e.is_some_and(|e| e.layer == layer.name));
        let kept = || Choice::Keep(layer.site.as_ref().err().cloned().unwrap_or(Kept::Planned));
        let choice = match (own.and_then(Option::take), planned.first()) {
            (_, Some(candidate)) => Choice::Separate(candidate.clone()),
            (Some(entry), None) => entry.choice.clone(),
            (None, None) => kept(),
        };
        LayerPlan {
            layer: layer.name.clone(),
            choice,
        }
    });
    let layers = layers.collect();
    // Those of no layer are refused before: these are more than there are layers of the name.
    match entries.into_iter().flatten().next() {
        Some(entry) => Err(twice(&entry.layer)),
        None => Ok(Plan { layers }),
    }
}

fn twice(layer: &str) -> PassError {
    PassError::Plan {
        layer: layer.to_owned(),
        reason: "planned twice".into(),
    }
}

/// Refuses layers that were written by another lowering than planned, since that one does not write their chains.
fn written_as_planned(made: &Compressed, admissible: &[Vec<Candidate>]) -> Result<(), PassError> {
    let layers = made.layers.iter().zip(admissible);
    for (layer, planned) in layers {
        let planned = planned
            .first()
            .and_then(|p| p.lowering.as_ref().map(|l| (p, l)));
        if let (Some((candidate, wanted)), Some(written)) = (planned, &layer.lowering)
            && wanted != written
        {
            let (family, rank) = (&candidate.family, candidate.rank);
            return Err(PassError::Plan {
                layer: layer.name.clone(),
                reason: format!(
                    "lowering '{wanted}' does not write family '{family}' of rank {rank}"
                ),
            });
        }
    }
    Ok(())
}

/// The one candidate of every layer that is rewritten, none of the others: parallel to the
/// survey's layers.
fn admissible(
    prepared: &Prepared,
    families: &Families,
    plan: &Plan,
    in_floats: &[String],
) -> Result<Vec<Vec<Candidate>>, PassError> {
    let layers = &prepared.surveyed.survey.layers;
    let mut admissible = vec![Vec::new(); layers.len()];
    for (name, planned) in plan.rewritten() {
        let misfit = |reason: String| PassError::Plan {
            layer: name.to_owned(),
            reason,
        };
        if families.find(&planned.family).is_none() {
            return Err(misfit(format!("no family '{}'", planned.family)));
        }
        let place = layers.iter().position(|l| l.name == name);
        let place = place.ok_or_else(|| misfit("no such convolution".into()))?;
        let site = layers[place].site.as_ref();
        let (_, candidates) = site.map_err(|kept| misfit(kept.to_string()))?;
        let same = |c: &&Candidate| c.is_of_form(planned);
        let (family, rank) = (&planned.family, planned.rank);
        let Some(known) = candidates.iter().find(same) else {
            return Err(misfit(format!("family '{family}' has no rank {rank} here")));
        };
        let opset = prepared.surveyed.folded.document.model.opset();
        match (&planned.lowering, planned.planned()) {
            (Some(name), None) => return Err(misfit(format!("no lowering '{name}'"))),
            (Some(name), Some(lowering)) if lowering.opset() > opset => {
                let least = lowering.opset();
                return Err(misfit(format!(
                    "lowering '{name}' needs ONNX opset {least}"
                )));
            }
            _ => {}
        }
        if !admissible[place].is_empty() {
            return Err(twice(name));
        }
        admissible[place].push(Candidate {
            lowering: planned.lowering.clone(),
            ..known.clone()
        });
    }
    let known = |name: &str| layers.iter().any(|l| l.name == name);
    let kept = plan
        .layers
        .iter()
        .filter(|l| matches!(l.choice, Choice::Keep(_)));
    let left = kept.into_iter().map(|l| &l.layer).chain(in_floats);
    match left.into_iter().find(|layer| !known(layer)) {
        Some(odd) => Err(PassError::Plan {
            layer: odd.clone(),
            reason: "no such convolution".into(),
        }),
        None => Ok(admissible),
    }
}
