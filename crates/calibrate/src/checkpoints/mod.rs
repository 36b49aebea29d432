//! Running parts of a network over a data set.
//!
//! Layer-by-layer work looks at one value after another. To run the network from its inputs
//! every time costs the square of its depth; instead the values that the rest of the network
//! depends on (a [`Checkpoint`]) are kept for every sample, and the next [`Segment`] runs from
//! there.

mod checkpoint;
mod live;
mod segment;

pub use checkpoint::Checkpoint;
pub use live::Cuts;
pub use segment::{Network, Segment};
