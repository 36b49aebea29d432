//! A metric that Python computes.

use std::sync::{Arc, Mutex, PoisonError};

use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use sepconv::{OwnMetric, SampleOutput};

/// The exception of a callback, for the thread that waits to raise.
#[derive(Clone, Default)]
pub struct Raised(Arc<Mutex<Option<PyErr>>>);

impl Raised {
    /// Keeps the first.
    fn keep(&self, error: PyErr) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert(error);
    }

    fn is_some(&self) -> bool {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.is_some()
    }

    /// The exception, once.
    pub fn take(&self) -> Option<PyErr> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take()
    }
}

/// `metric(original, rewritten) -> float` of one sample: arrays of a model of one output, else dicts of arrays by
/// the outputs' names. A greater value is a better one.
pub struct PythonMetric {
    callable: Py<PyAny>,
    name: &'static str,
    raised: Raised,
}

impl PythonMetric {
    /// Calls `callable`, and keeps an exception in `raised`.
    pub fn new(py: Python<'_>, callable: Py<PyAny>, raised: Raised) -> Self {
        let name = callable.getattr(py, "__name__");
        let name = name.and_then(|name| name.extract::<String>(py));
        // A lambda's is `<lambda>`, which names nothing.
        let name = name.ok().filter(|name| !name.starts_with('<'));
        let name = name.unwrap_or_else(|| "metric".into());
        Self {
            callable,
            // The library keeps names of metrics for good.
            name: name.leak(),
            raised,
        }
    }

    fn call(
        &self,
        py: Python<'_>,
        original: &[SampleOutput<'_>],
        rewritten: &[SampleOutput<'_>],
    ) -> PyResult<f64> {
        let arguments = (outputs(py, original)?, outputs(py, rewritten)?);
        self.callable.call1(py, arguments)?.extract(py)
    }
}

impl OwnMetric for PythonMetric {
    fn name(&self) -> &'static str {
        self.name
    }

    fn of_sample(&self, original: &[SampleOutput<'_>], rewritten: &[SampleOutput<'_>]) -> f64 {
        if self.raised.is_some() {
            return f64::NAN;
        }
        // Nothing is called while the interpreter ends.
        let value = Python::try_attach(|py| {
            let called = self.call(py, original, rewritten);
            called.map_err(|error| self.raised.keep(error)).ok()
        });
        value.flatten().unwrap_or(f64::NAN)
    }
}

/// The outputs of a sample as the callable takes them.
fn outputs<'py>(py: Python<'py>, all: &[SampleOutput<'_>]) -> PyResult<Bound<'py, PyAny>> {
    let array = |output: &SampleOutput<'_>| {
        let values = PyArray1::from_slice(py, output.values);
        values.reshape(output.shape.to_vec())
    };
    if let [only] = all {
        return Ok(array(only)?.into_any());
    }
    let named = PyDict::new(py);
    for output in all {
        named.set_item(output.name, array(output)?)?;
    }
    Ok(named.into_any())
}
