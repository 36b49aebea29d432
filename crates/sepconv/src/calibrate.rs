//! Calibrated fits, layer after layer in the order of the network.
//!
//! Asymmetric reconstruction (Zhang et al. 2015, arXiv 1505.06798, section 3.3): the inputs of
//! a convolution come from the network compressed so far, its targets from the original
//! network, so that a layer makes up for the errors of those before it. Where the output of
//! a convolution is only added to another value (the end of a residual branch), the target is
//! the original sum less the other value as it is now, so that the branch also makes up for
//! the errors on the shortcut (He et al. 2017, arXiv 1707.06168, section 3.3).

use std::collections::BTreeMap;
use std::sync::Mutex;

use rayon::prelude::*;
use sepconv_analysis::AutoPad;
use sepconv_data::{Dataset, Labels};
use sepconv_factor::{
    Calibration, ConvGeometry, Fit, FitOptions, SplitStatistics, SplitStatisticsBuilder, family,
};
use sepconv_ir::{Slot, Tensor, ValueId};
use sepconv_onnx::Document;
use sepconv_passes::{
    AppliedLayer, Candidate, Choice, Kept, LayerPlan, Plan, Site, Survey, Surveyed, apply,
};
use sepconv_targets::{Session, Target};
use serde::Serialize;

use crate::compress::{Prepared, Settings};
use crate::error::Error;
use crate::evaluate::session_specs;
use crate::inputs::DataSource;
use crate::loaded::Loaded;
use crate::progress::{Event, Progress};
use crate::runner::to_tensor;

/// Samples run between two accumulations.
const WINDOW: usize = 16;

/// Inputs kept in memory between passes, in bytes; more are read again for every pass.
const KEPT_INPUTS: usize = 512 << 20;

/// How layers are fitted to data.
#[derive(Debug, Clone)]
pub struct CalibrationSettings {
    /// Unlabelled data.
    pub source: DataSource,
    /// Output positions per layer, over all samples.
    pub positions: usize,
    /// Of so many samples one is held out, to end the alternation; 0 holds out none.
    pub held_out_every: u64,
    /// The least-squares fits.
    pub fit: FitOptions,
    /// How many layers share a pass over the data.
    pub schedule: Schedule,
}

impl CalibrationSettings {
    /// Defaults for a data set.
    pub fn new(source: DataSource) -> Self {
        Self {
            source,
            positions: 60_000,
            held_out_every: 8,
            // One rank is fitted per layer: lower ones would only cost time.
            fit: FitOptions {
                monotone: false,
                ..FitOptions::default()
            },
            schedule: Schedule::Sequential,
        }
    }
}

/// How many layers share a pass over the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// One pass per layer, each of which sees the errors of all layers before it. Costs half
    /// the network per layer and sample, twice.
    Sequential,
    /// One pass for so many layers, which don't see each other's errors.
    Blocks(usize),
    /// One pass for all layers: every layer sees the original network's inputs.
    Parallel,
}

impl Schedule {
    fn layers(self) -> usize {
        match self {
            Self::Sequential => 1,
            Self::Blocks(n) => n.max(1),
            Self::Parallel => usize::MAX,
        }
    }
}

/// How well a layer was fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LayerFit {
    /// Relative error of the layer's output on the positions fitted to,
    /// `|y - y^| / |y - mean y|`.
    pub output_error: f64,
    /// The same on the positions held out.
    pub held_out_error: Option<f64>,
    /// Rounds of alternating least squares.
    pub rounds: usize,
}

/// A calibrated model: the document, what was chosen, and how well it fits.
pub(crate) struct Calibrated {
    pub document: Document,
    pub plan: Plan,
    pub applied: Vec<AppliedLayer>,
    pub fits: BTreeMap<String, LayerFit>,
}

