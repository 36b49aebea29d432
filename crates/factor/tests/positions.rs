//! Statistics that keep the positions themselves: scores and fits are the same, to rounding,
//! as from the covariance.
#![allow(clippy::unwrap_used)]

mod common;

use common::{convolve, disturbed, kernel, map, same};
use proptest::prelude::*;
use sepconv_factor::{
    Calibration, Chain, FitOptions, InputMap, Kernel, KernelShape, PositionSampler,
    SplitStatistics, SplitStatisticsBuilder, Statistics, family,
};

/// The statistics of the same positions in both forms: by their covariance, and kept.
fn both(kernel: &Kernel, input: &[usize], positions: usize, dead: bool) -> [SplitStatistics; 2] {
    let shape = kernel.shape();
    let geometry = same(shape);
    let sampler = PositionSampler::new(shape, geometry.clone(), 5, positions);
    let mut dense = SplitStatisticsBuilder::new(shape, 5, 4).unwrap();
    let mut kept = SplitStatisticsBuilder::of_patches(shape, 5, 4).unwrap();
    for sample in 0..8 {
        let x = map(shape.in_channels, input, sample + 1, dead);
        let (y, _) = convolve(shape, kernel.data(), None, &geometry, &x, input);
        let x = disturbed(&x, sample);
        for builder in [&mut dense, &mut kept] {
            let map = InputMap {
                values: &x,
                extents: input,
            };
            builder.push_maps(&sampler, sample, map, &y).unwrap();
        }
    }
    [dense.finish().unwrap(), kept.finish().unwrap()]
}

/// Largest difference, as a share of the largest value.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    let largest = a.iter().fold(1e-300_f64, |m, x| m.max(x.abs()));
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    worst.fold(0.0, f64::max) / largest
}

fn options() -> FitOptions {
    FitOptions {
        rounds: 3,
        tolerance: 0.0,
        monotone: false,
        ..FitOptions::default()
    }
}

fn fitted(kernel: &Kernel, statistics: &SplitStatistics, name: &str, rank: usize) -> (Chain, f64) {
    let calibration = Calibration::new(kernel, statistics, options()).unwrap();
    let fitter = family(name).unwrap().fitter(&calibration).unwrap();
    let fit = fitter.fit(rank).unwrap();
    (fit.chain, fit.error_fit)
}

