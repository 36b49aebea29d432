//! Costs of layers, in the unit of the budget.

use std::collections::{BTreeMap, HashMap};

use sepconv_ir::ValueId;
use sepconv_latency::{Block, CostModel, Geometry, LatencyError, Measured};
use sepconv_passes::{Candidate, Choice, LayerPlan, Plan, Site, Surveyed};
use serde::Serialize;

use sepconv_calibrate::SurveyedModel;
use sepconv_model::{Error, Loaded, Stage, still_wanted};

use crate::costing::Costing;

/// Quantity that a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Multiply-accumulates.
    Macs,
    /// Parameters.
    Params,
    /// Bytes of the file.
    Size,
    /// Time on a target.
    Latency,
    /// The convolutions' cost by the cost model of the caller.
    Cost,
}

/// A cost, and the written form that costs so where it was measured.
pub type FormCost = (f64, Option<Written>);

/// Written form of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// By this lowering.
    pub lowering: &'static str,
    /// MACs, those of the rim among them that it may compute.
    pub macs: u64,
}

impl Written {
    /// A candidate as it is written, where that is known.
    pub fn apply(written: Option<Self>, candidate: &Candidate) -> Candidate {
        Candidate {
            lowering: written.map(|w| w.lowering.to_owned()),
            macs: written.map_or(candidate.macs, |w| w.macs),
            ..candidate.clone()
        }
    }
}

/// Costs of a model's layers and of their candidates. Additive.
#[derive(Clone)]
pub struct Costs {
    /// Of the whole model, batch norms folded.
    pub total: f64,
    /// Of the model as it came.
    pub original: f64,
    /// Per layer of the survey: of the convolution as it is; `None` where it is unknown.
    pub kept: Vec<Option<f64>>,
    /// Per layer and candidate: of the candidate, and the lowering that costs so; `None`
    /// where it can't be run or is not cheaper.
    pub candidates: Vec<Vec<Option<FormCost>>>,
}

/// Costs of a whole model.
pub(crate) struct Totals {
    /// As it came.
    pub original: f64,
    /// With its batch norms folded.
    pub folded: f64,
}

impl Costs {
    /// The cost of a layer's candidate, or of the layer as it is; `None` where that is out of the question.
    pub(crate) fn of(&self, layer: usize, candidate: Option<usize>) -> Option<f64> {
        match candidate {
            None => self.kept[layer],
            Some(i) => self.candidates[layer][i].map(|(cost, _)| cost),
        }
    }

    /// Costs that are counted. `scored` says which candidates are in question.
    pub fn counted(model: &Loaded, prepared: &SurveyedModel, unit: Unit) -> Self {
        let survey = &prepared.survey;
        let mut costs = Self {
            total: total(&prepared.folded, unit),
            original: total(model, unit),
            kept: Vec::new(),
            candidates: Vec::new(),
        };
        // Layers with a candidate, by their weights.
        let mut shared: HashMap<Option<ValueId>, usize> = HashMap::new();
        for (site, _) in survey.sites().filter(|(_, c)| !c.is_empty()) {
            *shared
                .entry(weights_of(&prepared.folded, site))
                .or_default() += 1;
        }
        for layer in &survey.layers {
            let Ok((site, candidates)) = &layer.site else {
                costs.kept.push(None);
                costs.candidates.push(Vec::new());
                continue;
            };
            let bytes = site.dtype.size().unwrap_or(4) as f64;
            // Layers that share weights leave them once they are all rewritten, and never where some of them can't be.
            let readers = readers(&prepared.folded, site);
            let share = match shared.get(&weights_of(&prepared.folded, site)) {
                Some(able) if *able < readers => 0.0,
                _ => site.kernel.len() as f64 / readers as f64,
            };
            let kept = match unit {
                Unit::Macs | Unit::Latency | Unit::Cost => site.macs.map(|m| m as f64),
                Unit::Params => Some(share),
                Unit::Size => Some(share * bytes),
            };
            let of = |c: &Candidate| {
                let cost = match unit {
                    Unit::Macs | Unit::Latency | Unit::Cost => c.macs as f64,
                    Unit::Params => c.params as f64,
                    Unit::Size => c.params as f64 * bytes + NODES * (c.rank as f64 + 1.0),
                };
                kept.filter(|kept| cost < *kept).map(|_| (cost, None))
            };
            costs.kept.push(kept);
            costs.candidates.push(candidates.iter().map(of).collect());
        }
        costs
    }

