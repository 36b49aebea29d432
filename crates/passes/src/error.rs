//! Errors of planning and rewriting.

use sepconv_analysis::PinError;
use sepconv_factor::FactorError;
use sepconv_ir::IrError;

use crate::reasons::Reasons;

/// The reason why a plan could not be made or applied.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// A glob of layer names is not valid.
    #[error("layer glob '{glob}': {reason}")]
    Glob {
        /// The glob as given.
        glob: String,
        /// The fault in it.
        reason: String,
    },
    /// A glob matches no convolution.
    #[error("layer glob '{glob}' matches none of the {convolutions} convolutions{example}")]
    NoMatch {
        /// The glob as given.
        glob: String,
        /// Number of convolutions.
        convolutions: usize,
        /// `" (such as 'conv1')"`, or empty.
        example: String,
    },
    /// A rank that no selected layer offers.
    #[error("rank {rank} is outside 1..={max}, the ranks of the selected layers")]
    Rank {
        /// The rank asked for.
        rank: usize,
        /// The largest full rank of the selected layers.
        max: usize,
    },
    /// An energy outside (0, 1].
    #[error("energy {0} is outside 0..1")]
    Energy(f64),
    /// A budget outside (0, 1).
    #[error("target {0} is outside 0..1 (the fraction of the cost to keep)")]
    Budget(f64),
    /// A budget that no plan meets.
    #[error("the budget of {target:.3} can't be met: the least possible is {least:.3}")]
    Unreachable {
        /// The fraction asked for.
        target: f64,
        /// The fraction of the smallest plan.
        least: f64,
    },
    /// The model has no convolution that the budget could be spent on.
    #[error("no convolution qualifies: {0}")]
    NothingToDo(Reasons),
    /// A layer of a plan is not in the model, or not as planned.
    #[error("layer '{layer}' of the plan: {reason}")]
    Plan {
        /// The layer.
        layer: String,
        /// The misfit.
        reason: String,
    },
    /// A kernel could not be factored.
    #[error("node '{node}': {source}")]
    Factor {
        /// The convolution.
        node: String,
        /// The reason.
        source: FactorError,
    },
    /// Pins do not fit the graph's inputs.
    #[error(transparent)]
    Shapes(#[from] PinError),
    /// The graph did not hold together before the first pass: a fault of whoever made it.
    #[error("before pass '{pass}': {source}")]
    Given {
        /// The pass that was not run.
        pass: &'static str,
        /// The fault in the graph.
        source: IrError,
    },
    /// An edit does not fit the graph, or left one that does not hold together: a fault of the
    /// pass.
    #[error("pass '{pass}': {source}")]
    Graph {
        /// Name of the pass.
        pass: &'static str,
        /// The fault.
        source: IrError,
    },
}
