//! The native half of the Python package `sepconv`. The other half, `python/sepconv`, takes
//! a `ModelProto` and a path; this one takes bytes, file names and arrays.

mod arrays;
mod doubts;
mod error;
mod metric;
mod options;
mod outcome;
mod work;

use pyo3::prelude::*;

/// The module as Python imports it.
#[pymodule]
mod _sepconv {
    use std::ffi::OsString;
    use std::path::PathBuf;

    use bytes::Bytes;
    use pyo3::prelude::*;
    use pyo3::pybacked::PyBackedBytes;
    use pyo3::types::PyBytes;
    use sepconv::onnx::Document;
    use sepconv::{DataSource, Loaded, QuantizeFiles, QuantizeSpec, Spec};

    use crate::arrays::Calibration;
    use crate::metric::PythonMetric;
    use crate::options::{quantize_settings, settings};
    use crate::work::{Failure, Waiting};
    use crate::{doubts, error::refused, work};
    #[pymodule_export]
    use crate::{
        error::Error,
        outcome::{Outcome, Quantized},
    };

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        sepconv::targets::silence_caught_panics();
        module.add("__version__", sepconv::VERSION)
    }

    /// Names of the options that `compress_bytes` and `compress_file` take.
    #[pyfunction]
    fn options() -> Vec<String> {
        Spec::options()
    }

    /// Names of the options that `quantize_bytes` and `quantize_file` take.
    #[pyfunction]
    fn quantize_options() -> Vec<String> {
        QuantizeSpec::options()
    }

    /// Compresses an encoded `ModelProto`, which is read where it lies. `options` is a JSON object of
    /// those that are given.
    #[pyfunction]
    fn compress_bytes<'py>(
        py: Python<'py>,
        model: PyBackedBytes,
        calibration: Option<Calibration>,
        options: &str,
        callbacks: Callbacks,
    ) -> PyResult<(Bound<'py, PyBytes>, Outcome)> {
        let spec = Spec::from_json(options).map_err(Failure::Spec)?;
        let (waiting, metric) = callbacks.split(py);
        let (small, outcome, doubts) = work::run(py, waiting, move |progress| {
            let model = Bytes::from_owner(model);
            let original = || {
                Ok(Loaded::new(
                    Document::from_bytes(model.clone())?,
                    &spec.run.shapes.pins()?,
                )?)
            };
            let settings = settings(&spec, calibration, metric, original)?;
            let sources: Vec<&DataSource> = settings.sources().collect();
            let doubts = doubts::of(&sources, settings.target, original);
            let (small, outcome) = sepconv::compress_bytes(model, &settings, progress)?;
            Ok((small, Outcome::new(&outcome, &settings, false), doubts))
        })?;
        doubts::warn(py, &doubts)?;
        Ok((PyBytes::new(py, &small), outcome))
    }

    /// The functions that a caller hands over: `progress(stage, done, total)` and `metric(original, rewritten)`.
    #[derive(FromPyObject)]
    #[pyo3(from_item_all)]
    struct Callbacks {
        progress: Option<Py<PyAny>>,
        metric: Option<Py<PyAny>>,
    }

    impl Callbacks {
        /// For the thread that waits, and for the work.
        fn split(self, py: Python<'_>) -> (Waiting, Option<PythonMetric>) {
            let waiting = Waiting::new(self.progress);
            let raised = waiting.raised.clone();
            let metric = self.metric.map(|m| PythonMetric::new(py, m, raised));
            (waiting, metric)
        }
    }

    /// The files of a compression.
    #[derive(FromPyObject)]
    #[pyo3(from_item_all)]
    struct Files {
        input: PathBuf,
        output: PathBuf,
        kept: bool,
    }

    /// Compresses a file. With `kept`, the written file is the one that the caller asked for; else it is
    /// temporary, and the report does not name it.
    #[pyfunction]
    fn compress_file(
        py: Python<'_>,
        files: Files,
        calibration: Option<Calibration>,
        options: &str,
        callbacks: Callbacks,
    ) -> PyResult<Outcome> {
        let spec = Spec::from_json(options).map_err(Failure::Spec)?;
        let (waiting, metric) = callbacks.split(py);
        let Files {
            input,
            output,
            kept,
        } = files;
        let (outcome, doubts) = work::run(py, waiting, move |progress| {
            let original = || Ok(Loaded::open(&input, &spec.run.shapes.pins()?)?);
            let settings = settings(&spec, calibration, metric, original)?;
            let sources: Vec<&DataSource> = settings.sources().collect();
            let doubts = doubts::of(&sources, settings.target, original);
            let outcome = sepconv::compress_file(&input, &output, &settings, progress)?;
            Ok((Outcome::new(&outcome, &settings, kept), doubts))
        })?;
        doubts::warn(py, &doubts)?;
        Ok(outcome)
    }

    /// Quantises an encoded `ModelProto`, which is read where it lies. `options` is a JSON object of those that
    /// are given.
    #[pyfunction]
    fn quantize_bytes<'py>(
        py: Python<'py>,
        model: PyBackedBytes,
        calibration: Calibration,
        options: &str,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<(Bound<'py, PyBytes>, Quantized)> {
        let spec = QuantizeSpec::from_json(options).map_err(Failure::Spec)?;
        let (made, record, doubts) = work::run(py, Waiting::new(progress), move |progress| {
            let model = Bytes::from_owner(model);
            let pins = spec.shapes.pins().map_err(Failure::Spec)?;
            let original = || Ok(Loaded::new(Document::from_bytes(model.clone())?, &pins)?);
            let settings = quantize_settings(&spec, calibration, original)?;
            let doubts = doubts::of(&[&settings.source], settings.target, original);
            let (made, outcome) = sepconv::quantize_bytes(model, &pins, &settings, progress)?;
            Ok((made, Quantized::new(&outcome)?, doubts))
        })?;
        doubts::warn(py, &doubts)?;
        Ok((PyBytes::new(py, &made), record))
    }

    /// Quantises a file.
    #[pyfunction]
    fn quantize_file(
        py: Python<'_>,
        files: Files,
        calibration: Calibration,
        options: &str,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Quantized> {
        let spec = QuantizeSpec::from_json(options).map_err(Failure::Spec)?;
        let (record, doubts) = work::run(py, Waiting::new(progress), move |progress| {
            let files = QuantizeFiles {
                input: files.input,
                output: files.output,
                force: spec.force,
                pins: spec.shapes.pins().map_err(Failure::Spec)?,
            };
            let original = || Ok(Loaded::open(&files.input, &files.pins)?);
            let settings = quantize_settings(&spec, calibration, original)?;
            let doubts = doubts::of(&[&settings.source], settings.target, original);
            let outcome = sepconv::quantize_file(&files, &settings, progress)?;
            Ok((Quantized::new(&outcome)?, doubts))
        })?;
        doubts::warn(py, &doubts)?;
        Ok(record)
    }

    /// Runs a command of the command line, and gives its exit code; the first argument is the program's name. It
    /// takes over the signals of the process.
    #[pyfunction]
    fn command(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
        py.detach(|| sepconv_cli::run(arguments))
    }

    /// Names the shared library of ONNX Runtime, before the target `onnxruntime` is first used.
    #[pyfunction]
    fn use_onnxruntime(library: PathBuf) -> PyResult<()> {
        sepconv::targets::use_onnxruntime(&library).map_err(refused)
    }

    /// Names the shared library of OpenVINO, before the target `openvino` is first used.
    #[pyfunction]
    fn use_openvino(library: PathBuf) -> PyResult<()> {
        sepconv::targets::use_openvino(&library).map_err(refused)
    }
}