    /// Seconds on a target, measured; `totals` are those of the original and of the folded model. Only
    /// candidates for which `wanted` holds are timed. Of lowerings the fastest is taken, and
    /// where MACs are budgeted that of the least product of both.
    pub(crate) fn measured(
        of: &Costing<'_>,
        totals: Totals,
        blocks: &Measured,
        wanted: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Self, Error> {
        let costs = Self::of_layers(of, blocks, false, wanted)?;
        Ok(Self {
            total: totals.folded,
            original: totals.original,
            ..costs
        })
    }

    /// The same of layers alone, the totals left at 0; with `floats` of layers in floats, in a model of the precision
    /// of results.
    pub(crate) fn of_layers(
        of: &Costing<'_>,
        blocks: &Measured,
        floats: bool,
        wanted: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Self, Error> {
        let by = By {
            floats,
            ..By::time(blocks, of.unit)
        };
        Self::of_blocks(of, &by, wanted)
    }

    /// Measures the wanted candidates, by layer and candidate, and adds their costs; with `floats` those in floats.
    pub(crate) fn extend(
        &mut self,
        of: &Costing<'_>,
        blocks: &Measured,
        floats: bool,
        wanted: &dyn Fn(usize, usize) -> bool,
    ) -> Result<(), Error> {
        let more = Self::of_layers(of, blocks, floats, wanted)?;
        let layers = self.candidates.iter_mut().zip(more.candidates);
        for (own, more) in layers.flat_map(|(own, more)| own.iter_mut().zip(more)) {
            *own = more.or(*own);
        }
        Ok(())
    }

    /// Costs by a cost model of the caller. The whole is the convolutions that it knows.
    pub fn modelled(of: &Costing<'_>, cost: &dyn CostModel) -> Result<Self, Error> {
        let by = By {
            model: cost,
            stage: "costing layers",
            pays: 1.0,
            floats: false,
            with_macs: false,
        };
        let all = |_, _| true;
        let costs = Self::of_blocks(of, &by, &all)?;
        let total = costs.kept.iter().flatten().sum();
        Ok(Self {
            total,
            original: total,
            ..costs
        })
    }

    /// Costs of every convolution and of the wanted candidates in all their lowerings, the
    /// totals left at 0.
    fn of_blocks(
        of: &Costing<'_>,
        by: &By<'_>,
        wanted: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Self, Error> {
        let (model, prepared, progress) = (of.original, of.surveyed, of.progress);
        let failed = |source: LatencyError| Error::Latency {
            file: model.file(),
            source: source.into(),
        };
        let layers = &prepared.survey.layers;
        let opset = model.document.model.opset();
        let mut costs = Self {
            total: 0.0,
            original: 0.0,
            kept: vec![None; layers.len()],
            candidates: Vec::new(),
        };
        let mut blocks = Vec::new();
        let mut places = Vec::new();
        for (i, layer) in layers.iter().enumerate() {
            let known = layer.site.as_ref().ok();
            costs
                .candidates
                .push(vec![None; known.map_or(0, |(_, c)| c.len())]);
            let Some((site, candidates)) = known else {
                continue;
            };
            let Some(geometry) = geometry(prepared, site) else {
                continue;
            };
            blocks.push(Block::original(geometry.clone()).in_floats(by.floats));
            places.push((i, None));
            for (c, candidate) in candidates.iter().enumerate().filter(|(c, _)| wanted(i, *c)) {
                let Some(family) = of.families.find(&candidate.family) else {
                    continue;
                };
                let any = Block::of(geometry.clone(), family, candidate.rank, "any");
                let any = any.map_err(failed)?.in_floats(by.floats);
                let mut lowerings = any.lowerings().map_err(failed)?;
                lowerings.retain(|l| by.model.considers(*l) && l.opset() <= opset);
                let macs = any.macs().map_err(failed)?;
                for lowering in lowerings {
                    let block = any.written_by(lowering.name());
                    let rim = block.macs().map_err(failed)?.saturating_sub(macs);
                    let written = Written {
                        lowering: lowering.name(),
                        macs: candidate.macs.saturating_add(rim),
                    };
                    blocks.push(block);
                    places.push((i, Some((c, written))));
                }
            }
        }
        let stage = Stage::begin(progress, by.stage, blocks.len());
        let found = by.model.costs(&blocks, &mut |done, _| {
            // The model of costs can't be told of an end.
            let _ = stage.step(done);
        });
        drop(stage);
        still_wanted(progress)?;
        for ((layer, form), cost) in places.into_iter().zip(found.map_err(failed)?) {
            // A candidate without a cost is out of the question.
            let Some(cost) = cost.filter(|c| c.is_finite() && *c >= 0.0) else {
                continue;
            };
            let Some((candidate, written)) = form else {
                costs.kept[layer] = Some(cost);
                continue;
            };
            let best = &mut costs.candidates[layer][candidate];
            let faster = costs.kept[layer].is_some_and(|kept| cost < by.pays * kept);
            let weight = |cost: f64, written: Option<Written>| match written {
                Some(written) if by.with_macs => cost * written.macs as f64,
                _ => cost,
            };
            let own = weight(cost, Some(written));
            if faster && best.is_none_or(|(cost, written)| own < weight(cost, written)) {
                *best = Some((cost, Some(written)));
            }
        }
        Ok(costs)
    }

    /// Only the candidates that also pay by `timed`, in the form that is written there; MACs are
    /// those of that form.
    pub fn paying(mut self, timed: &Self, unit: Unit) -> Self {
        let layers = self.candidates.iter_mut().zip(&timed.candidates);
        for ((costs, times), kept) in layers.zip(&self.kept) {
            for (cost, time) in costs.iter_mut().zip(times) {
                *cost = cost.and_then(|(cost, _)| {
                    let (_, written) = (*time)?;
                    let macs = written
                        .filter(|_| unit == Unit::Macs)
                        .map(|w| w.macs as f64);
                    let cost = macs.unwrap_or(cost);
                    // A rim may make it dearer than the layer.
                    let saves = kept.is_none_or(|kept| cost < kept);
                    saves.then_some((cost, written))
                });
            }
        }
        self
    }

    /// Takes out the candidates whose loss is infinite: those that were dropped.
    pub fn drop_infinite(&mut self, losses: &[Vec<f64>]) {
        let all = self.candidates.iter_mut().flatten();
        for (cost, loss) in all.zip(losses.iter().flatten()) {
            cost.take_if(|_| loss.is_infinite());
        }
    }

    /// Of these costs, those of a plan's rewritten layers: before and after.
    pub fn of_plan(&self, prepared: &SurveyedModel, plan: &Plan) -> BTreeMap<String, (f64, f64)> {
        let layers = plan.layers.iter().zip(&prepared.survey.layers).enumerate();
        let of = |(i, (entry, layer)): (usize, (&LayerPlan, &Surveyed))| {
            let (Choice::Separate(chosen), Ok((_, all))) = (&entry.choice, &layer.site) else {
                return None;
            };
            let same = |c: &Candidate| c.is_of_form(chosen);
            let (after, _) = self.candidates[i][all.iter().position(same)?]?;
            Some((entry.layer.clone(), (self.kept[i]?, after)))
        };
        layers.filter_map(of).collect()
    }

    /// The least fraction of the original's cost that any choice of candidates makes.
    pub fn least(&self) -> f64 {
        let cheapest = |(kept, candidates): (&Option<f64>, &Vec<Option<FormCost>>)| {
            let costs = candidates.iter().flatten().map(|(cost, _)| *cost);
            let saved = kept.map(|kept| kept - costs.fold(kept, f64::min));
            saved.unwrap_or(0.0)
        };
        let saved: f64 = self.kept.iter().zip(&self.candidates).map(cheapest).sum();
        (self.total - saved) / self.original
    }

    /// Greatest sum of the planned layers' costs at which the model costs `fraction` of the
    /// original.
    pub fn room(&self, fraction: f64) -> f64 {
        let planned: f64 = self.kept.iter().flatten().sum();
        fraction * self.original - (self.total - planned)
    }
}

/// Cost model of blocks, and the terms of its use.
struct By<'a> {
    model: &'a dyn CostModel,
    /// Name of the stage in progress.
    stage: &'static str,
    /// A form must cost less than this share of the original's cost.
    pays: f64,
    /// Blocks keep the precision of their weights.
    floats: bool,
    /// Lowerings are compared by MACs as well.
    with_macs: bool,
}

impl<'a> By<'a> {
    /// Measured time, for a budget of `unit`.
    fn time(measured: &'a Measured, unit: Unit) -> Self {
        Self {
            model: measured,
            stage: "timing layers",
            pays: PAYS,
            floats: false,
            with_macs: unit == Unit::Macs,
        }
    }
}

/// A form must take less than this share of the original's time: less is within the noise.
const PAYS: f64 = 0.97;

/// Bytes of a node and its names, about.
const NODES: f64 = 250.0;

pub(crate) fn geometry(prepared: &SurveyedModel, site: &Site) -> Option<Geometry> {
    Geometry::of(prepared.folded.graph(), site)
}

fn total(model: &Loaded, unit: Unit) -> f64 {
    match unit {
        Unit::Macs | Unit::Latency | Unit::Cost => model.cost.macs as f64,
        Unit::Params => model.cost.params as f64,
        Unit::Size => model.document.encoded_size() as f64,
    }
}

/// The value that a layer's weights are.
fn weights_of(model: &Loaded, site: &Site) -> Option<ValueId> {
    model.graph().operator(site.node)?.input(1)
}

/// Number of operators that read a layer's weights.
fn readers(model: &Loaded, site: &Site) -> usize {
    let graph = model.graph();
    let op = graph.operator(site.node);
    op.map_or(1, |op| Site::weight_readers(graph, op).max(1))
}
