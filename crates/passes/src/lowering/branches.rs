//! `K` depthwise-separable branches, summed.

use sepconv_factor::{Chain, Role};

use super::contract::{Lowering, separable};
use super::emitter::{Destination, Emitter, Part, every, numbered};

/// DW->PW: `y = sum_r PW_r(DW_r(x))`; PW->DW: `y = sum_r DW_r(PW_r(x))`. The sums are binary
/// `Add`s, which ONNX Runtime fuses into the convolutions before them (its `Sum` it does not
/// fuse beyond two inputs).
pub(super) struct Branches;

impl Lowering for Branches {
    fn name(&self) -> &'static str {
        "branches"
    }

    fn applies(&self, chain: &Chain) -> Result<(), &'static str> {
        match separable(chain) {
            Some((Role::Depthwise, Role::Pointwise) | (Role::Pointwise, Role::Depthwise)) => Ok(()),
            _ => Err("only for depthwise-separable chains"),
        }
    }

    fn emit(&self, chain: &Chain, e: &mut Emitter<'_>) {
        let rank = chain.rank;
        let x = e.input();
        let mut sum = None;
        for r in 0..rank {
            let destination = if rank == 1 {
                Destination::Last
            } else {
                Destination::Inner
            };
            let bias = e.take_bias();
            let (first, second) = match separable(chain) {
                Some((Role::Depthwise, _)) => (depthwise(chain, 0, r), pointwise(chain, 1, r)),
                _ => (pointwise(chain, 0, r), depthwise(chain, 1, r)),
            };
            let between = e.conv(first, x, None, Destination::Inner);
            let y = e.conv(second, between, bias, destination);
            if r == 0 {
                sum = y;
            } else {
                let last = if r + 1 == rank {
                    Destination::Last
                } else {
                    Destination::Inner
                };
                let name = numbered("add", r - 1);
                sum = e.operator(&name, "Add", None, vec![sum, y], last);
            }
        }
    }
}

/// The depthwise convolution of branch `r`.
pub(super) fn depthwise(chain: &Chain, stage: usize, r: usize) -> Part<'_> {
    let stage = &chain.stages[stage];
    let kernel = &stage.shape.kernel;
    Part {
        name: numbered("dw", r),
        stage: &stage.shape,
        channels: kernel.groups,
        groups: kernel.groups,
        weight: every(chain.rank, r, kernel.taps(), &stage.weight),
    }
}

/// The pointwise convolution of branch `r`. In DW->PW the branches share its columns, in
/// PW->DW (stage 0) its rows.
fn pointwise(chain: &Chain, stage: usize, r: usize) -> Part<'_> {
    let first = stage == 0;
    let stage = &chain.stages[stage];
    let (width, branches) = if first {
        (stage.shape.kernel.group_in(), chain.rank)
    } else {
        (1, 1)
    };
    let weight = every(chain.rank, r, width, &stage.weight);
    Part {
        name: numbered("pw", r),
        stage: &stage.shape,
        channels: stage.shape.kernel.out_channels / branches,
        groups: stage.shape.kernel.groups,
        weight,
    }
}
