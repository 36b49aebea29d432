//! Every layer of a graph with everything that could take its place.

use std::collections::{BTreeMap, HashSet};

use rayon::prelude::*;
use sepconv_analysis::Shapes;
use sepconv_factor::{Chain, Kernel, KernelShape, StageShape};
use sepconv_ir::{Graph, NodeId, Operator};

use crate::candidate::Candidate;
use crate::decomposed::Decomposed;
use crate::error::PassError;
use crate::families::Families;
use crate::kept::Kept;
use crate::offers::{Layer, offers};
use crate::product::Product;
use crate::select::Selection;
use crate::site::Site;

/// A convolution and its candidates, or why it stays.
pub struct Surveyed {
    /// Name of the convolution.
    pub name: String,
    /// The node.
    pub node: NodeId,
    /// The site, with its candidates in the order of families and rising rank.
    pub site: Result<(Site, Vec<Candidate>), Kept>,
    decomposed: Decomposed,
}

/// All convolutions of a graph in order, and its products where families apply to them.
pub struct Survey {
    /// The convolutions.
    pub layers: Vec<Surveyed>,
    /// The families that were tried.
    pub families: Families,
}

impl Survey {
    /// Describes and factors the convolutions of `graph`; `progress` is told how many of how
    /// many are done.
    ///
    /// # Errors
    /// [`PassError::Factor`].
    pub fn of(
        graph: &Graph,
        shapes: &Shapes,
        selection: &Selection,
        allowed: &Families,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, PassError> {
        let all = layers(graph, allowed.products());
        let total = all.len();
        let mut layers = Vec::with_capacity(total);
        for (window, some) in all.chunks(WINDOW).enumerate() {
            progress(window * WINDOW, total);
            let of = |(node, label): &(NodeId, String)| {
                let site = Site::of(graph, *node, shapes, selection.sight())?;
                let name = selection.layer(label);
                let site = match selection.includes(label) {
                    true => site,
                    false => Err(Kept::NotSelected),
                };
                Some(surveyed(graph, *node, name, site, allowed))
            };
            let found: Result<Vec<_>, PassError> = some.par_iter().filter_map(of).collect();
            layers.extend(found?);
        }
        progress(total, total);
        Ok(Self {
            layers,
            families: allowed.clone(),
        })
    }

    /// The sites with their candidates.
    pub fn sites(&self) -> impl Iterator<Item = (&Site, &[Candidate])> {
        self.layers
            .iter()
            .filter_map(|l| l.site.as_ref().ok())
            .map(|(site, candidates)| (site, candidates.as_slice()))
    }

    /// The reasons why layers stay.
    pub fn kept(&self) -> impl Iterator<Item = &Kept> {
        self.layers.iter().filter_map(|l| l.site.as_ref().err())
    }
}

impl Surveyed {
    /// The data-free chain of a family at a rank.
    ///
    /// # Errors
    /// [`PassError::Plan`] for a family that was not surveyed, [`PassError::Factor`].
    pub fn chain(&self, family: &str, rank: usize) -> Result<Chain, PassError> {
        let unknown = |_| PassError::Plan {
            layer: self.name.clone(),
            reason: format!("family '{family}' does not apply"),
        };
        let (site, _) = self.site.as_ref().map_err(unknown)?;
        self.decomposed.chain(site, family, rank)
    }
}

/// The convolutions of a graph in order, those that always stay among them, and its matrix
/// products where those are wanted, each with a label of its own.
pub fn layers(graph: &Graph, products: bool) -> Vec<(NodeId, String)> {
    let mut names = HashSet::new();
    let mut labels = BTreeMap::new();
    let mut label = |wanted: &dyn Fn(&Operator) -> bool| {
        for (node, _) in graph.operators().filter(|(_, op)| wanted(op)) {
            labels.insert(node, unique_name(graph, node, &mut names));
        }
    };
    // Convolutions first: their names must not depend on the products.
    label(&Site::is_convolution);
    label(&|op| Site::always_kept(op).is_some());
    if products {
        label(&|op| Product::of(op).is_some());
    }
    let all = graph.operators().map(|(node, _)| node);
    all.filter_map(|node| Some((node, labels.remove(&node)?)))
        .collect()
}

/// The node's label; ONNX allows several nodes of one name, then that of its output.
fn unique_name(graph: &Graph, node: NodeId, names: &mut HashSet<String>) -> String {
    let label = graph.label(node).to_owned();
    if names.insert(label.clone()) {
        return label;
    }
    let output = graph.operator(node).and_then(|op| op.output(0));
    let name = output.map_or(label, |v| graph.name(v).to_owned());
    names.insert(name.clone());
    name
}

/// Layers that are factored beside one another.
const WINDOW: usize = 4;

/// A layer of that name with its candidates, or the reason why it stays.
fn surveyed(
    graph: &Graph,
    node: NodeId,
    name: String,
    site: Result<Site, Kept>,
    allowed: &Families,
) -> Result<Surveyed, PassError> {
    let kept = |name, kept| Surveyed {
        name,
        node,
        site: Err(kept),
        decomposed: Decomposed::default(),
    };
    let mut site = match site {
        Ok(site) => site,
        Err(reason) => return Ok(kept(name, reason)),
    };
    site.name.clone_from(&name);
    let mut decomposed = Decomposed::new(graph, &site, allowed);
    let layer = InGraph { graph, site: &site };
    let offered = offers(&layer, allowed, &mut |family, factored| {
        decomposed.push(family, factored);
    })?;
    Ok(match offered {
        Ok(candidates) => Surveyed {
            name,
            node,
            site: Ok((site, candidates)),
            decomposed,
        },
        Err(reason) => kept(name, reason),
    })
}

/// A site as families see it.
struct InGraph<'a> {
    graph: &'a Graph,
    site: &'a Site,
}

