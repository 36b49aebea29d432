//! Replaces convolutions by chains, as a plan says.
//!
//! Before: `y = Conv(x, W, b)`. After: the chain's convolutions, written by a [`Lowering`],
//! the last of which produces `y`. Conditions: those of [`crate::Site`]. Terminates: every
//! layer of the plan is visited once.

use sepconv_analysis::NodeCost;
use sepconv_analysis::constants;
use sepconv_factor::Chain;
use sepconv_ir::{Graph, Patch, ValueId};

use crate::error::PassError;
use crate::families::Families;
use crate::lowering::{Emitter, Lowering, choose};
use crate::pass::{Context, Outcome, Pass, run};
use crate::plan::{Choice, Plan, Planner};
use crate::site::Site;
use crate::survey::{Survey, Surveyed};

/// The outcome of one layer of a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct AppliedLayer {
    /// The layer.
    pub layer: String,
    /// Name of the lowering that wrote it.
    pub lowering: String,
}

const NAME: &str = "separate-conv";

/// Makes the weights of a layer in a family at a rank; [`Surveyed::chain`] makes the data-free
/// ones.
pub type Chains<'a> = &'a (dyn Fn(&Surveyed, &str, usize) -> Result<Chain, PassError> + Sync);

/// The pass that plans by itself: surveys the selected convolutions of the graph as it is, asks
/// a planner, and writes data-free weights.
pub struct SeparateConvs<'a> {
    /// Families of decompositions that are tried.
    pub families: Families,
    /// Chooses a candidate for every convolution.
    pub planner: &'a dyn Planner,
    /// The form that chains are written in; `None` chooses by itself.
    pub lowering: Option<&'static dyn Lowering>,
}

impl Pass for SeparateConvs<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(&self, graph: &mut Graph, context: &Context) -> Result<Outcome, PassError> {
        let shapes = context.shapes(graph)?;
        let quiet = &mut |_, _| ();
        let survey = Survey::of(graph, &shapes, &context.selection, &self.families, quiet)?;
        let nodes = graph.operators();
        let macs = nodes.filter_map(|(node, _)| NodeCost::of(graph, node, &shapes).macs);
        let macs = macs.fold(0, u64::saturating_add);
        ApplyPlan {
            survey: &survey,
            plan: &self.planner.plan(&survey, macs)?,
            lowering: self.lowering,
            chains: &|layer, family, rank| layer.chain(family, rank),
        }
        .run(graph, context)
    }
}

/// The pass that follows a plan made for the graph.
pub struct ApplyPlan<'a> {
    /// The survey that the plan was made from.
    pub survey: &'a Survey,
    /// The decision for every convolution.
    pub plan: &'a Plan,
    /// Used where it applies, else the one planned, else the first that does.
    pub lowering: Option<&'static dyn Lowering>,
    /// Makes the weights.
    pub chains: Chains<'a>,
}

impl Pass for ApplyPlan<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(&self, graph: &mut Graph, _: &Context) -> Result<Outcome, PassError> {
        let mut outcome = Outcome::default();
        for entry in &self.plan.layers {
            let candidate = match &entry.choice {
                Choice::Separate(candidate) => candidate,
                Choice::Keep(why) => {
                    outcome.keep(&entry.layer, why.to_string());
                    continue;
                }
            };
            let misfit = |reason: &str| PassError::Plan {
                layer: entry.layer.clone(),
                reason: reason.to_owned(),
            };
            let mut layers = self.survey.layers.iter();
            let layer = layers.find(|l| l.name == entry.layer);
            let layer = layer.ok_or_else(|| misfit("no such convolution"))?;
            let site = layer.site.as_ref();
            let (site, _) = site.map_err(|kept| misfit(&kept.to_string()))?;
            let chain = (self.chains)(layer, &candidate.family, candidate.rank)?;
            let wanted = self.lowering.or_else(|| candidate.planned());
            let written = replace(graph, site, &chain, wanted)?;
            outcome.change(&entry.layer, written);
        }
        Ok(outcome)
    }
}

/// Runs [`ApplyPlan`] on the graph that was surveyed and returns the layers that it rewrote.
///
/// # Errors
/// [`PassError::Plan`] where the plan is not one for this graph, and whatever `chain` returns.
/// The graph is then half rewritten and must be dropped. Else as [`run`].
pub fn apply(
    graph: &mut Graph,
    survey: &Survey,
    plan: &Plan,
    lowering: Option<&'static dyn Lowering>,
    chain: impl Fn(&Surveyed, &str, usize) -> Result<Chain, PassError> + Sync,
) -> Result<Vec<AppliedLayer>, PassError> {
    let pass = ApplyPlan {
        survey,
        plan,
        lowering,
        chains: &chain,
    };
    let outcomes = run(&[&pass], graph, &Context::default())?;
    let changed = outcomes.into_iter().flat_map(|outcome| outcome.changed);
    let applied = changed.map(|note| AppliedLayer {
        layer: note.node,
        lowering: note.what,
    });
    Ok(applied.collect())
}

