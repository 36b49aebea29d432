//! The families, one file each. Every file's header has the kernel before and after,
//! which kernels are skipped, the full rank and the source.
//!
//! To add a family to this crate: (1) write `families/<name>.rs` with a unit struct that implements
//! [`Decomposition`]; (2) add one line to the slice in [`families()`]. The tests in
//! `tests/families.rs` then hold for it without an edit.

mod channel;
mod cp;
mod depthwise_first;
mod grouped;
mod low_rank;
mod pointwise_first;
mod spatial;
mod tucker;

pub use channel::Channel;
pub use cp::Cp;
pub use depthwise_first::DepthwiseFirst;
pub use low_rank::LowRank;
pub use pointwise_first::PointwiseFirst;
pub use spatial::Spatial;
pub use tucker::Tucker;

use crate::family::Decomposition;

/// Every family, in the order in which ties between them are broken.
pub fn families() -> &'static [&'static dyn Decomposition] {
    &[
        &DepthwiseFirst,
        &PointwiseFirst,
        &Spatial,
        &Channel,
        &Tucker,
        &Cp,
        &LowRank,
    ]
}

/// The family of that name.
pub fn family(name: &str) -> Option<&'static dyn Decomposition> {
    families().iter().find(|f| f.name() == name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_found_by_their_own_name() {
        for entry in families() {
            assert_eq!(family(entry.name()).map(|f| f.name()), Some(entry.name()));
        }
        assert!(family("no-such-family").is_none());
    }
}
