//! Named choices: what layers are fitted to without data, orders and lowerings.

use clap::ValueEnum;
use sepconv::Order;
use sepconv::passes::{Lowering, lowering};

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DataFreeArg {
    /// Synthetic pictures with the statistics of natural ones
    Pictures,
    /// The weights alone
    Weights,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OrderArg {
    /// Depthwise, then pointwise
    DwPw,
    /// Pointwise, then depthwise
    PwDw,
    /// The better one for each layer
    Best,
}

impl From<OrderArg> for Order {
    fn from(order: OrderArg) -> Self {
        match order {
            OrderArg::DwPw => Self::DwPw,
            OrderArg::PwDw => Self::PwDw,
            OrderArg::Best => Self::Best,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LoweringArg {
    /// K depthwise and K pointwise convolutions, summed
    Branches,
    /// K depthwise convolutions, concatenated, one pointwise
    Concat,
    /// The input K times, one depthwise, one pointwise
    Tiled,
    /// One depthwise of multiplier K, one pointwise
    Fused,
    /// As branches, filters reading maps that were padded before: for tract (opset 9)
    BranchesPadded,
    /// As tiled, so padded
    TiledPadded,
    /// As fused, so padded
    FusedPadded,
    /// As branches, PW->DW, the input padded once before everything
    BranchesInputPadded,
    /// As fused, the input padded before the first pointwise
    FusedInputPadded,
    /// What runs fastest on most runtimes
    Auto,
}

impl LoweringArg {
    pub fn lowering(self) -> Option<&'static dyn Lowering> {
        lowering(self.to_possible_value()?.get_name())
    }
}