/// Fits each layer with the best of its admissible candidates. `admissible` is parallel to
/// the survey's layers; a layer without any stays.
pub(crate) fn calibrate(
    prepared: &Prepared,
    admissible: &[Vec<Candidate>],
    settings: &Settings,
    calibration: &CalibrationSettings,
    progress: &dyn Progress,
) -> Result<Calibrated, Error> {
    let model = &prepared.folded;
    let failed = |source| Error::Pass {
        file: model.file(),
        source,
    };
    let collector = Collector::new(model, settings.target, calibration)?;
    let mut result = Calibrated {
        document: model.document.clone(),
        plan: kept(&prepared.survey),
        applied: Vec::new(),
        fits: BTreeMap::new(),
    };
    let layers: Vec<(usize, &Surveyed, &Site)> = prepared
        .survey
        .layers
        .iter()
        .enumerate()
        .filter(|(i, _)| !admissible[*i].is_empty())
        .filter_map(|(i, l)| Some((i, l, &l.site.as_ref().ok()?.0)))
        .collect();
    progress.on(Event::Begin {
        stage: "calibrating",
        total: layers.len(),
    });
    let mut done = 0;
    for block in layers.chunks(calibration.schedule.layers().min(layers.len().max(1))) {
        let sites: Vec<&Site> = block.iter().map(|(_, _, site)| *site).collect();
        let statistics = collector.collect(&result.document, &sites)?;
        for ((i, layer, site), statistics) in block.iter().zip(&statistics) {
            let best = best_fit(model, site, &admissible[*i], statistics, calibration).map_err(
                |source| Error::Pass {
                    file: model.file(),
                    source: sepconv_passes::PassError::Factor {
                        node: layer.name.clone(),
                        source,
                    },
                },
            )?;
            let Some((candidate, fit)) = best else {
                continue;
            };
            result.plan.layers[*i].choice = Choice::Separate(candidate.clone());
            let one = Plan {
                layers: vec![result.plan.layers[*i].clone()],
            };
            result.fits.insert(
                layer.name.clone(),
                LayerFit {
                    output_error: fit.error_fit.max(0.0).sqrt(),
                    held_out_error: fit.error_held_out.map(|e| e.max(0.0).sqrt()),
                    rounds: fit.rounds,
                },
            );
            let mut chain = Some(fit.chain);
            let graph = &mut result.document.model.graph;
            let written = apply(
                graph,
                &prepared.survey,
                &one,
                settings.lowering,
                |layer, family, rank| match chain.take() {
                    Some(chain) => Ok(chain),
                    None => layer.chain(family, rank),
                },
            );
            result.applied.extend(written.map_err(failed)?);
            done += 1;
            progress.on(Event::Step { done });
        }
    }
    progress.on(Event::End);
    Ok(result)
}

/// Relative output error of every candidate of every layer when the layer alone is replaced:
/// what a planner allocates by. One pass over the data for all layers, closed-form fits.
pub(crate) fn score(
    prepared: &Prepared,
    settings: &Settings,
    calibration: &CalibrationSettings,
    progress: &dyn Progress,
) -> Result<Vec<Vec<f64>>, Error> {
    let model = &prepared.folded;
    let collector = Collector::new(model, settings.target, calibration)?;
    let sites: Vec<&Site> = prepared.survey.sites().map(|(site, _)| site).collect();
    progress.on(Event::Begin {
        stage: "scoring",
        total: sites.len(),
    });
    let quick = CalibrationSettings {
        fit: FitOptions {
            rounds: 1,
            monotone: false,
            ..calibration.fit
        },
        ..calibration.clone()
    };
    let statistics = collector.collect(&model.document, &sites)?;
    let mut scores = Vec::new();
    let mut next = statistics.iter().enumerate();
    for layer in &prepared.survey.layers {
        let Ok((site, candidates)) = &layer.site else {
            scores.push(Vec::new());
            continue;
        };
        let Some((done, statistics)) = next.next() else {
            break;
        };
        let errors = fits(model, site, candidates, statistics, &quick);
        let errors = errors.map_err(|source| Error::Pass {
            file: model.file(),
            source: sepconv_passes::PassError::Factor {
                node: layer.name.clone(),
                source,
            },
        })?;
        scores.push(errors.iter().map(held_out).collect());
        progress.on(Event::Step { done: done + 1 });
    }
    progress.on(Event::End);
    Ok(scores)
}

fn held_out(fit: &Fit) -> f64 {
    fit.error_held_out.unwrap_or(fit.error_fit)
}

