//! A chain as chains that are summed.

use sepconv_factor::{Chain, KernelShape, Role, Stage};

/// The chains whose sum is `chain`: `K` of one depthwise and one pointwise convolution for a
/// depthwise-separable chain of rank `K`, because a depthwise multiplier above 1 is slow; any
/// other chain as it is.
pub(crate) fn branches(chain: &Chain) -> Vec<Vec<Stage>> {
    let rank = chain.rank.max(1);
    if let [a, b] = chain.stages.as_slice()
        && let (Role::Depthwise, Role::Pointwise) | (Role::Pointwise, Role::Depthwise) =
            (a.shape.role, b.shape.role)
    {
        let of = |r| vec![rows(a, rank, r), columns(b, rank, r)];
        return (0..rank).map(of).collect();
    }
    vec![chain.stages.clone()]
}

/// Of a stage the outputs `r`, `r + rank`, `r + 2 rank`, ...: those of one component.
fn rows(stage: &Stage, rank: usize, r: usize) -> Stage {
    let kernel = &stage.shape.kernel;
    let width = kernel.group_in() * kernel.taps();
    let rows = stage.weight.chunks_exact(width).skip(r).step_by(rank);
    let weight = rows.flatten().copied().collect();
    let outputs = kernel.out_channels / rank;
    with(stage, outputs, kernel.in_channels, weight)
}

/// Of a stage the inputs of one component, which lie at `r`, `r + rank`, ... in every group.
fn columns(stage: &Stage, rank: usize, r: usize) -> Stage {
    let kernel = &stage.shape.kernel;
    let taps = kernel.taps();
    let inputs = stage.weight.chunks_exact(taps).skip(r).step_by(rank);
    let weight = inputs.flatten().copied().collect();
    with(
        stage,
        kernel.out_channels,
        kernel.in_channels / rank,
        weight,
    )
}

/// The stage with fewer channels, in as many groups.
fn with(stage: &Stage, out_channels: usize, in_channels: usize, weight: Vec<f64>) -> Stage {
    let mut shape = stage.shape.clone();
    shape.kernel = KernelShape {
        out_channels,
        in_channels,
        ..shape.kernel
    };
    Stage { shape, weight }
}
