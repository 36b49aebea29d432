//! Advice that comes with an error, as data: each interface words it in its own terms.

/// A way out of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// The shape of an input can be fixed.
    PinInputShape,
    /// The original model can stand in for labels.
    GiveOriginal,
    /// A latency budget is for a runtime.
    GiveLatencyTarget,
    /// A drop is measured on calibration or evaluation data.
    GiveJudgingData,
    /// A budget that is not judged needs no run.
    GiveUnjudgedBudget,
    /// Calibration data allows more, and so does another budget or a lower ratio.
    GiveCalibrationOrBudget,
    /// A lower bound of the same measure can be asked for, or a budget that is not judged.
    GiveLowerBound,
    /// A lower ratio can be asked for, or a budget that is not judged.
    GiveLowerRatio,
    /// Outputs beside those of a task are judged unless it is named.
    NameTask,
    /// Outputs that are no classes are judged by a target, or by their signal-to-noise ratio.
    GiveTargetOrSnr,
    /// Fits need data.
    GiveCalibration,
    /// The calibration data of the plan are wanted.
    GiveSameCalibration,
    /// No calibration data are wanted.
    LeaveOutCalibration,
    /// A result that is not faster can be asked for.
    AllowSlower,
    /// The time was limited, and much of it is over.
    GiveMoreTime,
    /// A model can be raised to a later opset.
    RaiseOpset,
}
