//! Candidates that a runtime can run in a layer's place.

use sepconv_factor::{FactorError, Fit};
use sepconv_ir::{DType, Graph, Node, NodeId, Tensor, ValueId};
use sepconv_onnx::Document;
use sepconv_passes::{Candidate, Kept, Site, replace};
use sepconv_targets::{InputSpec, Target, TargetError};

use sepconv_model::Loaded;

use crate::collector::LayerStatistics;
use crate::fits::best_fit;
use crate::surveyed_model::{Fitting, SurveyedModel};

/// A layer's best candidate that can be written and run, the document with it, and the lowering
/// that wrote it.
pub(crate) struct Written {
    pub candidate: Candidate,
    pub fit: Fit,
    pub document: Document,
    pub lowering: &'static str,
}

/// A layer whose best candidate is wanted, and the document that it is to be written into.
pub(crate) struct Work<'a> {
    pub surveyed: &'a SurveyedModel,
    pub document: &'a Document,
    pub site: &'a Site,
}

/// Fits a layer with the best of `candidates` that the target can run, and writes it into a copy
/// of the document. A family that can't be written or run is dropped
/// ([`SurveyedModel::drop_family`]); `Err` of the reason where that left none, and `Ok(None)` where
/// there was none to begin with.
fn best_runnable(
    work: &Work<'_>,
    mut candidates: Vec<Candidate>,
    seen: &LayerStatistics,
    fitting: Fitting<'_>,
) -> Result<Result<Option<Written>, String>, FactorError> {
    let (model, site) = (&work.surveyed.folded, work.site);
    let mut last = None;
    loop {
        let Some((candidate, fit)) = best_fit(model, site, &candidates, seen, fitting)? else {
            return Ok(last.map_or(Ok(None), Err));
        };
        let mut copy = work.document.clone();
        let lowering = fitting.lowering.or_else(|| candidate.planned());
        let written = replace(&mut copy.model.graph, site, &fit.chain, lowering);
        let reason = match written {
            Ok(lowering) => match runs(model, &copy, site.node, fitting.target) {
                Ok(()) => {
                    return Ok(Ok(Some(Written {
                        candidate,
                        fit,
                        document: copy,
                        lowering,
                    })));
                }
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        work.surveyed
            .drop_family(&site.name, &candidate.family, &reason);
        candidates.retain(|c| c.family != candidate.family);
        last = Some(reason);
    }
}

/// [`best_runnable`] of a layer's statistics; the reason for which a layer that can't be fitted stays.
pub(crate) fn fitted(
    work: &Work<'_>,
    candidates: Vec<Candidate>,
    seen: Result<&LayerStatistics, &Kept>,
    fitting: Fitting<'_>,
) -> Result<Result<Option<Written>, String>, Kept> {
    let seen = seen.map_err(Kept::clone)?;
    let best = best_runnable(work, candidates, seen, fitting);
    best.map_err(|error| Kept::Unfitted(error.to_string()))
}

/// Loads the operators that compute a layer of `model` in `document` alone, from the layer's input, and runs
/// it on zeros. A layer of unknown extents, and one that reads other values than its input, is
/// taken to run.
fn runs(
    model: &Loaded,
    document: &Document,
    node: NodeId,
    target: &dyn Target,
) -> Result<(), TargetError> {
    let Some((input, output)) = ends(model.graph(), node) else {
        return Ok(());
    };
    let now = &document.model.graph;
    let between = now.between(&[input], &[output]);
    let alone = |id: &NodeId| !matches!(now.node(*id), Some(Node::Input(_)));
    let shape = model.shapes.get(input);
    let dtype = shape.and_then(|s| s.dtype).unwrap_or(DType::F32);
    let (Some(extents), true) = (model.shapes.extents(input), between.iter().all(alone)) else {
        return Ok(());
    };
    let dims: Vec<usize> = extents.iter().map(|n| *n as usize).collect();
    let zeros = vec![0.0; dims.iter().product()];
    let Some(zeros) = Tensor::from_floats(dtype, dims.clone(), zeros) else {
        return Ok(());
    };
    let part = document.segment(&[(input, (dtype, dims.clone()))], &[output]);
    let name = now.name(input).to_owned();
    let session = target.load(&part, &[InputSpec { name, dtype, dims }])?;
    session.run(&[zeros]).map(drop)
}

fn ends(graph: &Graph, node: NodeId) -> Option<(ValueId, ValueId)> {
    let op = graph.operator(node)?;
    Some((op.input(0)?, op.output(0)?))
}
