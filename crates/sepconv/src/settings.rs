//! The settings of a compression.

use std::num::NonZeroUsize;
use std::sync::Arc;

use sepconv_analysis::Pins;
use sepconv_data::{Part, Preprocess};
use sepconv_factor::WeightBits;
use sepconv_latency::{CostModel, Precision};
use sepconv_passes::{Families, Lowering, Planner, Selection};
use sepconv_targets::Target;
use serde::Serialize;

use sepconv_eval::{LatencyTarget, OwnMetric};
use sepconv_model::classes::class_rows_of;
use sepconv_model::{DataSource, Deadline, Error, Loaded, Task, machine_memory, shaped_by};
use sepconv_planning::Unit;
use sepconv_quantize::Int8;
use sepconv_spec::{CalibrationSettings, PrecisionChoice, SavedPlan, Source};

use crate::planned::planned;
use crate::tuning::TuneSettings;

/// Of so many calibration samples one is a test sample, where the budget is not judged by them.
const TEST_EVERY: usize = 8;
/// The same, where it is.
const TEST_EVERY_JUDGED: usize = 4;
/// The same of detectors, which need not say anything of a sample: a few detections are too few to judge by.
pub(crate) const TEST_EVERY_DETECTED: usize = 2;

/// The least signal-to-noise ratio of outputs that are of no task, in dB.
pub(crate) const USUAL_SNR: f64 = 30.0;

/// Bytes of memory that calibration is sized for at most where nothing is said: enough for patches
/// of 4608 values.
const USUAL_MEMORY: u64 = 4 << 30;

/// How much to compress.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Budget {
    /// The same rank in every layer.
    Rank(usize),
    /// The share of energy that every layer keeps, in `(0, 1]`.
    Energy(f64),
    /// The fraction of the model's MACs to keep, in `(0, 1)`.
    TargetMacs(f64),
    /// The fraction of the model's parameters to keep, in `(0, 1)`.
    TargetParams(f64),
    /// The fraction of the file's bytes to keep, in `(0, 1)`.
    TargetSize(f64),
    /// The fraction of the time that the original takes on [`Settings::latency`], in `(0, 1)`.
    TargetLatency(f64),
    /// The fraction of the convolutions' cost by [`Settings::cost`], in `(0, 1)`.
    TargetCost(f64),
    /// The cheapest model whose main metric is at most this much worse than the original's:
    /// percentage points or dB on [`Settings::eval`], else points of agreement with the
    /// original, or of the measure of its task, on calibration data that was held out. With
    /// [`Settings::metric`], in its unit.
    MaxDrop(f64),
    /// The cheapest model whose outputs stay within this signal-to-noise ratio (dB) of the
    /// original's, in every channel of every output on its own scale: on calibration data that was
    /// held out, else on synthetic inputs.
    MinSnr(f64),
}

impl Budget {
    /// True for a bound of the error of the outputs: plans are held against it one after another.
    pub(crate) fn is_judged(self) -> bool {
        matches!(self, Self::MaxDrop(_) | Self::MinSnr(_))
    }

    /// True where less time is a gain by itself: the budget is of it or bounds an error.
    pub(crate) fn gains_by_time(self) -> bool {
        self.is_judged() || matches!(self, Self::TargetLatency(_))
    }
}

impl Budget {
    /// The default: with calibration data a drop of one point (of a detector,
    /// whose detections near the threshold come and go with any change, of five) where there is
    /// evaluation data with labels (`evaluated`), where outputs are classes, and for tasks whose measures
    /// are percentages; else outputs within 30 dB of the original's. `task` is the one that is recognised, or named.
    pub fn usual(model: &Loaded, calibrated: bool, evaluated: bool, task: Option<Task>) -> Self {
        let graph = model.graph();
        // An output of unknown extents may be one of classes: running the model tells.
        let classes =
            |value| model.shapes.extents(value).is_none() || class_rows_of(model, value).is_some();
        let by_drop = match task {
            Some(Task::Regress | Task::Restore) => evaluated,
            Some(
                Task::Classify
                | Task::Detect
                | Task::Segment
                | Task::Sequence
                | Task::Tag
                | Task::Embed,
            ) => true,
            Some(Task::Auto) | None => evaluated || graph.outputs().any(classes),
        };
        match (calibrated && by_drop, task) {
            (true, Some(Task::Detect)) => Self::MaxDrop(5.0),
            (true, _) => Self::MaxDrop(1.0),
            (false, _) => Self::MinSnr(USUAL_SNR),
        }
    }
}

/// The source of fits where there is no data.
#[derive(Debug, Clone, PartialEq)]
pub enum DataFree {
    /// [`DataFree::Pictures`] for a rank or a MAC budget, where the fit takes no more than
    /// about a minute on two cores; else the weights alone.
    Auto(Option<Preprocess>),
    /// Synthetic pictures with the statistics of natural ones, preprocessed as the network
    /// expects, or of a range that is guessed from the network. Where it takes no pictures,
    /// the weights alone.
    Pictures(Option<Preprocess>),
    /// The weights alone: the method of the paper.
    Weights,
}