fn shape() -> impl Strategy<Value = KernelShape> {
    let extents = prop_oneof![
        (2_usize..6, 2_usize..6).prop_map(|(h, w)| vec![h, w]),
        (3_usize..14).prop_map(|n| vec![n]),
    ];
    (2_usize..6, 2_usize..6, 1_usize..3, extents)
        .prop_map(|(co, ci, g, extents)| KernelShape::new(co * g, ci * g, g, extents).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn scores_and_means_are_those_of_the_covariance(
        shape in shape(), positions in 1_usize..12, seed in 0_u64..1000, dead: bool,
    ) {
        let input = vec![13; shape.spatial.len()];
        let kernel = kernel(&shape, seed);
        let [dense, kept] = both(&kernel, &input, positions, dead);
        let other = common::kernel(&shape, seed + 1);
        let merged = [dense.merged().unwrap(), kept.merged().unwrap()];
        for [a, b] in [[&dense.fit, &kept.fit], [&dense.held_out, &kept.held_out], [&merged[0], &merged[1]]] {
            prop_assert_eq!(a.count(), b.count());
            prop_assert!(difference(a.mean_y(), b.mean_y()) < 1e-12);
            prop_assert!(difference(a.variance_y(), b.variance_y()) < 1e-12);
            for group in 0..shape.groups {
                prop_assert!(difference(a.mean_x(group), b.mean_x(group)) < 1e-12);
                prop_assert!(difference(a.cross(group), b.cross(group)) < 1e-11);
                let (c, formed) = (a.covariance(group).unwrap(), b.covariance(group).unwrap());
                prop_assert!(difference(&c, &formed) < 1e-11);
            }
            let residuals = [a.residuals(&other).unwrap(), b.residuals(&other).unwrap()];
            prop_assert!(difference(&residuals[0], &residuals[1]) < 1e-10);
            let stored = Statistics::from_bytes(&b.to_bytes()).unwrap();
            prop_assert_eq!(&stored, b);
        }
    }

    #[test]
    fn fits_are_those_of_the_covariance(
        shape in shape(), positions in 3_usize..12, seed in 0_u64..1000, rank in 1_usize..4, dead: bool,
    ) {
        let input = vec![13; shape.spatial.len()];
        let kernel = kernel(&shape, seed);
        let [dense, kept] = both(&kernel, &input, positions, dead);
        let optima = [&dense, &kept].map(|s| {
            Calibration::new(&kernel, s, options()).unwrap().error_of_optimum().unwrap()
        });
        prop_assert!((optima[0] - optima[1]).abs() < 1e-8, "{optima:?}");
        for name in ["dw-pw", "pw-dw", "spatial", "channel", "tucker", "cp"] {
            let Ok(ranks) = family(name).unwrap().ranks(&shape) else { continue };
            let rank = rank.min(ranks.max);
            let [(a, error), (b, other)] = [&dense, &kept].map(|s| fitted(&kernel, s, name, rank));
            prop_assert!((error - other).abs() < 1e-6 + 1e-3 * error, "{name} {error} {other}");
            // By the error of one's chain in the statistics of the other, too.
            let crossed = dense.fit.score(&b).unwrap();
            prop_assert!((crossed - other).abs() < 1e-8, "{name} {crossed} {other}");
            // Never above the data-free decomposition.
            let free = family(name).unwrap().factor(&kernel).unwrap().chain(rank).unwrap();
            prop_assert!(other <= kept.fit.score(&free).unwrap() * (1.0 + 1e-6) + 1e-9, "{name}");
            prop_assert_eq!(a.shapes(), b.shapes());
        }
    }
}

/// Rounding of a score by patches of more than 256 values, whose products are in single precision, as a
/// share of the outputs' variance.
const ROUNDING: f64 = 2e-7;

/// Patches of 672 values and 40 positions: systems of more unknowns than positions, and than are
/// formed all the same, are solved in the space of the positions.
#[test]
fn wide_patches_are_fitted_in_the_space_of_their_positions() {
    let shape = KernelShape::new(24, 48, 1, [14]).unwrap();
    let kernel = kernel(&shape, 3);
    let [dense, kept] = both(&kernel, &[20], 5, false);
    assert!(kept.fit.keeps_patches() && !dense.fit.keeps_patches());
    assert!(kept.fit.count() + kept.held_out.count() == 40);
    for (name, rank) in [
        ("dw-pw", 7),
        ("pw-dw", 2),
        ("channel", 9),
        ("tucker", 24),
        ("cp", 30),
    ] {
        let [(_, error), (chain, other)] = [&dense, &kept].map(|s| fitted(&kernel, s, name, rank));
        assert!((error - other).abs() < 1e-6, "{name} {error} {other}");
        let crossed = dense.fit.score(&chain).unwrap();
        assert!(
            (crossed - other).abs() < ROUNDING,
            "{name} {crossed} {other}"
        );
        let free = family(name).unwrap().factor(&kernel).unwrap();
        let free = kept.fit.score(&free.chain(rank).unwrap()).unwrap();
        assert!(
            other <= free * (1.0 + 1e-9) + ROUNDING,
            "{name} {other} {free}"
        );
    }
}

/// Held-out patches beside the covariance of the others.
#[test]
fn held_out_patches_are_scored_and_merged_as_their_covariance() {
    let shape = KernelShape::new(6, 12, 1, [40]).unwrap();
    let kernel = kernel(&shape, 5);
    let numbers = |n: usize, seed: usize| -> Vec<f32> {
        let number = |i: usize| ((i * 7919 + seed * 31) % 1009) as f32 / 504.0 - 1.0;
        (0..n).map(number).collect()
    };
    let seen = |builder: SplitStatisticsBuilder| {
        let mut builder = builder;
        for sample in 0..40 {
            let (patches, outputs) = (numbers(30 * 480, sample), numbers(30 * 6, sample + 99));
            let pushed = builder.push(sample as u64, &[patches], &outputs);
            pushed.unwrap();
        }
        builder.finish().unwrap()
    };
    let dense = seen(SplitStatisticsBuilder::new(&shape, 5, 4).unwrap());
    let kept = seen(SplitStatisticsBuilder::holding_out_patches(&shape, 5, 4).unwrap());
    assert!(kept.held_out.keeps_patches() && !kept.fit.keeps_patches());
    assert_eq!(kept.fit, dense.fit);
    let scores = [&dense, &kept].map(|s| s.held_out.score_kernel(&kernel).unwrap());
    assert!((scores[0] / scores[1] - 1.0).abs() < 1e-5, "{scores:?}");
    let [a, b] = [&dense, &kept].map(|s| s.merged().unwrap().covariance(0).unwrap().into_owned());
    let worst = a.iter().zip(&b).map(|(a, b)| (a - b).abs());
    assert!(worst.fold(0.0, f64::max) < 1e-6);
}

/// Filters of 320 unknowns an output, whose systems are not formed.
#[test]
fn many_filters_of_an_output_are_fitted_by_products() {
    let shape = KernelShape::new(6, 12, 1, [40]).unwrap();
    let kernel = kernel(&shape, 4);
    let [dense, kept] = both(&kernel, &[60], 50, false);
    let [(_, error), (chain, other)] = [&dense, &kept].map(|s| fitted(&kernel, s, "pw-dw", 8));
    assert!(other <= 1.1 * error + 1e-6, "{other} {error}");
    let free = family("pw-dw").unwrap().factor(&kernel).unwrap();
    let free = kept.fit.score(&free.chain(8).unwrap()).unwrap();
    assert!(other < 0.5 * free, "{other} {free}");
    assert!((dense.fit.score(&chain).unwrap() - other).abs() < ROUNDING);
}

#[test]
fn neither_threads_nor_how_positions_are_pushed_change_a_byte() {
    let shape = KernelShape::new(12, 24, 2, [5, 5]).unwrap();
    let kernel = kernel(&shape, 9);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let [_, kept] = both(&kernel, &[9, 9], 6, true);
            let names = ["dw-pw", "pw-dw", "spatial", "tucker", "cp"];
            let chains = names.map(|name| fitted(&kernel, &kept, name, 2).0);
            let weights =
                chains.map(|c| c.stages.into_iter().map(|s| s.weight).collect::<Vec<_>>());
            (kept.fit.to_bytes(), weights)
        })
    };
    let one = run(1);
    assert!(one == run(2) && one == run(5));
}

#[test]
fn widths_that_no_memory_holds_are_an_error() {
    let shape = KernelShape::new(1, 1 << 20, 1, [1 << 24]).unwrap();
    let found = SplitStatisticsBuilder::new(&shape, 0, 8).err().unwrap();
    assert!(
        found.to_string().contains("bytes of memory are needed"),
        "{found}"
    );
}
