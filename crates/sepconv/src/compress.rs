//! The pipeline in memory: fold, survey, plan, fit, apply.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use sepconv_data::Labels;
use sepconv_passes::{AppliedLayer, Candidate, Choice, Kept, PassError, Plan, Site, Survey};

use crate::budget::meet;
use crate::calibrate::{CalibrationSettings, LayerFit, Source};
use crate::error::Error;
use crate::functions::reaching;
use crate::loaded::Loaded;
use crate::planning::Solution;
use crate::prepared::Prepared;
use crate::progress::Progress;
use crate::replay::replay;
use crate::settings::{Budget, Settings};
use crate::tuning::{Tuning, tune};

/// A rewritten model in memory.
#[derive(Debug, Clone)]
pub struct Compressed {
    /// The rewritten model.
    pub model: Loaded,
    /// What was decided for every convolution.
    pub plan: Plan,
    /// How each rewritten layer was written.
    pub applied: Vec<AppliedLayer>,
    /// Batch normalisations folded.
    pub folded: usize,
    /// How well each rewritten layer was fitted, where there was data to fit to.
    pub fits: BTreeMap<String, LayerFit>,
    /// What the layers were fitted to; `None`: their weights alone.
    pub calibration: Option<CalibrationSettings>,
    /// How the budget was solved, where one was allocated.
    pub solution: Option<Solution>,
    /// Seconds of rewritten layers on [`Settings::latency`], before and after.
    pub times: BTreeMap<String, (f64, f64)>,
    /// Share of each kernel's energy kept by rank 1, 2, … of its first family that was surveyed,
    /// before any data.
    pub spectra: BTreeMap<String, Vec<f64>>,
    /// MACs of convolutions in subgraphs and functions, for one run of the body, where known.
    pub body_macs: BTreeMap<String, u64>,
    /// The layers that are in subgraphs and functions.
    pub in_bodies: BTreeSet<String>,
    /// What tuning did, where [`Settings::tune`] asked for it.
    pub tuning: Option<Tuning>,
    /// A line for each family of candidates that was dropped for a layer, because it could not be
    /// written or the target could not run it.
    pub dropped: Vec<String>,
}

/// Rewrites a model in memory: by [`Settings::plan`] where there is one, else as planned here.
///
/// # Errors
/// [`Error::Pass`] where settings are out of range, a glob matches nothing or a budget can't
/// be met; [`Error::Nothing`] where no layer would be rewritten, unless none was selected; as
/// [`crate::tune`] where the result is tuned.
pub fn compress(
    model: &Loaded,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    let settings = &settings.holding_out();
    let model = &*shaped(model, settings)?;
    let model = &*reaching(model, settings)?;
    let made = rewritten(model, settings, progress)?;
    match &settings.tune {
        Some(how) if !made.applied.is_empty() => {
            let (tuned, tuning) = tune(model, &made.model, settings.target, how, progress)?;
            Ok(Compressed {
                model: tuned,
                tuning: Some(tuning),
                ..made
            })
        }
        _ => Ok(made),
    }
}

