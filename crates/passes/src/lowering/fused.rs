//! The chain as it is: every stage one grouped convolution.

use sepconv_factor::{Chain, Role};

use super::contract::Lowering;
use super::emitter::{Destination, Emitter, Part, numbered};

/// One convolution per stage: for DW->PW a depthwise convolution of multiplier `K` and a
/// pointwise one. Applies to every chain, of any family.
pub(super) struct Fused;

impl Lowering for Fused {
    fn name(&self) -> &'static str {
        "fused"
    }

    fn applies(&self, _: &Chain) -> Result<(), &'static str> {
        Ok(())
    }

    fn emit(&self, chain: &Chain, e: &mut Emitter<'_>) {
        let last = chain.stages.len().saturating_sub(1);
        let mut h = e.input();
        for (i, stage) in chain.stages.iter().enumerate() {
            let role = stage.shape.role;
            let same = chain.stages[..i].iter().filter(|s| s.shape.role == role);
            let name = numbered(short(role), same.count());
            let (destination, bias) = if i == last {
                (Destination::Last, e.take_bias())
            } else {
                (Destination::Inner, None)
            };
            let kernel = &stage.shape.kernel;
            let part = Part {
                name,
                stage: &stage.shape,
                channels: kernel.out_channels,
                groups: kernel.groups,
                weight: stage.weight.clone(),
            };
            h = e.conv(part, h, bias, destination);
        }
    }
}

fn short(role: Role) -> &'static str {
    match role {
        Role::Depthwise => "dw",
        Role::Pointwise => "pw",
        Role::Spatial => "spatial",
        Role::Dense => "conv",
    }
}
