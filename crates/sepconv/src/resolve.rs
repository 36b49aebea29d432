//! From a spec to settings.

use std::num::NonZeroUsize;
use std::sync::Arc;

use sepconv_data::Labels;
use sepconv_eval::{LatencyTarget, TaskMetric};
use sepconv_latency::{Bench, cache_folder};
use sepconv_model::classes::{class_rows_of, distributions};
use sepconv_model::{DataSource, Deadline, Error, Loaded, Task};
use sepconv_spec::{
    BudgetSpec, CalibrationSettings, DataFreeChoice, FitSpec, Spec, SpecError, TargetSpec,
};

use sepconv_targets::Target;

use crate::settings::{Budget, DataFree, Settings, TEST_EVERY_DETECTED, USUAL_SNR};
use crate::tuning::TuneSettings;

impl Settings {
    /// The settings of `spec`. `calibration` stands in for the file of [`FitSpec::calib`]; how it is read
    /// is the spec's. Where the spec has no budget, it is that of [`Settings::default`].
    ///
    /// # Errors
    /// [`SpecError`] names the option.
    pub fn of(spec: &Spec, calibration: Option<DataSource>) -> Result<Self, SpecError> {
        spec.budget.check()?;
        if spec.data.labels.is_some() && spec.run.eval.is_none() {
            return Err(SpecError::NeedsData {
                option: "labels",
                needed: "eval",
            });
        }
        let (run, pixels) = (&spec.run, spec.data.samples.pixels()?);
        let file = spec.fit.calib.as_ref().map(DataSource::new);
        let data = calibration.or(file);
        let data = data.map(|source| spec.data.reading(source, run.seed));
        let data = data.transpose()?;
        // With `data_free` nothing is fitted to them, and the figures come from them.
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
            precision: spec.space.precision()?,
            raise: spec.space.raises()?,
            weight_bits: spec.space.weight_bits()?,
            calibration,
            closing,
            data_free: match spec.fit.data_free {
                None => DataFree::Auto(pixels),
                Some(DataFreeChoice::Pictures) => DataFree::Pictures(pixels),
                Some(DataFreeChoice::Weights) => DataFree::Weights,
            },
            max_memory: spec.fit.max_memory.unwrap_or(usual.max_memory),
            deadline: run.max_time.map(Deadline::within),
            runner: (!spec.target.counts_macs()).then(sepconv_targets::fastest),
            latency: latency(spec)?,
            timed: (!spec.target.counts_macs()).then(|| deployed(spec.target.threads)),
            slower: spec.target.allow_slower,
            pins: run.shapes.pins()?,
            seed: run.seed,
            force: run.force,
            eval: eval.transpose()?,
            ..usual
        })
    }

    /// The same as [`Settings::of`], but that a spec without a budget has the usual one for the model
    /// and the data, that half of the samples are in the test part of a detector which is judged by them, and that a budget which is judged on data, where the spec names no target, is met by
    /// time on the runtime that is there and can run the model.
    ///
    /// # Errors
    /// As [`Settings::of`]; [`SpecError::File`] where the model or the data can't be read.
    pub fn with_budget(
        spec: &Spec,
        calibration: Option<DataSource>,
        model: impl FnOnce() -> Result<Loaded, SpecError>,
    ) -> Result<Self, SpecError> {
        let mut settings = Self::of(spec, calibration)?;
        // Without data there is little to save, and nothing to tell plans apart by.
        let judged = spec.budget.is_judged() && settings.calibration.is_some();
        let by_time = judged && spec.target.target.is_none();
        let is_usual = budget(&spec.budget).is_none();
        let by_drop = judged && matches!(settings.budget, Budget::MaxDrop(_));
        if !is_usual && !by_time && !by_drop {
            return Ok(settings);
        }
        let model = settings.shaped(model()?)?;
        if by_time {
            settings.latency = there(&model, spec.target.threads);
        }
        if is_usual || by_drop {
            let data = settings.fitted_data();
            let runner = settings.runner.unwrap_or(settings.target);
            let task = data.map(|data| task_of(&model, data, runner));
            let (calibrated, task) = (task.is_some(), task.transpose()?.flatten());
            if task == Some(Task::Detect) {
                settings.test_every = Some(TEST_EVERY_DETECTED);
            }
            if is_usual {
                let wanted = settings.eval.as_ref().map(|data| wanted(&model, data));
                settings.budget = match wanted.transpose()?.unwrap_or(Wanted::Nothing) {
                    Wanted::Outputs => Budget::MinSnr(USUAL_SNR),
                    Wanted::Labels => Budget::usual(&model, calibrated, true, task),
                    Wanted::Nothing => Budget::usual(&model, calibrated, false, task),
                };
            }
        }
        Ok(settings)
    }
}

