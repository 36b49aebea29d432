//! The tries of a search.

use serde::Serialize;

/// A plan that a search tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Try {
    /// Cost that was asked for, as a fraction of the original's.
    pub asked: f64,
    /// Cost of the plan, as predicted; `None` where no plan costs so little.
    pub fraction: Option<f64>,
    /// Loss at the outputs that was expected of the plan.
    pub expected_loss: Option<f64>,
    /// The figure that the goal is about, as it was measured: the cost as a fraction of the
    /// original's, or the metric of the budget. `None` where nothing was measured.
    pub measured: Option<f64>,
    /// The worst value that the metric may have on samples which nobody looked at: the end of the
    /// one-sided 95 % interval. `None` for costs, and where there is none to estimate.
    pub limit: Option<f64>,
    /// True where the plan meets the goal.
    pub holds: bool,
}
