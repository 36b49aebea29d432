//! The record of one layer, from the survey to the report.

use sepconv_passes::{Candidate, Choice, LayerPlan};
use serde::{Serialize, Serializer};

/// How well a layer was fitted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LayerFit {
    /// Relative error of the layer's output on the positions fitted to,
    /// `|y - y^| / |y - mean y|`.
    pub output_error: f64,
    /// The same on the positions held out.
    pub held_out_error: Option<f64>,
    /// Relative error behind the activation that follows, `|f(y) - f(y^)| / |f(y)|`, on the
    /// positions held out; `None` where the fit does not look at one.
    pub activated_error: Option<f64>,
    /// Rounds of alternating least squares.
    pub rounds: usize,
}

/// Seconds of a layer on a runtime.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerTime {
    /// Of the layer as it was.
    pub before: f64,
    /// Of its replacement.
    pub after: f64,
}

/// A layer before and after. Serialised as a row of `report.json`'s `layers`.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerRecord {
    /// Name of the layer.
    pub name: String,
    /// True in a subgraph or a local function. Its MACs are then those of one run of the
    /// body, and no part of the model's.
    pub in_subgraph: bool,
    /// The decision.
    pub choice: Choice,
    /// The lowering that its replacement is written by, where it was rewritten.
    pub lowering: Option<String>,
    /// The fit, where there was data to fit to.
    pub fit: Option<LayerFit>,
    /// Times, where they were measured.
    pub time: Option<LayerTime>,
    /// Share of the kernel's squared norm that rank 1, 2, … of the data-free decomposition keeps,
    /// of its first family that was surveyed; empty where the layer can't be rewritten.
    pub spectrum: Vec<f64>,
    /// MACs before; `None` where the shape is unknown.
    pub macs_before: Option<u64>,
    /// MACs after.
    pub macs_after: Option<u64>,
}

impl LayerRecord {
    /// Of a decision, of which nothing else is known.
    pub fn of(entry: LayerPlan) -> Self {
        Self {
            name: entry.layer,
            in_subgraph: false,
            choice: entry.choice,
            lowering: None,
            fit: None,
            time: None,
            spectrum: Vec::new(),
            macs_before: None,
            macs_after: None,
        }
    }

    /// The replacement, where the layer was rewritten.
    pub fn candidate(&self) -> Option<&Candidate> {
        match &self.choice {
            Choice::Separate(candidate) => Some(candidate),
            Choice::Keep(_) => None,
        }
    }

    /// True where the layer was rewritten.
    pub fn is_rewritten(&self) -> bool {
        self.candidate().is_some()
    }

    /// The family of the replacement (`dw-pw`, `pw-dw`, …), or `kept`.
    pub fn form(&self) -> &str {
        self.candidate().map_or("kept", |c| &c.family)
    }

    /// Rank, where the layer was rewritten.
    pub fn rank(&self) -> Option<usize> {
        self.candidate().map(|c| c.rank)
    }

    /// The reason for which the layer was kept.
    pub fn reason(&self) -> Option<String> {
        match &self.choice {
            Choice::Keep(kept) => Some(kept.to_string()),
            Choice::Separate(_) => None,
        }
    }

    /// Relative Frobenius error of the best data-free kernel of that form and rank; 0 where the
    /// layer was kept.
    pub fn weight_error(&self) -> f64 {
        self.candidate().map_or(0.0, |c| c.weight_error)
    }

    /// The decision as an entry of a plan, with the lowering that was written.
    pub fn plan(&self) -> LayerPlan {
        let mut choice = self.choice.clone();
        if let (Choice::Separate(candidate), Some(lowering)) = (&mut choice, &self.lowering) {
            candidate.lowering = Some(lowering.clone());
        }
        LayerPlan {
            layer: self.name.clone(),
            choice,
        }
    }
}

/// The row of a record in `report.json`.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    in_subgraph: bool,
    form: &'a str,
    rank: Option<usize>,
    lowering: Option<&'a str>,
    reason: Option<String>,
    macs_before: Option<u64>,
    macs_after: Option<u64>,
    weight_error: f64,
    fit: Option<LayerFit>,
    time_before: Option<f64>,
    time_after: Option<f64>,
    spectrum: &'a [f64],
}

impl Serialize for LayerRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Row {
            name: &self.name,
            in_subgraph: self.in_subgraph,
            form: self.form(),
            rank: self.rank(),
            lowering: self.lowering.as_deref(),
            reason: self.reason(),
            macs_before: self.macs_before,
            macs_after: self.macs_after,
            weight_error: self.weight_error(),
            fit: self.fit,
            time_before: self.time.map(|t| t.before),
            time_after: self.time.map(|t| t.after),
            spectrum: &self.spectrum,
        }
        .serialize(serializer)
    }
}
