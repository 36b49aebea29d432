//! What every budget starts from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};

use sepconv_passes::{
    Families, Folded, Kept, PassError, Plan, Planner, Selection, Survey, apply, fold,
};

use crate::bodies::{Bodies, labels, reaches};
use crate::calibrate::{Score, Sensitivities};
use crate::compress::Compressed;
use crate::error::Error;
use crate::loaded::Loaded;
use crate::progress::{Progress, Stage, still_wanted};
use crate::settings::Settings;

/// A model with its batch norms and padding folded and its layers surveyed: what every budget
/// starts from.
pub(crate) struct Prepared {
    pub folded: Loaded,
    pub survey: Survey,
    /// What is in its subgraphs and functions, surveyed where the budget reaches it.
    pub bodies: Bodies,
    pub norms: usize,
    /// How much the outputs depend on the channels of its layers, once that was looked at.
    pub sensitivities: OnceLock<Sensitivities>,
    /// Candidates that were dropped, with their reasons.
    dropped: Mutex<BTreeSet<String>>,
}

impl Prepared {
    pub fn new(
        model: &Loaded,
        settings: &Settings,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Pass {
            file: model.file(),
            source,
        };
        let opset = model.document.model.opset();
        if let Some(lowering) = settings.lowering.filter(|l| l.opset() > opset) {
            return Err(Error::Setting(format!(
                "lowering '{}' needs ONNX opset {}, the model has {opset}",
                lowering.name(),
                lowering.opset()
            )));
        }
        let products = settings.families.products();
        let mut names = labels(model.graph(), products);
        let selection = &settings.selection.clone().quantized(settings.quantized);
        let mut bodies = Bodies::new(model, selection, &names, products)?;
        names.extend(bodies.names());
        selection.check(&names).map_err(failed)?;
        if reaches(settings) || settings.plan.is_some() {
            bodies.survey(model, &settings.families)?;
        }
        let mut document = model.document.clone();
        let done = fold(&mut document.model.graph, selection).map_err(failed)?;
        let folded = if done != Folded::default() {
            model.with(document)?
        } else {
            model.clone()
        };
        let survey = survey(&folded, selection, &settings.families, progress)?;
        Ok(Self {
            folded,
            survey,
            bodies,
            norms: done.norms,
            sensitivities: OnceLock::new(),
            dropped: Mutex::default(),
        })
    }

    /// Remembers that a family is out of the question for a layer.
    pub fn dropped(&self, layer: &str, family: &str, reason: &str) {
        let line = format!("layer '{layer}': {family} was dropped: {reason}");
        let lock = self.dropped.lock();
        lock.unwrap_or_else(PoisonError::into_inner).insert(line);
    }

    /// A line for each family that was dropped for a layer, sorted.
    pub fn all_dropped(&self) -> Vec<String> {
        let lock = self.dropped.lock();
        let lines = lock.unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }

    /// Makes a plan and applies it with data-free weights.
    pub fn by(
        &self,
        planner: &dyn Planner,
        settings: &Settings,
        total_macs: u64,
    ) -> Result<Compressed, Error> {
        let plan = planner.plan(&self.survey, total_macs);
        self.with(plan.map_err(|e| self.failed(e))?, settings)
    }

    /// Applies a plan with data-free weights.
    pub fn with(&self, plan: Plan, settings: &Settings) -> Result<Compressed, Error> {
        let mut document = self.folded.document.clone();
        let applied = apply(
            &mut document.model.graph,
            &self.survey,
            &plan,
            settings.lowering,
            |layer, family, rank| layer.chain(family, rank),
        )
        .map_err(|e| self.failed(e))?;
        Ok(Compressed {
            model: self.folded.with(document)?,
            plan,
            applied,
            folded: self.norms,
            fits: BTreeMap::new(),
            calibration: None,
            solution: None,
            times: BTreeMap::new(),
            spectra: BTreeMap::new(),
            body_macs: BTreeMap::new(),
            in_bodies: BTreeSet::new(),
            tuning: None,
            dropped: Vec::new(),
        })
    }

    /// Layers that could not be fitted stay, for the reason that their score gives.
    ///
    /// # Errors
    /// [`Error::Nothing`] where no other layer is left.
    pub fn keep_unfitted(&mut self, scores: &[Score]) -> Result<(), Error> {
        let mut any = false;
        for (layer, score) in self.survey.layers.iter_mut().zip(scores) {
            if let (Ok(_), Some(kept)) = (&layer.site, &score.kept) {
                layer.site = Err(kept.clone());
                any = true;
            }
        }
        if any && self.survey.sites().next().is_none() {
            return Err(Error::Nothing {
                file: self.folded.file(),
                reason: format!("no convolution can be rewritten: {}", self.reasons()),
            });
        }
        Ok(())
    }

    /// Whether all that can be rewritten is in subgraphs and functions.
    pub fn only_in_bodies(&self) -> bool {
        self.survey.sites().next().is_none() && self.bodies.has_sites()
    }

    /// Why layers stay, as [`Survey::reasons`], those in bodies among them.
    pub fn reasons(&self) -> String {
        let inner = self.bodies.kept();
        Kept::count(self.survey.kept().chain(&inner))
    }

    /// An error of a pass over this model.
    pub fn failed(&self, source: PassError) -> Error {
        Error::Pass {
            file: self.folded.file(),
            source,
        }
    }
}

/// Surveys the layers of a model.
pub(crate) fn survey(
    model: &Loaded,
    selection: &Selection,
    families: &Families,
    progress: &dyn Progress,
) -> Result<Survey, Error> {
    let mut stage = None;
    let mut tell = |done, total| {
        let stage = stage.get_or_insert_with(|| Stage::begin(progress, "decomposing", total));
        // It is looked at below whether anybody still wants it.
        let _ = stage.step(done);
    };
    let survey = Survey::of(model.graph(), &model.shapes, selection, families, &mut tell);
    let survey = survey.map_err(|source| Error::Pass {
        file: model.file(),
        source,
    })?;
    drop(stage);
    still_wanted(progress)?;
    Ok(survey)
}
