//! Convolutions in the bodies of `If`, `Loop` and `Scan` and in local functions.
//!
//! The number of runs of a body is unknown, and so are its activations: budgets over the whole
//! model and fits to data leave it alone. A rank or a share of energy holds per layer, so bodies
//! are rewritten by those, from the weights alone. A body of which no convolution is rewritten
//! stays byte for byte.

use std::collections::{BTreeMap, HashSet};

use sepconv_analysis::constants::Sight;
use sepconv_analysis::{Assumptions, NodeCost, Pins, Shapes};
use sepconv_ir::{Graph, IrError, ValueId};
use sepconv_onnx::Body;
use sepconv_passes::planners::{EnergyThreshold, UniformRank};
use sepconv_passes::{
    Choice, Families, Kept, LayerPlan, Lowering, PassError, Plan, Planner, Selection, Survey,
    Surveyed, apply, drop_unread, fold, layers,
};

use sepconv_model::{Error, Loaded};
use sepconv_spec::LayerRecord;

use crate::compressed::Compressed;
use crate::settings::{Budget, Settings};
use crate::spectra::spectra;

/// The graphs within a model with their layers, parallel to [`Document::bodies`].
pub(crate) struct Bodies {
    all: Vec<Surroundings>,
}

/// A plan in parts.
pub(crate) struct SplitPlan {
    /// Of the main graph.
    pub main: Plan,
    /// Of the layers in bodies.
    pub inner: Vec<LayerPlan>,
}

/// A body as it came, and the facts known of it.
struct Surroundings {
    /// With constants in the place of those that it captures.
    graph: Graph,
    parent: Option<usize>,
    selection: Selection,
    /// Labels of its convolutions.
    labels: Vec<String>,
    /// Its convolutions once all is folded, where budgets reach them.
    surveyed: Option<Within>,
}

/// A body whose norms and padding are folded, surveyed.
pub(crate) struct Within {
    pub graph: Graph,
    pub shapes: Shapes,
    pub survey: Survey,
}

impl Bodies {
    /// Looks into the bodies of a model. Layers are called `<scope>/<label>`, by names that none
    /// of `taken` has.
    pub fn new(
        model: &Loaded,
        selection: &Selection,
        taken: &[String],
        products: bool,
    ) -> Result<Self, Error> {
        let mut names: HashSet<String> = taken.iter().cloned().collect();
        let mut all: Vec<Surroundings> = Vec::new();
        for body in model.document.bodies() {
            let around = match body.parent() {
                Some(parent) => &all[parent].graph,
                None => model.graph(),
            };
            let graph = with_constants(body, around, selection.sight())
                .map_err(|e| failed(model, PassError::of("bodies")(e)))?;
            let labels = labels(&graph, products);
            let selection = selection.within(&free_scope(body.scope(), &labels, &names));
            names.extend(labels.iter().map(|label| selection.layer(label)));
            all.push(Surroundings {
                parent: body.parent(),
                labels,
                selection,
                graph,
                surveyed: None,
            });
        }
        Ok(Self { all })
    }

