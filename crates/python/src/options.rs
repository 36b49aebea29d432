//! From keyword arguments to the library's settings.

use sepconv::quantization::QuantizeSettings;
use sepconv::{Loaded, QuantizeSpec, Settings, Spec, SpecError};

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

/// The same of a quantisation.
pub fn quantize_settings(
    spec: &QuantizeSpec,
    calibration: Calibration,
    model: impl FnOnce() -> Result<Loaded, SpecError>,
) -> Result<QuantizeSettings, Failure> {
    let data = calibration.source(model)?;
    QuantizeSettings::of(spec, data).map_err(Failure::Spec)
}
