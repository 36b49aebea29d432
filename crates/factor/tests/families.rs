//! Mathematical properties that every family must have, whatever its form.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sepconv_factor::{
    Chain, Decomposition, FactorError, Kernel, KernelShape, Resolution, StageShape, chain_macs,
    chain_parameters, families, kernel_macs, validate_stages,
};

/// Kernels of 1 to 3 axes, odd, even and oblong, with and without groups.
fn kernels() -> impl Strategy<Value = Kernel> {
    let spatial = prop::sample::select(vec![
        vec![3],
        vec![4],
        vec![1, 1],
        vec![1, 3],
        vec![5, 1],
        vec![2, 2],
        vec![3, 3],
        vec![4, 3],
        vec![5, 5],
        vec![2, 1, 3],
        vec![3, 3, 3],
    ]);
    (1..4_usize, 1..7_usize, 1..7_usize, spatial, -12..12_i32).prop_flat_map(
        |(groups, group_in, group_out, spatial, exponent)| {
            let shape =
                KernelShape::new(group_out * groups, group_in * groups, groups, spatial).unwrap();
            prop::collection::vec(-1.0_f32..1.0, shape.len()).prop_map(move |mut data| {
                let scale = 10_f32.powi(exponent);
                data.iter_mut().for_each(|w| *w *= scale);
                Kernel::new(shape.clone(), data).unwrap()
            })
        },
    )
}

/// Runs `check` for the families that apply to `kernel`.
fn each_family(
    kernel: &Kernel,
    mut check: impl FnMut(&dyn Decomposition, usize) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    for family in families() {
        match family.ranks(kernel.shape()) {
            Ok(ranks) => check(*family, ranks.max)?,
            Err(skip) => prop_assert_eq!(
                family.factor(kernel).map(|_| ()),
                Err(FactorError::Skipped(skip))
            ),
        }
    }
    Ok(())
}

/// The resolution of every stage, by the axes carried so far.
fn resolutions(stages: &[StageShape]) -> Vec<Resolution> {
    let mut carried = vec![false; stages[0].axes.len()];
    let stages = stages.iter().map(|stage| {
        carried
            .iter_mut()
            .zip(&stage.axes)
            .for_each(|(c, a)| *c |= a);
        match (carried.contains(&true), carried.contains(&false)) {
            (false, _) => Resolution::Input,
            (true, true) => Resolution::Mixed,
            (true, false) => Resolution::Output,
        }
    });
    stages.collect()
}

fn distance(kernel: &Kernel, chain: &Chain) -> f64 {
    kernel.relative_error(&chain.compose().unwrap()).unwrap()
}

