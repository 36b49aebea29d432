//! From what was asked for to settings.

use std::sync::Arc;

use sepconv_eval::LatencyTarget;
use sepconv_latency::cache_folder;
use sepconv_model::{DataSource, Loaded};
use sepconv_spec::{
    BudgetSpec, CalibrationSettings, DataFreeChoice, FitSpec, Spec, SpecError, TargetSpec,
};

use crate::settings::{Budget, DataFree, Settings};
use crate::tuning::TuneSettings;

impl Settings {
    /// What `spec` asks for. `calibration` stands in for the file of [`FitSpec::calib`]; how it is read
    /// is the spec's. Where the spec has no budget, it is that of [`Settings::default`].
    ///
    /// # Errors
    /// [`SpecError`] names the option.
    pub fn of(spec: &Spec, calibration: Option<DataSource>) -> Result<Self, SpecError> {
        spec.budget.check()?;
        let (run, pixels) = (&spec.run, spec.data.samples.pixels()?);
        let file = spec.fit.calib.as_ref().map(DataSource::new);
        let data = calibration.or(file);
        let data = data.map(|source| spec.data.reading(source, run.seed));
        let data = data.transpose()?;
        // With `data_free` they are not fitted to, but what figures are to come from.
        let (fitted, closing) = match spec.fit.data_free {
            None => (data, None),
            Some(_) => (None, data),
        };
        let calibration = fitted.map(|source| CalibrationSettings {
            cache: cache_folder().filter(|_| spec.fit.cache),
            ..spec.fit.calibration(source)
        });
        let eval = run.eval.as_deref();
        let eval = eval.map(|path| spec.data.evaluation(path, run.seed));
        let plan = spec.budget.plan.as_ref().map(|plan| plan.read());
        let usual = Self::default();
        Ok(Self {
            budget: budget(&spec.budget).unwrap_or(usual.budget),
            plan: plan.transpose()?.map(Arc::new),
            costlier: spec.budget.allow_costlier,
            tune: tuning(&spec.fit, calibration.as_ref())?,
            families: spec.space.families()?,
            lowering: spec.space.lowering.lowering(),
            selection: spec.space.selection()?,
            quantized: spec.space.quantized,
            calibration,
            closing,
            data_free: match spec.fit.data_free {
                None => DataFree::Auto(pixels),
                Some(DataFreeChoice::Pictures) => DataFree::Pictures(pixels),
                Some(DataFreeChoice::Weights) => DataFree::Weights,
            },
            max_memory: spec.fit.max_memory.unwrap_or(usual.max_memory),
            latency: latency(&spec.target)?,
            pins: run.shapes.pins()?,
            seed: run.seed,
            force: run.force,
            eval: eval.transpose()?,
            ..usual
        })
    }

    /// The same as [`Settings::of`], but that a spec without a budget has the usual one for the model
    /// and the data.
    ///
    /// # Errors
    /// As [`Settings::of`]; [`SpecError::File`] where the model or the data can't be read.
    pub fn with_budget(
        spec: &Spec,
        calibration: Option<DataSource>,
        model: impl FnOnce() -> Result<Loaded, SpecError>,
    ) -> Result<Self, SpecError> {
        let mut settings = Self::of(spec, calibration)?;
        if budget(&spec.budget).is_none() {
            let model = settings.shaped(model()?)?;
            let calibrated = settings.calibration.is_some();
            settings.budget = Budget::usual(&model, calibrated, settings.eval.is_some());
        }
        Ok(settings)
    }
}

/// The budget, if one is given.
fn budget(spec: &BudgetSpec) -> Option<Budget> {
    let all = [
        spec.rank.map(Budget::Rank),
        spec.energy.map(Budget::Energy),
        spec.target_macs.map(Budget::TargetMacs),
        spec.target_params.map(Budget::TargetParams),
        spec.target_size.map(Budget::TargetSize),
        spec.target_latency.map(Budget::TargetLatency),
        spec.max_drop.map(Budget::MaxDrop),
        spec.min_snr.map(Budget::MinSnr),
    ];
    all.into_iter().flatten().next()
}

/// The runtime that the model is to be fast on, if it is one.
fn latency(spec: &TargetSpec) -> Result<Option<LatencyTarget>, SpecError> {
    let Some(name) = spec.runtime() else {
        return Ok(None);
    };
    let target = sepconv_targets::find(name).map_err(SpecError::refused(&["target"]))?;
    target
        .available()
        .map_err(SpecError::refused(&["target"]))?;
    Ok(Some(LatencyTarget {
        target,
        threads: spec.threads,
    }))
}

/// Training on the calibration data.
fn tuning(
    spec: &FitSpec,
    data: Option<&CalibrationSettings>,
) -> Result<Option<TuneSettings>, SpecError> {
    let Some(epochs) = spec.tune else {
        return Ok(None);
    };
    let data = data.ok_or(SpecError::Needs {
        option: "tune",
        needed: "calib",
    })?;
    let mut settings = TuneSettings::new(data.source.clone());
    settings.train.epochs = epochs;
    Ok(Some(settings))
}
