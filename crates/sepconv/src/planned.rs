//! Settings that a saved plan decides, and the plan that a compression made.

use sepconv_model::{Advice, Error, Loaded};
use sepconv_passes::{Families, Selection};
use sepconv_spec::{PLAN_FORMAT, PlannedFit, PlannedModel, PlannedSelection, SavedPlan};

use crate::compressed::Compressed;
use crate::settings::{DataFree, Settings};

/// The plan by which `original` was compressed with `settings`.
pub(crate) fn plan_of(
    original: &Loaded,
    compressed: &Compressed,
    settings: &Settings,
) -> SavedPlan {
    let (only, skip) = settings.selection.globs();
    // Eight bits have ranges of the data, whatever is rewritten.
    let ranges = settings.calibration.as_ref();
    let ranges = ranges.filter(|_| compressed.eight_bits.is_some());
    let fitted = compressed.calibration.as_ref().or(ranges);
    SavedPlan {
        format: PLAN_FORMAT.to_owned(),
        sepconv: env!("CARGO_PKG_VERSION").to_owned(),
        model: PlannedModel::of(original),
        input_shapes: settings.pins.clone(),
        selection: PlannedSelection {
            layers: only,
            skip,
            quantized: settings.quantized,
        },
        functions: original.is_written_out(),
        order: settings.families.order,
        fit: fitted.map(PlannedFit::of),
        layers: compressed.plan().layers,
        expanded: compressed.fewer("PRelu", original) > 0,
        in_floats: compressed.in_floats.clone(),
    }
}

/// `given` with what the plan says in place of it: shapes, selection, order,
/// families, lowerings, and all of the fit but the data.
///
/// # Errors
/// [`Error::Pass`] for a glob that is not valid; [`Error::Setting`] where the plan was
/// fitted to data and none is given, or data are given and layers are rewritten by their weights alone.
pub(crate) fn planned(plan: &SavedPlan, given: &Settings) -> Result<Settings, Error> {
    let PlannedSelection {
        layers,
        skip,
        quantized,
    } = &plan.selection;
    let selection = Selection::new(layers, skip).map_err(|source| Error::Pass {
        file: plan.model.file.clone(),
        source,
    })?;
    let decided = plan.plan();
    let mut names: Vec<String> = decided.rewritten().map(|(_, c)| c.family.clone()).collect();
    names.sort();
    names.dedup();
    let given_data = given.calibration.as_ref();
    let calibration = match (&plan.fit, given_data) {
        // Ranges of eight bits alone: floats have none.
        (Some(_), None) if names.is_empty() && !given.is_in_eight_bits() => None,
        (Some(fit), data) => Some(fit.settings(data)?),
        (None, given) if names.is_empty() => given.cloned(),
        (None, None) => None,
        (None, Some(_)) => {
            let error = Error::Setting("the plan's weights are not fitted to data".into());
            return Err(error.advising(Advice::LeaveOutCalibration));
        }
    };
    Ok(Settings {
        families: Families {
            order: plan.order,
            names,
            own: given.families.own.clone(),
        },
        lowering: None,
        selection,
        quantized: *quantized,
        pins: plan.input_shapes.clone(),
        seed: calibration.as_ref().map_or(given.seed, |c| c.source.seed()),
        // A plan without a fit is of the weights alone.
        data_free: match &plan.fit {
            Some(_) => given.data_free.clone(),
            None => DataFree::Weights,
        },
        calibration,
        ..given.clone()
    })
}
