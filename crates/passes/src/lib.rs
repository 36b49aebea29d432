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
//! Steps 2 and 5 are [`Pass`]es: [`pipeline`] is the ordered list of them, [`run`] verifies the
//! graph around each, and [`SeparateConvs`] takes steps 3 to 5 at once:
//!
//! ```
//! use sepconv_ir::{Builder, Dim, DType, Operator, Tensor, ValueType};
//! use sepconv_passes::planners::UniformRank;
//! use sepconv_passes::{Context, Families, SeparateConvs, pipeline, run};
//!
//! let mut b = Builder::new();
//! let dims = Some([1, 8, 16, 16].map(Dim::Known).to_vec());
//! let x = b.input("x", Some(ValueType { dtype: DType::F32, dims }))?;
//! let w = b.initializer("w", Tensor::from_f32(vec![8, 8, 3, 3], vec![0.5; 576]))?;
//! let y = b.operator(Operator::new("Conv", "conv"), &[Some(x), Some(w)], &["y"])?;
//! b.output(y[0])?;
//! let mut graph = b.finish()?;
//!
//! let planner = UniformRank { rank: 1, costlier: false };
//! let separate = SeparateConvs { families: Families::default(), planner: &planner, lowering: None };
//! let outcomes = run(&pipeline(&separate), &mut graph, &Context::default())?;
//! assert_eq!(graph.operators().count(), 2);
//! assert_eq!(outcomes[3].pass, "separate-conv");
//! assert_eq!(outcomes[3].changed[0].what, "branches");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A new lowering or planner is one file and one line in its list; a new family lives in
//! `sepconv-factor` and needs nothing here, or in a crate of anybody's and is handed to
//! [`Families::with`].

mod candidate;
mod decomposed;
mod error;
mod expand_prelu;
mod families;
mod fold;
mod fold_batchnorm;
mod fold_input_norm;
mod fold_padding;
mod kept;
pub mod knapsack;
pub mod lowering;
mod norm;
mod offers;
mod pass;
mod plan;
pub mod planners;
mod product;
mod reasons;
mod select;
mod separate;
mod site;
mod survey;
#[cfg(test)]
mod testing;
mod transposed;

pub use candidate::Candidate;
pub use error::PassError;
pub use expand_prelu::ExpandPRelu;
pub use families::{Families, NO_FAMILY, Order, Own};
pub use fold::{FOLDS, Folded, fold, pipeline};
pub use fold_batchnorm::FoldBatchNorm;
pub use fold_input_norm::FoldInputNorm;
pub use fold_padding::FoldPadding;
pub use kept::Kept;
pub use knapsack::{Allocation, Item, allocate};
pub use lowering::{Lowering, lowering, lowerings};
pub use offers::{Layer, offer, offers};
pub use pass::{Context, Note, Outcome, Pass, run};
pub use plan::{Choice, LayerPlan, Plan, Planner};
pub use product::Product;
pub use reasons::Reasons;
pub use select::Selection;
pub use separate::{AppliedLayer, ApplyPlan, Chains, SeparateConvs, apply, drop_unread, replace};
pub use site::Site;
pub use survey::{Survey, Surveyed, layers};

/// The program of `docs/tutorials/pass.md`, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/tutorials/pass.md")]
struct Tutorial;
