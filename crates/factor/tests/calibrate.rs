//! Properties of every family's fit.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Noise, convolve, disturbed, kernel, map, same, statistics};
use proptest::prelude::*;
use sepconv_factor::{
    Calibration, Chain, ConvGeometry, FactorError, FitOptions, InputMap, Kernel, KernelShape,
    PositionSampler, SplitStatistics, SplitStatisticsBuilder, StatisticsBuilder, families, family,
};

/// Small layers: axes, groups, strides, dead channels, and from too few positions to enough.
#[derive(Debug, Clone)]
struct Layer {
    kernel: Kernel,
    split: SplitStatistics,
}

fn layers() -> impl Strategy<Value = Layer> {
    let spatial = prop::sample::select(vec![
        vec![3],
        vec![3, 3],
        vec![2, 3],
        vec![1, 5],
        vec![1, 1],
    ]);
    (
        1..3_usize,
        2..6_usize,
        2..6_usize,
        spatial,
        1..3_usize,
        any::<bool>(),
        prop::sample::select(vec![1_usize, 4, 60]),
        0..10_000_u64,
    )
        .prop_map(
            |(groups, group_in, group_out, spatial, stride, dead, positions, seed)| {
                let shape =
                    KernelShape::new(group_out * groups, group_in * groups, groups, spatial)
                        .unwrap();
                let kernel = kernel(&shape, seed);
                let input = vec![8; shape.spatial.len()];
                let mut geometry = same(&shape);
                geometry.strides.fill(stride);
                let split = statistics(&kernel, &geometry, &input, 9, positions, dead);
                Layer { kernel, split }
            },
        )
}

fn residual(split: &SplitStatistics, chain: &Chain) -> f64 {
    split.fit.score(chain).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Never above the data-free chain on the positions fitted to, and never above a lower rank.
    #[test]
    fn errors_keep_below_data_free_and_lower_ranks(layer in layers()) {
        let Layer { kernel, split } = layer;
        let calibration = Calibration::new(&kernel, &split, FitOptions::default()).unwrap();
        for family in families() {
            let Ok(ranks) = family.ranks(kernel.shape()) else { continue };
            let factored = family.factor(&kernel).unwrap();
            let fitter = family.fitter(&calibration).unwrap();
            let mut last = f64::INFINITY;
            // The highest first: earlier fits must not matter.
            let top = fitter.fit(ranks.max.min(7)).unwrap();
            for rank in ranks.iter().take_while(|&r| r <= 7) {
                let fit = fitter.fit(rank).unwrap();
                prop_assert_eq!(fit.chain.validate(), Ok(()));
                prop_assert_eq!(fit.chain.shapes(), family.stages(kernel.shape(), rank).unwrap());
                let score = residual(&split, &fit.chain);
                prop_assert_eq!(score, fit.error_fit);
                let free = residual(&split, &factored.chain(rank).unwrap());
                let name = family.name();
                prop_assert!(score <= free * (1.0 + 1e-8) + 1e-12, "{name} {rank}: {score} {free}");
                prop_assert!(score <= last * (1.0 + 1e-8) + 1e-12, "{name} {rank}: {score} {last}");
                last = score;
                if rank == ranks.max.min(7) {
                    prop_assert_eq!(&fit, &top);
                }
            }
        }
    }

    /// At full rank the fit is the unrestricted optimum; with clean inputs that is the kernel.
    #[test]
    fn full_rank_is_the_optimum(layer in layers()) {
        let Layer { kernel, split } = layer;
        // With a part held out, that could prefer the kernel itself.
        let held_out = StatisticsBuilder::new(kernel.shape()).unwrap().finish().unwrap();
        let split = SplitStatistics { fit: split.merged().unwrap(), held_out };
        let options = FitOptions { monotone: false, ..FitOptions::default() };
        let calibration = Calibration::new(&kernel, &split, options).unwrap();
        let best = calibration.error_of_optimum().unwrap();
        for family in families() {
            let Ok(ranks) = family.ranks(kernel.shape()) else { continue };
            let fit = family.fitter(&calibration).unwrap().fit(ranks.max).unwrap();
            let (found, name) = (fit.error_fit, family.name());
            prop_assert!((found - best).abs() <= 1e-6, "{name} {found} {best}");
        }
    }

    #[test]
    fn full_rank_on_clean_inputs_reproduces_the_kernel(layer in layers(), positions in 1..90_usize) {
        let kernel = layer.kernel;
        let shape = kernel.shape();
        let geometry = same(shape);
        let input = vec![8; shape.spatial.len()];
        let sampler = PositionSampler::new(shape, geometry.clone(), 1, positions);
        let mut builder = SplitStatisticsBuilder::new(shape, 1, 4).unwrap();
        for sample in 0..8 {
            let x = map(shape.in_channels, &input, sample + 50, sample % 2 == 0);
            let (y, _) = convolve(shape, kernel.data(), None, &geometry, &x, &input);
            let map = InputMap {
                values: &x,
                extents: &input,
            };
            builder.push_maps(&sampler, sample, map, &y).unwrap();
        }
        let split = builder.finish().unwrap();
        for family in families() {
            let Ok(ranks) = family.ranks(shape) else { continue };
            for rounds in [0, 2] {
                let options = FitOptions { monotone: false, rounds, ..FitOptions::default() };
                let fit = family.fit(&kernel, &split, ranks.max, &options).unwrap();
                let error = kernel.relative_error(&fit.chain.compose().unwrap()).unwrap();
                prop_assert!(error < 1e-4, "{} {rounds} {error}", family.name());
            }
        }
    }
}

