//! A float model in, a model of eight bits out, and the record of the work.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use bytes::Bytes;
use sepconv_analysis::Pins;
use sepconv_eval::{BenchRun, Comparison, LatencyTarget};
use sepconv_latency::Bench;
use sepconv_model::{Error, Loaded, Progress, shaped_by};
use sepconv_onnx::{Document, Staged};
use sepconv_planning::expanded_if_faster;
use sepconv_quantize::{Missed, QuantizeSettings, QuantizedLayer, quantize, refuse};
use serde::Serialize;

use crate::compressed::fewer;
use crate::quantizing::failed;

/// Record of a [`quantize_file`] or a [`quantize_bytes`].
#[derive(Debug, Clone, Serialize)]
pub struct QuantizeOutcome {
    /// The layers in the order of the network, those in floats with their reasons.
    pub layers: Vec<QuantizedLayer>,
    /// Bytes of the model before and after; external data are counted too.
    pub bytes: [usize; 2],
    /// `PRelu`s written in simpler operators, which the runtime computes faster.
    pub expanded: usize,
    /// The model held against the original, on samples that were held out.
    pub comparison: Comparison,
    /// The ratio that the outputs were to keep, where no choice of layers that was tried reaches it.
    pub missed: Option<Missed>,
    /// Both models timed in turns, on one thread; `None` where they can't be.
    pub timing: Option<BenchRun>,
    /// Reason for which the models were not timed.
    pub not_timed: Option<String>,
}

/// The files of [`quantize_file`].
#[derive(Debug, Clone)]
pub struct QuantizeFiles {
    /// The float model.
    pub input: PathBuf,
    /// The file that is written.
    pub output: PathBuf,
    /// An existing output is replaced.
    pub force: bool,
    /// Input shapes fixed by the user.
    pub pins: Pins,
}

/// Quantises a model file, as [`quantize`] does a model. The result is written beside the output, read back and
/// timed beside the original, and only then renamed into place.
///
/// # Errors
/// As [`quantize`], each as an [`Error`]; [`Error::Onnx`] where a file can't be read or written.
pub fn quantize_file(
    files: &QuantizeFiles,
    settings: &QuantizeSettings,
    progress: &dyn Progress,
) -> Result<QuantizeOutcome, Error> {
    Staged::check(&files.output, files.force)?;
    let original = Loaded::open(&files.input, &files.pins)?;
    let (outcome, staged) = quantized(&original, settings, progress, |document| {
        let staged = document.stage(&files.output, files.force)?;
        Ok((staged.open()?, staged))
    })?;
    staged.commit()?;
    Ok(QuantizeOutcome {
        timing: outcome.timing.map(|run| run.moved_to(&files.output)),
        ..outcome
    })
}

/// Quantises a model at hand, as [`quantize_file`] does a file, without any file. Returns its bytes. External data
/// can't be reached from bytes: layers whose weights lie there stay in floats.
///
/// # Errors
/// As [`quantize_file`]; messages call the model `<bytes>`.
pub fn quantize_bytes(
    model: impl Into<Bytes>,
    pins: &Pins,
    settings: &QuantizeSettings,
    progress: &dyn Progress,
) -> Result<(Bytes, QuantizeOutcome), Error> {
    let original = Loaded::new(Document::from_bytes(model.into())?, pins)?;
    let (outcome, bytes) = quantized(&original, settings, progress, |document| {
        let bytes = document.encode().to_bytes();
        Ok((Document::from_bytes(bytes.clone())?, bytes))
    })?;
    Ok((bytes, outcome))
}

/// Quantises `original`, has it written and read back by `write`, and times the model that was written.
fn quantized<T>(
    original: &Loaded,
    settings: &QuantizeSettings,
    progress: &dyn Progress,
    write: impl FnOnce(&Document) -> Result<(Document, T), Error>,
) -> Result<(QuantizeOutcome, T), Error> {
    let shaped = shaped_by(original, [&settings.source])?;
    let original = shaped.as_ref().unwrap_or(original);
    let on = LatencyTarget {
        target: settings.target,
        threads: NonZeroUsize::MIN,
    };
    let seed = settings.source.seed;
    refuse(original, settings.raise).map_err(failed)?;
    let expanded = expanded_if_faster(original, on, Bench::default(), seed, progress)?;
    let model = expanded.as_ref().unwrap_or(original);
    let made = quantize(model, settings, progress).map_err(failed)?;
    let (written, staged) = write(&made.model.document)?;
    let written = original.with(written)?;
    let models = [original, &written];
    let timed = on.time(&models, Bench::default(), seed, progress);
    let (timing, not_timed) = match timed {
        Ok(timing) => (Some(timing), None),
        Err(Error::Cancelled) => return Err(Error::Cancelled),
        Err(error) => (None, Some(error.to_string())),
    };
    let outcome = QuantizeOutcome {
        layers: made.layers,
        bytes: models.map(|model| model.document.source_size()),
        expanded: fewer("PRelu", models),
        comparison: made.comparison,
        missed: made.missed,
        timing,
        not_timed,
    };
    Ok((outcome, staged))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_data::Preprocess;
    use sepconv_model::DataSource;
    use sepconv_onnx::OnnxError;

    use super::*;

    #[test]
    fn bytes_and_file_are_the_same_model() {
        let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models");
        let input = PathBuf::from(format!("{models}/digits.onnx"));
        let source = DataSource {
            preprocess: Preprocess {
                scale: 1.0 / 255.0,
                ..Preprocess::default()
            },
            max_samples: Some(12),
            ..DataSource::new(format!("{models}/digits_calib.npz"))
        };
        let settings = QuantizeSettings {
            positions: 64,
            least_snr: None,
            ..QuantizeSettings::new(source, sepconv_targets::reference())
        };
        let model = std::fs::read(&input).unwrap();
        let pins = Pins::default();
        let (bytes, in_memory) = quantize_bytes(model.clone(), &pins, &settings, &()).unwrap();
        assert_eq!(in_memory.layers.len(), 11);
        assert_eq!(in_memory.bytes, [model.len(), bytes.len()]);
        assert_eq!(in_memory.timing.unwrap().models.len(), 2);
        let folder = tempfile::tempdir().unwrap();
        let mut files = QuantizeFiles {
            input,
            output: folder.path().join("int8.onnx"),
            force: false,
            pins,
        };
        let of_file = quantize_file(&files, &settings, &()).unwrap();
        assert_eq!(of_file.layers, in_memory.layers);
        assert_eq!(of_file.comparison, in_memory.comparison);
        assert_eq!(std::fs::read(&files.output).unwrap(), bytes);
        let timed = &of_file.timing.unwrap().models[1];
        assert_eq!(timed.file, files.output.display().to_string());
        let again = quantize_file(&files, &settings, &()).unwrap_err();
        assert!(
            matches!(again, Error::Onnx(OnnxError::Exists { .. })),
            "{again}"
        );
        // What is quantised is refused, and the file stays.
        files.input = files.output.clone();
        files.force = true;
        let twice = quantize_file(&files, &settings, &())
            .unwrap_err()
            .to_string();
        assert!(twice.contains("quantised already"), "{twice}");
        assert_eq!(std::fs::read(&files.output).unwrap(), bytes);
    }
}
