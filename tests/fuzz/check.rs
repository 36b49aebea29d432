//! Conditions that hold for any bytes that claim to be a model.

use bytes::Bytes;
use sepconv_analysis::{Assumptions, ModelCost, Pins, Shapes};
use sepconv_onnx::Document;
use sepconv_passes::planners::UniformRank;
use sepconv_passes::{Families, Planner, Selection, Survey, Surveyed, apply, fold};

/// Reads `data`. A refusal is an error; a model that is read is written back as the
/// same bytes, and its batch norms and convolutions are rewritten, or refused with an error,
/// into something that is read again.
pub fn check(data: &[u8]) {
    let Ok(document) = Document::from_bytes(Bytes::copy_from_slice(data)) else {
        return;
    };
    assert_eq!(
        &document.encode().to_bytes()[..],
        data,
        "an untouched model changed"
    );
    if let Ok(Some(written_out)) = document.inlined(&|_| true) {
        rewrite(written_out);
    }
    rewrite(document);
}

/// Rewrites every convolution at rank 1, by its weights. `None` where something is refused.
fn rewrite(mut document: Document) -> Option<()> {
    let (all, pins) = (Selection::default(), Pins::default());
    fold(&mut document.model.graph, &all).ok()?;
    let shapes = Shapes::infer(&document.model.graph, &pins, &Assumptions::default()).ok()?;
    let macs = ModelCost::of(&document.model, &shapes).macs;
    let graph = &document.model.graph;
    let families = Families::default();
    let survey = Survey::of(graph, &shapes, &all, &families, &mut |_, _| ()).ok()?;
    let planner = UniformRank {
        rank: 1,
        costlier: true,
    };
    let plan = planner.plan(&survey, macs).ok()?;
    let graph = &mut document.model.graph;
    let chain = |layer: &Surveyed, family: &str, rank| layer.chain(family, rank);
    apply(graph, &survey, &plan, None, chain).ok()?;
    let written = document.encode().to_bytes();
    if let Err(error) = Document::from_bytes(written) {
        panic!("the rewritten model is not read again: {error}");
    }
    Some(())
}
