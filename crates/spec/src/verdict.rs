//! The verdict of the data on a budget that is judged.

use serde::Serialize;

/// A model held against a budget that is judged: a greatest drop, or a least signal-to-noise
/// ratio.
///
/// Where there are as many samples as could show the budget, the limit has to keep it, else the
/// value that was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The metric, as reports name it.
    pub metric: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// True where a greater value is a better one.
    #[serde(skip)]
    pub higher_is_better: bool,
    /// The worst value that the budget allows.
    pub allowed: f64,
    /// The value down to which plans were taken, where eight bits miss the budget by themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relaxed: Option<f64>,
    /// Names of the outputs that it is of, where others are judged by something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<String>,
    /// The value that was measured; `None` where it is not finite.
    pub value: Option<f64>,
    /// The worst value that samples which nobody looked at may have: the end of the one-sided 95 % interval. `None`
    /// where there is none to estimate.
    pub limit: Option<f64>,
    /// Samples that were looked at.
    pub samples: usize,
    /// Samples that are needed to show the budget where not one of them gets worse; `None` where
    /// no number would: of synthetic inputs.
    pub needed: Option<usize>,
    /// True where the limit is within the budget: it is then shown to hold.
    pub shown: bool,
    /// Share of the samples that the original puts in one class, in percent, where that is why a
    /// ratio decides in place of agreement: a model of that class alone would agree as much.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_class: Option<f64>,
}

impl Verdict {
    /// The metric, and the outputs that it is of where others are judged by something else: `agreement of prob`.
    pub fn figure(&self) -> String {
        match &self.outputs {
            Some(outputs) => format!("{} of {outputs}", self.metric),
            None => self.metric.to_owned(),
        }
    }

    /// The value that decides: the limit where there are samples enough to show the budget, else what was measured.
    pub fn decisive(&self) -> Option<f64> {
        match self.is_by_limit() {
            true => self.limit,
            false => self.value,
        }
    }

    /// True where the budget is missed: by the limit where there are samples enough for it, else by the value.
    pub fn is_missed(&self) -> bool {
        let counts = self.decisive();
        match self.higher_is_better {
            true => counts.is_none_or(|value| value < self.allowed),
            false => counts.is_none_or(|value| value > self.allowed),
        }
    }

    /// True where there are samples enough that the budget could be shown to hold.
    pub fn is_by_limit(&self) -> bool {
        self.limit.is_some() && self.needed.is_some_and(|needed| needed <= self.samples)
    }
}
