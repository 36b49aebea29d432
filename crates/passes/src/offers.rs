//! The survey of one layer, whatever graph it is in: every family, every rank.

use sepconv_factor::{
    Decomposition, Factored, Kernel, KernelShape, Skip, StageShape, chain_parameters,
};

use crate::candidate::Candidate;
use crate::error::PassError;
use crate::families::Families;
use crate::kept::Kept;

/// A layer as families see it.
pub trait Layer {
    /// Its name, for errors.
    fn name(&self) -> &str;

    /// Shape of its kernel, as of a `Conv`: `[Co, Ci/groups, k...]`.
    fn shape(&self) -> &KernelShape;

    /// Its weights.
    ///
    /// # Errors
    /// The reason why they can't be decomposed.
    fn weights(&self) -> Result<Kernel, Kept>;

    /// True where any stride is above 1.
    fn is_strided(&self) -> bool;

    /// True where it is a transposed convolution.
    fn is_transposed(&self) -> bool {
        false
    }

    /// MACs of the layer and of a chain in its place, on the same scale.
    fn macs(&self, stages: &[StageShape]) -> (u64, u64);

    /// True where such a chain can be written in its place.
    fn writes(&self, _stages: &[StageShape]) -> bool {
        true
    }
}

/// The candidates of a layer in the order of families and rising rank, or the reason why there is
/// none. `keep` is given the decomposition by every family that applies.
///
/// # Errors
/// [`PassError::Factor`].
pub fn offers(
    layer: &dyn Layer,
    allowed: &Families,
    keep: &mut dyn FnMut(&'static str, Box<dyn Factored>),
) -> Result<Result<Vec<Candidate>, Kept>, PassError> {
    let mut skipped: Option<Skip> = None;
    let mut found = Vec::new();
    let mut kernel = None;
    let (strided, transposed) = (layer.is_strided(), layer.is_transposed());
    for family in allowed.all() {
        if !allowed.allows(family, strided, transposed) {
            continue;
        }
        let ranks = match family.ranks(layer.shape()) {
            Ok(ranks) => ranks,
            Err(skip) => {
                skipped.get_or_insert(skip);
                continue;
            }
        };
        if kernel.is_none() {
            match layer.weights() {
                Ok(k) => kernel = Some(k),
                Err(kept) => return Ok(Err(kept)),
            }
        }
        let Some(kernel) = &kernel else { continue };
        let factored = family.factor(kernel).map_err(failed(layer))?;
        for rank in ranks.iter() {
            found.extend(offer(layer, family, factored.as_ref(), rank)?);
        }
        keep(family.name(), factored);
    }
    Ok(match found.is_empty() {
        true => Err(skipped.map_or(Kept::NoFamily, Kept::Skip)),
        false => Ok(found),
    })
}

/// The candidate of a family at a rank; `None` where it can't be written in the layer's place.
///
/// # Errors
/// [`PassError::Factor`].
pub fn offer(
    layer: &dyn Layer,
    family: &dyn Decomposition,
    factored: &dyn Factored,
    rank: usize,
) -> Result<Option<Candidate>, PassError> {
    let stages = family.stages(layer.shape(), rank).map_err(failed(layer))?;
    if !layer.writes(&stages) {
        return Ok(None);
    }
    let (macs_before, macs) = layer.macs(&stages);
    Ok(Some(Candidate {
        family: family.name().to_owned(),
        rank,
        macs_before,
        macs,
        params: chain_parameters(&stages),
        energy: factored.spectrum().energy(rank),
        weight_error: factored.spectrum().error(rank),
        lowering: None,
    }))
}

fn failed(layer: &dyn Layer) -> impl Fn(sepconv_factor::FactorError) -> PassError {
    let node = layer.name().to_owned();
    move |source| PassError::Factor {
        node: node.clone(),
        source,
    }
}
