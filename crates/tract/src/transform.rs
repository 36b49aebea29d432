//! The transform.
//!
//! Before: `y = Conv(x, W, b)`, `W` constant, of floats. After: the convolutions of a chain, or the
//! sum of such chains. Conditions: the chain costs fewer MACs, unless the caller does not mind. Terminates: every convolution that
//! the model has before is visited once.

use sepconv_factor::{Chain, Factored, RankUnit};
use sepconv_passes::planners::{EnergyThreshold, UniformRank};
use sepconv_passes::{
    Candidate, Choice, Families, Kept, LayerPlan, PassError, Plan, Selection, offer, offers,
};
use tract_core::internal::{StaticName, TractResult, TypedModel, TypedNode};
use tract_core::ops::cnn::Conv;
use tract_core::transform::ModelTransform;

use crate::error::TransformError;
use crate::layer::ConvLayer;
use crate::wire::patch;

/// The rule that decides about the convolutions.
#[derive(Debug, Clone, PartialEq)]
pub enum How {
    /// The same rank of a depthwise-separable family everywhere (the full rank where a kernel has
    /// less), in the order with the smaller weight error.
    Rank(usize),
    /// The share of its kernel's squared Frobenius norm that every convolution keeps, in `(0, 1]`,
    /// at the fewest MACs.
    Energy(f64),
    /// The decision of a plan for the node of that name, such as the `layers` of a plan file that
    /// `sepconv` wrote. Nodes that it does not name stay.
    Plan(Plan),
}

/// Puts separable convolutions in the place of others, by their weights alone.
#[derive(Debug, Clone)]
pub struct SeparateConvs {
    /// The rule that decides about the convolutions.
    pub how: How,
    /// Families that are tried, those of the caller's crates among them.
    pub families: Families,
    /// The nodes that are meant, by name.
    pub selection: Selection,
    /// True where convolutions are replaced that then cost as many MACs or more, to verify exactness.
    pub costlier: bool,
}

impl SeparateConvs {
    /// The same rank everywhere, see [`How::Rank`].
    pub fn rank(rank: usize) -> Self {
        Self::by(How::Rank(rank))
    }

    /// The same share of energy everywhere, see [`How::Energy`].
    pub fn energy(share: f64) -> Self {
        Self::by(How::Energy(share))
    }

    /// The decisions of a plan, see [`How::Plan`]. Its families have to be among
    /// [`sepconv_factor::families()`] or [`Families::with`].
    pub fn plan(plan: Plan) -> Self {
        Self::by(How::Plan(plan))
    }

    fn by(how: How) -> Self {
        Self {
            how,
            families: Families::default(),
            selection: Selection::default(),
            costlier: false,
        }
    }

    /// Transforms `model` and tells the result for each of its convolutions, in the order of
    /// evaluation: the candidate that took its place, or why it stays.
    ///
    /// # Errors
    /// [`TransformError`]; the model is then as it was.
    pub fn apply(&self, model: &mut TypedModel) -> Result<Plan, TransformError> {
        let whole = TransformError::at("");
        let mut layers = Vec::new();
        let mut chains = Vec::new();
        let mut offered = 0;
        for id in model.eval_order().map_err(&whole)? {
            let node = model.node(id);
            let Some(conv) = node.op_as::<Conv>() else {
                continue;
            };
            let (choice, chain) = match self.decide(model, node, conv, &mut offered) {
                Ok((candidate, chain)) => (Choice::Separate(candidate), Some(chain)),
                Err(Stays::For(kept)) => (Choice::Keep(kept), None),
                Err(Stays::Error(error)) => return Err(error.into()),
            };
            layers.push(LayerPlan {
                layer: node.name.clone(),
                choice,
            });
            chains.extend(chain.map(|chain| (id, chain)));
        }
        self.check(&layers, offered)?;
        // A patch that fails must not leave half of the others behind.
        let mut done = model.clone();
        for (id, chain) in chains {
            let node = done.node(id);
            let failed = TransformError::at(&node.name);
            let Some(conv) = node.op_as::<Conv>() else {
                continue;
            };
            let patch = patch(&done, node, conv, &chain).map_err(&failed)?;
            patch.apply(&mut done).map_err(&failed)?;
        }
        done.compact().map_err(&whole)?;
        *model = done;
        Ok(Plan { layers })
    }

