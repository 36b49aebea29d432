//! Layers ordered by the noise that they make alone.
//!
//! A few layers of a network make most of it. Stretches of layers that follow one another are quantised together, and those
//! that are noisy are divided until the noisy layers are known one by one.

use std::cmp::Ordering;
use std::ops::Range;
use std::time::Instant;

/// Layers of a stretch that is not halved, but taken apart.
const FEW: usize = 4;
/// Stretches that are judged whatever the time.
const LEAST: usize = 8;

/// Noise that is allowed, and an end of the search for more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Noise over signal.
    pub noise: f64,
    /// The moment behind which the search ends.
    pub until: Option<Instant>,
}

impl Limits {
    pub fn are_over(self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// The places of `layers` layers, the noisiest first. `whole` is the noise of all of them, `noise` that of a stretch alone;
/// layers of a stretch that is not divided, since its noise is within `fine` or the time is over, have equal shares of it.
pub(crate) fn by_noise<E>(
    layers: usize,
    whole: f64,
    fine: Limits,
    mut noise: impl FnMut(Range<usize>) -> Result<f64, E>,
) -> Result<Vec<usize>, E> {
    let mut stretches = vec![(whole, 0..layers)];
    let mut judged = 0;
    while let Some(at) = noisiest(&stretches) {
        if stretches[at].0 <= fine.noise || (judged >= LEAST && fine.are_over()) {
            break;
        }
        let (_, stretch) = stretches.swap_remove(at);
        for part in parts(stretch) {
            judged += 1;
            stretches.push((noise(part.clone())?, part));
        }
    }
    let shares = stretches.into_iter().flat_map(|(noise, stretch)| {
        let share = noise / stretch.len().max(1) as f64;
        stretch.map(move |layer| (share, layer))
    });
    let mut shares: Vec<(f64, usize)> = shares.collect();
    shares.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    Ok(shares.into_iter().map(|(_, layer)| layer).collect())
}

/// The place of the noisiest stretch of more than one layer, of equal ones the first in the network.
fn noisiest(stretches: &[(f64, Range<usize>)]) -> Option<usize> {
    let several = stretches
        .iter()
        .enumerate()
        .filter(|(_, (_, stretch))| stretch.len() > 1);
    let first = |a: &Range<usize>, b: &Range<usize>| -> Ordering { b.start.cmp(&a.start) };
    let most = several.max_by(|(_, a), (_, b)| a.0.total_cmp(&b.0).then(first(&a.1, &b.1)));
    most.map(|(at, _)| at)
}

fn parts(stretch: Range<usize>) -> Vec<Range<usize>> {
    match stretch.len() {
        ..=FEW => stretch.map(|layer| layer..layer + 1).collect(),
        len => {
            let middle = stretch.start + len / 2;
            vec![stretch.start..middle, middle..stretch.end]
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::convert::Infallible;

    use super::*;

    /// The order of layers whose noise adds up, and the number of stretches that were judged.
    fn order(noises: &[f64], limits: Limits) -> (Vec<usize>, usize) {
        let mut judged = 0;
        let sum = |stretch: Range<usize>| noises[stretch].iter().sum::<f64>();
        let order = by_noise(noises.len(), sum(0..noises.len()), limits, |stretch| {
            judged += 1;
            Ok::<_, Infallible>(sum(stretch))
        });
        (order.unwrap(), judged)
    }

    #[test]
    fn a_few_noisy_layers_of_many_are_found_in_few_stretches() {
        let mut noises = vec![1e-4; 100];
        (noises[3], noises[70], noises[99]) = (0.2, 0.5, 0.3);
        let limits = Limits {
            noise: 0.01,
            until: None,
        };
        let (order, judged) = order(&noises, limits);
        assert_eq!(order[..3], [70, 99, 3]);
        assert!(judged < 40, "{judged}");
        let mut all = order;
        all.sort_unstable();
        assert!(all.into_iter().eq(0..100));
    }

    #[test]
    fn all_layers_are_ordered_where_all_are_noisy() {
        let noises: Vec<f64> = (0..13).map(|i| f64::from(i * 5 % 13) + 1.0).collect();
        let limits = Limits {
            noise: 0.01,
            until: None,
        };
        let (order, _) = order(&noises, limits);
        assert!(order.windows(2).all(|o| noises[o[0]] >= noises[o[1]]));
    }

    #[test]
    fn the_division_ends_with_the_time() {
        let noises = vec![1.0; 100];
        let limits = Limits {
            noise: 0.01,
            until: Some(Instant::now()),
        };
        assert_eq!(order(&noises, limits).1, LEAST);
    }
}