fn rewritten(
    model: &Loaded,
    settings: &Settings,
    progress: &dyn Progress,
) -> Result<Compressed, Error> {
    if let Some(plan) = &settings.plan {
        return replay(model, plan, settings, progress);
    }
    let settings = &widened(settings);
    // Data that do not fit the model are told of before the work.
    if let Some(calibration) = &settings.calibration
        && let Source::Data(source) = &calibration.source
    {
        source.open(model, Labels::Ignore)?;
    }
    let mut prepared = Prepared::new(model, settings, progress)?;
    let inner = prepared.bodies.names().count();
    let passed_over = prepared.bodies.kept();
    let passed_over = passed_over.iter().filter(|k| **k == Kept::NotSelected);
    let none_selected = passed_over.count() == inner
        && prepared
            .survey
            .layers
            .iter()
            .all(|l| matches!(l.site, Err(Kept::NotSelected)));
    if none_selected && prepared.survey.layers.len() + inner > 0 {
        return untouched(model, &prepared, settings);
    }
    let spectra = spectra(&prepared.survey);
    let compressed = meet(model, &mut prepared, settings, progress);
    let compressed = match compressed {
        Err(Error::Pass {
            source: PassError::NothingToDo(_),
            file,
        }) => {
            return Err(Error::Nothing {
                file,
                reason: format!("no convolution can be rewritten: {}", prepared.reasons()),
            });
        }
        other => other?,
    };
    let inner = prepared.bodies.plan(settings);
    let inner = inner.map_err(|e| prepared.failed(e))?;
    let bodies = &prepared.bodies;
    let compressed = bodies.rewrite(model, compressed, inner, settings)?;
    if compressed.applied.is_empty() {
        return Err(Error::Nothing {
            file: model.file(),
            reason: format!("no convolution qualifies: {}", reasons(&compressed.plan)),
        });
    }
    let mut compressed = compressed;
    compressed.spectra.extend(spectra);
    compressed.dropped = prepared.all_dropped();
    Ok(compressed)
}

/// Energies by rank of every site, of the first family that was surveyed.
pub(crate) fn spectra(survey: &Survey) -> BTreeMap<String, Vec<f64>> {
    let spectrum = |(site, candidates): (&Site, &[Candidate])| {
        let first = &candidates.first()?.family;
        let same = candidates.iter().filter(|c| c.family == *first);
        Some((site.name.clone(), same.map(|c| c.energy).collect()))
    };
    survey.sites().filter_map(spectrum).collect()
}

/// Budgets that are allocated have all families to choose from but the optional ones, unless
/// some are named.
pub(crate) fn widened(settings: &Settings) -> Settings {
    let mut settings = settings.clone();
    let one_rank = matches!(settings.budget, Budget::Rank(_) | Budget::Energy(_));
    let search = matches!(settings.budget, Budget::MinSnr(_)) && settings.calibration.is_none();
    if settings.families.is_default() && !one_rank && !search {
        settings.families.widen();
    }
    settings
}

/// The model with its free dimensions as the data has them.
///
/// # Errors
/// [`Error::Data`] where the data do not fit.
pub(crate) fn shaped<'a>(model: &'a Loaded, settings: &Settings) -> Result<Cow<'a, Loaded>, Error> {
    let shaped = model.shaped_by(settings.sources())?;
    Ok(shaped.map_or(Cow::Borrowed(model), Cow::Owned))
}

/// The model as it came.
fn untouched(
    model: &Loaded,
    prepared: &Prepared,
    settings: &Settings,
) -> Result<Compressed, Error> {
    let made = Compressed {
        model: model.clone(),
        plan: Plan::choosing(&prepared.survey, |_, _| Choice::Keep(Kept::NotSelected)),
        applied: Vec::new(),
        folded: 0,
        fits: BTreeMap::new(),
        calibration: None,
        solution: None,
        times: BTreeMap::new(),
        spectra: BTreeMap::new(),
        body_macs: BTreeMap::new(),
        in_bodies: BTreeSet::new(),
        tuning: None,
        dropped: Vec::new(),
    };
    let inner = prepared.bodies.plan(settings);
    let inner = inner.map_err(|e| prepared.failed(e))?;
    prepared.bodies.rewrite(model, made, inner, settings)
}

/// Counts why layers were kept: "3 pointwise kernel, 1 no candidate saves MACs".
pub(crate) fn reasons(plan: &Plan) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for entry in &plan.layers {
        let Choice::Keep(kept) = &entry.choice else {
            continue;
        };
        let text = kept.to_string();
        match counts.iter_mut().find(|(t, _)| *t == text) {
            Some((_, n)) => *n += 1,
            None => counts.push((text, 1)),
        }
    }
    if counts.is_empty() {
        return "the model has none".into();
    }
    let parts: Vec<String> = counts.iter().map(|(t, n)| format!("{n} x {t}")).collect();
    parts.join(", ")
}
