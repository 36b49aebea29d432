//! Fits that look behind the activation.
#![allow(clippy::unwrap_used)]

mod common;

use common::{convolve, disturbed, kernel, map, same};
use proptest::prelude::*;
use sepconv_factor::{
    Activation, Chain, Decomposition, FactorError, Fit, FitOptions, InputMap, Kernel, KernelShape,
    Observed, PositionSampler, Positions, PostActivation, SplitStatistics, SplitStatisticsBuilder,
    families, family, is_held_out,
};

const KINDS: [Activation; 3] = [
    Activation::RELU,
    Activation {
        slope: 0.1,
        ceiling: f32::INFINITY,
    },
    Activation {
        slope: 0.0,
        ceiling: 0.5,
    },
];

/// Statistics and positions of a layer, with a shortcut where wanted; of every `held_out_every`
/// samples one is held out.
fn seen(
    kernel: &Kernel,
    samples: u64,
    positions: usize,
    shortcut: bool,
    held_out_every: u64,
) -> (SplitStatistics, Positions) {
    let shape = kernel.shape();
    let (geometry, input) = (same(shape), vec![8; shape.spatial.len()]);
    let sampler = PositionSampler::new(shape, geometry.clone(), 5, positions);
    let mut builder = SplitStatisticsBuilder::new(shape, 5, held_out_every).unwrap();
    let mut kept = Positions::new(shape);
    for sample in 0..samples {
        let x = map(shape.in_channels, &input, sample + 1, false);
        let (y, _) = convolve(shape, kernel.data(), None, &geometry, &x, &input);
        let now = disturbed(&x, sample);
        let map = InputMap {
            values: &now,
            extents: &input,
        };
        let patches = sampler.patches(sample, map).unwrap();
        let outputs = sampler.outputs(sample, &y).unwrap();
        let others: Vec<f32> = outputs.iter().map(|y| 0.3 - 0.2 * y).collect();
        let others = if shortcut { &others[..] } else { &[] };
        builder.push(sample, &patches, &outputs).unwrap();
        let held = is_held_out(5, sample, held_out_every);
        kept.push(held, &patches, &outputs, others).unwrap();
    }
    (builder.finish().unwrap(), kept)
}

fn options() -> FitOptions {
    FitOptions {
        monotone: false,
        ..FitOptions::default()
    }
}

/// The fit to the outputs, the data-free chain with its bias, and the fit behind.
fn three(
    kernel: &Kernel,
    (statistics, positions): &(SplitStatistics, Positions),
    activation: Activation,
    family: &dyn Decomposition,
    rank: usize,
) -> (Chain, Chain, Fit) {
    let plain = family.fit(kernel, statistics, rank, &options()).unwrap();
    let mut free = family.factor(kernel).unwrap().chain(rank).unwrap();
    let bias = statistics.merged().unwrap();
    let bias = bias.bias(&free.compose().unwrap()).unwrap();
    free.bias = Some(bias.iter().map(|b| *b as f32).collect());
    let behind = PostActivation {
        activation,
        positions,
        whole: false,
    };
    let improved = behind.improve(Observed { kernel, statistics }, family, &plain, options());
    (plain.chain, free, improved.unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// On the positions fitted to, never above the fit to the outputs, nor the data-free chain.
    #[test]
    fn errors_keep_below_those_of_the_start(
        (groups, group_in, group_out) in (1..3_usize, 2..5_usize, 2..5_usize),
        kind in 0..3_usize,
        shortcut in any::<bool>(),
        positions in prop::sample::select(vec![2_usize, 40]),
        seed in 0..1000_u64,
    ) {
        let shape = KernelShape::new(group_out * groups, group_in * groups, groups, [3, 3]).unwrap();
        let kernel = kernel(&shape, seed);
        let seen = seen(&kernel, 6, positions, shortcut, 0);
        let behind = PostActivation { activation: KINDS[kind], positions: &seen.1, whole: false };
        for family in families() {
            if family.ranks(&shape).is_err() {
                continue;
            }
            let (plain, free, improved) = three(&kernel, &seen, KINDS[kind], *family, 1);
            let error = behind.error(&improved.chain).unwrap();
            prop_assert_eq!(Some(error), improved.error_activated);
            for other in [&plain, &free] {
                let other = behind.error(other).unwrap();
                prop_assert!(error <= other, "{}: {error} {other}", family.name());
            }
        }
    }
}

#[test]
fn it_beats_the_fit_to_the_outputs_on_samples_held_out() {
    let shape = KernelShape::new(10, 12, 1, [3, 3]).unwrap();
    let kernel = kernel(&shape, 3);
    for shortcut in [false, true] {
        let seen = seen(&kernel, 40, 60, shortcut, 5);
        for (name, rank, share) in [
            ("dw-pw", 2, 0.97),
            ("pw-dw", 2, 1.0),
            ("spatial", 8, 0.97),
            ("channel", 4, 0.97),
        ] {
            let family = family(name).unwrap();
            let (plain, _, improved) = three(&kernel, &seen, Activation::RELU, family, rank);
            let behind = PostActivation {
                activation: Activation::RELU,
                positions: &seen.1,
                whole: false,
            };
            let (before, after) = (behind.error(&plain).unwrap(), improved.error_activated);
            let after = after.unwrap();
            assert!(
                after < share * before,
                "{name} {shortcut}: {before} {after}"
            );
        }
    }
}

#[test]
fn an_activation_that_changes_nothing_changes_no_fit() {
    let shape = KernelShape::new(6, 5, 1, [3, 3]).unwrap();
    let kernel = kernel(&shape, 4);
    let seen = seen(&kernel, 12, 40, false, 4);
    let line = Activation {
        slope: 1.0,
        ceiling: f32::INFINITY,
    };
    let (plain, _, improved) = three(&kernel, &seen, line, family("channel").unwrap(), 3);
    let (a, b) = (plain.compose().unwrap(), improved.chain.compose().unwrap());
    assert!(a.relative_error(&b).unwrap() < 1e-3);
}

#[test]
fn the_bytes_do_not_depend_on_the_threads() {
    let shape = KernelShape::new(40, 36, 2, [3, 3]).unwrap();
    let kernel = kernel(&shape, 8);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let seen = seen(&kernel, 24, 64, true, 6);
            let family = family("dw-pw").unwrap();
            three(&kernel, &seen, Activation::RELU, family, 2).2
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn refuses_what_does_not_fit() {
    let shape = KernelShape::new(2, 3, 1, [3]).unwrap();
    let mut positions = Positions::new(&shape);
    let refused = Err(FactorError::Statistics(
        "patches and outputs do not fit the kernel",
    ));
    let patches = vec![vec![0.0; 18]];
    assert_eq!(positions.push(false, &patches, &[0.0; 2], &[]), refused);
    assert_eq!(positions.push(false, &patches, &[0.0; 4], &[0.0]), refused);
    assert!(positions.is_empty());
    assert_eq!(positions.push(false, &patches, &[0.0; 4], &[]), Ok(()));
    // With something added in one call and nothing in another, the meaning is not known.
    let others = [0.0; 4];
    assert_eq!(positions.push(false, &patches, &[0.0; 4], &others), refused);
    assert_eq!(positions.len(), 2);
}
