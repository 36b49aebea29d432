//! The padding of stages that is made beforehand.

use sepconv_analysis::{AutoPad, ConvAttributes};
use sepconv_factor::{Role, StageShape};
use sepconv_ir::PatchValue;

/// Place at which the zeros are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// In front of every depthwise or spatial convolution; dense ones stay as they are.
    Filters,
    /// In front of the chain, whose stages make zeros of zeros but for the last, which has the bias
    /// (and no window behind it): once for all branches and copies of the input, at the price
    /// of the rim that a pointwise convolution in front computes too. That also parts channels
    /// whose maps are a power of two: at 32x32, products of tract take half as long. For chains
    /// that begin with the role, if any: others pad their input at the filter as well.
    Input(Option<Role>),
}

/// True where a stage is one whose padding is made beforehand.
pub(super) fn filters(stage: &StageShape) -> bool {
    matches!(stage.role, Role::Depthwise | Role::Spatial) && windowed(stage)
}

pub(super) fn windowed(stage: &StageShape) -> bool {
    stage.kernel.spatial.iter().any(|k| *k > 1)
}

/// Maps that were padded: the map, its pads per axis (begin, end), and the padded map.
pub(super) type Made = Vec<(PatchValue, Vec<(u64, u64)>, PatchValue)>;

/// The pads of a stage's axes; `None` where it is not padded beforehand.
pub(super) fn pads(stage: &StageShape, a: &ConvAttributes) -> Option<Vec<(u64, u64)>> {
    let all = fixed(a).filter(|_| filters(stage))?;
    let own = all.into_iter().zip(&stage.axes);
    let own: Vec<(u64, u64)> = own.map(|(p, c)| if *c { p } else { (0, 0) }).collect();
    some(own)
}

/// Pads of which some are not 0.
pub(super) fn some(pads: Vec<(u64, u64)>) -> Option<Vec<(u64, u64)>> {
    pads.iter().any(|p| *p != (0, 0)).then_some(pads)
}

/// The pads of each axis of a convolution, whatever its extent.
pub(super) fn fixed(a: &ConvAttributes) -> Option<Vec<(u64, u64)>> {
    let same = matches!(a.auto_pad, AutoPad::SameUpper | AutoPad::SameLower);
    // The padding of `SAME_*` at a stride depends on the extents.
    if a.transposed || same && a.strides.iter().any(|s| *s != 1) {
        return None;
    }
    let all = a.explicit_pads(&vec![1; a.axes()])?;
    let (begins, ends) = all.split_at(a.axes());
    Some(begins.iter().copied().zip(ends.iter().copied()).collect())
}
