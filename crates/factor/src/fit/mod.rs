//! Calibrated fits: chains that imitate a convolution's *outputs* on data, not its weight.
//!
//! For one group, with the [statistics](crate::Statistics) `C` and `B` and the chain's product
//! `We`, every fit minimises
//!
//! `J(We) = tr(We C We^T) - 2 tr(We B^T) + eps |We - W|^2`,
//!
//! the output error plus a pull towards the original weight `W` (not towards zero): directions
//! in which the data has no energy, such as dead channels, keep the values that the data-free decomposition
//! gives them. That is the problem without a pull and with `C + eps I` and
//! `B + eps W` in place of `C` and `B`, so no solver has to know of it. Its unrestricted minimum is
//! `W* = (B + eps W) (C + eps I)^-1`.
//!
//! | Module | Solves | For |
//! |---|---|---|
//! | `depthwise` | filters per input channel, pointwise refit | `dw-pw`, `cp` |
//! | `filters` | filters of features behind a front, one a feature | `cp`, with more features than inputs |
//! | `per_output` | a rank-K problem per output channel | `pw-dw` |
//! | `front` | a first stage that mixes features the same way at every outer tap | `spatial`, `tucker`, `cp` |
//! | `reduced_rank` | two dense factors, in closed form | `channel`, `tucker` |
//! | `dual` | systems of `C + eps I` in the space of the positions | patches wider than those are many |
//! | `last_stage` | the last stage in closed form, behind a front that stays | families that bring no fit |
//!
//! The `alternation` of these solvers over all groups, its end, and the guarantees of
//! [`Fitter::fit`] are the module of that name; `post_activation` takes the steps behind an
//! activation, by moving the targets.
//!
//! Of statistics that keep the patches themselves, `X` `[n, d]` with `C = X^T X`, nothing of the
//! size `d^2` is formed: `C` is known by its products `v C = (v X^T) X`
//! ([`PatchMatrix`](crate::patch_matrix)), systems that have more unknowns than there are positions
//! are solved in the space of the positions, and `W* = W + (B - W C) (C + eps I)^-1` by
//! `X X^T + eps I` `[n, n]`. The problem is the same, and so are its solutions, to rounding.
//!
//! Seconds for one fit with the default options but for `monotone`, on a shared 2-core AMD EPYC
//! that others used at the time (load 6); random weights, on which the alternation takes all its
//! rounds or the first few (`cargo bench -p sepconv-factor --bench calibrate -- fit`). What all
//! fits share ([`Calibration::new`]): 0.003 for 64-64 3x3, 0.2 for 256-256 3x3.
//!
//! | layer | dw-pw | pw-dw | spatial | channel | tucker | cp |
//! |---|---|---|---|---|---|---|
//! | 64-64, K = 1 / 2 / 3 / 4 | 0.02 / 0.03 / 0.03 / 0.04 | 0.03 / 0.06 / - / 0.07 | | | | |
//! | 64-64, R = 32 (cp: 64) | | | 0.11 | 0.014 | 0.14 | 0.76 |
//! | 256-256, K = 2 | 0.44 | 1.7 | | | | |
//! | 256-256, R = 128 (channel: 64) | | | 3.0 | 0.63 | 5.7 | |
//!
//! Where an output of `pw-dw` has many unknowns its system is solved by products, as forming it costs
//! 4 to 7 times as much (one round of 64-64, K = 7: 0.033 by products, 0.131 formed; 256-256, means
//! over ranks: 1.8 and 12.8). `cp` forms no map of its filters.
//!
//! Method: asymmetric reconstruction, Zhang et al. 2015 (arXiv 1505.06798), section 3.3, with
//! alternating least squares.

mod balance;
mod calibration;
mod depthwise;
mod dual;
mod filters;
mod fitter;
mod front;
mod last_stage;
mod options;
mod per_output;
mod problem;
mod reduced_rank;
mod solver;

pub(crate) use balance::{ChannelLayout, balance, widened};
pub use calibration::Calibration;
pub(crate) use calibration::Target;
pub(crate) use depthwise::{DepthwiseFirstSolver, DepthwiseSolver, mixture_behind};
pub(crate) use filters::filters_between;
pub use fitter::{Estimate, Fit, Fitter};
pub(crate) use fitter::{best_bias, held_out_error};
pub(crate) use front::{
    Front, StartBasis, Whitening, feature_basis, leading_features, slice_components,
};
pub(crate) use last_stage::LastStage;
pub use options::FitOptions;
pub(crate) use per_output::PerOutputSolver;
pub(crate) use problem::{MapExtents, Problem};
pub(crate) use reduced_rank::reduced_rank;
pub(crate) use solver::{GroupSolver, Weights};
