//! The seeded draw of samples.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// At most `max` of `0..rows`, without replacement, in ascending order; all of them without `max`.
///
/// A partial Fisher-Yates shuffle driven by ChaCha8: the same for a seed on every platform.
pub(crate) fn draw(rows: usize, max: Option<usize>, seed: u64) -> Vec<usize> {
    let mut all: Vec<usize> = (0..rows).collect();
    let Some(max) = max.filter(|&m| m < rows) else {
        return all;
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for i in 0..max {
        let j = i + below(&mut rng, (rows - i) as u64) as usize;
        all.swap(i, j);
    }
    all.truncate(max);
    all.sort_unstable();
    all
}

/// A uniform number in `0..n`, `n` at least 1, without bias.
pub(crate) fn below(rng: &mut ChaCha8Rng, n: u64) -> u64 {
    let zone = u64::MAX - u64::MAX % n;
    loop {
        let x = rng.next_u64();
        if x < zone {
            return x % n;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_without_replacement_and_by_seed() {
        let a = draw(1000, Some(100), 7);
        assert_eq!(a.len(), 100);
        assert!(a.windows(2).all(|w| w[0] < w[1]) && a[99] < 1000);
        assert_eq!(a, draw(1000, Some(100), 7));
        assert_ne!(a, draw(1000, Some(100), 8));
        assert_eq!(draw(5, Some(9), 1), [0, 1, 2, 3, 4]);
        assert_eq!(draw(3, None, 1), [0, 1, 2]);
    }

    #[test]
    fn every_row_is_as_likely() {
        let mut hits = [0usize; 10];
        for seed in 0..2000 {
            for i in draw(10, Some(3), seed) {
                hits[i] += 1;
            }
        }
        assert!(hits.iter().all(|&h| (500..700).contains(&h)), "{hits:?}");
    }
}
