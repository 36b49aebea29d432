//! Seeded pseudo-random numbers, the same on every platform and in every version.
//!
//! [`SplitMix64`] is the generator of positions, held-out samples, orders and artificial values;
//! [`Mmix`] draws the plans that predictions of loss are compared on. Pictures of noise and draws of
//! samples are `sepconv-data`'s, by ChaCha8.

/// Increment of the state of [`SplitMix64`]: the golden ratio in 64 bits.
pub const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64: Steele, Lea and Flood 2014, doi 10.1145/2660193.2660195.
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// A generator for a seed, of which each `stream` has numbers of its own.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut generator = Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95));
        generator.next();
        generator
    }

    /// A generator in the given state.
    pub fn from_state(state: u64) -> Self {
        Self(state)
    }

    /// 64 bits.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN_GAMMA);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        scaled(self.next(), n)
    }

    /// A number in `[-1, 1)`, a multiple of `2^-52`.
    pub fn signed(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    /// Puts a list in another order (Durstenfeld 1964).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }
}

/// The first number of [`SplitMix64`] in the state `value`: a hash of it.
pub fn mix(value: u64) -> u64 {
    SplitMix64(value).next()
}

/// 64 bits as a number below `n` (Lemire 2019, arXiv 1805.10941, without the rejection: the bias is
/// below `n / 2^64`).
pub fn scaled(bits: u64, n: usize) -> usize {
    ((u128::from(bits) * n as u128) >> 64) as usize
}

/// The linear congruential generator of MMIX: Knuth, The Art of Computer Programming, volume 2,
/// section 3.3.4, line 26 of table 1.
#[derive(Debug, Clone)]
pub struct Mmix(u64);

impl Mmix {
    /// A generator in the state `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `n`, of the upper 31 bits of the next state; 0 where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first numbers of the authors' own implementation from state 0, and of Knuth's recurrence.
    #[test]
    fn numbers_are_those_of_the_sources() {
        let mut generator = SplitMix64::from_state(0);
        let first = [(); 3].map(|()| generator.next());
        let published = [
            0xe220_a839_7b1d_cdaf,
            0x6e78_9e6a_a1b9_65f4,
            0x06c4_5d18_8009_454f,
        ];
        assert_eq!(first, published);
        assert_eq!(mix(0), published[0]);
        let mut mmix = Mmix::new(0);
        assert_eq!(mmix.below(usize::MAX), 1_442_695_040_888_963_407 >> 33);
    }

    #[test]
    fn shuffles_are_permutations_that_the_seed_decides() {
        let shuffled = |seed| {
            let mut list: Vec<usize> = (0..100).collect();
            SplitMix64::new(seed, 3).shuffle(&mut list);
            list
        };
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
        let mut sorted = shuffled(1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }
}