fn fits(
    model: &Loaded,
    site: &Site,
    candidates: &[Candidate],
    statistics: &SplitStatistics,
    settings: &CalibrationSettings,
) -> Result<Vec<Fit>, sepconv_factor::FactorError> {
    let kernel = site
        .weights(model.graph())
        .map_err(|_| sepconv_factor::FactorError::Shape("the weight is gone"))?;
    let calibration = Calibration::new(&kernel, statistics, settings.fit)?;
    let mut fitters = BTreeMap::new();
    for candidate in candidates {
        if let Some(found) = family(&candidate.family)
            && !fitters.contains_key(found.name())
        {
            fitters.insert(found.name(), found.fitter(&calibration)?);
        }
    }
    candidates
        .iter()
        .filter_map(|c| Some(fitters.get(c.family.as_str())?.fit(c.rank)))
        .collect()
}

fn best_fit(
    model: &Loaded,
    site: &Site,
    candidates: &[Candidate],
    statistics: &SplitStatistics,
    settings: &CalibrationSettings,
) -> Result<Option<(Candidate, Fit)>, sepconv_factor::FactorError> {
    let fits = fits(model, site, candidates, statistics, settings)?;
    let all = candidates.iter().cloned().zip(fits);
    Ok(all.min_by(|a, b| held_out(&a.1).total_cmp(&held_out(&b.1))))
}

fn kept(survey: &Survey) -> Plan {
    let layers = survey.layers.iter().map(|layer| LayerPlan {
        layer: layer.name.clone(),
        choice: Choice::Keep(match &layer.site {
            Ok(_) => Kept::Planned,
            Err(kept) => kept.clone(),
        }),
    });
    Plan {
        layers: layers.collect(),
    }
}

/// Collects statistics of convolutions by running both networks.
struct Collector<'a> {
    original: &'a Loaded,
    target: &'a dyn Target,
    dataset: Dataset,
    settings: &'a CalibrationSettings,
    kept: Mutex<BTreeMap<usize, Vec<Tensor>>>,
    keeps: bool,
}

/// Input and target maps of all sites for one batch: `[site][x, y]`.
type Maps = Vec<[Tensor; 2]>;

impl<'a> Collector<'a> {
    fn new(
        original: &'a Loaded,
        target: &'a dyn Target,
        settings: &'a CalibrationSettings,
    ) -> Result<Self, Error> {
        let dataset = settings.source.open(original, Labels::Ignore)?;
        let sample: usize = dataset
            .sample_shapes()
            .iter()
            .map(|s| 4 * s.iter().product::<usize>())
            .sum();
        Ok(Self {
            original,
            target,
            keeps: sample.saturating_mul(dataset.len()) <= KEPT_INPUTS,
            dataset,
            settings,
            kept: Mutex::default(),
        })
    }

    /// Statistics of `sites`: inputs from `work`, targets from the original.
    fn collect(&self, work: &Document, sites: &[&Site]) -> Result<Vec<SplitStatistics>, Error> {
        let batch = self.dataset.fixed_batch().unwrap_or(1);
        let mut now = Vec::new();
        let mut then = Vec::new();
        let mut residual = Vec::new();
        for site in sites {
            let ends = Ends::of(self.original, site).ok_or_else(|| self.odd(site, "no input"))?;
            now.extend([ends.input, ends.shortcut.unwrap_or(ends.input)]);
            residual.push(ends.shortcut.is_some());
            then.push(ends.target);
        }
        let xs = Probe::new(self, work, &now, batch)?;
        let ys = Probe::new(self, &self.original.document, &then, batch)?;
        let starts: Vec<usize> = (0..self.dataset.len()).step_by(batch).collect();
        let per_sample = self.settings.positions.div_ceil(self.dataset.len().max(1));
        let mut builders: Vec<Option<SplitStatisticsBuilder>> = Vec::new();
        builders.resize_with(sites.len(), || None);
        let mut pending: Vec<(usize, Maps)> = Vec::new();
        let mut windows = starts.chunks(WINDOW);
        // While one window runs on all cores, the one before it is accumulated, in order.
        loop {
            let window = windows.next();
            let (next, pushed) = rayon::join(
                || {
                    window.map(|starts| {
                        let maps = starts.par_iter().map(|start| {
                            let inputs = self.inputs(*start, batch)?;
                            Ok((*start, maps(&xs, &ys, &residual, &inputs)?))
                        });
                        maps.collect::<Result<Vec<_>, Error>>()
                    })
                },
                || self.push(&mut builders, sites, &pending, per_sample),
            );
            pushed?;
            match next {
                Some(maps) => pending = maps?,
                None => break,
            }
        }
        let statistics = builders.into_iter().zip(sites).map(|(builder, site)| {
            let builder = builder.ok_or_else(|| self.odd(site, "no sample"))?;
            builder.finish().map_err(|e| self.odd(site, &e.to_string()))
        });
        statistics.collect()
    }

