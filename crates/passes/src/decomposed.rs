//! The decompositions of a layer. Those of a large kernel take several times the memory of its
//! weights: they are dropped once their energies are known, and made again where a chain is asked
//! for.

use std::sync::{Arc, OnceLock};

use sepconv_factor::{Chain, Factored};
use sepconv_ir::{Graph, Operator, Tensor};

use crate::error::PassError;
use crate::families::Families;
use crate::site::Site;

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_analysis::constants::Sight;
    use sepconv_analysis::{Assumptions, Pins, Shapes};
    use sepconv_factor::family;

    use super::*;
    use crate::families::Order;
    use crate::testing::conv;

    #[test]
    fn those_of_a_large_kernel_are_made_again_and_are_the_same() {
        // Of 1,065,024 weights and of 9,216.
        for (channels, kept) in [(344, false), (32, true)] {
            let graph = conv(channels, channels, 1, 1);
            let (node, _) = graph.operators().next().unwrap();
            let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::default()).unwrap();
            let site = Site::of(&graph, node, &shapes, Sight::Plain);
            let site = site.unwrap().unwrap();
            let mut all = Decomposed::new(&graph, &site, &Order::Best.into());
            let factored = || {
                let kernel = site.weights(&graph).unwrap();
                family("dw-pw").unwrap().factor(&kernel).unwrap()
            };
            all.push("dw-pw", factored());
            assert_eq!(all.families[0].1.get().is_some(), kept);
            let expected = factored().chain(2).unwrap();
            let first = all.chain(&site, "dw-pw", 2).unwrap();
            assert!(first == expected, "{channels}");
            assert!(all.families[0].1.get().is_some());
            assert!(all.chain(&site, "dw-pw", 2).unwrap() == expected);
            let unknown = all.chain(&site, "cp", 2).unwrap_err();
            assert!(unknown.to_string().contains("does not apply"), "{unknown}");
        }
    }
}
