//! Doubts about data, as Python's warnings.

use std::ffi::CString;

use pyo3::exceptions::PyUserWarning;
use pyo3::prelude::*;
use sepconv::targets::Target;
use sepconv::{DataSource, DataWarning, Loaded, SpecError};

/// Doubts about the data for a model, a sentence each.
pub fn of(
    sources: &[&DataSource],
    target: &dyn Target,
    model: impl FnOnce() -> Result<Loaded, SpecError>,
) -> Vec<String> {
    if sources.is_empty() {
        return Vec::new();
    }
    // A file that can't be opened is an error of the work itself.
    let Ok(model) = model() else {
        return Vec::new();
    };
    let warnings = sources.iter().map(|s| s.warnings(&model, target));
    let mut told: Vec<String> = Vec::new();
    for warning in warnings.flat_map(Result::unwrap_or_default) {
        let text = match &warning {
            DataWarning::Range { factor, .. } if *factor < 1.0 => {
                format!(
                    "{warning} (scale=1/{:.0} would bring them near)",
                    1.0 / factor
                )
            }
            DataWarning::Range { .. } => format!("{warning} (see scale)"),
            other => other.to_string(),
        };
        if !told.contains(&text) {
            told.push(text);
        }
    }
    told
}

/// Hands them to Python's `warnings`.
pub fn warn(py: Python<'_>, doubts: &[String]) -> PyResult<()> {
    let category = py.get_type::<PyUserWarning>();
    for text in doubts {
        // A name with a zero byte is no name of a file or an input.
        let text = CString::new(text.replace('\0', "?"))?;
        PyErr::warn(py, &category, &text, 3)?;
    }
    Ok(())
}