proptest! {
    #[test]
    fn full_rank_is_exact(kernel in kernels()) {
        each_family(&kernel, |family, max| {
            let chain = family.factor(&kernel).unwrap().chain(max).unwrap();
            let error = distance(&kernel, &chain);
            prop_assert!(error < 1e-6, "{} {}: {error}", family.name(), kernel.shape());
            Ok(())
        })?;
    }

    #[test]
    fn spectrum_is_the_error_of_the_composed_chain(kernel in kernels()) {
        each_family(&kernel, |family, max| {
            let factored = family.factor(&kernel).unwrap();
            let spectrum = factored.spectrum();
            prop_assert_eq!(spectrum.len(), max);
            let mut previous = 1.0;
            for rank in 1..=max {
                let (predicted, energy) = (spectrum.error(rank), spectrum.energy(rank));
                let found = distance(&kernel, &factored.chain(rank).unwrap());
                prop_assert!((found - predicted).abs() < 1e-5, "{found} {predicted}");
                prop_assert!((1.0 - predicted * predicted - energy).abs() < 1e-12);
                prop_assert!(predicted <= previous, "the error rises at {rank}");
                previous = predicted;
            }
            Ok(())
        })?;
    }

    /// Eckart-Young: moving the weights of the optimum, a little or at random, never helps.
    #[test]
    fn no_other_chain_is_closer(
        kernel in kernels(),
        noise in prop::collection::vec(-1.0..1.0_f64, 97),
        amplitude in prop::sample::select(vec![0.01, 0.1, 1.0]),
        pick in 0.0..1.0_f64,
        keep in any::<bool>(),
    ) {
        each_family(&kernel, |family, max| {
            if !family.is_optimal() {
                return Ok(());
            }
            let factored = family.factor(&kernel).unwrap();
            let rank = 1 + (pick * max as f64) as usize;
            let mut chain = factored.chain(rank).unwrap();
            let optimum = distance(&kernel, &chain);
            for stage in &mut chain.stages {
                let largest = stage.weight.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
                for (w, x) in stage.weight.iter_mut().zip(noise.iter().cycle()) {
                    *w = if keep { *w } else { 0.0 } + amplitude * largest * x;
                }
            }
            let moved = distance(&kernel, &chain);
            prop_assert!(moved >= optimum - 1e-6, "{moved} beats {optimum}");
            Ok(())
        })?;
    }

    #[test]
    fn chains_have_the_announced_geometry(kernel in kernels()) {
        let shape = kernel.shape();
        let axes = shape.spatial.len();
        each_family(&kernel, |family, max| {
            let factored = family.factor(&kernel).unwrap();
            for rank in 1..=max {
                let stages = family.stages(shape, rank).unwrap();
                let chain = factored.chain(rank).unwrap();
                prop_assert_eq!(&chain.shapes(), &stages);
                prop_assert_eq!(validate_stages(&stages), Ok(()));
                prop_assert_eq!((chain.family, chain.rank), (family.name(), rank));
                prop_assert_eq!(resolutions(&stages), family.resolutions());
                let composed = chain.compose().unwrap();
                prop_assert_eq!(composed.shape(), shape);
                // At one position each, a weight is used once.
                let ones = vec![1; axes];
                prop_assert_eq!(chain_macs(&stages, &ones, &ones), chain_parameters(&stages));
                prop_assert_eq!(kernel_macs(shape, &ones), shape.len() as u64);
            }
            for rank in [0, max + 1] {
                let refused = Err(FactorError::Rank { rank, max });
                prop_assert_eq!(factored.chain(rank).map(|_| ()), refused.clone());
                prop_assert_eq!(family.stages(shape, rank).map(|_| ()), refused);
            }
            Ok(())
        })?;
    }
}

/// Reproducible weights without structure.
fn weights(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * i % 7919) as f32).sin()).collect()
}

#[test]
fn the_bytes_do_not_depend_on_the_threads() {
    let shape = KernelShape::new(70, 66, 2, [3, 3]).unwrap();
    let kernel = Kernel::new(shape.clone(), weights(shape.len())).unwrap();
    for family in families().iter().filter(|f| f.ranks(&shape).is_ok()) {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| {
                let factored = family.factor(&kernel).unwrap();
                let chain = factored.chain(4).unwrap();
                let composed = chain.compose().unwrap();
                (factored.spectrum().clone(), chain, composed)
            })
        };
        let one = run(1);
        let bits = |chain: &Chain| -> Vec<u64> {
            let stages = chain.stages.iter();
            stages
                .flat_map(|s| s.weight.iter().map(|w| w.to_bits()))
                .collect()
        };
        for threads in [2, 3, 8] {
            let several = run(threads);
            assert_eq!(one.0, several.0);
            assert_eq!(bits(&one.1), bits(&several.1));
            assert_eq!(one.2, several.2);
        }
    }
}

#[test]
fn a_zero_kernel_gives_a_zero_chain() {
    let shape = KernelShape::new(4, 6, 2, [3, 3]).unwrap();
    let kernel = Kernel::new(shape.clone(), vec![0.0; shape.len()]).unwrap();
    for family in families().iter().filter(|f| f.ranks(&shape).is_ok()) {
        let factored = family.factor(&kernel).unwrap();
        let spectrum = factored.spectrum();
        assert_eq!((spectrum.energy(1), spectrum.error(1)), (1.0, 0.0));
        let chain = factored.chain(2).unwrap();
        let mut weights = chain.stages.iter().flat_map(|s| &s.weight);
        assert!(weights.all(|&w| w == 0.0));
    }
}

#[test]
fn extreme_magnitudes_survive() {
    let shape = KernelShape::new(6, 6, 1, [3, 3]).unwrap();
    for scale in [1e-30_f32, 1e-20, 1e20, 1e37] {
        let data: Vec<f32> = weights(shape.len()).iter().map(|w| w * scale).collect();
        let kernel = Kernel::new(shape.clone(), data).unwrap();
        for family in families().iter().filter(|f| f.ranks(&shape).is_ok()) {
            let factored = family.factor(&kernel).unwrap();
            let chain = factored.chain(factored.spectrum().len()).unwrap();
            let error = distance(&kernel, &chain);
            assert!(error < 1e-6, "{} at {scale}: {error}", family.name());
        }
    }
}
