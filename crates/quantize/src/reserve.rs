//! Layers that stay in floats.
//!
//! Everything is quantised, and the outputs on held-out samples are held against the original's, every
//! channel on its own scale; of detections that the graph orders those that are kept are counted. Where
//! too much is lost, stretches of layers are quantised alone, and those layers that make most noise are
//! left in floats: as few of them as are enough, which is found by bisection.

use std::collections::BTreeSet;

use sepconv_ir::NodeId;
use sepconv_model::{Loaded, Stage};

use crate::error::QuantizeError;
use crate::judge::Judge;
use crate::noisiest::{Limits, by_noise};

/// Noise of layers that need not be told apart, as a share of what is allowed.
const FINE: f64 = 1.0 / 32.0;

/// The layers of `layers` to leave in floats, so that the outputs have no more noise than is `allowed`, or as
/// little as with any set that was tried; `build` makes the model with some layers left. Once the time is over layers are
/// not told apart any further.
pub(crate) fn reserved(
    judge: &Judge<'_>,
    layers: &[NodeId],
    allowed: Limits,
    build: &dyn Fn(&BTreeSet<NodeId>) -> Result<Loaded, QuantizeError>,
) -> Result<BTreeSet<NodeId>, QuantizeError> {
    let none = BTreeSet::new();
    let noise = |left: &BTreeSet<NodeId>| -> Result<f64, QuantizeError> {
        Ok(judge.noise(&build(left)?)?.unwrap_or(f64::INFINITY))
    };
    let whole = match judge.noise(&build(&none)?)? {
        Some(whole) if whole > allowed.noise && layers.len() > 1 => whole,
        _ => return Ok(none),
    };
    let stage = Stage::begin(judge.progress(), "layers alone", layers.len());
    let all: BTreeSet<NodeId> = layers.iter().copied().collect();
    let fine = Limits {
        noise: FINE * allowed.noise,
        ..allowed
    };
    let mut known = 0;
    let order = by_noise(layers.len(), whole, fine, |stretch| {
        stage.step(known)?;
        known += usize::from(stretch.len() == 1);
        let mut left = all.clone();
        layers[stretch].iter().for_each(|layer| {
            left.remove(layer);
        });
        noise(&left)
    })?;
    drop(stage);
    let noisiest =
        |count: usize| -> BTreeSet<NodeId> { order[..count].iter().map(|i| layers[*i]).collect() };
    let count = fewest(layers.len(), whole, allowed, |count| {
        noise(&noisiest(count))
    })?;
    Ok(noisiest(count))
}

/// The least number of the noisiest of `layers` layers that is enough, by bisection; where none is, the number of the
/// least noise. `noise` is that of the model with so many left, `whole` that with none left. The last number that is
/// tried leaves all but the quietest layer. Once the time is over, a number that is enough is taken.
fn fewest(
    layers: usize,
    whole: f64,
    allowed: Limits,
    mut noise: impl FnMut(usize) -> Result<f64, QuantizeError>,
) -> Result<usize, QuantizeError> {
    let mut best = (whole, 0);
    // Below `few` it is not enough; at `many` it is.
    let (mut few, mut many) = (0, layers);
    while few + 1 < many && !(best.0 <= allowed.noise && allowed.are_over()) {
        let count = few + (many - few).div_ceil(4);
        let noise = noise(count)?;
        let enough = noise <= allowed.noise;
        if enough || (best.0 > allowed.noise && noise < best.0) {
            best = (noise, count);
        }
        if enough {
            many = count;
        } else {
            few = count;
        }
    }
    Ok(best.1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Instant;

    use super::*;

    /// The number of layers that are left of so many, where the noise is that of the noisiest one in eight bits.
    fn left(alone: &[f64], allowed: f64) -> usize {
        within(alone, allowed, None)
    }

    fn within(alone: &[f64], noise: f64, until: Option<Instant>) -> usize {
        let allowed = Limits { noise, until };
        fewest(alone.len(), alone[0], allowed, |count| Ok(alone[count])).unwrap()
    }

    #[test]
    fn once_the_time_is_over_a_number_that_is_enough_is_taken() {
        let alone: Vec<f64> = (0..40).map(|i| if i < 2 { 1.0 } else { 0.0 }).collect();
        assert_eq!(left(&alone, 0.1), 2);
        assert_eq!(within(&alone, 0.1, Some(Instant::now())), 10);
    }

    #[test]
    fn all_but_the_silent_layers_are_left_where_nothing_else_is_enough() {
        for (noisy, silent) in [(1, 1), (9, 1), (37, 3), (1, 99)] {
            let alone = [vec![0.5; noisy], vec![0.0; silent]].concat();
            assert_eq!(left(&alone, 1e-9), noisy);
        }
    }

    #[test]
    fn where_none_is_enough_the_least_noise_of_all_that_were_tried_is_taken() {
        assert_eq!(left(&[0.5, 0.4, 0.3, 0.2], 0.1), 3);
        assert_eq!(left(&[0.5, 0.6, 0.6, 0.6], 0.1), 0);
    }
}
