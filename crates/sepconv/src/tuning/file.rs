//! A rewritten model file in, a tuned one out.

use std::path::{Path, PathBuf};

use sepconv_analysis::Pins;
use sepconv_onnx::Staged;
use sepconv_targets::Target;
use serde::Serialize;

use super::{TuneSettings, Tuning, forget, tune};
use sepconv_eval::{Evaluation, Evaluator};
use sepconv_model::DataSource;
use sepconv_model::Error;
use sepconv_model::Loaded;
use sepconv_model::Progress;

/// Record of a [`tune_file`].
#[derive(Debug, Clone, Serialize)]
pub struct Tuned {
    /// The training.
    pub tuning: Tuning,
    /// The original on evaluation data, where given.
    pub original: Option<Evaluation>,
    /// The rewritten model before.
    pub before: Option<Evaluation>,
    /// The file that was written.
    pub after: Option<Evaluation>,
}

/// The files of [`tune_file`].
#[derive(Debug, Clone)]
pub struct TuneFiles {
    /// The model that `compressed` was made from.
    pub original: PathBuf,
    /// The model that is tuned.
    pub compressed: PathBuf,
    /// The file that is written.
    pub output: PathBuf,
    /// An existing output is replaced.
    pub force: bool,
    /// Input shapes fixed by the user.
    pub pins: Pins,
}

/// Tunes a model file, and writes the result beside the output before it is renamed into place.
///
/// # Errors
/// As [`tune`]; [`Error::Onnx`] where a file can't be read or written.
pub fn tune_file(
    files: &TuneFiles,
    settings: &TuneSettings,
    target: &dyn Target,
    eval: Option<&DataSource>,
    progress: &dyn Progress,
) -> Result<Tuned, Error> {
    let TuneFiles {
        original,
        compressed,
        output,
        force,
        pins,
    } = files;
    Staged::check(output, *force)?;
    let data = settings.source.data();
    let open = |path: &Path| {
        let model = Loaded::open(path, pins)?;
        Ok::<_, Error>(sepconv_model::shaped_by(&model, data)?.unwrap_or(model))
    };
    let (original, compressed) = (open(original)?, open(compressed)?);
    let evaluator = eval
        .map(|data| Evaluator::against(&original, data, target))
        .transpose()?;
    let measured = |model: &Loaded| {
        let made = evaluator.as_ref().map(|e| e.evaluate(model, progress));
        made.transpose()
    };
    let (first, before) = (measured(&original)?, measured(&compressed)?);
    let (tuned, tuning) = tune(&original, &compressed, target, settings, progress)?;
    let staged = tuned.document.stage(output, *force)?;
    let written = Loaded::new(staged.open()?, pins)?;
    let after = measured(&written)?;
    staged.commit()?;
    forget(settings);
    Ok(Tuned {
        tuning,
        original: first,
        before,
        after,
    })
}
