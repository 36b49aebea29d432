//! A model in memory in, a model in memory out.

use bytes::Bytes;
use sepconv_onnx::Document;

use sepconv_model::{Error, Loaded, Progress};

use crate::outcome::{Outcome, finished};
use crate::settings::Settings;

/// Compresses a model at hand, as [`crate::compress_file`] does a file, without any file: the
/// rewritten model is encoded, read back, and run against the original. Returns its bytes.
///
/// Data to fit to may be in memory as well, see [`crate::DataSource::memory`]. External data
/// can't be reached from bytes: convolutions whose weights lie there are kept, and named with
/// their reason in [`Outcome::layers`].
///
/// # Errors
/// As [`crate::compress_file`]; messages call the model `<bytes>`.
pub fn compress_bytes(
    model: impl Into<Bytes>,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<(Bytes, Outcome), Error> {
    let settings = &settings.planned()?;
    let original = Loaded::new(Document::from_bytes(model.into())?, &settings.pins)?;
    let mut bytes = Bytes::new();
    let outcome = finished(&original, settings, progress, |compressed| {
        bytes = compressed.document.encode().to_bytes();
        Ok((Document::from_bytes(bytes.clone())?, ()))
    })?;
    Ok((bytes, outcome.0))
}
