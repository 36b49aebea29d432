//! A rewritten model file in, a tuned one out.

use std::path::Path;

use sepconv_analysis::Pins;
use sepconv_onnx::Staged;
use sepconv_targets::Target;
use serde::Serialize;

use super::{TuneSettings, Tuning, tune};
use sepconv_eval::{Evaluation, Evaluator};
use sepconv_model::DataSource;
use sepconv_model::Error;
use sepconv_model::Loaded;
use sepconv_model::Progress;

/// What [`tune_file`] did.
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

/// Tunes a model file that was made from `original`, and writes the result beside `output`
/// before it is renamed into place. `force` replaces a file.
///
/// # Errors
/// As [`tune`]; [`Error::Onnx`] where a file can't be read or written.
#[allow(clippy::too_many_arguments)]
pub fn tune_file(
    [original, compressed, output]: [&Path; 3],
    settings: &TuneSettings,
    pins: &Pins,
    target: &dyn Target,
    eval: Option<&DataSource>,
    force: bool,
    progress: &dyn Progress,
) -> Result<Tuned, Error> {
    Staged::check(output, force)?;
    let data = settings.source.data();
    let open = |path| {
        let model = Loaded::open(path, pins)?;
        Ok::<_, Error>(model.shaped_by(data)?.unwrap_or(model))
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
    let staged = tuned.document.stage(output, force)?;
    let written = Loaded::new(staged.open()?, pins)?;
    let after = measured(&written)?;
    staged.commit()?;
    Ok(Tuned {
        tuning,
        original: first,
        before,
        after,
    })
}
