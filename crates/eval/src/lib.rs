//! Figures of ONNX models.
//!
//! [`evaluate()`] measures a model by labels, by wanted outputs, or by the original's outputs;
//! [`compare()`] holds two models' outputs against one another, output by output and channel by
//! channel; [`bench()`] times models beside one another. An [`Evaluator`] and a [`Reference`]
//! measure many models on one data set, for which the original is run once.

mod bench;
mod channels;
mod compare;
mod evaluate;
mod interface;
mod limits;
mod metrics;
mod pictures;
mod reference;
mod sparse;
mod tasks;

pub use bench::{BenchRun, BenchSettings, LatencyTarget, ModelTiming, bench};
pub use channels::WorstChannel;
pub use compare::{ComparedOn, Comparison, TaskComparison, compare};
pub use evaluate::{
    Against, BatchRows, Described, Drop, Evaluation, Evaluator, Measure, Metric, OriginalOutputs,
    OwnMetric, SampleOutput, divergence_of, evaluate, evaluate_against, of_batch,
};
pub use limits::{CONFIDENCE, Decibels, student};
pub use metrics::{ONE_CLASS, OutputComparison};
pub use pictures::{Panel, Raster, ShownSample};
pub use reference::{Reference, ReferenceInputs, synthetic_runs};
pub use sparse::SparseScores;
pub use tasks::{TakenTask, TaskMetric};