impl Layer for InGraph<'_> {
    fn name(&self) -> &str {
        &self.site.name
    }

    fn shape(&self) -> &KernelShape {
        &self.site.kernel
    }

    fn weights(&self) -> Result<Kernel, Kept> {
        self.site.weights(self.graph)
    }

    fn is_strided(&self) -> bool {
        self.site.is_strided()
    }

    fn is_transposed(&self) -> bool {
        self.site.attributes.transposed
    }

    fn macs(&self, stages: &[StageShape]) -> (u64, u64) {
        self.site.chain_macs(stages)
    }

    fn writes(&self, stages: &[StageShape]) -> bool {
        self.site.writes(stages)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use sepconv_analysis::{Assumptions, Pins};

    #[test]
    fn what_always_stays_is_listed_with_its_reason() {
        use sepconv_ir::{Builder, DType, Tensor};
        let mut b = Builder::new();
        let mut last = b.input("x", None).unwrap();
        let sparse = b.initializer("s", Tensor::sparse(DType::F32, vec![4, 4, 3, 3]));
        let sparse = sparse.unwrap();
        for (name, domain) in [
            ("Conv", ""),
            ("ConvInteger", ""),
            ("QLinearConv", "ai.onnx"),
            ("QLinearConv", "com.microsoft"),
            ("FusedConv", "com.microsoft"),
            ("FusedConv", "elsewhere"),
            ("Relu", ""),
        ] {
            let op = Operator {
                domain: domain.into(),
                ..Operator::new(name, "same")
            };
            let made = format!("{name}{domain}");
            last = b
                .operator(op, &[Some(last), Some(sparse)], &[&made])
                .unwrap()[0];
        }
        let elsewhere = b.initializer("e", Tensor::opaque(DType::F32, vec![4, 4, 3, 3]));
        let read = [Some(last), Some(elsewhere.unwrap())];
        last = b
            .operator(Operator::new("Conv", "elsewhere"), &read, &["unread"])
            .unwrap()[0];
        b.output(last).unwrap();
        let graph = b.finish().unwrap();
        let shapes = Shapes::infer(&graph, &Pins::default(), &Assumptions::default()).unwrap();
        let all = Selection::default();
        let quiet = &mut |_, _| ();
        let survey = Survey::of(&graph, &shapes, &all, &Families::default(), quiet).unwrap();
        let kept: Vec<&Kept> = survey.kept().collect();
        let integer = &Kept::Integer;
        let first = [&Kept::Sparse, integer, integer, integer, &Kept::Fused];
        assert_eq!(kept[..5], first);
        assert_eq!(kept.last(), Some(&&Kept::Unread));
        let names: Vec<&str> = survey.layers.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(names[..2], ["same", "ConvInteger"]);
    }
}
