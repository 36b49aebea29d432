//! Calibrated fits, layer after layer in the order of the network.
//!
//! Asymmetric reconstruction (Zhang et al. 2015, arXiv 1505.06798, section 3.3): the inputs of
//! a convolution come from the network compressed so far, its targets from the original
//! network, so that a layer makes up for the errors of those before it. Where the output of
//! a convolution is only added to another value (the end of a residual branch), the target is
//! the original sum less the other value as it is now, so that the branch also makes up for
//! the errors on the shortcut (He et al. 2017, arXiv 1707.06168, section 3.3).

use std::collections::{BTreeMap, VecDeque};

use sepconv_factor::Fit;
use sepconv_model::{Error, Stage, step};
use sepconv_onnx::Document;
use sepconv_passes::{Candidate, Choice, Kept, PassError, Plan, Site};
use sepconv_spec::{LayerFit, LayerRecord, Schedule};

use crate::collector::{self, Collector};
use crate::hurry::{Paced, little_time_to_fit};
use crate::memory_limit::{MemoryLimit, Need};
use crate::runnable::{Work, Written, fitted};
use crate::sampling::Sampling;
use crate::sensitivity::sensitivities;
use crate::surveyed_model::{Fitting, SurveyedModel};

/// Committed layers, by their place in the survey: a candidate, or none where the layer stayed.
pub type Committed = BTreeMap<usize, Option<Candidate>>;

/// A calibrated model: its document, and the record of every layer of the survey.
pub struct Calibrated {
    /// The rewritten document.
    pub document: Document,
    /// Choices, lowerings and fits of the layers.
    pub layers: Vec<LayerRecord>,
    committed: Committed,
}

/// A revision of the admissible candidates, given the outcome of the layers so far; `None` leaves
/// them.
pub type Revision<'a> = &'a dyn Fn(&Committed) -> Option<Vec<Vec<Candidate>>>;

/// Nothing is revised.
pub const AS_PLANNED: fn(&Committed) -> Option<Vec<Vec<Candidate>>> = |_| None;

/// A layer that is to be fitted.
pub(crate) struct Open<'a> {
    /// Its place in the survey.
    pub place: usize,
    pub site: &'a Site,
}

/// Fits each layer with the best of its admissible candidates. `admissible` is parallel to
/// the survey's layers; a layer without any stays. It is revised before every pass, but for which
/// layers are looked at. Layers that share a pass by the schedule are collected in several where
/// their statistics don't go into the memory together; they don't see each other's errors all
/// the same. A layer that can't be fitted stays, with its reason.
///
/// # Errors
/// [`Error::Data`] where the data can't be read or do not fit, [`Error::Target`] where the runtime
/// can't run the network, [`Error::Pass`] where the rewritten graph is not consistent,
/// [`Error::Cancelled`].
pub fn calibrate(
    surveyed: &SurveyedModel,
    admissible: &[Vec<Candidate>],
    revise: Revision<'_>,
    fitting: Fitting<'_>,
) -> Result<Calibrated, Error> {
    let mut result = Calibrated::none(surveyed);
    let few = little_time_to_fit(fitting.deadline);
    let fitting = Fitting {
        sampling: match few {
            true => Sampling::few(&surveyed.folded),
            false => fitting.sampling,
        },
        ..fitting
    };
    let layers = open(surveyed, admissible);
    let sites: Vec<&Site> = layers.iter().map(|layer| layer.site).collect();
    let weights = sensitivities(surveyed, fitting, None)?;
    let stage = Stage::begin(fitting.progress, "calibrating", layers.len());
    let mut collector = Collector::new(&surveyed.folded, &sites, weights, fitting)?;
    let needs = collector.needs();
    let paced = Paced::new(fitting.deadline, layers.len());
    let short = (fitting.calibration).shortened(fitting.calibration.fit.rounds.min(1));
    let mut done = 0;
    let mut passed: Option<Document> = None;
    let mut left = passes(&needs, fitting.calibration.schedule, fitting.memory);
    let mut hurried = false;
    while let Some(pass) = left.pop_front() {
        if !hurried && paced.is_short(done) {
            // All the rest in one pass, which does not see the errors of its own layers.
            hurried = true;
            passed = None;
            left = passes(&needs[done..], Schedule::Parallel, fitting.memory);
            continue;
        }
        let range = done..done + pass.layers;
        let keep = fitting.calibration.fit.steps > 0 && !hurried;
        let again = passed.is_some();
        if !again && !pass.last {
            passed = Some(result.document.clone());
        }
        let work = passed.as_ref().unwrap_or(&result.document);
        let seen = step("fit/statistics", || {
            collector.collect(Some(work), range, collector::Pass { keep, again })
        })?;
        if pass.last {
            passed = None;
        }
        let revised = revise(&result.committed);
        let admissible = revised.as_deref().unwrap_or(admissible);
        for ((layer, seen), need) in layers[done..].iter().zip(seen).zip(&needs[done..]) {
            let seen = seen.map_err(|unfit| unfit.kept(need));
            let work = Work {
                surveyed,
                document: &result.document,
                site: layer.site,
            };
            let all = admissible[layer.place].clone();
            if hurried || few {
                surveyed.hurry(|hurried| hurried.short += 1);
            }
            let fitting = match hurried {
                true => Fitting {
                    calibration: &short,
                    ..fitting
                },
                false => fitting,
            };
            let best = step("fit/candidates", || {
                Ok(fitted(&work, all, seen.as_ref(), fitting))
            })?;
            done += 1;
            stage.step(done)?;
            result.settle(layer, best);
        }
    }
    let written = result.document.model.graph.verify();
    written.map_err(|e| surveyed.failed(PassError::of("separate-conv")(e)))?;
    Ok(result)
}

