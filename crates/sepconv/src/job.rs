//! The settings of a run, resolved once for a model.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sepconv_calibrate::{
    Fitting, MemoryLimit, Sampling, SurveyedModel, cheap_pictures, pictures, samples_in_time,
};
use sepconv_data::Labels;
use sepconv_eval::{Evaluator, OriginalOutputs};
use sepconv_latency::Bench;
use sepconv_model::{Error, Loaded, Progress, load, shaped_by};
use sepconv_planning::{Costing, Unit, expanded, expanded_if_faster};
use sepconv_quantize::{Quantized, in_floats};
use sepconv_spec::{CalibrationSettings, PrecisionChoice, Source, Verdict};
use sepconv_targets::{Target, TargetError};

use crate::functions::reaching;
use crate::quantizing::quantized;
use crate::settings::{Budget, DataFree, Settings};

/// Settings with all that is left to the tool decided, and the model that they are for: its free
/// dimensions as the data has them, and local functions written out where the budget reaches into
/// them. All steps of the pipeline take their settings from here.
pub(crate) struct Job<'a> {
    pub model: Cow<'a, Loaded>,
    pub settings: Settings,
    pub progress: &'a dyn Progress,
    /// True where `PRelu`s are written in simpler operators.
    pub expanded: bool,
    /// The model in eight bits with no layer rewritten, once it is made.
    alone: OnceCell<Quantized>,
    /// The time that this took.
    quantising: Cell<Duration>,
    /// That model held against the budget, once it is.
    pub judged_alone: OnceCell<Verdict>,
    /// Names of the layers that it has in floats.
    floats: OnceCell<Vec<String>>,
    /// True once the runtime that results are measured on has refused a rewritten model.
    refused: Cell<bool>,
    /// The model's outputs for the evaluation data, by the names of runtimes.
    originals: RefCell<BTreeMap<&'static str, OriginalOutputs>>,
    /// Samples of the evaluation data at most, where the time is limited.
    evaluated: OnceCell<usize>,
}

impl<'a> Job<'a> {
    /// Resolves `settings` for `model`.
    ///
    /// # Errors
    /// [`Error::Plan`] where a plan is for another model, [`Error::Setting`] where it needs other
    /// data, [`Error::Data`] where the data can't be read or do not fit.
    pub fn new(
        model: &'a Loaded,
        settings: &Settings,
        progress: &'a dyn Progress,
    ) -> Result<Self, Error> {
        if let Some(plan) = &settings.plan {
            plan.check(model)?;
        }
        let settings = settings.planned()?.holding_out();
        let shaped = shaped_by(model, settings.sources())?;
        let shaped = shaped.map_or(Cow::Borrowed(model), Cow::Owned);
        let model = match reaching(&shaped, &settings)? {
            Cow::Owned(written) => Cow::Owned(written),
            Cow::Borrowed(_) => shaped,
        };
        Ok(Self {
            model,
            settings: widened(settings),
            progress,
            expanded: false,
            alone: OnceCell::new(),
            quantising: Cell::default(),
            judged_alone: OnceCell::new(),
            floats: OnceCell::new(),
            refused: Cell::new(false),
            originals: RefCell::default(),
            evaluated: OnceCell::new(),
        })
    }

    /// The time that a quantisation takes, as far as it is known.
    pub fn quantising(&self) -> Duration {
        self.quantising.get()
    }

    /// The model in eight bits with no layer rewritten; made once.
    ///
    /// # Errors
    /// As [`quantized`].
    pub fn in_eight_bits(&self) -> Result<&Quantized, Error> {
        if let Some(known) = self.alone.get() {
            return Ok(known);
        }
        let begun = Instant::now();
        let made = quantized(self, &self.model, BTreeMap::new())?;
        self.quantising.set(begun.elapsed());
        Ok(self.alone.get_or_init(|| made))
    }

    /// Names of the layers that stay in floats in any result in eight bits; none where the result is in floats.
    ///
    /// # Errors
    /// As [`Job::in_eight_bits`].
    pub fn floats(&self) -> Result<&[String], Error> {
        if !self.settings.is_in_eight_bits() {
            return Ok(&[]);
        }
        let alone = self.in_eight_bits()?;
        let names = || in_floats(&alone.layers).map(|(name, _)| name.to_owned());
        Ok(self.floats.get_or_init(|| names().collect()))
    }

