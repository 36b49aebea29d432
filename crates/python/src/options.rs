//! From keyword arguments to the library's settings.

use std::sync::Arc;

use sepconv::quantization::QuantizeSettings;
use sepconv::{Loaded, OwnMetric, QuantizeSpec, Settings, Spec, SpecError};

use crate::arrays::Calibration;
use crate::metric::PythonMetric;
use crate::work::Failure;

/// The settings of `spec`, of the data beside it and of the metric that models are judged by; `model` is read where
/// the order of its inputs has to be known, or the usual budget.
pub fn settings(
    spec: &Spec,
    calibration: Option<Calibration>,
    metric: Option<PythonMetric>,
    model: impl Fn() -> Result<Loaded, SpecError>,
) -> Result<Settings, Failure> {
    if metric.is_some() && spec.budget.is_usual() {
        let text = "metric: it needs a budget, such as max_drop in its own unit";
        return Err(Failure::Argument(text.into()));
    }
    let data = calibration.map(|c| c.source(&model)).transpose()?;
    let settings = Settings::with_budget(spec, data, model).map_err(Failure::Spec)?;
    Ok(Settings {
        metric: metric.map(|metric| Arc::new(metric) as Arc<dyn OwnMetric>),
        ..settings
    })
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