/// The runtime that is there.
fn deployed(threads: NonZeroUsize) -> LatencyTarget {
    let target = sepconv_targets::deployed();
    LatencyTarget { target, threads }
}

/// The runtime that is there, where it can run the model.
fn there(model: &Loaded, threads: NonZeroUsize) -> Option<LatencyTarget> {
    let latency = deployed(threads);
    let ran = latency.time(&[model], Bench::quick(), 0, &());
    ran.is_ok().then_some(latency)
}

/// The wanted results that data hold.
enum Wanted {
    /// Classes, boxes or masks.
    Labels,
    /// Outputs: pictures or other numbers, whose drop is in decibels and says nothing of points.
    Outputs,
    Nothing,
}

fn wanted(model: &Loaded, data: &DataSource) -> Result<Wanted, Error> {
    let data = data.open(model, Labels::IfPresent)?;
    let labelled = data.labels().is_some() || data.has_annotations();
    Ok(match (labelled, data.has_target()) {
        (true, _) => Wanted::Labels,
        (false, true) => Wanted::Outputs,
        (false, false) => Wanted::Nothing,
    })
}

/// The task of a model, named or recognised on data. Distributions need no run to be recognised, and
/// a model that can't be run has no known task.
fn task_of(model: &Loaded, data: &DataSource, target: &dyn Target) -> Result<Option<Task>, Error> {
    let mut outputs = model.graph().outputs();
    let is_classes = |value| class_rows_of(model, value).is_some();
    let distributed = distributions(model.graph()).contains(&true);
    // Of whole inputs, rows may be steps.
    if data.task == Task::Auto && distributed && outputs.all(is_classes) && !data.is_whole(model)? {
        return Ok(None);
    }
    let found = TaskMetric::on_data(model, data, target).or_else(|error| match error {
        Error::Target { .. } => TaskMetric::on_data(model, data, sepconv_targets::deployed()),
        other => Err(other),
    });
    match found {
        Ok(Some(metric)) => Ok(Some(metric.taken().task)),
        // A run tells that outputs are of no classes, whatever their extents: those of a sample may be `[frames, pitches]`.
        Ok(None) => Ok(Some(Task::Regress)),
        Err(Error::Target { .. }) => Ok(None),
        Err(error) => Err(error),
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
        spec.speedup.map(|times| Budget::TargetLatency(1.0 / times)),
        spec.max_drop.map(Budget::MaxDrop),
        spec.min_snr.map(Budget::MinSnr),
    ];
    all.into_iter().flatten().next()
}

