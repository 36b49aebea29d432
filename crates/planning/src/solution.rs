//! A solved budget.

use sepconv_passes::Candidate;
use serde::Serialize;

/// A solved budget.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Solution {
    /// Cost of the planned model as a fraction of the original's.
    pub fraction: f64,
    /// Predicted loss at the outputs: the mean divergence of classes in nats, or the
    /// relative squared error of other outputs.
    #[serde(rename = "damage")]
    pub loss: f64,
    /// No plan within the budget has less predicted loss.
    pub bound: f64,
    /// Predicted time as a fraction of the original's, where layers were timed.
    pub time: Option<f64>,
    /// The candidate of every layer of the survey, none where it stays.
    #[serde(skip)]
    pub chosen: Vec<Option<Candidate>>,
    /// True for the layers of the survey that stay in floats in a model of another precision, whatever becomes of
    /// them.
    #[serde(skip)]
    pub floats: Vec<bool>,
    /// Per layer of the survey, other candidates that cost no more than the one chosen and do about
    /// as much loss: fits of them may turn out better.
    #[serde(skip)]
    pub alternatives: Vec<Vec<Candidate>>,
    /// The terms that it was solved for.
    #[serde(skip)]
    pub terms: Terms,
}

/// The terms that a budget is solved for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Terms {
    /// The fraction of the cost that was asked for.
    pub fraction: f64,
    /// The multiplier of time.
    pub multiplier: f64,
}
