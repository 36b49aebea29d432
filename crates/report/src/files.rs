//! The files of a report.

use std::path::{Path, PathBuf};

use sepconv_model::Error;
use sepconv_onnx::OnnxError;
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

/// Writes the texts of [`FILES`], each of them at once or not at all. Where one has no text, `force` removes the file
/// that an earlier report has left.
pub(crate) fn write(folder: &Path, force: bool, texts: [Option<String>; 5]) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| OnnxError::Io {
        path: folder.to_owned(),
        source,
    })?;
    for (name, text) in FILES.iter().zip(texts) {
        let path = folder.join(name);
        match text {
            Some(text) => sepconv_onnx::write_atomic(&path, force, text.as_bytes())?,
            None if force && path.symlink_metadata().is_ok() => remove(path)?,
            None => {}
        }
    }
    Ok(())
}

fn remove(path: PathBuf) -> Result<(), Error> {
    std::fs::remove_file(&path).map_err(|source| OnnxError::Io { path, source }.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::fixtures::{evaluated, not_run};
    use super::*;

    #[test]
    fn no_curve_of_another_report_stays() {
        let folder = tempfile::tempdir().unwrap();
        let curve = folder.path().join(FILES[4]);
        evaluated().write(folder.path(), false).unwrap();
        assert!(curve.exists());
        not_run().write(folder.path(), true).unwrap();
        assert!(!curve.exists() && folder.path().join(FILES[0]).exists());
    }
}
