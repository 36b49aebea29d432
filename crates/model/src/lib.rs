//! ONNX models with their shapes and costs, the data that they run on, and their runs.
//!
//! [`Loaded`] is a model file with inferred shapes and counted costs. [`DataSource`] names data
//! and opens them for a model; [`Samples`] hands them out batch by batch, and [`run`] runs a model
//! on them. All that builds on models shares [`Error`] and [`Progress`].

mod advice;
pub mod classes;
mod deadline;
mod error;
mod inputs;
mod loaded;
mod machine;
pub mod parts;
mod progress;
mod runner;
mod samples;
mod step;
mod task;
mod unshaped;

pub use advice::Advice;
pub use deadline::{Deadline, parse_time};
pub use error::Error;
pub use inputs::magnitudes;
pub use inputs::{
    DataSource, DataWarning, data_specs, load_inputs, session_specs, shaped_by, synthetic_inputs,
};
pub use loaded::Loaded;
pub use machine::{MemoryError, machine_memory, parse_memory, peak_memory, processor_seconds};
pub use progress::{Event, Progress, Reach, Stage, Untold, still_wanted};
pub use runner::{load, run, run_to_npz};
pub use samples::{Samples, trimmed};
pub use step::step;
pub use task::Task;
pub use unshaped::Unshaped;