/// Removes the operators that make constants which nothing reads any more: those that make
/// `values`, and the operators that only they read.
///
/// Before: `w = Constant()`, `v = Reshape(w, s)`, read by nothing. After: neither. Terminates:
/// operators only go.
///
/// # Errors
/// [`PassError::Graph`] where the patch does not fit: a fault of this pass.
pub fn drop_unread(graph: &mut Graph, values: &[ValueId]) -> Result<(), PassError> {
    let mut unread = constants::orphans(graph, values, &[], &[]).into_iter();
    let Some(first) = unread.next() else {
        return Ok(());
    };
    let mut patch = Patch::replace("unread-constant", first);
    unread.for_each(|node| patch.remove(node));
    graph
        .apply(patch)
        .map_err(PassError::of("unread-constant"))?;
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
    // Operators that made the weight go with it; the new convolutions read the other values,
    // except for a bias that the chain overrides.
    let input = |slot| original.input(slot);
    let bias = input(2).filter(|_| chain.bias.is_none());
    let kept: Vec<_> = input(0).into_iter().chain(bias).collect();
    let unread: Vec<_> = input(1).into_iter().chain(input(2)).collect();
    for node in constants::orphans(graph, &unread, &[site.node], &kept) {
        patch.remove(node);
    }
    graph.apply(patch).map_err(PassError::of(NAME))?;
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
            apply(&mut graph, &survey, &plan, wanted, chain).unwrap()[0]
                .lowering
                .clone()
        };
        assert_eq!(written(None), "concat");
        assert_eq!(written(Some("fused")), "fused");
    }

    #[test]
    fn the_pipeline_folds_surveys_what_is_left_and_separates() {
        let mut graph: Graph = "\
input x: f32[1,8,8,8]
const w: f32[8,8,3,3] noise(1)
const b: f32[8] [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
y = Conv{pads=[1, 1, 1, 1]}(x, w, b) # c
output y
"
        .parse()
        .unwrap();
        let planner = crate::planners::UniformRank {
            rank: 1,
            costlier: false,
        };
        let separate = SeparateConvs {
            families: crate::Order::DwPw.into(),
            planner: &planner,
            lowering: None,
        };
        let context = Context::default();
        let outcomes = run(&crate::pipeline(&separate), &mut graph, &context).unwrap();
        let changed: Vec<usize> = outcomes.iter().map(|o| o.changed.len()).collect();
        assert_eq!(changed, [0, 0, 0, 1]);
        let note = &outcomes[3].changed[0];
        assert_eq!((note.node.as_str(), note.what.as_str()), ("c", "branches"));
        let separated = "\
input x: f32[1,8,8,8]
const b: f32[8] [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]
const c/dw.weight: f32[8,1,3,3]
const c/pw.weight: f32[8,8,1,1]
c/dw.out = Conv{dilations=[1, 1], group=8, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1]}(x, c/dw.weight) # c/dw
y = Conv{dilations=[1, 1], group=1, kernel_shape=[1, 1], pads=[0, 0, 0, 0], strides=[1, 1]}(c/dw.out, c/pw.weight, b) # c/pw
output y
";
        assert_eq!(graph.to_string(), separated);
        // The result is separable, and stays for that.
        let outcomes = run(&crate::pipeline(&separate), &mut graph, &context).unwrap();
        assert!(outcomes.iter().all(|o| o.changed.is_empty()));
        let mut why: Vec<&str> = outcomes[3].kept.iter().map(|n| n.what.as_str()).collect();
        why.sort_unstable();
        assert_eq!(why, ["depthwise already", "pointwise kernel"]);
    }

    #[test]
    fn constants_that_nothing_reads_any_more_go_with_what_they_are_made_of() {
        let mut graph: Graph = "\
input x
const w: f32[4] [1.0, 2.0, 3.0, 4.0]
const shape: i64[2] [2, 2]
const common: f32[1] [1.0]
v = Reshape(w, shape) # r
u = Mul(v, common) # m
y = Add(x, common) # a
output y
"
        .parse()
        .unwrap();
        let unread = graph.find("u").unwrap();
        drop_unread(&mut graph, &[unread]).unwrap();
        let left = "\
input x
const common: f32[1] [1.0]
y = Add(x, common) # a
output y
";
        assert_eq!(graph.to_string(), left);
    }
}
