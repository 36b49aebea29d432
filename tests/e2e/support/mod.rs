//! The shared part of the tests.

mod browser;
mod command;
mod models;
mod oracle;
mod scratch;
mod skipped;

pub use browser::{Browser, NO_BROWSER};
pub use command::{Finished, compress, sepconv, sepconv_with};
pub use models::{Model, NO_SHARED, digits, digits_eval, models, root, shared};
pub use oracle::{ask, python, runtimes};
pub use scratch::Scratch;
pub use skipped::skipped;

use serde_json::Value;

/// The largest number among an object's values: the worst of all outputs.
pub fn worst(errors: &Value) -> f64 {
    let values = errors.as_object().unwrap().values();
    let worst = values.map(|v| v.as_f64().unwrap()).reduce(f64::max);
    worst.expect("the model has outputs")
}