/// The runtime that the model is to be fast on, if it is one.
fn latency(spec: &Spec) -> Result<Option<LatencyTarget>, SpecError> {
    let usual = spec.budget.is_time().then_some(TargetSpec::AUTO);
    let target = match spec.target.runtime(usual) {
        None => return Ok(None),
        Some(TargetSpec::AUTO) => sepconv_targets::deployed(),
        Some(name) => {
            let found = sepconv_targets::find(name).map_err(SpecError::refused(&["target"]))?;
            let there = found.available();
            there.map_err(SpecError::refused(&["target"]))?;
            found
        }
    };
    Ok(Some(LatencyTarget {
        target,
        threads: spec.target.threads,
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
    let data = data.ok_or(SpecError::NeedsData {
        option: "tune",
        needed: "calib",
    })?;
    let mut settings = TuneSettings::new(data.source.clone());
    settings.train.epochs = epochs;
    Ok(Some(settings))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spec(json: &str) -> Spec {
        Spec::from_json(json).unwrap()
    }

    fn asked(json: &str) -> Result<Settings, SpecError> {
        Settings::of(&spec(json), None)
    }

    #[test]
    fn the_budget_is_the_one_that_is_given_or_the_usual_one() {
        let settings = asked(r#"{"target_size": 0.5, "allow_costlier": true}"#).unwrap();
        assert_eq!(settings.budget, Budget::TargetSize(0.5));
        assert!(settings.costlier);
        assert!(matches!(
            asked(r#"{"rank": 1, "min_snr": 3}"#),
            Err(SpecError::Budgets { .. })
        ));
        // The model is read for the usual one, and for drops that are judged by its task.
        let unread = || Err(SpecError::from(Error::Cancelled));
        let rank = Settings::with_budget(&spec(r#"{"rank": 1}"#), None, unread).unwrap();
        assert_eq!(rank.budget, Budget::Rank(1));
        let usual = Settings::with_budget(&Spec::default(), None, unread);
        assert!(matches!(usual, Err(SpecError::File(Error::Cancelled))));
    }

    #[test]
    fn budgets_of_time_are_for_the_runtime_that_is_there() {
        let settings = asked(r#"{"speedup": 2}"#).unwrap();
        assert_eq!(settings.budget, Budget::TargetLatency(0.5));
        let name = |s: &Settings| s.latency.map(|l| l.target.name());
        assert_eq!(name(&settings), Some(sepconv_targets::deployed().name()));
        let counted = asked(r#"{"speedup": 2, "target": "macs"}"#).unwrap();
        assert_eq!(name(&counted), None);
        assert_eq!(name(&asked(r#"{"rank": 1}"#).unwrap()), None);
        let auto = asked(r#"{"rank": 1, "target": "auto"}"#).unwrap();
        assert_eq!(name(&auto), name(&settings));
        let none = asked(r#"{"speedup": 1}"#).err().unwrap();
        assert_eq!(
            none.to_string(),
            "speedup: expected a number above 1, found 1"
        );
    }

    #[test]
    fn data_are_read_as_the_spec_says_wherever_they_come_from() {
        let json =
            r#"{"calib": "a.npz", "eval": "b.npz", "scale": "1/2", "max_samples": 3, "seed": 7}"#;
        let file = asked(json).unwrap();
        let memory = DataSource::memory(Vec::new());
        let memory = Settings::of(&spec(json), Some(memory)).unwrap();
        for (settings, path) in [(&file, "a.npz"), (&memory, "(memory)")] {
            let sources: Vec<&DataSource> = settings.sources().collect();
            let read = |s: &DataSource| (s.preprocess.scale, s.seed, s.max_samples);
            assert_eq!(sources[0].path.to_str(), Some(path));
            assert_eq!(read(sources[0]), (0.5, 7, Some(3)));
            assert_eq!(read(sources[1]), (0.5, 7, None));
        }
        assert!(file.calibration.is_some() && file.closing.is_none());
        let apart = asked(r#"{"calib": "a.npz", "data_free": "weights"}"#).unwrap();
        assert!(apart.calibration.is_none() && apart.closing.is_some());
        assert_eq!(apart.data_free, DataFree::Weights);
    }

    #[test]
    fn what_does_not_fit_together_or_is_not_there_is_refused() {
        let needs = asked(r#"{"labels": "boxes.json"}"#).err().unwrap();
        assert_eq!(needs.to_string(), "labels: it needs data: eval");
        let needs = asked(r#"{"tune": true}"#).err().unwrap();
        assert_eq!(needs.to_string(), "tune: it needs data: calib");
        let target = asked(r#"{"target": "gpu"}"#).err().unwrap().to_string();
        assert!(target.starts_with("target: no target 'gpu'"), "{target}");
        let plan = asked(r#"{"plan": "missing.json"}"#).err().unwrap();
        assert!(plan.to_string().starts_with("missing.json: "), "{plan}");
    }
}
