//! The inputs that closing figures come from.

use sepconv_data::{Labels, SyntheticKind};
use sepconv_eval::{ComparedOn, Reference, ReferenceInputs, synthetic_runs};
use sepconv_model::{DataSource, Error, Loaded, Progress};
use sepconv_spec::Source;
use sepconv_targets::Target;

use crate::settings::Settings;

/// Runs the original on `target`, on the inputs that closing figures come from: the test part of the calibration
/// data, else data that nothing was fitted to, else the evaluation data, else seeded random
/// inputs.
///
/// # Errors
/// [`Error::Data`] where the data can't be read or do not fit, [`Error::Interface`] where an
/// input's shape is unknown, [`Error::Target`] where the runtime can't run the model.
pub(crate) fn closing_reference(
    original: &Loaded,
    settings: &Settings,
    target: &dyn Target,
    progress: &dyn Progress,
) -> Result<Reference, Error> {
    Reference::of(original, target, inputs(original, settings)?, progress)
}

fn inputs(original: &Loaded, settings: &Settings) -> Result<ReferenceInputs, Error> {
    let of = |data: &DataSource, kind| ReferenceInputs::of_data(original, data, kind);
    match settings.calibration.as_ref().map(|c| &c.source) {
        Some(Source::Data(data)) => {
            let test = data.of_part(data.part.test());
            // Of a few samples all are in both parts.
            let kind = match test.open(original, Labels::Ignore)?.is_split() {
                true => ComparedOn::Test,
                false => ComparedOn::Calibration,
            };
            of(&test, kind)
        }
        _ => match (&settings.closing, &settings.eval) {
            (Some(data), _) => of(data, ComparedOn::Test),
            (None, Some(data)) => of(data, ComparedOn::Evaluation),
            (None, None) => {
                let runs = synthetic_runs(original.cost.macs, 1);
                ReferenceInputs::random(original, settings.seed, runs, SyntheticKind::Normal)
            }
        },
    }
}