impl Default for DataFree {
    fn default() -> Self {
        Self::Auto(None)
    }
}

/// The settings of [`crate::compress()`].
#[derive(Clone)]
pub struct Settings {
    /// How much to compress.
    pub budget: Budget,
    /// A plan made earlier, which is applied in place of planning: the settings that it decided
    /// (the budget, shapes, selection, families, lowerings, the fit) are then not looked at here.
    /// Where its weights are fitted to data, [`Settings::calibration`] brings the data.
    pub plan: Option<Arc<SavedPlan>>,
    /// Families of decompositions that are tried.
    pub families: Families,
    /// How chains are written; `None` chooses by itself.
    pub lowering: Option<&'static dyn Lowering>,
    /// Which convolutions are meant.
    pub selection: Selection,
    /// True where convolutions whose weights are behind `DequantizeLinear` are rewritten too, with
    /// weights of the scale's type: such a model computes with other numbers than one that stays
    /// quantised, and may be larger.
    pub quantized: bool,
    /// The numbers that the result computes in: eight bits are quantised by calibration data.
    pub precision: PrecisionChoice,
    /// In eight bits: a model of opset 7 to 12 is raised to 13, which eight bits need.
    pub raise: bool,
    /// In eight bits: the integers that weights are rounded to; `None` where measurements choose.
    pub weight_bits: Option<WeightBits>,
    /// Input shapes fixed by the user.
    pub pins: Pins,
    /// Seed of synthetic inputs.
    pub seed: u64,
    /// True where an existing output is replaced.
    pub force: bool,
    /// True where layers are rewritten that then cost more MACs, to verify exactness.
    pub costlier: bool,
    /// Unlabelled data that the layers are fitted to, but for a test part
    /// ([`sepconv_data::Part`]) that the closing figures and budgets that are judged come from.
    pub calibration: Option<CalibrationSettings>,
    /// Of so many calibration samples one is in the test part, where the budget is judged by that; `None`: 4.
    pub test_every: Option<usize>,
    /// Data that the closing figures come from where layers are not fitted to data.
    pub closing: Option<DataSource>,
    /// The source of fits without such data.
    pub data_free: DataFree,
    /// Bytes of memory that calibration is sized for: the statistics of layers, their fits, and what
    /// is kept between passes over the data; the model, the runtime and the decompositions of the
    /// survey come on top. Where the usual way would take more, fewer layers are
    /// looked at together and fewer positions of them; a layer for which even that is too much
    /// stays. Half of [`crate::machine_memory`] by default, 4 GiB at most.
    pub max_memory: u64,
    /// The time by which the work is to end: the best plan within it is made, by shorter fits and
    /// fewer candidates. The result then depends on the machine.
    pub deadline: Option<Deadline>,
    /// Data that the original and the result are evaluated on: by labels or a target where it
    /// has them, and the result against the original.
    pub eval: Option<DataSource>,
    /// How the result is tuned, where it is: see [`crate::tune`]. A budget that is judged is judged
    /// before that.
    pub tune: Option<TuneSettings>,
    /// The runtime that outputs are measured on.
    pub target: &'static dyn Target,
    /// The runtime that the network is run on for statistics of layers and probes of its outputs; `None`:
    /// [`Settings::target`]. The last digits of weights depend on it.
    pub runner: Option<&'static dyn Target>,
    /// The runtime that the model is to be fast on: lowerings and ranks are chosen by the time that
    /// they measure there, and nothing is rewritten that is not faster. `None` counts MACs.
    pub latency: Option<LatencyTarget>,
    /// Without [`Settings::latency`]: the runtime that the written file is timed on, beside the original,
    /// where it runs there. Nothing depends on the figure.
    pub timed: Option<LatencyTarget>,
    /// A result is kept that is measured not to be faster than the original on
    /// [`Settings::latency`].
    pub slower: bool,
    /// The cost, in place of MACs, where the budget does not name one;
    /// [`Budget::TargetCost`] counts it.
    pub cost: Option<Arc<dyn CostModel>>,
    /// The metric that models are judged by, in place of [`crate::Evaluation::primary`].
    pub metric: Option<Arc<dyn OwnMetric>>,
    /// Plans in place of the budget.
    pub planner: Option<Arc<dyn Planner>>,
}

impl Settings {
    /// With the decisions of the saved plan, where there is one.
    ///
    /// # Errors
    /// As [`planned`].
    pub(crate) fn planned(&self) -> Result<Self, Error> {
        match &self.plan {
            Some(plan) => planned(plan, self),
            None => Ok(self.clone()),
        }
    }

    /// With a test part held out of the calibration data: of all that is fitted, planned, chosen and
    /// trained. A saved plan says its own.
    pub(crate) fn holding_out(&self) -> Self {
        let mut settings = self.clone();
        if settings.plan.is_some() {
            return settings;
        }
        let every = match (self.budget, &self.eval) {
            (Budget::MaxDrop(_), None) | (Budget::MinSnr(_), _) => {
                self.test_every.unwrap_or(TEST_EVERY_JUDGED)
            }
            _ => TEST_EVERY,
        };
        let train = |source: &mut Source| {
            if let Source::Data(data) = source
                && data.part == Part::Whole
            {
                data.part = Part::Train { every };
            }
        };
        settings
            .calibration
            .iter_mut()
            .for_each(|c| train(&mut c.source));
        settings.tune.iter_mut().for_each(|t| train(&mut t.source));
        settings
    }

