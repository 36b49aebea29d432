//! Replaces convolutions by chains, as a plan says.
//!
//! Before: `y = Conv(x, W, b)`. After: the chain's convolutions, written by a [`Lowering`],
//! the last of which produces `y`. Conditions: those of [`crate::Site`]. Terminates: every
//! layer of the plan is visited once.

use sepconv_analysis::constants::{self, Sight};
use sepconv_factor::Chain;
use sepconv_ir::{Graph, Patch, ValueId};

use crate::error::PassError;
use crate::lowering::{Emitter, Lowering, choose};
use crate::plan::{Choice, Plan};
use crate::site::Site;
use crate::survey::{Survey, Surveyed};

/// What became of one layer of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct AppliedLayer {
    /// The layer.
    pub layer: String,
    /// Name of the lowering that wrote it.
    pub lowering: &'static str,
}

/// Applies a plan to the graph that was surveyed. `lowering` is used where it applies, else
/// the one planned, else the first that does. `chain` makes the weights of a layer;
/// [`Surveyed::chain`] makes the data-free ones.
///
/// # Errors
/// [`PassError::Plan`] where the plan is not one for this graph, and whatever `chain`
/// returns. The graph is then half rewritten and must be dropped.
pub fn apply(
    graph: &mut Graph,
    survey: &Survey,
    plan: &Plan,
    lowering: Option<&'static dyn Lowering>,
    mut chain: impl FnMut(&Surveyed, &str, usize) -> Result<Chain, PassError>,
) -> Result<Vec<AppliedLayer>, PassError> {
    let mut applied = Vec::new();
    for entry in &plan.layers {
        let Choice::Separate(candidate) = &entry.choice else {
            continue;
        };
        let misfit = |reason: &str| PassError::Plan {
            layer: entry.layer.clone(),
            reason: reason.to_owned(),
        };
        let layer = survey
            .layers
            .iter()
            .find(|l| l.name == entry.layer)
            .ok_or_else(|| misfit("no such convolution"))?;
        let (site, _) = layer
            .site
            .as_ref()
            .map_err(|kept| misfit(&kept.to_string()))?;
        let chain = chain(layer, &candidate.family, candidate.rank)?;
        applied.push(AppliedLayer {
            layer: entry.layer.clone(),
            lowering: replace(
                graph,
                site,
                &chain,
                lowering.or_else(|| candidate.planned()),
            )?,
        });
    }
    graph.verify()?;
    Ok(applied)
}

/// Removes the operators that make constants which nothing reads any more: those that make
/// `values`, and what only they read.
///
/// Before: `w = Constant()`, `v = Reshape(w, s)`, read by nothing. After: neither. Terminates:
/// operators only go.
///
/// # Errors
/// [`PassError::Graph`] where the patch does not fit: a fault of this pass.
pub fn drop_unread(graph: &mut Graph, sight: Sight, values: &[ValueId]) -> Result<(), PassError> {
    let mut unread = constants::orphans(graph, sight, values, &[], &[]).into_iter();
    let Some(first) = unread.next() else {
        return Ok(());
    };
    let mut patch = Patch::replace("unread-constant", first);
    unread.for_each(|node| patch.remove(node));
    graph.apply(patch)?;
    Ok(())
}

/// Replaces one convolution by a chain and returns the name of the lowering that wrote it:
/// `lowering` where it applies, else the first that does.
///
/// # Errors
/// [`PassError::Plan`] where the site's node is not the convolution any more,
/// [`PassError::Graph`].
pub fn replace(
    graph: &mut Graph,
    site: &Site,
    chain: &Chain,
    lowering: Option<&'static dyn Lowering>,
) -> Result<&'static str, PassError> {
    let misfit = |reason: &str| PassError::Plan {
        layer: site.name.clone(),
        reason: reason.to_owned(),
    };
    let written = choose(lowering, chain);
    let original = graph
        .operator(site.node)
        .ok_or_else(|| misfit("rewritten twice"))?;
    let output = original.output(0).ok_or_else(|| misfit("no output"))?;
    let mut emitter = Emitter::new(site, original, output, chain.bias.clone());
    written.emit(chain, &mut emitter);
    let mut patch = emitter.finish();
    // What made the weight goes with it; the new convolutions read the other values, except
    // for a bias that the chain overrides.
    let input = |slot| original.input(slot);
    let bias = input(2).filter(|_| chain.bias.is_none());
    let kept: Vec<_> = input(0).into_iter().chain(bias).collect();
    let unread: Vec<_> = input(1).into_iter().chain(input(2)).collect();
    for node in constants::orphans(graph, site.sight, &unread, &[site.node], &kept) {
        patch.remove(node);
    }
    graph.apply(patch)?;
    Ok(written.name())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_analysis::{Assumptions, Pins, Shapes};

    use super::*;
    use crate::lowering::lowering;
    use crate::select::Selection;
    use crate::testing::conv;

    #[test]
    fn what_was_planned_for_a_layer_is_written_unless_the_caller_wants_another() {
        let graph = conv(8, 8, 1, 1);
        let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::default()).unwrap();
        let all = Selection::default();
        let families = crate::Order::DwPw.into();
        let survey = Survey::of(&graph, &shapes, &all, &families, &mut |_, _| {}).unwrap();
        let plan = Plan::choosing(&survey, |_, candidates| {
            let mut candidate = candidates[1].clone();
            candidate.lowering = Some("concat".into());
            Choice::Separate(candidate)
        });
        let written = |wanted: Option<&str>| {
            let mut graph = graph.clone();
            let wanted = wanted.and_then(lowering);
            let chain = |layer: &Surveyed, family: &str, rank| layer.chain(family, rank);
            apply(&mut graph, &survey, &plan, wanted, chain).unwrap()[0].lowering
        };
        assert_eq!(written(None), "concat");
        assert_eq!(written(Some("fused")), "fused");
    }
}
