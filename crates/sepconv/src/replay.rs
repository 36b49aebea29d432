//! A saved plan, applied.

use sepconv_passes::{Candidate, Choice, Families, Kept, PassError, Plan};

use crate::budget::fitted;
use crate::calibrate::AS_PLANNED;
use crate::compress::{Compressed, spectra};
use crate::error::Error;
use crate::loaded::Loaded;
use crate::prepared::Prepared;
use crate::progress::Progress;
use crate::saved_plan::SavedPlan;
use crate::settings::Settings;

/// Rewrites `model` as `plan` says.
///
/// # Errors
/// [`Error::Plan`] where the plan is for another model; [`Error::Pass`] where it was edited and
/// names a layer, family or rank that is not there; as [`crate::compress()`] for fits.
pub(crate) fn replay(
    model: &Loaded,
    plan: &SavedPlan,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    plan.check(model)?;
    let settings = &plan.settings(settings)?;
    let prepared = Prepared::new(model, settings, progress)?;
    let mut plan = plan.plan();
    let inner = prepared.bodies.split(&mut plan);
    let families = &settings.families;
    let admissible = admissible(&prepared, families, &plan).map_err(|e| prepared.failed(e))?;
    let spectra = spectra(&prepared.survey);
    let compressed = match &settings.calibration {
        Some(calibration) => fitted(
            &prepared,
            (&admissible, &AS_PLANNED),
            settings,
            calibration,
            progress,
        )?,
        None => prepared.with(plan.clone(), settings)?,
    };
    // What the target can't run stayed.
    for (entry, made) in plan.layers.iter_mut().zip(&compressed.plan.layers) {
        if let Choice::Keep(Kept::Unrunnable(_)) = &made.choice {
            entry.choice = made.choice.clone();
        }
    }
    let compressed = Compressed {
        plan,
        spectra,
        dropped: prepared.all_dropped(),
        ..compressed
    };
    prepared.bodies.rewrite(model, compressed, inner, settings)
}

/// The one candidate of every layer that is rewritten, none of the others: parallel to the
/// survey's layers.
fn admissible(
    prepared: &Prepared,
    families: &Families,
    plan: &Plan,
) -> Result<Vec<Vec<Candidate>>, PassError> {
    let layers = &prepared.survey.layers;
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
        let opset = prepared.folded.document.model.opset();
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
    match kept.into_iter().find(|l| !known(&l.layer)) {
        Some(odd) => Err(PassError::Plan {
            layer: odd.layer.clone(),
            reason: "no such convolution".into(),
        }),
        None => Ok(admissible),
    }
}
