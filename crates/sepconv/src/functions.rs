//! Local functions that budgets and data are to reach.

use std::borrow::Cow;
use std::collections::HashSet;

use sepconv_onnx::Body;
use sepconv_passes::{Site, layers};

use sepconv_model::{Error, Loaded};

use crate::bodies::{Bodies, labels, reaches};
use crate::settings::Settings;

/// The model with the calls written out of those local functions that hold layers, where
/// `settings` have an aim that does not reach into functions: a budget over the whole model, or fits
/// to data. A function is called with data of its own by every caller; written out, each call is
/// layers like any others, whose weights are shared. Functions stay where none of the layers is
/// selected, or one is by the name that it has in its function and there is no data to run them on.
pub(crate) fn reaching<'a>(
    model: &'a Loaded,
    settings: &Settings,
) -> Result<Cow<'a, Loaded>, Error> {
    let wanted = match &settings.plan {
        Some(plan) => plan.functions,
        None => !reaches(settings) || settings.calibration.is_some(),
    };
    if !wanted {
        return Ok(Cow::Borrowed(model));
    }
    let products = settings.families.products();
    let holds_layers = |body: &Body| {
        let mut layers = layers(&body.graph, products).into_iter();
        layers.any(|(node, _)| body.graph.operator(node).is_some_and(Site::is_layer))
    };
    let Some(document) = model.document.inlined(&holds_layers)? else {
        return Ok(Cow::Borrowed(model));
    };
    let written = model.written_out(document)?;
    let selection = settings.selection.clone().quantized(settings.quantized);
    let [old, mut names] = [model, &written].map(|m| labels(m.graph(), products));
    let old: HashSet<&String> = old.iter().collect();
    let selected = |label: &&String| !old.contains(label) && selection.includes(label);
    let any = names.iter().any(|label| selected(&label));
    names.extend(Bodies::new(&written, &selection, &names, products)?.names());
    let runs = settings.calibration.is_some();
    Ok(match any && (runs || selection.check(&names).is_ok()) {
        true => Cow::Owned(written),
        false => Cow::Borrowed(model),
    })
}
