//! Data-free decompositions under an assumed correlation of the taps.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Noise, indices, kernel};
use proptest::prelude::*;
use sepconv_factor::{Chain, FactorError, Kernel, KernelShape, Metric, families};

/// `|W - chain| / |W|` in the norm of the metric, written out over pairs of taps.
fn error(kernel: &Kernel, chain: &Chain, rho: &[f64]) -> f64 {
    let composed = chain.compose().unwrap();
    let taps = indices(&kernel.shape().spatial);
    let correlation = |s: &[usize], t: &[usize]| -> f64 {
        let axes = s.iter().zip(t).zip(rho);
        axes.map(|((&s, &t), rho)| rho.powi(s.abs_diff(t) as i32))
            .product()
    };
    let energy = |w: &[f64]| -> f64 {
        let rows = w.chunks(taps.len());
        rows.map(|row| {
            let pairs = (0..taps.len() * taps.len()).map(|p| {
                let (s, t) = (p / taps.len(), p % taps.len());
                row[s] * row[t] * correlation(&taps[s], &taps[t])
            });
            pairs.sum::<f64>()
        })
        .sum()
    };
    let wide = kernel.data().to_vec();
    let left: Vec<f64> = wide
        .iter()
        .zip(composed.data())
        .map(|(a, b)| a - b)
        .collect();
    (energy(&left).max(0.0) / energy(&wide)).sqrt()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn spectra_are_errors_in_the_metric_and_chains_are_closest(
        groups in 1..3_usize,
        spatial in prop::sample::select(vec![vec![3], vec![3, 3], vec![2, 5], vec![2, 1, 3]]),
        rho in prop::collection::vec(0.0..0.95_f64, 3),
        seed in 0..1000_u64,
    ) {
        let shape = KernelShape::new(4 * groups, 5 * groups, groups, spatial.clone()).unwrap();
        let kernel = kernel(&shape, seed);
        let rho = &rho[..spatial.len()];
        let metric = Metric::correlated(rho).unwrap();
        let mut noise = Noise::new(seed);
        for family in families() {
            let Ok(ranks) = family.ranks(&shape) else { continue };
            let factored = family.factor_with(&kernel, &metric).unwrap();
            let plain = family.factor(&kernel).unwrap();
            for rank in ranks.iter() {
                let chain = factored.chain(rank).unwrap();
                let found = error(&kernel, &chain, rho);
                let name = family.name();
                prop_assert!((found - factored.spectrum().error(rank)).abs() < 1e-5, "{name} {rank}");
                if !family.is_optimal() {
                    continue;
                }
                let other = error(&kernel, &plain.chain(rank).unwrap(), rho);
                prop_assert!(found <= other + 1e-5, "{name} {rank}: {found} {other}");
                let mut moved = chain;
                for stage in &mut moved.stages {
                    stage.weight.iter_mut().for_each(|w| *w += 0.02 * f64::from(noise.next()));
                }
                prop_assert!(error(&kernel, &moved, rho) >= found - 1e-5, "{name} {rank}");
            }
        }
    }
}

#[test]
fn identity_is_the_plain_decomposition() {
    let shape = KernelShape::new(4, 5, 1, [3, 3]).unwrap();
    let kernel = kernel(&shape, 1);
    for metric in [Metric::identity(), Metric::correlated([0.0, 0.0]).unwrap()] {
        for family in families().iter().filter(|f| f.ranks(&shape).is_ok()) {
            let chain = family
                .factor_with(&kernel, &metric)
                .unwrap()
                .chain(2)
                .unwrap();
            assert_eq!(chain, family.factor(&kernel).unwrap().chain(2).unwrap());
        }
    }
}

#[test]
fn refuses_impossible_metrics() {
    for rho in [-0.1, 1.0, f64::NAN] {
        assert!(matches!(
            Metric::correlated([rho]),
            Err(FactorError::Metric(_))
        ));
    }
    let kernel = kernel(&KernelShape::new(4, 5, 1, [3, 3]).unwrap(), 1);
    let metric = Metric::correlated([0.5]).unwrap();
    let refused = families()[0].factor_with(&kernel, &metric).map(|_| ());
    assert!(matches!(refused, Err(FactorError::Metric(_))));
}
