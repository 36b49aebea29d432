//! The decompositions of a layer. Those of a large kernel take several times the memory of its
//! weights: they are dropped once their energies are known, and made again where a chain is asked
//! for.

use std::sync::{Arc, OnceLock};

use sepconv_factor::{Chain, Factored};
use sepconv_ir::{Graph, Operator, Tensor};

use crate::error::PassError;
use crate::site::Site;
use crate::survey::Families;

/// Weights of a kernel from which on its decompositions are not kept.
const LARGE: usize = 1 << 20;

/// The decompositions of a layer by every family that applies to it.
#[derive(Default)]
pub(crate) struct Decomposed {
    families: Vec<(&'static str, OnceLock<Arc<dyn Factored>>)>,
    again: Option<Again>,
}

/// All that a layer's decompositions are made of.
struct Again {
    families: Families,
    op: Operator,
    weight: Tensor,
}

impl Decomposed {
    /// None yet of a layer of `graph`.
    pub fn new(graph: &Graph, site: &Site, families: &Families) -> Self {
        let op = graph.operator(site.node);
        let op = op.filter(|_| site.kernel.len() >= LARGE);
        let again = op.and_then(|op| {
            Some(Again {
                families: families.clone(),
                weight: site.sight.resolve(graph, op.input(1)?)?.into_owned(),
                op: op.clone(),
            })
        });
        Self {
            families: Vec::new(),
            again,
        }
    }

    /// Adds that by a family.
    pub fn push(&mut self, family: &'static str, factored: Box<dyn Factored>) {
        let kept = match self.again {
            Some(_) => OnceLock::new(),
            None => OnceLock::from(Arc::from(factored)),
        };
        self.families.push((family, kept));
    }

    /// The data-free chain of a family at a rank, in place of the layer at `site`.
    ///
    /// # Errors
    /// [`PassError::Plan`] for a family that is not among them, [`PassError::Factor`].
    pub fn chain(&self, site: &Site, family: &str, rank: usize) -> Result<Chain, PassError> {
        let known = self.families.iter().find(|(name, _)| *name == family);
        let unknown = || PassError::Plan {
            layer: site.name.clone(),
            reason: format!("family '{family}' does not apply"),
        };
        let failed = |source| PassError::Factor {
            node: site.name.clone(),
            source,
        };
        let (_, kept) = known.ok_or_else(unknown)?;
        let factored = match (kept.get(), &self.again) {
            (Some(factored), _) => factored,
            (None, None) => return Err(unknown()),
            (None, Some(again)) => {
                let kernel = site.kernel_of(&again.op, &again.weight);
                let family = again.families.find(family);
                let (kernel, family) = kernel.ok().zip(family).ok_or_else(unknown)?;
                let made = family.factor(&kernel).map_err(failed)?;
                kept.get_or_init(|| Arc::from(made))
            }
        };
        factored.chain(rank).map_err(failed)
    }
}
