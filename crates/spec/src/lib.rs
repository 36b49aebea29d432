//! The options of sepconv and its decisions: plain data, without a step of the work.

mod calibration;
mod layer;
mod plan;
mod spec;
mod tries;
mod verdict;

pub use calibration::{CalibrationSettings, Effort, Pictures, Schedule, Source};
pub use layer::{LayerFit, LayerRecord, LayerTime};
pub use plan::{PLAN_FORMAT, PlannedFit, PlannedModel, PlannedSelection, PlannedSource, SavedPlan};
pub use spec::{
    BudgetSpec, DataFreeChoice, DataSpec, EffortChoice, FitSpec, GivenPlan, LoweringChoice,
    OrderChoice, PrecisionChoice, QuantizeSpec, RunSpec, SampleSpec, SearchSpace, ShapeSpec, Spec,
    SpecError, TargetSpec, TaskChoice,
};
pub use tries::Try;
pub use verdict::Verdict;
