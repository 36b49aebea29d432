//! A model whose layers are surveyed, and the arguments of their fits.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sepconv_ir::NodeId;
use sepconv_model::{Deadline, Error, Loaded, Progress};
use sepconv_passes::{Families, Kept, Lowering, PassError, Survey};
use sepconv_spec::CalibrationSettings;
use sepconv_targets::Target;

use crate::hurry::Hurried;
use crate::memory_limit::MemoryLimit;
use crate::sampling::Sampling;

/// Factors of the output channels of layers, about 1, by the convolution's node.
pub type Sensitivities = HashMap<NodeId, Arc<[f64]>>;

/// A model with its batch norms and padding folded and its layers surveyed.
pub struct SurveyedModel {
    /// The folded model.
    pub folded: Loaded,
    /// Its layers and their candidates.
    pub survey: Survey,
    /// Reasons for layers that no survey sees: those in subgraphs and functions.
    kept_elsewhere: Vec<Kept>,
    /// Sensitivities of the outputs to the channels of the layers, once they are known.
    pub(crate) sensitivities: OnceLock<Sensitivities>,
    /// Candidates that were dropped, with their reasons.
    dropped: Mutex<BTreeSet<String>>,
    /// Layers for which the time was short.
    hurried: Mutex<Hurried>,
}

/// Settings of the fits of layers.
#[derive(Clone, Copy)]
pub struct Fitting<'a> {
    /// Data and settings of the statistics and fits.
    pub calibration: &'a CalibrationSettings,
    /// The runtime that the network is run on for statistics and probes.
    pub runner: &'a dyn Target,
    /// The runtime that has to run every rewritten layer.
    pub target: &'a dyn Target,
    /// The part of the data that statistics are made of.
    pub sampling: Sampling,
    /// The families that candidates are of.
    pub families: &'a Families,
    /// The lowering that chains are written by; `None` takes the planned one.
    pub lowering: Option<&'static dyn Lowering>,
    /// The memory that statistics and fits may take.
    pub memory: MemoryLimit,
    /// The time by which the work is to end.
    pub deadline: Option<Deadline>,
    /// Told of progress.
    pub progress: &'a dyn Progress,
}

impl SurveyedModel {
    /// Of a folded model and its survey; `kept_elsewhere` says why layers of its subgraphs and
    /// functions stay.
    pub fn new(folded: Loaded, survey: Survey, kept_elsewhere: Vec<Kept>) -> Self {
        Self {
            folded,
            survey,
            kept_elsewhere,
            sensitivities: OnceLock::new(),
            dropped: Mutex::default(),
            hurried: Mutex::default(),
        }
    }

    /// Remembers that a family is out of the question for a layer.
    pub fn drop_family(&self, layer: &str, family: &str, reason: &str) {
        let line = format!("layer '{layer}': {family} was dropped: {reason}");
        let lock = self.dropped.lock();
        lock.unwrap_or_else(PoisonError::into_inner).insert(line);
    }

    /// A line for each family that was dropped for a layer, sorted.
    pub fn dropped(&self) -> Vec<String> {
        let lock = self.dropped.lock();
        let lines = lock.unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    /// Counts a layer for which the time was short.
    pub(crate) fn hurry(&self, count: impl FnOnce(&mut Hurried)) {
        let lock = self.hurried.lock();
        count(&mut lock.unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts of the layers for which the time was short.
    pub fn hurried(&self) -> Hurried {
        let lock = self.hurried.lock();
        *lock.unwrap_or_else(PoisonError::into_inner)
    }

    /// Layers that could not be fitted stay, for the reasons given, parallel to the layers of the
    /// survey.
    ///
    /// # Errors
    /// [`Error::AllKept`] where no other layer is left.
    pub fn keep_unfitted<'k>(
        &mut self,
        reasons: impl IntoIterator<Item = Option<&'k Kept>>,
    ) -> Result<(), Error> {
        let mut any = false;
        for (layer, kept) in self.survey.layers.iter_mut().zip(reasons) {
            if let (Ok(_), Some(kept)) = (&layer.site, kept) {
                layer.site = Err(kept.clone());
                any = true;
            }
        }
        if any && self.survey.sites().next().is_none() {
            return Err(self.all_kept());
        }
        Ok(())
    }

    /// The error that every layer stays, with the reasons of those in subgraphs and functions too.
    pub fn all_kept(&self) -> Error {
        Error::AllKept {
            file: self.folded.file(),
            reasons: self.survey.kept().chain(&self.kept_elsewhere).collect(),
        }
    }

    /// An error of a pass over this model.
    pub fn failed(&self, source: PassError) -> Error {
        Error::Pass {
            file: self.folded.file(),
            source,
        }
    }
}
