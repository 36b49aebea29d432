//! The one ordered list of the passes: the product folds by it before it surveys a graph, and whoever
//! rewrites a graph in one go runs it with the separation behind it.

use sepconv_ir::Graph;

use crate::error::PassError;
use crate::fold_batchnorm::FoldBatchNorm;
use crate::fold_input_norm::FoldInputNorm;
use crate::fold_padding::FoldPadding;
use crate::pass::{Pass, run};
use crate::select::Selection;

/// The passes that fold operators into convolutions before those are surveyed, in their order.
pub const FOLDS: [&dyn Pass; 3] = [
    // A norm between two convolutions goes into the one before it, which may pad.
    &FoldBatchNorm,
    // The other norms: those after something that is no convolution.
    &FoldInputNorm,
    // Last: a normalised value that is not padded any more can't be told from one that never was.
    &FoldPadding,
];

/// The whole journey of a graph: [`FOLDS`], then `separate`, which is [`crate::SeparateConvs`]
/// or [`crate::ApplyPlan`]. To be [`run`].
pub fn pipeline(separate: &dyn Pass) -> Vec<&dyn Pass> {
    FOLDS.into_iter().chain([separate]).collect()
}

/// Counts of operators that were folded into convolutions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Folded {
    /// Batch normalisations, after the convolution or before.
    pub norms: usize,
    /// `Pad`s.
    pub pads: usize,
}

/// Runs [`FOLDS`] on the selected convolutions and counts.
///
/// # Errors
/// As [`run`].
pub fn fold(graph: &mut Graph, selection: &Selection) -> Result<Folded, PassError> {
    let outcomes = run(&FOLDS, graph, &selection.into())?;
    let done = |pass: &dyn Pass| -> usize {
        let own = outcomes.iter().filter(|o| o.pass == pass.name());
        own.map(|outcome| outcome.changed.len()).sum()
    };
    Ok(Folded {
        norms: done(&FoldBatchNorm) + done(&FoldInputNorm),
        pads: done(&FoldPadding),
    })
}
