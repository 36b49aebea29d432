//! The files of a report.

use std::path::Path;

use sepconv_model::Error;
use serde::Serialize;

/// Names of the files that [`crate::Report::write`] writes; a [`crate::CommandReport`] has no curve.
pub const FILES: [&str; 5] = [
    "report.json",
    "report.csv",
    "report.md",
    "report.html",
    "curve.svg",
];

/// As JSON for people too.
pub(crate) fn json(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

/// Writes the texts of [`FILES`], each of them at once or not at all.
pub(crate) fn write(folder: &Path, force: bool, texts: [Option<String>; 5]) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| sepconv_onnx::OnnxError::Io {
        path: folder.to_owned(),
        source,
    })?;
    for (name, text) in FILES.iter().zip(texts) {
        if let Some(text) = text {
            sepconv_onnx::write_atomic(&folder.join(name), force, text.as_bytes())?;
        }
    }
    Ok(())
}