    /// A model with its free dimensions as the data has them.
    ///
    /// # Errors
    /// [`Error::Data`] where the data can't be read or do not fit.
    pub fn shaped(&self, model: Loaded) -> Result<Loaded, Error> {
        Ok(shaped_by(&model, self.sources())?.unwrap_or(model))
    }

    /// The data that are named, those that the layers are fitted to first, then those that models
    /// are measured on. Shapes, figures and times are for the first.
    pub fn sources(&self) -> impl Iterator<Item = &DataSource> {
        let fitted = self.fitted_data().into_iter();
        fitted.chain(&self.closing).chain(&self.eval)
    }

    /// The data that the layers are fitted to.
    pub(crate) fn fitted_data(&self) -> Option<&DataSource> {
        self.calibration.as_ref().and_then(|c| c.source.data())
    }

    /// The runtime that results are measured on: of eight bits that they are deployed on, as tract computes these in
    /// floats; the same where time is limited and models are timed, as it mostly is the faster one.
    pub(crate) fn measured_on(&self) -> &'static dyn Target {
        let timed = self.latency.is_some() || self.timed.is_some();
        match self.is_in_eight_bits() || (timed && self.deadline.is_some()) {
            true => self.deployed_on().target,
            false => self.target,
        }
    }

    /// The precision that the result is computed in, where it is not that of the weights.
    pub(crate) fn timed_precision(&self) -> Option<&'static dyn Precision> {
        self.is_in_eight_bits().then_some(&Int8)
    }

    /// True where the result is to be in eight bits.
    pub(crate) fn is_in_eight_bits(&self) -> bool {
        self.precision == PrecisionChoice::Int8
    }

    /// The runtime that is to be fast, else the one that is there, on one thread.
    pub(crate) fn deployed_on(&self) -> LatencyTarget {
        self.latency.unwrap_or_else(|| LatencyTarget {
            target: sepconv_targets::deployed(),
            threads: NonZeroUsize::MIN,
        })
    }

    /// The cost, where the budget does not name one.
    pub(crate) fn unit(&self) -> Unit {
        match (&self.cost, self.latency) {
            (Some(_), _) => Unit::Cost,
            (None, Some(_)) => Unit::Latency,
            (None, None) => Unit::Macs,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            budget: Budget::MinSnr(USUAL_SNR),
            plan: None,
            tune: None,
            families: Families::default(),
            lowering: None,
            selection: Selection::default(),
            quantized: false,
            precision: PrecisionChoice::F32,
            raise: false,
            weight_bits: None,
            pins: Pins::default(),
            seed: 0,
            force: false,
            costlier: false,
            calibration: None,
            test_every: None,
            closing: None,
            data_free: DataFree::default(),
            max_memory: (machine_memory() / 2).min(USUAL_MEMORY),
            deadline: None,
            eval: None,
            target: sepconv_targets::reference(),
            runner: None,
            latency: None,
            timed: None,
            slower: false,
            cost: None,
            metric: None,
            planner: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use sepconv_analysis::Pins;

    use super::*;

    #[test]
    fn without_a_budget_classes_are_judged_by_agreement_and_other_outputs_by_their_noise() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let digits = Loaded::open(&root.join("models/digits.onnx"), &Pins::default()).unwrap();
        let usual = |calibrated, evaluated| Budget::usual(&digits, calibrated, evaluated, None);
        assert_eq!(usual(true, false), Budget::MaxDrop(1.0));
        assert_eq!(usual(false, false), Budget::MinSnr(30.0));
        // The same network with maps as its only output.
        let graph = digits.graph();
        let map = graph.operators().find(|(_, op)| op.is("Relu")).unwrap().1;
        let probe = digits.document.probe(&[map.output(0).unwrap()]);
        let proto = sepconv_onnx::Document::from_bytes(probe.skeleton.clone());
        let maps = Loaded::new(proto.unwrap(), &Pins::default()).unwrap();
        assert_eq!(
            Budget::usual(&maps, true, false, None),
            Budget::MinSnr(30.0)
        );
        assert_eq!(Budget::usual(&maps, true, true, None), Budget::MaxDrop(1.0));
        // The known task counts.
        let of = |task| Budget::usual(&maps, true, false, Some(task));
        assert_eq!(of(Task::Detect), Budget::MaxDrop(5.0));
        assert_eq!(of(Task::Segment), Budget::MaxDrop(1.0));
        assert_eq!(of(Task::Regress), Budget::MinSnr(30.0));
        let unfitted = Budget::usual(&maps, false, false, Some(Task::Detect));
        assert_eq!(unfitted, Budget::MinSnr(30.0));
    }
}
