//! Errors of the library as Python's.

use pyo3::create_exception;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

create_exception!(
    sepconv,
    Error,
    PyValueError,
    "Why a model was not compressed, in one line."
);

/// The error of the library as Python's.
pub(crate) fn refused(error: impl std::fmt::Display) -> PyErr {
    Error::new_err(error.to_string())
}
