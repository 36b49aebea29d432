//! Seeded draws that are the same everywhere.

/// A generator of numbers: SplitMix64 (Steele et al. 2014, doi 10.1145/2660193.2660195).
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// A generator for a seed and the place that it is used at.
    pub fn new(seed: u64, place: u64) -> Self {
        let mut draw = Self(seed ^ place.wrapping_mul(0xd134_2543_de82_ef95));
        draw.next();
        draw
    }

    /// 64 bits.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// Puts a list in another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffles_are_permutations_that_the_seed_decides() {
        let shuffled = |seed| {
            let mut list: Vec<usize> = (0..100).collect();
            Draw::new(seed, 3).shuffle(&mut list);
            list
        };
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
        let mut sorted = shuffled(1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }
}
