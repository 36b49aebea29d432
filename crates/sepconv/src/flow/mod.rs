//! Running parts of a network over a data set.
//!
//! Layer-by-layer work looks at one value after another. To run the network from its inputs
//! every time costs the square of its depth; instead the values that the rest of the network
//! depends on (a [`Frontier`]) are kept for every sample, and the next [`Segment`] runs from
//! there.

mod frontier;
mod live;
mod samples;
mod segment;
#[cfg(test)]
mod tests;

pub(crate) use frontier::Frontier;
pub(crate) use live::Cuts;
pub(crate) use samples::Samples;
pub(crate) use segment::Segment;
