//! A saved plan, applied.

use sepconv_calibrate::AS_PLANNED;
use sepconv_model::Error;
use sepconv_passes::{Candidate, Choice, Families, Kept, PassError, Plan};
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
    let mut made = match &job.settings.calibration {
        Some(calibration) if !admissible.iter().all(Vec::is_empty) => {
            fitted(prepared, &admissible, &AS_PLANNED, job.fitting(calibration))?
        }
        _ => {
            let made = prepared.with(decided, job)?;
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
    Ok(made)
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
        let same = |c: &&Candidate| c.family == planned.family && c.rank == planned.rank;
        let (family, rank) = (&planned.family, planned.rank);
        if !candidates.iter().any(|c| same(&c)) {
            return Err(misfit(format!("family '{family}' has no rank {rank} here")));
        }
        let opset = prepared.surveyed.folded.document.model.opset();
        match (&planned.lowering, planned.planned()) {
            (Some(name), None) => return Err(misfit(format!("no lowering '{name}'"))),
            (Some(name), Some(known)) if known.opset() > opset => {
                let least = known.opset();
                return Err(misfit(format!(
                    "lowering '{name}' needs ONNX opset {least}"
                )));
            }
            _ => {}
        }
        if !admissible[place].is_empty() {
            return Err(misfit("planned twice".into()));
        }
        admissible[place].push(planned.clone());
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
