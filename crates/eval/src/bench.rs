//! Latency of whole models, timed beside one another.

use std::num::NonZeroUsize;
use std::path::Path;

use sepconv_data::SyntheticKind;
use sepconv_ir::Tensor;
use sepconv_latency::{Bench, Ratio, Samples, Timing, machine};
use sepconv_targets::{InputSpec, LoadOptions, Prepared, Session, Target, TargetError};
use serde::Serialize;

use sepconv_model::Error;
use sepconv_model::Loaded;
use sepconv_model::synthetic_inputs;
use sepconv_model::{Progress, Stage, still_wanted};

/// Settings of [`bench()`].
#[derive(Clone)]
pub struct BenchSettings {
    /// The runtimes, one after another.
    pub targets: Vec<&'static dyn Target>,
    /// Threads of one run, one number after another.
    pub threads: Vec<NonZeroUsize>,
    /// Durations and numbers of rounds.
    pub bench: Bench,
    /// Seed of the synthetic inputs.
    pub seed: u64,
}

/// Models timed beside one another on one runtime with one number of threads.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BenchRun {
    /// Name of the runtime.
    pub target: &'static str,
    /// Its version.
    pub version: String,
    /// Threads of one run.
    pub threads: usize,
    /// Processor and cores, see [`sepconv_latency::machine`].
    pub machine: String,
    /// The models in the order given.
    pub models: Vec<ModelTiming>,
}

impl BenchRun {
    /// The same, whose last model was timed before it came to its place.
    #[must_use]
    pub fn moved_to(mut self, file: &Path) -> Self {
        if let Some(last) = self.models.last_mut() {
            last.file = file.display().to_string();
        }
        self
    }
}

/// Latency of one model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelTiming {
    /// The file.
    pub file: String,
    /// MACs of one run, batch included.
    pub macs: u64,
    /// Shapes of the inputs that it was run on.
    pub inputs: Vec<Vec<usize>>,
    /// Seconds per run.
    #[serde(flatten)]
    pub timing: Timing,
    /// Time of the first model over its own, by rounds; exactly 1 for the first.
    pub speed_up: Ratio,
}

/// Runtime and threads that time is measured with.
#[derive(Clone, Copy)]
pub struct LatencyTarget {
    /// The runtime.
    pub target: &'static dyn Target,
    /// Threads of one run.
    pub threads: NonZeroUsize,
}

impl LatencyTarget {
    /// Times models beside one another, as `bench` says.
    ///
    /// # Errors
    /// As [`bench()`].
    pub fn time(
        &self,
        models: &[&Loaded],
        bench: Bench,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<BenchRun, Error> {
        let settings = BenchSettings {
            targets: vec![self.target],
            threads: vec![self.threads],
            bench,
            seed,
        };
        let runs = self::bench(
            &models.iter().copied().cloned().collect::<Vec<_>>(),
            &settings,
            progress,
        )?;
        let nothing = || Error::Setting("nothing was timed".into());
        runs.into_iter().next().ok_or_else(nothing)
    }
}

/// Times models on seeded synthetic inputs of the batch that they are costed for. On every
/// runtime with every number of threads the models take turns, so that a disturbance of the
/// machine hits all of them, and ratios are formed within each round.
///
/// # Errors
/// [`Error::Target`] where a runtime is missing or can't run a model, [`Error::Interface`]
/// where an input's shape is unknown, [`Error::Setting`] for nothing to do.
pub fn bench(
    models: &[Loaded],
    settings: &BenchSettings,
    progress: &dyn Progress,
) -> Result<Vec<BenchRun>, Error> {
    let total = settings.targets.len() * settings.threads.len();
    if models.is_empty() || total == 0 {
        return Err(Error::Setting("nothing to time".into()));
    }
    let mut subjects = Vec::new();
    for model in models {
        subjects.push(Subject::new(model, settings.seed)?);
    }
    let stage = Stage::begin(progress, "timing", total);
    let mut runs = Vec::new();
    for target in &settings.targets {
        for threads in &settings.threads {
            let on = LatencyTarget {
                target: *target,
                threads: *threads,
            };
            runs.push(time(on, &subjects, &settings.bench, progress)?);
            stage.step(runs.len())?;
        }
    }
    Ok(runs)
}

struct Subject<'a> {
    model: &'a Loaded,
    inputs: Vec<Tensor>,
    specs: Vec<InputSpec>,
}

impl<'a> Subject<'a> {
    fn new(model: &'a Loaded, seed: u64) -> Result<Self, Error> {
        let mut sets = synthetic_inputs(model, 1, seed, SyntheticKind::Normal)?;
        Ok(Self {
            model,
            inputs: sets.pop().unwrap_or_default(),
            specs: model.input_specs().unwrap_or_default(),
        })
    }

    fn failed(&self, source: TargetError) -> Error {
        Error::Target {
            file: self.model.file(),
            source,
        }
    }
}

fn time(
    on: LatencyTarget,
    subjects: &[Subject<'_>],
    bench: &Bench,
    progress: &dyn Progress,
) -> Result<BenchRun, Error> {
    let LatencyTarget { target, threads } = on;
    let options = LoadOptions {
        threads: Some(threads),
    };
    let mut sessions: Vec<Box<dyn Session>> = Vec::new();
    for s in subjects {
        let model = s.model.for_runtimes()?;
        let session = target.load_with(&model, &s.specs, options);
        sessions.push(session.map_err(|e| s.failed(e))?);
    }
    let mut prepared: Vec<Box<dyn Prepared + '_>> = Vec::new();
    for (session, s) in sessions.iter().zip(subjects) {
        let mut inputs = session.prepare(&s.inputs).map_err(|e| s.failed(e))?;
        // Failures are found here, with the model at fault.
        inputs.run().map_err(|e| s.failed(e))?;
        prepared.push(inputs);
    }
    // The number of rounds is unknown where they go on until time is up.
    let rounds = Some(bench.most_rounds).filter(|most| *most == bench.least_rounds);
    let name = format!("timing on {}", target.name());
    let stage = Stage::begin(progress, &name, rounds.unwrap_or(0));
    let samples = bench
        .time_while(&mut prepared, &mut |done| stage.step(done).is_ok())
        .map_err(|source| Error::Target {
            file: files(subjects),
            source,
        })?;
    still_wanted(progress)?;
    let base = samples.first().cloned().unwrap_or_default();
    let models = subjects.iter().zip(&samples);
    Ok(BenchRun {
        target: target.name(),
        version: target.version(),
        threads: threads.get(),
        machine: machine(),
        models: models.map(|(s, own)| timing(s, own, &base)).collect(),
    })
}

fn timing(subject: &Subject<'_>, own: &Samples, base: &Samples) -> ModelTiming {
    ModelTiming {
        file: subject.model.file(),
        macs: subject.model.cost.macs,
        inputs: subject.specs.iter().map(|s| s.dims.clone()).collect(),
        timing: own.timing(),
        speed_up: own.speed_up_over(base),
    }
}

fn files(subjects: &[Subject<'_>]) -> String {
    let files: Vec<String> = subjects.iter().map(|s| s.model.file()).collect();
    files.join(", ")
}
