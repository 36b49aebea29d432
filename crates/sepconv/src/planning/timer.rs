//! What a model's layers are timed and costed by.

use sepconv_latency::{Bench, Measured};

use super::{Costs, Unit};
use crate::error::Error;
use crate::loaded::Loaded;
use crate::prepared::Prepared;
use crate::progress::Progress;
use crate::settings::{LatencyTarget, Settings};

/// A model, and how its layers are timed and costed.
pub(crate) struct Timer<'a> {
    pub model: &'a Loaded,
    pub prepared: &'a Prepared,
    pub settings: &'a Settings,
    /// What the budget counts.
    pub unit: Unit,
    pub progress: &'a dyn Progress,
}

impl Timer<'_> {
    /// Costs in seconds on the settings' target of the candidates for which `wanted` holds.
    pub fn costs(&self, wanted: &dyn Fn(usize, usize) -> bool) -> Result<Costs, Error> {
        let both = [self.model, &self.prepared.folded];
        let run = self
            .latency()?
            .time(both, Bench::long(), self.settings.seed, self.progress)?;
        let seconds = |i: usize| run.models.get(i).map_or(f64::NAN, |m| m.timing.min);
        Costs::measured(self, (seconds(0), seconds(1)), &self.blocks()?, wanted)
    }

    /// Adds the candidates for which `wanted` holds to such costs.
    pub fn more(
        &self,
        costs: &mut Costs,
        wanted: &dyn Fn(usize, usize) -> bool,
    ) -> Result<(), Error> {
        costs.extend(self, &self.blocks()?, wanted)
    }

    /// Costs in the unit of the budget, of what pays where layers were timed.
    pub fn budgeted(&self, timed: Option<&Costs>) -> Result<Costs, Error> {
        let costs = match (self.unit, timed) {
            (Unit::Latency, Some(timed)) => return Ok(timed.clone()),
            (Unit::Cost, _) => {
                let cost = self.settings.cost.as_deref().ok_or_else(|| {
                    Error::Setting("a budget of cost needs a cost model (Settings::cost)".into())
                })?;
                Costs::modelled(self, cost)?
            }
            (unit, _) => Costs::counted(self.model, self.prepared, unit),
        };
        Ok(match timed {
            Some(timed) => costs.paying(timed, self.unit),
            None => costs,
        })
    }

    fn latency(&self) -> Result<LatencyTarget, Error> {
        self.settings.latency.ok_or_else(|| {
            Error::Setting(
                "a latency budget needs a target (--target tract, onnxruntime or openvino)".into(),
            )
        })
    }

    /// What times blocks.
    fn blocks(&self) -> Result<Measured, Error> {
        let latency = self.latency()?;
        let measured = Measured::new(latency.target, latency.threads);
        measured.map_err(|source| Error::Latency {
            file: self.model.file(),
            source: source.into(),
        })
    }
}
