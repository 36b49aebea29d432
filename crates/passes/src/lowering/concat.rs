//! `K` depthwise convolutions, their outputs concatenated, one pointwise convolution.

use sepconv_factor::Chain;
use sepconv_ir::AttributeValue;

use super::branches::depthwise;
use super::contract::{Lowering, concatenable};
use super::emitter::{Destination, Emitter, Part, by_branch};

/// `y = PW(Concat(DW_0(x), …, DW_{K-1}(x)))`, for DW->PW.
pub(super) struct Concat;

impl Lowering for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn applies(&self, chain: &Chain) -> Result<(), &'static str> {
        concatenable(chain)
    }

    fn emit(&self, chain: &Chain, e: &mut Emitter<'_>) {
        let rank = chain.rank;
        let x = e.input();
        let parts: Vec<_> = (0..rank)
            .map(|r| e.conv(depthwise(chain, 0, r), x, None, Destination::Inner))
            .collect();
        let joined = if rank == 1 {
            parts[0]
        } else {
            let axis = Some(("axis", AttributeValue::Int(1)));
            e.operator("concat", "Concat", axis, parts, Destination::Inner)
        };
        let bias = e.take_bias();
        e.conv(regrouped(chain), joined, bias, Destination::Last);
    }
}

/// The pointwise convolution with its columns grouped by branch instead of by channel.
pub(super) fn regrouped(chain: &Chain) -> Part<'_> {
    let pw = &chain.stages[1];
    let kernel = &pw.shape.kernel;
    let rows = pw.weight.chunks_exact(kernel.group_in().max(1));
    Part {
        name: "pw".into(),
        stage: &pw.shape,
        channels: kernel.out_channels,
        groups: kernel.groups,
        weight: rows.flat_map(|row| by_branch(chain.rank, 1, row)).collect(),
    }
}
