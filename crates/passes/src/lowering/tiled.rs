//! The input repeated `K` times, one depthwise and one pointwise convolution.

use sepconv_factor::Chain;
use sepconv_ir::AttributeValue;

use super::concat::regrouped;
use super::contract::{Lowering, concatenable};
use super::emitter::{Destination, Emitter, Part, by_branch};

/// `y = PW(DW(Concat(x, …, x)))`, for DW->PW: a depthwise convolution of multiplier 1 where
/// runtimes are slow at higher multipliers (tract).
pub(super) struct Tiled;

impl Lowering for Tiled {
    fn name(&self) -> &'static str {
        "tiled"
    }

    fn applies(&self, chain: &Chain) -> Result<(), &'static str> {
        concatenable(chain)
    }

    fn emit(&self, chain: &Chain, e: &mut Emitter<'_>) {
        let dw = &chain.stages[0];
        let rank = chain.rank;
        let channels = rank * dw.shape.kernel.in_channels;
        let x = e.input();
        let tiled = if rank == 1 {
            x
        } else {
            let axis = Some(("axis", AttributeValue::Int(1)));
            e.operator("tile", "Concat", axis, vec![x; rank], Destination::Inner)
        };
        let filters = Part {
            name: "dw".into(),
            stage: &dw.shape,
            channels,
            groups: channels,
            weight: by_branch(rank, dw.shape.kernel.taps(), &dw.weight),
        };
        let h = e.conv(filters, tiled, None, Destination::Inner);
        let bias = e.take_bias();
        e.conv(regrouped(chain), h, bias, Destination::Last);
    }
}