    fn odd(&self, site: &Site, reason: &str) -> Error {
        Error::Interface {
            file: self.original.file(),
            reason: format!("calibration of node '{}': {reason}", site.name),
        }
    }

    fn inputs(&self, start: usize, batch: usize) -> Result<Vec<Tensor>, Error> {
        let odd = || Error::Interface {
            file: self.original.file(),
            reason: "an input is of a type that can't be run".into(),
        };
        let lock = || {
            self.kept
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        };
        if let Some(kept) = lock().get(&start) {
            return Ok(kept.clone());
        }
        let end = (start + batch).min(self.dataset.len());
        let arrays = self.dataset.batch(start..end)?.inputs;
        let tensors: Option<Vec<Tensor>> = arrays.into_iter().map(to_tensor).collect();
        let tensors = tensors.ok_or_else(odd)?;
        if self.keeps {
            lock().insert(start, tensors.clone());
        }
        Ok(tensors)
    }

    fn push(
        &self,
        builders: &mut [Option<SplitStatisticsBuilder>],
        sites: &[&Site],
        pending: &[(usize, Maps)],
        per_sample: usize,
    ) -> Result<(), Error> {
        // Sites are independent of one another, samples of a site keep their order.
        builders
            .par_iter_mut()
            .enumerate()
            .try_for_each(|(i, builder)| {
                let site = sites[i];
                for (start, maps) in pending {
                    let [x, y] = &maps[i];
                    self.push_batch(builder, site, *start, x, y, per_sample)?;
                }
                Ok(())
            })
    }

    fn push_batch(
        &self,
        builder: &mut Option<SplitStatisticsBuilder>,
        site: &Site,
        start: usize,
        x: &Tensor,
        y: &Tensor,
        per_sample: usize,
    ) -> Result<(), Error> {
        let odd = |reason: &str| self.odd(site, reason);
        let axes = site.attributes.axes();
        if x.dims().len() != axes + 2 || x.dims()[0] != y.dims()[0] {
            return Err(odd("its maps are of another rank than its kernel"));
        }
        let input = x.dims()[2..].to_vec();
        let rows = x.dims()[0];
        let (xs, ys) = (x.to_f32(), y.to_f32());
        let (xs, ys) = xs.zip(ys).ok_or_else(|| odd("its maps are not numbers"))?;
        let builder = match builder {
            Some(builder) => builder,
            none => {
                let geometry = geometry(site, &input).ok_or_else(|| odd("unknown padding"))?;
                let every = self.settings.held_out_every;
                let seed = self.settings.source.seed;
                let new =
                    SplitStatisticsBuilder::new(&site.kernel, geometry, seed, per_sample, every);
                none.insert(new.map_err(|e| odd(&e.to_string()))?)
            }
        };
        let valid = rows.min(self.dataset.len() - start);
        let (wide, tall) = (xs.len() / rows.max(1), ys.len() / rows.max(1));
        for row in 0..valid {
            let x = &xs[row * wide..(row + 1) * wide];
            let y = &ys[row * tall..(row + 1) * tall];
            builder
                .push((start + row) as u64, x, &input, y)
                .map_err(|e| odd(&e.to_string()))?;
        }
        Ok(())
    }
}

/// Input and target of every site for one batch.
fn maps(
    xs: &Probe<'_>,
    ys: &Probe<'_>,
    residual: &[bool],
    inputs: &[Tensor],
) -> Result<Maps, Error> {
    let (now, then) = (xs.run(inputs)?, ys.run(inputs)?);
    let pairs = now.chunks(2).zip(then).zip(residual);
    let maps = pairs.map(|((now, y), residual)| {
        let y = if *residual {
            difference(&y, &now[1]).unwrap_or(y)
        } else {
            y
        };
        [now[0].clone(), y]
    });
    Ok(maps.collect())
}

