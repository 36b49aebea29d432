//! Compress the convolutions of ONNX models.
//!
//! ```no_run
//! use std::path::Path;
//! use sepconv::{Budget, Settings, compress_file};
//!
//! # fn main() -> Result<(), sepconv::Error> {
//! let settings = Settings {
//!     budget: Budget::TargetMacs(0.5),
//!     ..Settings::default()
//! };
//! let outcome = compress_file(Path::new("model.onnx"), Path::new("small.onnx"), &settings, &())?;
//! println!("{} -> {} MACs", outcome.original.macs, outcome.compressed.macs);
//! # Ok(())
//! # }
//! ```
//!
//! The steps are there to be used apart: [`Loaded`] reads a model and knows its shapes and
//! cost, [`inspect`] lists what could be done, [`compress`] rewrites in memory, [`compare`]
//! and [`evaluate`] run exported models on a target, [`bench()`] times them, and an
//! [`Evaluator`] measures many models on one data set. The crates below (`sepconv_ir`,
//! `sepconv_passes`, …) are re-exported for those who want the pass alone.

mod bench;
mod bodies;
mod budget;
mod calibrate;
mod channels;
mod compare;
mod compress;
mod curve;
mod error;
mod evaluate;
mod flow;
mod functions;
mod inputs;
mod inspect;
mod judge;
mod loaded;
mod machine;
mod memory;
mod meter;
mod metrics;
mod outcome;
mod planning;
mod prepared;
mod progress;
mod reference;
mod replay;
pub mod report;
mod runner;
mod saved_plan;
mod search;
mod settings;
mod sweep;
#[cfg(test)]
mod testing;
mod tighten;
mod tuning;
mod unshaped;

pub use bench::{BenchRun, BenchSettings, ModelTiming, bench};
pub use calibrate::{CalibrationSettings, LayerFit, Pictures, Schedule, Source};
pub use channels::WorstChannel;
pub use compare::{ComparedOn, Comparison, compare};
pub use compress::{Compressed, compress};
pub use curve::{CurvePoint, Series, curve};
pub use error::Error;
pub use evaluate::{
    Against, Described, Evaluation, Evaluator, Measure, Metric, OwnMetric, SampleOutput, evaluate,
    evaluate_against,
};
pub use inputs::{DataSource, DataWarning, data_specs, load_inputs, synthetic_inputs};
pub use inspect::{Inspection, LayerInspection, RankInspection, inspect};
pub use loaded::Loaded;
pub use machine::{MemoryError, machine_memory, parse_memory, peak_memory};
pub use memory::compress_bytes;
pub use metrics::OutputComparison;
pub use outcome::{Layer, Outcome, Size, compress_file};
pub use planning::{Prediction, Solution, Unit, validate};
pub use progress::{Event, Progress};
pub use report::Report;
pub use runner::{run, run_to_npz};
pub use saved_plan::{PlannedFit, PlannedModel, PlannedSelection, PlannedSource, SavedPlan};
pub use settings::{Budget, DataFree, LatencyTarget, Settings};
pub use sweep::{Sweep, sweep};
pub use tuning::{Augment, TuneMode, TuneSettings, Tuned, Tuning, tune, tune_file};
pub use unshaped::Unshaped;

pub use sepconv_analysis::Pins;
pub use sepconv_data as data;
pub use sepconv_factor as factor;
pub use sepconv_ir as ir;
pub use sepconv_latency as latency;
pub use sepconv_onnx as onnx;
pub use sepconv_passes as passes;
pub use sepconv_passes::{Families, Order, Selection};
pub use sepconv_targets as targets;
pub use sepconv_tune as training;

/// What callers hand from thread to thread.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Compressed>();
    is_shared::<Error>();
    is_shared::<Loaded>();
    is_shared::<Outcome>();
    is_shared::<Report>();
    is_shared::<SavedPlan>();
    is_shared::<Settings>();
    is_shared::<Sweep>();
    is_shared::<Tuning>();
};

/// The examples of `docs/library.md`, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/library.md")]
struct Book;

/// Version of sepconv.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
