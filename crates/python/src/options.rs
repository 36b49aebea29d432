//! From keyword arguments to the library's settings.

use sepconv::{Loaded, Settings, Spec, SpecError};

use crate::arrays::Calibration;
use crate::work::Failure;

/// The settings of `spec` and of the data beside it; `model` is read where the order of its inputs
/// has to be known, or the usual budget.
pub fn settings(
    spec: &Spec,
    calibration: Option<Calibration>,
    model: impl Fn() -> Result<Loaded, SpecError>,
) -> Result<Settings, Failure> {
    let data = calibration.map(|c| c.source(&model)).transpose()?;
    Settings::with_budget(spec, data, model).map_err(Failure::Spec)
}
