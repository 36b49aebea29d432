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
//! cost, [`inspect`] lists the possible ranks, [`compress`] rewrites in memory, [`compare`]
//! and [`evaluate`] run exported models on a target, [`bench()`] times them, and an
//! [`Evaluator`] measures many models on one data set. The crates below (`sepconv_ir`,
//! `sepconv_passes`, …) are re-exported for those who want the pass alone.

mod bodies;
mod closing;
mod compressed;
mod curve;
mod curve_meter;
mod curve_point;
mod eight_bits;
mod eight_bits_choice;
mod functions;
mod inspect;
mod job;
mod materialise;
mod memory;
mod outcome;
mod pipeline;
mod planned;
mod precision;
mod prepared;
mod quantize_file;
mod quantizing;
mod replay;
mod resolve;
mod search;
mod settings;
mod spectra;
mod sweep;
mod tuning;
mod validate;

pub use compressed::Compressed;
pub use curve::curve;
pub use curve_point::{Compared, Curve, CurvePoint, Series};
pub use eight_bits::EightBits;
pub use inspect::{Inspection, LayerInspection, RankInspection, inspect};
pub use memory::compress_bytes;
pub use outcome::{Outcome, Size, compress_file};
pub use pipeline::compress;
pub use quantize_file::{QuantizeFiles, QuantizeOutcome, quantize_bytes, quantize_file};
pub use settings::{Budget, DataFree, Settings};
pub use sweep::{Sweep, sweep};
pub use tuning::{Augment, TuneFiles, TuneMode, TuneSettings, Tuned, Tuning, tune, tune_file};
pub use validate::{Prediction, validate};

pub use sepconv_analysis::Pins;
pub use sepconv_calibrate::Hurried;
pub use sepconv_data as data;
pub use sepconv_eval::{
    Against, BenchRun, BenchSettings, ComparedOn, Comparison, Decibels, Described, Drop,
    Evaluation, Evaluator, LatencyTarget, Measure, Metric, ModelTiming, OutputComparison,
    OwnMetric, SampleOutput, SparseScores, TakenTask, TaskComparison, TaskMetric, WorstChannel,
    bench, compare, evaluate, evaluate_against,
};
pub use sepconv_factor as factor;
pub use sepconv_ir as ir;
pub use sepconv_latency as latency;
pub use sepconv_model::{
    Advice, DataSource, DataWarning, Deadline, Error, Event, Loaded, MemoryError, Progress, Reach,
    Task, Unshaped, data_specs, load_inputs, machine_memory, parse_memory, peak_memory, run,
    run_to_npz, shaped_by, synthetic_inputs,
};
pub use sepconv_onnx as onnx;
pub use sepconv_passes as passes;
pub use sepconv_passes::{Families, Order, Selection};
pub use sepconv_planning::{Solution, Unit};
pub use sepconv_quantize as quantization;
pub use sepconv_spec::{
    BudgetSpec, CalibrationSettings, DataFreeChoice, DataSpec, FitSpec, GivenPlan, LayerFit,
    LayerRecord, LayerTime, LoweringChoice, OrderChoice, Pictures, PlannedFit, PlannedModel,
    PlannedSelection, PlannedSource, PrecisionChoice, QuantizeSpec, RunSpec, SampleSpec, SavedPlan,
    Schedule, SearchSpace, ShapeSpec, Source, Spec, SpecError, TargetSpec, TaskChoice, Try,
    Verdict,
};
pub use sepconv_targets as targets;
pub use sepconv_tune as training;

/// The values that callers hand from thread to thread.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Compressed>();
    is_shared::<Error>();
    is_shared::<Loaded>();
    is_shared::<Outcome>();
    is_shared::<SavedPlan>();
    is_shared::<Settings>();
    is_shared::<Sweep>();
    is_shared::<Tuning>();
};

/// The examples of `docs/library.md`, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/library.md")]
struct Book;

/// The example of `docs/quantize.md`, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/quantize.md")]
struct QuantizeChapter;

/// Version of sepconv.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