    fn decide(
        &self,
        model: &TypedModel,
        node: &TypedNode,
        conv: &Conv,
        offered: &mut usize,
    ) -> Result<(Candidate, Chain), Stays> {
        if !self.selection.includes(&node.name) {
            return Err(Kept::NotSelected.into());
        }
        let planned = match &self.how {
            How::Plan(plan) => match plan.layers.iter().find(|l| l.layer == node.name) {
                Some(LayerPlan {
                    choice: Choice::Separate(candidate),
                    ..
                }) => Some(candidate),
                Some(LayerPlan {
                    choice: Choice::Keep(kept),
                    ..
                }) => return Err(kept.clone().into()),
                None => return Err(Kept::Planned.into()),
            },
            How::Rank(_) | How::Energy(_) => None,
        };
        let layer = ConvLayer::read(model, node, conv)?;
        let (candidates, factored) = match planned {
            Some(candidate) => self.planned(&layer, candidate)?,
            None => self.surveyed(&layer)?,
        };
        let ranks = candidates.iter().map(|c| c.rank);
        *offered = ranks.fold(*offered, usize::max);
        let candidate = match self.choice(&candidates) {
            Choice::Separate(candidate) => candidate,
            Choice::Keep(kept) => return Err(kept.into()),
        };
        let by_family = factored.iter().find(|(name, _)| *name == candidate.family);
        let (_, factored) = by_family.ok_or(Kept::NoFamily)?;
        let chain = factored.chain(candidate.rank);
        let chain = chain.map_err(|source| PassError::Factor {
            node: node.name.clone(),
            source,
        })?;
        Ok((candidate, chain))
    }

    /// The candidate of a plan.
    fn planned(&self, layer: &ConvLayer, planned: &Candidate) -> Result<Offers, Stays> {
        let misfit = |reason: String| PassError::Plan {
            layer: layer.name.clone(),
            reason,
        };
        let (name, rank) = (&planned.family, planned.rank);
        let family = self.families.find(name);
        let family = family.ok_or_else(|| misfit(format!("no family '{name}'")))?;
        let ranks = family.ranks(layer.kernel.shape());
        let full = ranks.map_err(|skip| misfit(skip.to_string()))?.max;
        if !(1..=full).contains(&rank) {
            return Err(misfit(format!("family '{name}' has no rank {rank} here")).into());
        }
        let factored = family.factor(&layer.kernel);
        let factored = factored.map_err(|source| PassError::Factor {
            node: layer.name.clone(),
            source,
        })?;
        let candidate = offer(layer, family, factored.as_ref(), rank)?;
        Ok((Vec::from_iter(candidate), vec![(family.name(), factored)]))
    }

    /// The candidates of every family that may be chosen: for a rank, those whose ranks mean the
    /// same for every kernel.
    fn surveyed(&self, layer: &ConvLayer) -> Result<Offers, Stays> {
        let mut factored = Vec::new();
        let keep = &mut |family, made| factored.push((family, made));
        let mut candidates = offers(layer, &self.families, keep)??;
        if matches!(self.how, How::Rank(_)) {
            let unit = |c: &Candidate| self.families.rank_unit(&c.family);
            candidates.retain(|c| unit(c) == Some(RankUnit::Terms));
        }
        match candidates.is_empty() {
            true => Err(Kept::NoFamily.into()),
            false => Ok((candidates, factored)),
        }
    }

    /// The choice among the candidates of a convolution.
    fn choice(&self, candidates: &[Candidate]) -> Choice {
        let costlier = self.costlier;
        match self.how {
            // A rank of 0 is refused as a setting, once all is known.
            How::Rank(rank) => UniformRank { rank, costlier }.choice(candidates, &self.families),
            How::Energy(energy) => EnergyThreshold { energy, costlier }.choice(candidates),
            How::Plan(_) => match candidates.iter().find(|c| costlier || c.saves()) {
                Some(candidate) => Choice::Separate(candidate.clone()),
                None => Choice::Keep(Kept::NoSaving),
            },
        }
    }

    /// Refuses settings that are out of range for the candidates of the model, and a plan that names
    /// a layer that is not there.
    fn check(&self, layers: &[LayerPlan], max: usize) -> Result<(), PassError> {
        match &self.how {
            How::Rank(rank) if *rank == 0 || max > 0 && *rank > max => {
                Err(PassError::Rank { rank: *rank, max })
            }
            How::Energy(share) if !(*share > 0.0 && *share <= 1.0) => {
                Err(PassError::Energy(*share))
            }
            How::Plan(plan) => {
                let known = |name: &str| layers.iter().any(|l| l.layer == name);
                let mut rewritten = plan.rewritten();
                match rewritten.find(|(name, _)| !known(name)) {
                    Some((name, _)) => Err(PassError::Plan {
                        layer: name.to_owned(),
                        reason: "no such convolution".into(),
                    }),
                    None => Ok(()),
                }
            }
            How::Rank(_) | How::Energy(_) => Ok(()),
        }
    }
}

impl ModelTransform for SeparateConvs {
    fn name(&self) -> StaticName {
        "sepconv".into()
    }

    fn transform(&self, model: &mut TypedModel) -> TractResult<()> {
        Ok(self.apply(model).map(drop)?)
    }
}

/// Candidates, and the decompositions that their chains are cut from, by family.
type Offers = (Vec<Candidate>, Vec<(&'static str, Box<dyn Factored>)>);

/// The reason why a convolution stays, or the model as a whole.
enum Stays {
    For(Kept),
    Error(PassError),
}

impl From<Kept> for Stays {
    fn from(kept: Kept) -> Self {
        Self::For(kept)
    }
}

impl From<PassError> for Stays {
    fn from(error: PassError) -> Self {
        Self::Error(error)
    }
}