/// `a - b`, for tensors of one shape.
fn difference(a: &Tensor, b: &Tensor) -> Option<Tensor> {
    if a.dims() != b.dims() {
        return None;
    }
    let (x, y) = (a.to_f32()?, b.to_f32()?);
    let values = x.iter().zip(&*y).map(|(x, y)| x - y).collect();
    Some(Tensor::from_f32(a.dims().to_vec(), values))
}

/// What a convolution is fitted by: its input, and what the original network makes of it.
struct Ends {
    input: ValueId,
    /// The convolution's output, or the sum that it goes into.
    target: ValueId,
    /// The other summand.
    shortcut: Option<ValueId>,
}

impl Ends {
    fn of(model: &Loaded, site: &Site) -> Option<Self> {
        let graph = model.graph();
        let op = graph.operator(site.node)?;
        let (input, output) = (op.input(0)?, op.output(0)?);
        let plain = Self {
            input,
            target: output,
            shortcut: None,
        };
        let [(reader, Slot::Input(slot))] = graph.readers(output)[..] else {
            return Some(plain);
        };
        let sum = graph.operator(reader).filter(|o| o.is("Add"));
        let Some((target, other)) =
            sum.and_then(|o| Some((o.output(0)?, o.input(1 - slot as usize)?)))
        else {
            return Some(plain);
        };
        let extents = |v| model.shapes.extents(v);
        let alike = extents(other).is_some() && extents(other) == extents(output);
        if !alike || graph.constant(other).is_some() {
            return Some(plain);
        }
        Some(Self {
            input,
            target,
            shortcut: Some(other),
        })
    }
}

/// A session that yields some values of a network.
struct Probe<'a> {
    session: Option<Box<dyn Session>>,
    places: Vec<Place>,
    owner: &'a Loaded,
}

enum Place {
    Input(usize),
    Output(usize),
}

impl<'a> Probe<'a> {
    /// For `values` in `document`, a rewritten copy of the original.
    fn new(
        collector: &Collector<'a>,
        document: &Document,
        values: &[ValueId],
        batch: usize,
    ) -> Result<Self, Error> {
        let owner = collector.original;
        let graph = owner.graph();
        let inputs: Vec<ValueId> = graph.inputs().collect();
        let mut wanted: Vec<ValueId> = Vec::new();
        let mut places = Vec::new();
        for value in values.iter().copied() {
            places.push(if let Some(i) = inputs.iter().position(|v| *v == value) {
                Place::Input(i)
            } else {
                let known = wanted.iter().position(|v| *v == value);
                Place::Output(known.unwrap_or_else(|| {
                    wanted.push(value);
                    wanted.len() - 1
                }))
            });
        }
        let session = if wanted.is_empty() {
            None
        } else {
            let specs = session_specs(owner, &collector.dataset, batch)?;
            let loaded = collector.target.load(&document.probe(&wanted), &specs);
            Some(loaded.map_err(|source| Error::Target {
                file: owner.file(),
                source,
            })?)
        };
        Ok(Self {
            session,
            places,
            owner,
        })
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let outputs = match &self.session {
            Some(session) => session.run(inputs).map_err(|source| Error::Target {
                file: self.owner.file(),
                source,
            })?,
            None => Vec::new(),
        };
        let values = self.places.iter().map(|place| match place {
            Place::Input(i) => inputs.get(*i).cloned(),
            Place::Output(i) => outputs.get(*i).cloned(),
        });
        let values: Option<Vec<Tensor>> = values.collect();
        values.ok_or_else(|| Error::Interface {
            file: self.owner.file(),
            reason: "a probed value is missing".into(),
        })
    }
}

fn geometry(site: &Site, input: &[usize]) -> Option<ConvGeometry> {
    let a = &site.attributes;
    let size = |v: &[u64]| v.iter().map(|n| *n as usize).collect::<Vec<usize>>();
    let input: Vec<u64> = input.iter().map(|n| *n as u64).collect();
    let pads = if a.auto_pad == AutoPad::NotSet {
        a.pads.clone()
    } else {
        a.explicit_pads(&input)?
    };
    let (begin, end) = pads.split_at(pads.len() / 2);
    Some(ConvGeometry {
        strides: size(&a.strides),
        dilations: size(&a.dilations),
        pads_begin: size(begin),
        pads_end: size(end),
    })
}