/// A layer worth fitting: 12 to 10 channels, correlated inputs, plenty of positions.
fn layer() -> (Kernel, SplitStatistics, ConvGeometry) {
    let shape = KernelShape::new(10, 12, 1, [3, 3]).unwrap();
    let kernel = kernel(&shape, 3);
    let geometry = same(&shape);
    let split = statistics(&kernel, &geometry, &[12, 12], 16, 100, false);
    (kernel, split, geometry)
}

/// Relative squared error of the layer itself, with the fit's bias, over whole maps.
#[test]
fn fitted_chains_run_as_scored() {
    let (kernel, _, geometry) = layer();
    let shape = kernel.shape();
    let split = statistics(&kernel, &geometry, &[12, 12], 8, usize::MAX, false);
    let all = split.merged().unwrap();
    let energy: f64 = all.variance_y().iter().sum();
    for family in families().iter().filter(|f| f.ranks(shape).is_ok()) {
        let options = FitOptions {
            monotone: false,
            ..FitOptions::default()
        };
        let fit = family.fit(&kernel, &split, 2, &options).unwrap();
        let composed = fit.chain.compose().unwrap();
        let bias = fit.chain.bias.as_deref();
        assert!(bias.is_some());
        let (mut sum, mut positions) = (0.0, 0);
        for sample in 0..8 {
            let x = map(shape.in_channels, &[12, 12], sample + 1, false);
            let (y, _) = convolve(shape, kernel.data(), None, &geometry, &x, &[12, 12]);
            let x = disturbed(&x, sample);
            let (z, _) = convolve(shape, composed.data(), bias, &geometry, &x, &[12, 12]);
            let squares = y
                .iter()
                .zip(&z)
                .map(|(y, z)| (f64::from(*y) - f64::from(*z)).powi(2));
            sum += squares.sum::<f64>();
            positions += 144;
        }
        let measured = sum / positions as f64 / energy;
        let score = all.score(&fit.chain).unwrap();
        assert!(
            (measured - score).abs() < 1e-3 * score,
            "{} {measured} {score}",
            family.name()
        );
    }
}

/// Calibration must pay: less error than the data-free chain, and alternation less than its
/// start, on held-out positions too.
#[test]
fn fits_beat_data_free_and_alternation_helps() {
    let (kernel, split, _) = layer();
    for (name, rank) in [
        ("dw-pw", 2),
        ("pw-dw", 2),
        ("spatial", 8),
        ("channel", 4),
        ("tucker", 6),
        ("cp", 12),
    ] {
        let family = family(name).unwrap();
        let fit = |rounds| {
            let options = FitOptions {
                rounds,
                ..FitOptions::default()
            };
            family.fit(&kernel, &split, rank, &options).unwrap()
        };
        let (start, fitted) = (fit(0), fit(8));
        let free = family.factor(&kernel).unwrap().chain(rank).unwrap();
        let (free_fit, free_held) = (
            split.fit.score(&free).unwrap(),
            split.held_out.score(&free).unwrap(),
        );
        let held = |fit: &sepconv_factor::Fit| fit.error_held_out.unwrap();
        assert!(
            fitted.error_fit < 0.9 * free_fit,
            "{name} {} {free_fit}",
            fitted.error_fit
        );
        assert!(
            held(&fitted) < 0.9 * free_held,
            "{name} {} {free_held}",
            held(&fitted)
        );
        assert!(held(&fitted) <= held(&start), "{name}");
        if name != "channel" {
            assert!(fitted.error_fit < 0.999 * start.error_fit, "{name}");
        }
    }
}

