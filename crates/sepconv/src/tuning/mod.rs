//! Recovery after compression: the rewritten model learns from the original, without labels.
//!
//! Knowledge distillation (Hinton et al. 2015, arXiv 1503.02531) with matched activations
//! (Romero et al. 2015, arXiv 1412.6550): the original, run by the reference runtime, says what
//! the outputs and the values behind every rewritten block are to be. Only weights of rewritten
//! layers and biases move.

mod augment;
mod blocks;
mod file;
mod goals;
mod run;
mod student;

use std::path::PathBuf;
use std::time::Instant;

use sepconv_targets::Target;
use sepconv_tune::{Epoch, Loss, TrainSettings};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use augment::Augment;
pub use file::{TuneFiles, Tuned, tune_file};

use sepconv_model::Error;
use sepconv_model::Loaded;
use sepconv_model::Progress;
use sepconv_model::Samples;
use sepconv_spec::Source;

use blocks::Block;
use run::Work;

/// Layers that are trained at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TuneMode {
    /// All rewritten layers together, by the outputs and the values behind every block.
    #[default]
    EndToEnd,
    /// One rewritten block after the other, in the order of the network, each by the value
    /// behind it: for models too large for the whole.
    BlockWise,
}

/// Settings of a tuning.
#[derive(Debug, Clone)]
pub struct TuneSettings {
    /// Unlabelled data.
    pub source: Source,
    /// Layers that are trained at a time.
    pub mode: TuneMode,
    /// Loss of every output; `None`: divergence of classes, mean squares of anything else.
    pub loss: Option<Loss>,
    /// Variations of the samples.
    pub augment: Augment,
    /// The training.
    pub train: TrainSettings,
    /// File that keeps the state between epochs: a run that was interrupted goes on from there.
    pub state: Option<PathBuf>,
}

impl TuneSettings {
    /// Defaults for a data set.
    pub fn new(source: Source) -> Self {
        let train = TrainSettings {
            seed: source.seed(),
            ..TrainSettings::default()
        };
        Self {
            source,
            mode: TuneMode::default(),
            loss: None,
            augment: Augment::default(),
            train,
            state: None,
        }
    }
}

/// Record of a tuning.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tuning {
    /// Layers that were trained at a time.
    pub mode: TuneMode,
    /// Loss of each output, by name.
    pub losses: Vec<(String, Loss)>,
    /// Temperature of divergences.
    pub temperature: f64,
    /// Samples, the held-out ones included.
    pub samples: usize,
    /// The same that were not trained on, and that the weights were chosen by.
    pub held_out: usize,
    /// Rewritten blocks.
    pub blocks: usize,
    /// Numbers that moved.
    pub parameters: usize,
    /// Operators without a gradient.
    pub without_gradient: Vec<String>,
    /// Initializers that stayed because such an operator follows.
    pub frozen: Vec<String>,
    /// Figures of the outputs on the held-out samples before.
    pub before: Epoch,
    /// The same of the weights that were kept: never a greater loss.
    pub after: Epoch,
    /// Figures of every epoch: one list, or one per block.
    pub epochs: Vec<Vec<Epoch>>,
    /// Epochs that there was no time for.
    #[serde(skip)]
    pub left_out: usize,
}

impl Tuning {
    /// Mean wall-clock seconds of an epoch.
    pub fn seconds_per_epoch(&self) -> f64 {
        let all = self.epochs.iter().flat_map(|run| run.iter().skip(1));
        let seconds: Vec<f64> = all.map(|e| e.seconds).collect();
        seconds.iter().sum::<f64>() / seconds.len().max(1) as f64
    }
}