    /// Names of the convolutions.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let bodies = self.all.iter();
        bodies.flat_map(|b| b.labels.iter().map(|label| b.selection.layer(label)))
    }

    /// Folds and surveys the convolutions of all bodies.
    pub fn survey(&mut self, model: &Loaded, families: &Families) -> Result<(), Error> {
        for index in 0..self.all.len() {
            let body = &self.all[index];
            let around = body.parent.and_then(|p| self.all[p].surveyed.as_ref());
            let (outer, known) =
                around.map_or((model.graph(), &model.shapes), |w| (&w.graph, &w.shapes));
            let pass = |source| failed(model, source);
            let mut graph = body.graph.clone();
            fold(&mut graph, &body.selection).map_err(pass)?;
            let captured = model.document.bodies()[index].captures();
            let shapes = shapes(&graph, captured, outer, known);
            let told = &mut |_, _| {};
            let survey = Survey::of(&graph, &shapes, &body.selection, families, told);
            let survey = survey.map_err(pass)?;
            self.all[index].surveyed = Some(Within {
                graph,
                shapes,
                survey,
            });
        }
        Ok(())
    }

    /// The bodies that were surveyed.
    pub fn surveyed(&self) -> impl Iterator<Item = &Within> {
        self.all.iter().filter_map(|b| b.surveyed.as_ref())
    }

    /// True where at least one convolution can be rewritten.
    pub fn has_sites(&self) -> bool {
        self.surveyed().any(|b| b.survey.sites().next().is_some())
    }

    /// The largest rank that one of the convolutions offers.
    pub fn largest_rank(&self) -> Option<usize> {
        let ranks = self.surveyed().map(|b| UniformRank::largest(&b.survey));
        ranks.flatten().max()
    }

    /// Parts a plan in the layers of the main graph and those in bodies.
    pub fn split(&self, plan: Plan) -> SplitPlan {
        let names: HashSet<String> = self.names().collect();
        let all = plan.layers.into_iter();
        let (inner, main) = all.partition(|entry| names.contains(&entry.layer));
        SplitPlan {
            main: Plan { layers: main },
            inner,
        }
    }

    /// Reasons for which convolutions stay, one for each that can't be rewritten.
    pub fn kept(&self) -> Vec<Kept> {
        let entries = self.entries().into_iter();
        let kept = entries.filter_map(|entry| match entry.choice {
            Choice::Keep(kept) if kept != Kept::Planned => Some(kept),
            _ => None,
        });
        kept.collect()
    }

    /// All layers, kept.
    fn entries(&self) -> Vec<LayerPlan> {
        let mut entries = Vec::new();
        for body in &self.all {
            match &body.surveyed {
                Some(within) => {
                    let keep = |_: usize, _: &[_]| Choice::Keep(Kept::Planned);
                    entries.extend(Plan::choosing(&within.survey, keep).layers);
                }
                None => entries.extend(body.labels.iter().map(|label| LayerPlan {
                    layer: body.selection.layer(label),
                    choice: Choice::Keep(if body.selection.includes(label) {
                        Kept::InSubgraph
                    } else {
                        Kept::NotSelected
                    }),
                })),
            }
        }
        entries
    }

    /// Plans of the convolutions by a budget that holds per layer; under others they stay.
    pub fn plan(&self, settings: &Settings) -> Result<Vec<LayerPlan>, PassError> {
        let costlier = settings.costlier;
        let mut layers = Vec::new();
        if !reaches(settings) {
            return Ok(self.entries());
        }
        for within in self.surveyed() {
            let survey = &within.survey;
            let plan = match settings.budget {
                Budget::Rank(rank) => {
                    let largest = UniformRank::largest(survey).unwrap_or(rank);
                    let rank = rank.min(largest);
                    UniformRank { rank, costlier }.plan(survey, 0)
                }
                Budget::Energy(energy) => EnergyThreshold { energy, costlier }.plan(survey, 0),
                _ => continue,
            };
            layers.extend(plan?.layers);
        }
        Ok(layers)
    }

    /// Rewrites the convolutions of bodies in a model that was rewritten otherwise, as planned.
    pub fn rewrite(
        &self,
        model: &Loaded,
        made: Compressed,
        planned: Vec<LayerPlan>,
        lowering: Option<&'static dyn Lowering>,
    ) -> Result<Compressed, Error> {
        let (mut made, plan) = (made, Plan { layers: planned });
        let mut document = made.model.document.clone();
        let mut bodies = document.bodies().to_vec();
        let mut known: BTreeMap<String, LayerRecord> = BTreeMap::new();
        let mut any = false;
        for (index, body) in self.all.iter().enumerate() {
            let Some(within) = &body.surveyed else {
                continue;
            };
            let own = within.survey.layers.iter().map(|l| l.name.as_str());
            let own: HashSet<&str> = own.collect();
            let layers = plan.layers.iter().filter(|l| own.contains(&*l.layer));
            let own = Plan {
                layers: layers.cloned().collect(),
            };
            known.extend(records(within, &own));
            if own.rewritten().next().is_none() {
                continue;
            }
            any = true;
            let mut graph = body.graph.clone();
            let mut around = body.parent;
            while let Some(parent) = around {
                graph.reserve_names(&bodies[parent].graph);
                around = bodies[parent].parent();
            }
            if !is_in_function(&bodies, index) {
                graph.reserve_names(&document.model.graph);
            }
            let pass = |source| failed(model, source);
            let folded = fold(&mut graph, &body.selection).map_err(pass)?;
            made.folded += folded.norms;
            let weights = |layer: &Surveyed, family: &str, rank| layer.chain(family, rank);
            let applied = apply(&mut graph, &within.survey, &own, lowering, weights);
            for applied in applied.map_err(pass)? {
                if let Some(record) = known.get_mut(&applied.layer) {
                    record.lowering = Some(applied.lowering);
                }
            }
            bodies[index].graph = graph;
        }
        made.layers.extend(plan.layers.into_iter().map(|entry| {
            let own = known.remove(&entry.layer);
            LayerRecord {
                in_subgraph: true,
                ..own.unwrap_or_else(|| LayerRecord::of(entry))
            }
        }));
        if !any {
            return Ok(made);
        }
        document.set_bodies(bodies, &mut tidy)?;
        Ok(made.with_model(model.with(document)?))
    }
}

