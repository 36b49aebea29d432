//! Rewrites over the IR: folding, planning, and separable convolutions.
//!
//! The journey of a graph, in order:
//!
//! 1. [`Selection`] says which convolutions the user means;
//! 2. [`fold()`] folds batch normalisation and padding into them;
//! 3. [`Survey::of`] describes every convolution ([`Site`]) or says why it stays ([`Kept`]),
//!    and factors the kernels: every family, every rank ([`Candidate`]);
//! 4. a [`Planner`] chooses one candidate per site, or none: a serialisable [`Plan`];
//! 5. [`apply`] emits each chosen chain through a [`Lowering`].
//!
//! A new lowering or planner is one file and one line in its list; a new family lives in
//! `sepconv-factor` and needs nothing here.

mod error;
mod fold;
mod fold_batchnorm;
mod fold_input_norm;
mod fold_padding;
pub mod knapsack;
pub mod lowering;
mod norm;
mod plan;
pub mod planners;
mod select;
mod separate;
mod site;
mod survey;
#[cfg(test)]
mod testing;
mod transposed;

pub use error::PassError;
pub use fold::{Folded, fold};
pub use fold_batchnorm::fold_batchnorm;
pub use fold_input_norm::fold_input_norm;
pub use fold_padding::fold_padding;
pub use knapsack::{Allocation, Item, allocate};
pub use lowering::{Lowering, lowering, lowerings};
pub use plan::{Choice, LayerPlan, Plan, Planner};
pub use select::Selection;
pub use separate::{AppliedLayer, apply, drop_unread, replace};
pub use site::{Kept, Site};
pub use survey::{Candidate, Families, Order, Survey, Surveyed, convolutions};