/// Reduced-rank regression has no better rival: moving the optimum never helps.
#[test]
fn the_closed_form_is_the_optimum() {
    let (kernel, split, _) = layer();
    let options = FitOptions {
        ridge: 0.0,
        ..FitOptions::default()
    };
    let fit = family("channel")
        .unwrap()
        .fit(&kernel, &split, 3, &options)
        .unwrap();
    let mut noise = Noise::new(9);
    for step in 0..40 {
        let mut chain = fit.chain.clone();
        let amplitude = 10_f64.powi(-1 - step % 4);
        for stage in &mut chain.stages {
            stage
                .weight
                .iter_mut()
                .for_each(|w| *w += amplitude * f64::from(noise.next()));
        }
        assert!(residual(&split, &chain) >= fit.error_fit - 1e-7);
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_threads() {
    let shape = KernelShape::new(40, 36, 2, [3, 3]).unwrap();
    let kernel = kernel(&shape, 8);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let split = statistics(&kernel, &same(&shape), &[7, 7], 12, 30, true);
            let options = FitOptions {
                monotone: false,
                rounds: 2,
                ..FitOptions::default()
            };
            let calibration = Calibration::new(&kernel, &split, options).unwrap();
            let bits = |family: &&'static dyn sepconv_factor::Decomposition| {
                let fit = family.fitter(&calibration).unwrap().fit(4).unwrap();
                let weights = fit.chain.stages.iter().flat_map(|s| &s.weight);
                let bias = fit.chain.bias.iter().flatten();
                let bias = bias.map(|b| f64::from(*b));
                let bits = weights.copied().chain(bias).map(f64::to_bits);
                (
                    fit.error_fit.to_bits(),
                    fit.rounds,
                    bits.collect::<Vec<u64>>(),
                )
            };
            let apply = families().iter().filter(|f| f.ranks(&shape).is_ok());
            apply.map(bits).collect::<Vec<_>>()
        })
    };
    let one = run(1);
    assert!(run(2) == one && run(3) == one);
}

#[test]
fn nothing_to_fit_to_is_the_data_free_chain() {
    let shape = KernelShape::new(6, 5, 1, [3, 3]).unwrap();
    let kernel = kernel(&shape, 1);
    let empty = SplitStatisticsBuilder::new(&shape, 0, 8).unwrap();
    let empty = empty.finish().unwrap();
    for name in ["dw-pw", "pw-dw", "spatial", "channel"] {
        let family = family(name).unwrap();
        let fit = family
            .fit(&kernel, &empty, 2, &FitOptions::default())
            .unwrap();
        assert_eq!((fit.chain.bias, fit.error_held_out), (None, None));
        let error = |chain: &Chain| kernel.relative_error(&chain.compose().unwrap()).unwrap();
        let free = family.factor(&kernel).unwrap().chain(2).unwrap();
        let bare = Chain {
            bias: None,
            stages: fit.chain.stages,
            ..free.clone()
        };
        assert!((error(&bare) - error(&free)).abs() < 1e-4, "{name}");
    }
}

#[test]
fn constant_inputs_and_outputs_do_not_break_it() {
    let shape = KernelShape::new(4, 4, 1, [3]).unwrap();
    let kernel = kernel(&shape, 2);
    for (input, output) in [(0.0, 0.0), (3.0, 0.5)] {
        let unit = ConvGeometry::unit(1);
        let sampler = PositionSampler::new(&shape, unit, 0, 5);
        let mut builder = SplitStatisticsBuilder::new(&shape, 0, 2).unwrap();
        for sample in 0..4 {
            let map = InputMap {
                values: &[input; 40],
                extents: &[10],
            };
            builder
                .push_maps(&sampler, sample, map, &[output; 32])
                .unwrap();
        }
        let split = builder.finish().unwrap();
        for family in families().iter().filter(|f| f.ranks(&shape).is_ok()) {
            let fit = family
                .fit(&kernel, &split, 1, &FitOptions::default())
                .unwrap();
            let bias = fit.chain.bias.clone().unwrap();
            let composed = fit.chain.compose().unwrap();
            for (row, b) in composed.data().chunks(12).zip(&bias) {
                let y = row.iter().sum::<f64>() as f32 * input + b;
                assert!((y - output).abs() < 1e-4, "{} {y}", family.name());
            }
        }
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let (kernel, split, _) = layer();
    let other = common::kernel(&KernelShape::new(10, 12, 2, [3, 3]).unwrap(), 1);
    let refused = |kernel: &Kernel, options| Calibration::new(kernel, &split, options).map(|_| ());
    assert!(matches!(
        refused(&other, FitOptions::default()),
        Err(FactorError::Statistics(_))
    ));
    for ridge in [-1.0, f64::NAN] {
        let options = FitOptions {
            ridge,
            ..FitOptions::default()
        };
        assert!(matches!(
            refused(&kernel, options),
            Err(FactorError::Statistics(_))
        ));
    }
    let calibration = Calibration::new(&kernel, &split, FitOptions::default()).unwrap();
    let apply = |f: &&&dyn sepconv_factor::Decomposition| f.ranks(kernel.shape()).is_ok();
    for family in families().iter().filter(apply) {
        let fitter = family.fitter(&calibration).unwrap();
        let max = family.ranks(kernel.shape()).unwrap().max;
        for rank in [0, max + 1] {
            let error = fitter.fit(rank).map(|_| ());
            assert_eq!(error, Err(FactorError::Rank { rank, max }));
        }
    }
}