/// Records of the layers of a body, by name, with their spectra and their MACs for one run of the
/// body.
fn records(within: &Within, plan: &Plan) -> BTreeMap<String, LayerRecord> {
    let spectra = spectra(&within.survey);
    let macs = macs(within);
    let records = plan.layers.iter().map(|entry| {
        let name = &entry.layer;
        let record = LayerRecord {
            spectrum: spectra.get(name).cloned().unwrap_or_default(),
            macs_before: macs.get(name).copied(),
            ..LayerRecord::of(entry.clone())
        };
        (name.clone(), record)
    });
    records.collect()
}

/// Labels of the layers of a graph, in order.
pub(crate) fn labels(graph: &Graph, products: bool) -> Vec<String> {
    let all = layers(graph, products).into_iter();
    all.map(|(_, label)| label).collect()
}

/// True for a budget that holds per layer, and so reaches into bodies.
pub(crate) fn reaches(settings: &Settings) -> bool {
    let per_layer = matches!(settings.budget, Budget::Rank(_) | Budget::Energy(_));
    per_layer && settings.latency.is_none()
}

fn tidy(graph: &mut Graph, unread: &[ValueId]) -> Result<(), IrError> {
    drop_unread(graph, unread).map_err(|e| match e {
        PassError::Graph { source, .. } => source,
        other => IrError::Inconsistent(other.to_string()),
    })
}

fn failed(model: &Loaded, source: PassError) -> Error {
    Error::Pass {
        file: model.file(),
        source,
    }
}

fn is_in_function(bodies: &[Body], index: usize) -> bool {
    let mut at = Some(index);
    while let Some(body) = at.and_then(|i| bodies.get(i)) {
        if body.is_function() {
            return true;
        }
        at = body.parent();
    }
    false
}

/// `scope`, or the first of `scope_1`, `scope_2`, … under which no label is a name of `taken`.
fn free_scope(scope: &str, labels: &[String], taken: &HashSet<String>) -> String {
    let is_free = |scope: &str| {
        !labels
            .iter()
            .any(|l| taken.contains(&format!("{scope}/{l}")))
    };
    let mut free = scope.to_owned();
    let mut count = 0;
    while !is_free(&free) {
        count += 1;
        free = format!("{scope}_{count}");
    }
    free
}

/// The graph of a body in which constants of the graph around it are constants.
fn with_constants(body: &Body, around: &Graph, sight: Sight) -> Result<Graph, IrError> {
    let mut graph = body.graph.clone();
    for value in body.captures() {
        let outer = around.find(graph.name(*value));
        let tensor = outer.and_then(|v| sight.resolve(around, v));
        if let Some(tensor) = tensor {
            graph.fix_input(*value, tensor.into_owned())?;
        }
    }
    Ok(graph)
}

/// Shapes within a body: a captured value has that of the graph around it, its inputs those that
/// the file declares. Nothing is assumed.
fn shapes(graph: &Graph, captured: &[ValueId], outer: &Graph, known: &Shapes) -> Shapes {
    let mut pins = Pins::default();
    for value in graph.inputs().filter(|v| captured.contains(v)) {
        let name = graph.name(value);
        let extents = outer.find(name).and_then(|v| known.extents(v));
        if let Some(extents) = extents {
            // A name comes once, so this can't fail.
            let _ = pins.insert(name, extents);
        }
    }
    let nothing = Assumptions::none();
    Shapes::infer(graph, &pins, &nothing)
        .or_else(|_| Shapes::infer(graph, &Pins::default(), &nothing))
        .unwrap_or_default()
}

/// MACs of every convolution for one run of the body, where its shapes are known.
fn macs(within: &Within) -> BTreeMap<String, u64> {
    let layers = within.survey.layers.iter();
    let known = layers.filter_map(|l| {
        let cost = NodeCost::of(&within.graph, l.node, &within.shapes);
        Some((l.name.clone(), cost.macs?))
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_layers_are_free() {
        let labels = ["conv".to_owned(), "other".to_owned()];
        let taken = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        assert_eq!(free_scope("if/body", &labels, &taken(&["conv"])), "if/body");
        let twice = taken(&["if/body/other", "if/body_1/conv"]);
        assert_eq!(free_scope("if/body", &labels, &twice), "if/body_2");
    }

    #[test]
    fn budgets_that_hold_per_layer_reach_bodies() {
        let of = |budget| Settings {
            budget,
            ..Settings::default()
        };
        assert!(reaches(&of(Budget::Rank(1))) && reaches(&of(Budget::Energy(0.9))));
        assert!(!reaches(&of(Budget::TargetMacs(0.5))) && !reaches(&Settings::default()));
        let timed = Settings {
            latency: Some(sepconv_eval::LatencyTarget {
                target: sepconv_targets::reference(),
                threads: std::num::NonZeroUsize::MIN,
            }),
            ..of(Budget::Rank(1))
        };
        assert!(!reaches(&timed));
    }
}
