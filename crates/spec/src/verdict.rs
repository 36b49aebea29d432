//! The verdict of the data on a budget that is judged.

use serde::Serialize;

/// A model held against a budget that is judged: a greatest drop, or a least signal-to-noise
/// ratio.
///
/// Where there are as many samples as could show the budget, the limit has to keep it, else the
/// value that was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Verdict {
    /// The metric, as reports name it.
    pub metric: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The worst value that the budget allows.
    pub allowed: f64,
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
    /// True where there are samples enough that the budget could be shown to hold.
    pub fn is_by_limit(&self) -> bool {
        self.limit.is_some() && self.needed.is_some_and(|needed| needed <= self.samples)
    }
}