impl Calibrated {
    /// The folded model, of which no layer is rewritten.
    pub(crate) fn none(surveyed: &SurveyedModel) -> Self {
        let plan = Plan::choosing(&surveyed.survey, |_, _| Choice::Keep(Kept::Planned));
        Self {
            document: surveyed.folded.document.clone(),
            layers: plan.layers.into_iter().map(LayerRecord::of).collect(),
            committed: Committed::new(),
        }
    }

    /// Takes over the outcome of a layer.
    pub(crate) fn settle(
        &mut self,
        layer: &Open<'_>,
        best: Result<Result<Option<Written>, String>, Kept>,
    ) {
        match best {
            Ok(Ok(Some(written))) => self.commit(layer, written),
            Ok(Ok(None)) => self.keep(layer, None),
            Ok(Err(reason)) => self.keep(layer, Some(Kept::Unrunnable(reason))),
            Err(kept) => self.keep(layer, Some(kept)),
        }
    }

    fn commit(&mut self, layer: &Open<'_>, written: Written) {
        self.committed
            .insert(layer.place, Some(written.candidate.clone()));
        self.document = written.document;
        let record = &mut self.layers[layer.place];
        record.fit = Some(fit_of(&written.fit));
        record.lowering = Some(written.lowering.to_owned());
        record.choice = Choice::Separate(written.candidate);
    }

    fn keep(&mut self, layer: &Open<'_>, kept: Option<Kept>) {
        self.committed.insert(layer.place, None);
        if let Some(kept) = kept {
            self.layers[layer.place].choice = Choice::Keep(kept);
        }
    }
}

/// The layers of which a candidate is admissible.
pub(crate) fn open<'a>(
    surveyed: &'a SurveyedModel,
    admissible: &[Vec<Candidate>],
) -> Vec<Open<'a>> {
    let layers = surveyed.survey.layers.iter().enumerate();
    let any = layers.filter(|(place, _)| !admissible[*place].is_empty());
    let open = any.filter_map(|(place, layer)| {
        Some(Open {
            place,
            site: &layer.site.as_ref().ok()?.0,
        })
    });
    open.collect()
}

/// Layers that are collected together.
struct Pass {
    /// Number of layers.
    layers: usize,
    /// They are the last of those that share a pass by the schedule.
    last: bool,
}

/// The passes over the data, for layers of such needs.
fn passes(needs: &[Result<Need, Kept>], schedule: Schedule, memory: MemoryLimit) -> VecDeque<Pass> {
    let mut passes = VecDeque::new();
    for block in needs.chunks(schedule.layers().min(needs.len().max(1))) {
        let mut rest = block;
        while !rest.is_empty() {
            let layers = memory.together(rest);
            rest = &rest[layers..];
            passes.push_back(Pass {
                layers,
                last: rest.is_empty(),
            });
        }
    }
    passes
}

fn fit_of(fit: &Fit) -> LayerFit {
    let root = |e: f64| e.max(0.0).sqrt();
    LayerFit {
        output_error: root(fit.error_fit),
        held_out_error: fit.error_held_out.map(root),
        activated_error: fit.error_activated.map(root),
        rounds: fit.rounds,
    }
}
