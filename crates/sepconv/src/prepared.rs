//! A model whose batch norms and padding are folded and whose layers are surveyed.

use sepconv_calibrate::SurveyedModel;
use sepconv_model::{Error, Loaded, Progress, Stage, still_wanted};
use sepconv_passes::{
    Choice, Families, Folded, Kept, PassError, Plan, Selection, Survey, apply, fold,
};
use sepconv_spec::LayerRecord;

use crate::bodies::{Bodies, labels, reaches};
use crate::compressed::Compressed;
use crate::job::Job;

/// A model with its batch norms and padding folded.
pub(crate) struct FoldedModel {
    pub model: Loaded,
    /// Its subgraphs and functions, surveyed where the budget reaches them.
    pub bodies: Bodies,
    /// Batch norms folded.
    pub norms: usize,
}

/// A model with its layers surveyed: the start of every budget.
pub(crate) struct Prepared {
    pub surveyed: SurveyedModel,
    /// Its subgraphs and functions, surveyed where the budget reaches them.
    pub bodies: Bodies,
    /// Batch norms folded.
    pub norms: usize,
}

/// Folds batch norms and padding into the selected layers.
///
/// # Errors
/// [`Error::Setting`] where a lowering needs a later opset, [`Error::Pass`] where a glob of the
/// selection matches nothing.
pub(crate) fn fold_model(job: &Job<'_>) -> Result<FoldedModel, Error> {
    let (model, settings) = (&*job.model, &job.settings);
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
    let selection = &selection(job);
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
    Ok(FoldedModel {
        model: folded,
        bodies,
        norms: done.norms,
    })
}

/// Surveys the layers of a folded model.
///
/// # Errors
/// [`Error::Pass`] where a kernel can't be factored, [`Error::Cancelled`].
pub(crate) fn survey_model(job: &Job<'_>, folded: FoldedModel) -> Result<Prepared, Error> {
    let FoldedModel {
        model,
        bodies,
        norms,
    } = folded;
    let families = &job.settings.families;
    let survey = survey(&model, &selection(job), families, job.progress)?;
    Ok(Prepared {
        surveyed: SurveyedModel::new(model, survey, bodies.kept()),
        bodies,
        norms,
    })
}

fn selection(job: &Job<'_>) -> Selection {
    let selection = job.settings.selection.clone();
    selection.quantized(job.settings.quantized)
}

impl Prepared {
    /// Applies a plan with data-free weights.
    pub fn with(&self, plan: Plan, job: &Job<'_>) -> Result<Compressed, Error> {
        let folded = &self.surveyed.folded;
        let mut document = folded.document.clone();
        let applied = apply(
            &mut document.model.graph,
            &self.surveyed.survey,
            &plan,
            job.settings.lowering,
            |layer, family, rank| layer.chain(family, rank),
        )
        .map_err(|e| self.failed(e))?;
        let mut layers: Vec<LayerRecord> = plan.layers.into_iter().map(LayerRecord::of).collect();
        for layer in &mut layers {
            let own = applied.iter().find(|a| a.layer == layer.name);
            layer.lowering = own.map(|a| a.lowering.clone());
        }
        Ok(Compressed::of(folded.with(document)?, layers, self.norms))
    }

    /// The folded model, of which every layer stays.
    pub fn unwritten(&self, job: &Job<'_>) -> Result<Compressed, Error> {
        let survey = &self.surveyed.survey;
        self.with(
            Plan::choosing(survey, |_, _| Choice::Keep(Kept::Planned)),
            job,
        )
    }

    /// [`Prepared::unwritten`] with the reason of an error that no plan is better, or that every layer stays; the error
    /// itself where such a model is no result.
    pub fn unwritten_for(&self, none: Error, job: &Job<'_>) -> Result<Compressed, Error> {
        match why_none(&none).filter(|_| job.may_rewrite_no_layer()) {
            Some(reason) => Ok(Compressed {
                unrewritten: Some(reason),
                ..self.unwritten(job)?
            }),
            None => Err(none),
        }
    }

    /// The model as it came, of which no layer is selected.
    pub fn untouched(&self, job: &Job<'_>) -> Compressed {
        let survey = &self.surveyed.survey;
        let plan = Plan::choosing(survey, |_, _| Choice::Keep(Kept::NotSelected));
        let layers = plan.layers.into_iter().map(LayerRecord::of);
        Compressed {
            unrewritten: Some("no layer is selected".into()),
            ..Compressed::of(job.model.clone().into_owned(), layers.collect(), 0)
        }
    }

    /// True where there are layers and none is selected.
    pub fn none_selected(&self) -> bool {
        let inner = self.bodies.names().count();
        let passed_over = self.bodies.kept();
        let passed_over = passed_over.iter().filter(|k| **k == Kept::NotSelected);
        let layers = &self.surveyed.survey.layers;
        let not_selected = |site: &Result<_, Kept>| matches!(site, Err(Kept::NotSelected));
        layers.len() + inner > 0
            && passed_over.count() == inner
            && layers.iter().all(|l| not_selected(&l.site))
    }

    /// True where only subgraphs and functions have layers that can be rewritten.
    pub fn only_in_bodies(&self) -> bool {
        self.surveyed.survey.sites().next().is_none() && self.bodies.has_sites()
    }

    /// The error that every layer stays, see [`SurveyedModel::all_kept`].
    pub fn all_kept(&self) -> Error {
        self.surveyed.all_kept()
    }

    /// An error of a pass over this model.
    pub fn failed(&self, source: PassError) -> Error {
        self.surveyed.failed(source)
    }
}

/// The reason of an error that no plan is better than the model, or that every layer stays.
fn why_none(error: &Error) -> Option<String> {
    match error {
        Error::Nothing { reason, .. } => Some(reason.clone()),
        Error::AllKept { reasons, .. } => Some(format!("no convolution qualifies: {reasons}")),
        Error::Advised { source, .. } => why_none(source),
        _ => None,
    }
}

/// Surveys the layers of a model.
///
/// # Errors
/// [`Error::Pass`] where a kernel can't be factored, [`Error::Cancelled`].
pub(crate) fn survey(
    model: &Loaded,
    selection: &Selection,
    families: &Families,
    progress: &dyn Progress,
) -> Result<Survey, Error> {
    let mut stage = None;
    let mut tell = |done, total| {
        let stage = stage.get_or_insert_with(|| Stage::begin(progress, "decomposing", total));
        // A cancellation is looked at below.
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