/// Trains the weights of `compressed`'s rewritten layers, and its biases, towards the outputs that
/// `original` computes of the same data, run on `target`. The weights that are best on held-out
/// samples are kept, the start among them.
///
/// # Errors
/// [`Error::Tune`] where nothing can be trained or the training fails, [`Error::Interface`]
/// where the models do not belong together, [`Error::Data`] for the data, [`Error::Target`]
/// where the runtime can't run a model, [`Error::Cancelled`].
pub fn tune(
    original: &Loaded,
    compressed: &Loaded,
    target: &dyn Target,
    settings: &TuneSettings,
    progress: &dyn Progress,
) -> Result<(Loaded, Tuning), Error> {
    check(settings)?;
    let samples = Samples::of(
        original,
        sepconv_calibrate::open(&settings.source, original, target)?,
    )?;
    let blocks = blocks::of(original, compressed);
    if blocks.is_empty() {
        return Err(Error::Interface {
            file: compressed.file(),
            reason: format!("no layer of it was rewritten from {}", original.file()),
        });
    }
    let work = Work {
        original,
        target,
        samples: &samples,
        settings,
        progress,
    };
    let key = key(original, compressed, settings);
    let whole = work.whole(compressed, &blocks)?;
    let before = whole.held_out()?;
    let mut tuning = whole.describe(&blocks, before);
    let tuned = match settings.mode {
        TuneMode::EndToEnd => {
            let course = Course {
                state: settings.state.clone(),
                key,
                until: settings.train.until,
            };
            let trained = whole.train(course)?;
            tuning.left_out = trained.left_out;
            tuning.after = trained.epochs.get(trained.best).copied().unwrap_or(before);
            tuning.epochs.push(trained.epochs);
            whole.written(compressed)?
        }
        TuneMode::BlockWise => {
            let mut now = compressed.clone();
            for (i, block) in blocks.iter().enumerate() {
                let state = settings.state.as_ref().map(|p| numbered(p, i));
                let until = settings.train.until.map(|until| {
                    let left = until.saturating_duration_since(Instant::now());
                    Instant::now() + left / (blocks.len() - i) as u32
                });
                let course = Course {
                    state,
                    key: format!("{key} {i}"),
                    until,
                };
                now = block_by_block(&work, &now, block, course, &mut tuning)?;
            }
            tuning.after = work.whole(&now, &blocks)?.held_out()?;
            if tuning.after.held_out_loss < before.held_out_loss {
                now
            } else {
                tuning.after = before;
                compressed.clone()
            }
        }
    };
    Ok((tuned, tuning))
}

/// Removes the state of a training whose result is written: it needs none to go on from.
fn forget(settings: &TuneSettings) {
    if let (Some(path), TuneMode::EndToEnd) = (&settings.state, settings.mode) {
        let _ = std::fs::remove_file(path);
    }
}

/// The course of a training.
struct Course {
    /// File of the state that is kept between epochs.
    state: Option<PathBuf>,
    /// The identity of the training, which a file of another one has not.
    key: String,
    /// The time at which it ends.
    until: Option<Instant>,
}

fn block_by_block(
    work: &Work<'_>,
    now: &Loaded,
    block: &Block,
    course: Course,
    tuning: &mut Tuning,
) -> Result<Loaded, Error> {
    let part = match work.block(now, block) {
        // A block without gradient stays as it is.
        Err(Error::Tune { source, .. })
            if matches!(
                source.downcast_ref(),
                Some(sepconv_tune::TuneError::Nothing(_))
            ) =>
        {
            return Ok(now.clone());
        }
        other => other?,
    };
    let trained = part.train(course)?;
    tuning.left_out += trained.left_out;
    tuning.epochs.push(trained.epochs);
    part.written(now)
}

/// `state` -> `state.3`.
fn numbered(path: &std::path::Path, i: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{i}"));
    name.into()
}

fn check(settings: &TuneSettings) -> Result<(), Error> {
    let train = &settings.train;
    let wrong = |what: &str| Err(Error::Setting(what.into()));
    if train
        .learning_rate
        .is_some_and(|rate| !(rate > 0.0 && rate < 1.0))
    {
        return wrong("the learning rate must be above 0 and below 1");
    }
    if !(train.temperature > 0.0 && train.temperature.is_finite()) {
        return wrong("the temperature must be above 0");
    }
    if !(train.blocks >= 0.0 && train.blocks.is_finite()) {
        return wrong("the weight of blocks must not be negative");
    }
    match train.batch {
        Some(0) => wrong("a batch needs a sample"),
        _ => Ok(()),
    }
}

/// Hash of the models and settings that a saved state belongs to.
fn key(original: &Loaded, compressed: &Loaded, settings: &TuneSettings) -> String {
    let mut hash = Sha256::new();
    for model in [original, compressed] {
        hash.update(model.document.encode().to_bytes());
        model.document.external().for_each(|data| hash.update(data));
    }
    let train = TrainSettings {
        state: None,
        until: None,
        ..settings.train.clone()
    };
    let rest = (
        &settings.source,
        settings.mode,
        settings.loss,
        &settings.augment,
        train,
    );
    hash.update(format!("{} {rest:?}", env!("CARGO_PKG_VERSION")));
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}
