//! The decision for each convolution.

use serde::{Deserialize, Serialize};

use crate::candidate::Candidate;
use crate::error::PassError;
use crate::kept::Kept;
use crate::survey::Survey;

/// A decision for every convolution of a model, apart from the weights: it can be kept,
/// edited and replayed on the same model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// One entry per convolution, in graph order.
    pub layers: Vec<LayerPlan>,
}

/// The decision for one convolution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerPlan {
    /// Name of the convolution.
    pub layer: String,
    /// The decision.
    pub choice: Choice,
}

/// A decision for a convolution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// It stays.
    Keep(Kept),
    /// A chain takes its place.
    Separate(Candidate),
}

impl Choice {
    /// The reason why it stays; `None` where a chain takes its place.
    pub fn kept(&self) -> Option<&Kept> {
        match self {
            Self::Keep(kept) => Some(kept),
            Self::Separate(_) => None,
        }
    }
}

impl Plan {
    /// A plan from one choice per convolution: `choose` is asked for every site, the others
    /// stay for the survey's reason.
    pub fn choosing(
        survey: &Survey,
        mut choose: impl FnMut(usize, &[Candidate]) -> Choice,
    ) -> Self {
        let layers = survey
            .layers
            .iter()
            .enumerate()
            .map(|(i, layer)| LayerPlan {
                layer: layer.name.clone(),
                choice: match &layer.site {
                    Ok((_, candidates)) => choose(i, candidates),
                    Err(kept) => Choice::Keep(kept.clone()),
                },
            });
        Self {
            layers: layers.collect(),
        }
    }

    /// The layers that are rewritten, with their candidates.
    pub fn rewritten(&self) -> impl Iterator<Item = (&str, &Candidate)> {
        self.layers.iter().filter_map(|l| match &l.choice {
            Choice::Separate(c) => Some((l.layer.as_str(), c)),
            Choice::Keep(_) => None,
        })
    }

    /// MACs that the plan saves, for the layers whose shapes are known.
    pub fn saved(&self) -> u64 {
        self.rewritten()
            .map(|(_, c)| c.macs_before.saturating_sub(c.macs))
            .sum()
    }
}

/// Chooses a candidate for every convolution, or none.
pub trait Planner: Send + Sync {
    /// Short name, for reports.
    fn name(&self) -> &'static str;

    /// Makes a plan. `total_macs` are the MACs of the whole model.
    ///
    /// # Errors
    /// [`PassError`] where the settings are out of range or the budget can't be met.
    fn plan(&self, survey: &Survey, total_macs: u64) -> Result<Plan, PassError>;
}