    /// The same model with other settings, on the same runtime.
    ///
    /// # Errors
    /// As [`Job::new`].
    pub fn with(&self, settings: Settings) -> Result<Job<'_>, Error> {
        let target = self.settings.target;
        let settings = Settings { target, ..settings };
        let job = Job::new(&self.model, &settings, self.progress)?;
        Ok(Job {
            expanded: self.expanded,
            ..job
        })
    }

    /// The same job with its activations decided: as its plan says; else, in eight bits, and where the budget is of
    /// time or bounds an error and time is measured, as the runtime that results are deployed on computes them faster.
    ///
    /// # Errors
    /// [`Error::Plan`] where the plan's can't be written; as [`expanded_if_faster`].
    pub fn with_activations(mut self) -> Result<Self, Error> {
        let settings = &self.settings;
        let by_time = settings.latency.is_some() && settings.budget.gains_by_time();
        let timed = by_time || settings.precision != PrecisionChoice::F32;
        self.expanded = match &settings.plan {
            Some(plan) if plan.expanded && expanded(&self.model)?.is_none() => {
                return Err(Error::Plan {
                    file: self.model.file(),
                    reason: "it has no PRelu that can be written in simpler operators".into(),
                });
            }
            Some(plan) => plan.expanded,
            None if timed => {
                let bench = match settings.deadline {
                    Some(_) => Bench::hasty(),
                    None => Bench::default(),
                };
                let (on, seed) = (settings.deployed_on(), settings.seed);
                expanded_if_faster(&self.model, on, bench, seed, self.progress)?.is_some()
            }
            None => false,
        };
        Ok(self)
    }

    /// True where a model of which no layer is rewritten can be a result: in eight bits, or with its activations in
    /// simpler operators, where less time is a gain by itself.
    pub fn may_rewrite_no_layer(&self) -> bool {
        let settings = &self.settings;
        let faster = self.expanded && settings.budget.gains_by_time();
        settings.is_in_eight_bits() || faster && settings.planner.is_none()
    }

    /// A model made of the job's, with its activations as they are written.
    ///
    /// # Errors
    /// As [`expanded`].
    pub fn written<'m>(&self, model: &'m Loaded) -> Result<Cow<'m, Loaded>, Error> {
        let written = match self.expanded {
            true => expanded(model)?,
            false => None,
        };
        Ok(written.map_or(Cow::Borrowed(model), Cow::Owned))
    }

    /// The same job; on the runtime that is there in place of tract, where only the former can load the model.
    pub fn on_capable_target(mut self) -> Self {
        let (own, other) = (self.settings.target, sepconv_targets::deployed());
        let specs = self.model.input_specs();
        let loads = |target| specs.as_ref().map(|specs| load(&self.model, target, specs));
        let is_tract = own.name() == sepconv_targets::reference().name();
        if is_tract
            && other.name() != own.name()
            && matches!(loads(own), Some(Err(_)))
            && matches!(loads(other), Some(Ok(_)))
        {
            self.settings.target = other;
        }
        self
    }

    /// The runtime that results are measured on: that of the settings, until it refuses a rewritten model; then the
    /// one that results are deployed on.
    pub fn measured_on(&self) -> &'static dyn Target {
        match self.refused.get() {
            true => self.settings.deployed_on().target,
            false => self.settings.measured_on(),
        }
    }

    /// Moves measurements to the runtime that results are deployed on, where `error` is the refusal of a rewritten
    /// model by another one. False where they stay.
    pub fn moves_for(&self, error: &Error) -> bool {
        let (own, other) = (self.measured_on(), self.settings.deployed_on().target);
        let refused = matches!(
            error,
            Error::Target {
                source: TargetError::Load { .. } | TargetError::Run { .. },
                ..
            }
        );
        let moved = refused && own.name() != other.name();
        self.refused.set(self.refused.get() || moved);
        moved
    }

    /// A measurement of results on the runtime for them, made again on the other where they are refused.
    pub fn measured<T>(
        &self,
        measure: impl Fn(&'static dyn Target) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match measure(self.measured_on()) {
            Err(error) if self.moves_for(&error) => measure(self.measured_on()),
            other => other,
        }
    }

    /// Opens the evaluation data, where given, to measure models against the job's on a runtime. The job's model is run on
    /// them once, for all evaluators; where the time is limited, all see the same part of the data.
    ///
    /// # Errors
    /// As [`Evaluator::against`].
    pub fn evaluator(&self, target: &'static dyn Target) -> Result<Option<Evaluator<'_>>, Error> {
        let Some(data) = &self.settings.eval else {
            return Ok(None);
        };
        let mut evaluator = Evaluator::against(&self.model, data, target)?;
        if let Some(deadline) = self.settings.deadline {
            // A runtime that can't run the model is told of where it is measured.
            if self.evaluated.get().is_none()
                && let Ok(Some(each)) = evaluator.seconds_per_sample()
            {
                let _ = self.evaluated.set(samples_in_time(deadline, each));
            }
            if let Some(most) = self.evaluated.get() {
                evaluator = evaluator.of_samples(*most);
            }
        }
        let mut originals = self.originals.borrow_mut();
        let outputs = originals.entry(target.name()).or_default().clone();
        let evaluator = evaluator.sharing(outputs);
        Ok(Some(match &self.settings.metric {
            Some(metric) => evaluator.with_metric(Arc::clone(metric)),
            None => evaluator,
        }))
    }

    /// Opens the data that layers are fitted to: data that do not fit the model are told of before
    /// the work.
    ///
    /// # Errors
    /// [`Error::Data`].
    pub fn check_data(&self) -> Result<(), Error> {
        let calibration = self.settings.calibration.as_ref();
        match calibration.map(|c| &c.source) {
            Some(Source::Data(source)) => source.open(&self.model, Labels::Ignore).map(drop),
            _ => Ok(()),
        }
    }

    /// The data that layers are fitted to: those given, or a stand-in; `None`: the
    /// weights alone.
    pub fn fitted_to(&self, surveyed: &SurveyedModel) -> Option<CalibrationSettings> {
        let data = self.settings.calibration.clone();
        data.or_else(|| self.without_data(surveyed))
    }

    /// Source of the fit where there is no data; `None`: the weights alone.
    fn without_data(&self, surveyed: &SurveyedModel) -> Option<CalibrationSettings> {
        let settings = &self.settings;
        let by_energy = matches!(settings.budget, Budget::Energy(_));
        let counted = !by_energy && !settings.budget.is_judged();
        match &settings.data_free {
            DataFree::Weights => None,
            DataFree::Pictures(recipe) => pictures(surveyed, settings.seed, recipe.clone()),
            // A user who allows costlier layers looks for exactness.
            DataFree::Auto(recipe) if counted && !settings.costlier => {
                pictures(surveyed, settings.seed, recipe.clone())
                    .filter(|fit| cheap_pictures(fit, surveyed))
            }
            DataFree::Auto(_) => None,
        }
    }

    /// Settings of fits to `calibration`.
    pub fn fitting<'j>(&'j self, calibration: &'j CalibrationSettings) -> Fitting<'j> {
        Fitting {
            calibration,
            runner: self.settings.runner.unwrap_or(self.settings.target),
            target: self.settings.target,
            sampling: Sampling::WHOLE,
            families: &self.settings.families,
            lowering: self.settings.lowering,
            memory: self.memory(),
            deadline: self.settings.deadline,
            progress: self.progress,
        }
    }

    /// The memory that statistics and fits may take.
    pub fn memory(&self) -> MemoryLimit {
        MemoryLimit::new(self.settings.max_memory)
    }

    /// Cost of layers in a unit.
    ///
    /// # Errors
    /// As [`Job::floats`].
    pub fn costing<'j>(
        &'j self,
        surveyed: &'j SurveyedModel,
        unit: Unit,
    ) -> Result<Costing<'j>, Error> {
        Ok(Costing {
            original: &self.model,
            surveyed,
            families: &self.settings.families,
            unit,
            latency: self.settings.latency,
            precision: self.settings.timed_precision(),
            expanded: self.expanded,
            floats: self.floats()?,
            cost: self.settings.cost.as_deref(),
            seed: self.settings.seed,
            deadline: self.settings.deadline,
            progress: self.progress,
        })
    }

    /// Channel counts that the runtime computes at full speed are multiples of it.
    pub fn channel_step(&self) -> usize {
        let latency = self.settings.latency.as_ref();
        latency.map_or(1, |l| l.target.channel_step())
    }

    /// An error that says why nothing is written.
    pub fn nothing(&self, reason: impl Into<String>) -> Error {
        Error::Nothing {
            file: self.model.file(),
            reason: reason.into(),
        }
    }
}

/// Budgets that are allocated have all families to choose from but the optional ones, unless
/// some are named. A saved plan names its own.
fn widened(mut settings: Settings) -> Settings {
    let one_rank = matches!(settings.budget, Budget::Rank(_) | Budget::Energy(_));
    let search = matches!(settings.budget, Budget::MinSnr(_)) && settings.calibration.is_none();
    let planned = settings.plan.is_some();
    if settings.families.is_default() && !one_rank && !search && !planned {
        settings.families.widen();
    }
    settings
}
