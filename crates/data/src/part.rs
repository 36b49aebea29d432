//! Training and test samples of one data set.

use serde::{Deserialize, Serialize};

use crate::draw::draw;

/// Most samples of a test part.
const MOST: usize = 256;
/// Least samples of a test part.
const LEAST: usize = 2;
/// Data sets of fewer samples are not split.
const SPLIT: usize = 8;

/// The samples of a data set that are delivered.
///
/// A data set of `n` samples is split into a test part of `n / every` samples, rounded up, at
/// least 2 and at most 256 but never above `n / 2`, and a training part of the others. Both parts
/// follow from `n`, `every` and the seed alone, and share no sample. Of fewer than 8 samples both
/// parts are all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// All of them.
    #[default]
    Whole,
    /// The training part.
    Train {
        /// Of so many samples one is a test sample.
        every: usize,
    },
    /// The test part.
    Test {
        /// Of so many samples one is a test sample.
        every: usize,
    },
}

impl Part {
    /// The test part that belongs to a training part; anything else stays.
    #[must_use]
    pub fn test(self) -> Self {
        match self {
            Self::Train { every } => Self::Test { every },
            other => other,
        }
    }

    /// Those of `rows` that are in this part, in their order.
    pub(crate) fn of(self, rows: Vec<usize>, seed: u64) -> Vec<usize> {
        let (every, is_test) = match self {
            Self::Whole => return rows,
            Self::Train { every } => (every, false),
            Self::Test { every } => (every, true),
        };
        let n = rows.len();
        if n < SPLIT {
            return rows;
        }
        let size = n.div_ceil(every.max(1)).clamp(LEAST, MOST).min(n / 2);
        // Not the stream of the draw of samples.
        let test = draw(n, Some(size), seed ^ 0x7465_7374);
        let kept = rows.into_iter().enumerate();
        kept.filter(|(i, _)| test.binary_search(i).is_ok() == is_test)
            .map(|(_, row)| row)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(n: usize, every: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
        let rows: Vec<usize> = (0..n).map(|i| 10 * i).collect();
        let train = Part::Train { every };
        (train.of(rows.clone(), seed), train.test().of(rows, seed))
    }

    #[test]
    fn the_parts_share_no_sample_and_leave_none_out() {
        for n in 8..200 {
            for every in [1, 4, 8] {
                let (train, test) = parts(n, every, n as u64);
                let mut all = [train.as_slice(), test.as_slice()].concat();
                all.sort_unstable();
                assert_eq!(all, (0..n).map(|i| 10 * i).collect::<Vec<_>>());
                assert!(train.len() >= test.len() && !test.is_empty(), "{n} {every}");
                assert!(train.is_sorted() && test.is_sorted());
            }
        }
    }

    #[test]
    fn sizes_follow_from_the_number_of_samples() {
        let size = |n, every| parts(n, every, 0).1.len();
        assert_eq!([8, 16, 32].map(|n| size(n, 8)), [2, 2, 4]);
        assert_eq!([32, 1024, 100_000].map(|n| size(n, 4)), [8, 256, 256]);
    }

    #[test]
    fn a_few_samples_are_both_parts() {
        for n in 1..8 {
            let (train, test) = parts(n, 8, 3);
            assert_eq!((train.len(), train), (n, test));
        }
    }

    #[test]
    fn parts_of_a_part_are_within_it() {
        for n in [10, 40, 200] {
            let (train, test) = parts(n, 2, 5);
            let inner = Part::Train { every: 4 };
            let both = [inner, inner.test()].map(|part| part.of(train.clone(), 5));
            let mut all = both.concat();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all, train);
            assert!(all.iter().all(|row| !test.contains(row)));
        }
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(parts(64, 8, 1), parts(64, 8, 1));
        assert_ne!(parts(64, 8, 1), parts(64, 8, 2));
    }
}
