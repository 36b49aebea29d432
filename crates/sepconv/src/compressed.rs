//! A rewritten model in memory.

use std::collections::BTreeMap;

use sepconv_calibrate::Hurried;
use sepconv_ir::Graph;
use sepconv_model::Loaded;
use sepconv_passes::Plan;
use sepconv_planning::Solution;
use sepconv_quantize::Quantized;
use sepconv_spec::{CalibrationSettings, LayerRecord, LayerTime, Try, Verdict};

use crate::eight_bits::EightBits;
use crate::tuning::Tuning;

/// A rewritten model in memory.
#[derive(Debug, Clone)]
pub struct Compressed {
    /// The rewritten model.
    pub model: Loaded,
    /// The record of every convolution.
    pub layers: Vec<LayerRecord>,
    /// Names of the layers that stay in floats in eight bits by the plan.
    pub in_floats: Vec<String>,
    /// Batch normalisations folded.
    pub folded: usize,
    /// The data that the layers were fitted to; `None`: their weights alone.
    pub calibration: Option<CalibrationSettings>,
    /// The solution of the budget, where one was allocated.
    pub solution: Option<Solution>,
    /// The reason for which no layer is rewritten, where the model is a result all the same: eight bits or simpler
    /// activations are faster by themselves.
    pub unrewritten: Option<String>,
    /// The plans that a search tried, in order.
    pub tries: Vec<Try>,
    /// The model held against its budget, where that is judged; before it was tuned.
    pub verdict: Option<Verdict>,
    /// The training, where [`crate::Settings::tune`] asked for it.
    pub tuning: Option<Tuning>,
    /// A line for each family of candidates that was dropped for a layer, because it could not be
    /// written or the target could not run it.
    pub dropped: Vec<String>,
    /// Record of the eight bits of a result that computes in them.
    pub eight_bits: Option<EightBits>,
    /// Layers for which [`crate::Settings::deadline`] left little time.
    pub hurried: Hurried,
    /// The model in eight bits, where a search has judged it so.
    pub(crate) quantized: Option<Quantized>,
}

impl Compressed {
    /// Of a rewritten model and the records of its layers, of which nothing else is known.
    pub(crate) fn of(model: Loaded, layers: Vec<LayerRecord>, folded: usize) -> Self {
        Self {
            model,
            layers,
            in_floats: Vec::new(),
            folded,
            calibration: None,
            solution: None,
            unrewritten: None,
            tries: Vec::new(),
            verdict: None,
            tuning: None,
            dropped: Vec::new(),
            eight_bits: None,
            hurried: Hurried::default(),
            quantized: None,
        }
    }

    /// The same with the weights of another model; a model in eight bits was of the weights before.
    pub(crate) fn with_model(self, model: Loaded) -> Self {
        Self {
            model,
            quantized: None,
            ..self
        }
    }

    /// Records the seconds of layers before and after, by name.
    pub(crate) fn set_times(&mut self, times: &BTreeMap<String, (f64, f64)>) {
        for layer in &mut self.layers {
            layer.time = times.get(&layer.name).map(|(before, after)| LayerTime {
                before: *before,
                after: *after,
            });
        }
    }

    /// The decisions, with the lowerings that were written.
    pub fn plan(&self) -> Plan {
        Plan {
            layers: self.layers.iter().map(LayerRecord::plan).collect(),
        }
    }

    /// Operators of a name that the original has and the result has not, as [`fewer`].
    pub(crate) fn fewer(&self, name: &str, original: &Loaded) -> usize {
        fewer(name, [original, &self.model])
    }

    /// The layers that were rewritten.
    pub fn rewritten(&self) -> impl Iterator<Item = &LayerRecord> {
        self.layers.iter().filter(|layer| layer.is_rewritten())
    }

    /// True where at least one layer was rewritten.
    pub fn is_rewritten(&self) -> bool {
        self.rewritten().next().is_some()
    }
}

/// Operators of a name that the first of two models has and the second has not, those of subgraphs and functions
/// included.
pub(crate) fn fewer(name: &str, models: [&Loaded; 2]) -> usize {
    let [before, after] = models.map(|model| {
        let bodies = model.document.bodies().iter().map(|b| &b.graph);
        let operators = bodies.chain([model.graph()]).flat_map(Graph::operators);
        operators.filter(|(_, op)| op.is(name)).count()
    });
    before.saturating_sub(after)
}
