//! Everything that is folded into convolutions before they are surveyed.

use sepconv_ir::Graph;

use crate::error::PassError;
use crate::fold_batchnorm::fold_batchnorm;
use crate::fold_input_norm::fold_input_norm;
use crate::fold_padding::fold_padding;
use crate::select::Selection;

/// How many operators were folded into convolutions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Folded {
    /// Batch normalisations, after the convolution or before.
    pub norms: usize,
    /// `Pad`s.
    pub pads: usize,
}

/// Folds batch normalisation and padding into the selected convolutions. Padding goes last: a
/// normalised value that is not padded any more can't be told from one that never was.
///
/// # Errors
/// [`PassError::Graph`] where a patch does not fit: a fault of these passes.
pub fn fold(graph: &mut Graph, selection: &Selection) -> Result<Folded, PassError> {
    let after = fold_batchnorm(graph, selection)?;
    let before = fold_input_norm(graph, selection)?;
    Ok(Folded {
        norms: after + before,
        pads: fold_padding(graph, selection)?,
    })
}
