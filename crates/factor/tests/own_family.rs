//! Families of other crates, which bring decompositions and no fit: they are fitted by their
//! last stage.
#![allow(clippy::unwrap_used)]

mod common;

use common::{kernel, same, statistics};
use proptest::prelude::*;
use sepconv_factor::{
    Calibration, Decomposition, FactorError, Factored, FitOptions, Kernel, KernelShape, RankRange,
    Skip, SplitStatistics, StageShape, families, family,
};

/// Another family without its fitter.
struct Unfitted(&'static dyn Decomposition);

impl Decomposition for Unfitted {
    fn name(&self) -> &'static str {
        "unfitted"
    }

    fn ranks(&self, shape: &KernelShape) -> Result<RankRange, Skip> {
        self.0.ranks(shape)
    }

    fn stages(&self, shape: &KernelShape, rank: usize) -> Result<Vec<StageShape>, FactorError> {
        self.0.stages(shape, rank)
    }

    fn factor(&self, kernel: &Kernel) -> Result<Box<dyn Factored>, FactorError> {
        self.0.factor(kernel)
    }

    fn widths(&self, shape: &KernelShape, rank: usize) -> Vec<usize> {
        self.0.widths(shape, rank)
    }
}

fn seen(kernel: &Kernel) -> SplitStatistics {
    let input = vec![8; kernel.shape().spatial.len()];
    statistics(kernel, &same(kernel.shape()), &input, 9, 40, false)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// Never above the data-free chain on the positions fitted to, and the chain of that rank.
    #[test]
    fn the_last_stage_is_fitted(
        groups in 1..3_usize,
        inputs in 2..6_usize,
        outputs in 2..6_usize,
        spatial in prop::sample::select(vec![vec![3], vec![3, 3], vec![2, 3]]),
        seed in 0..10_000_u64,
    ) {
        let shape = KernelShape::new(outputs * groups, inputs * groups, groups, spatial).unwrap();
        let kernel = kernel(&shape, seed);
        let split = seen(&kernel);
        let calibration = Calibration::new(&kernel, &split, FitOptions::default()).unwrap();
        for family in families() {
            let Ok(ranks) = family.ranks(&shape) else { continue };
            let own = Unfitted(*family);
            let free = family.factor(&kernel).unwrap();
            let fitter = own.fitter(&calibration).unwrap();
            for rank in ranks.iter().take_while(|&r| r <= 5) {
                let fit = fitter.fit(rank).unwrap();
                let name = family.name();
                prop_assert_eq!(fit.chain.shapes(), family.stages(&shape, rank).unwrap());
                let score = split.fit.score(&fit.chain).unwrap();
                let before = split.fit.score(&free.chain(rank).unwrap()).unwrap();
                prop_assert_eq!(score, fit.error_fit);
                prop_assert!(score <= before, "{name} {rank}: {score} {before}");
                prop_assert!(fit.chain.bias.is_some());
            }
        }
    }
}

#[test]
fn a_last_stage_that_mixes_channels_gains_and_no_more_than_the_best_fit() {
    let shape = KernelShape::new(12, 8, 2, [3, 3]).unwrap();
    let kernel = kernel(&shape, 3);
    let split = seen(&kernel);
    let calibration = Calibration::new(&kernel, &split, FitOptions::default()).unwrap();
    // Depthwise filters before the stage, and a dense front of the same groups.
    for (name, rank) in [("dw-pw", 1), ("channel", 2)] {
        let family = family(name).unwrap();
        let free = family.factor(&kernel).unwrap().chain(rank).unwrap();
        let free = split.fit.score(&free).unwrap();
        let own = Unfitted(family).fitter(&calibration).unwrap();
        let own = own.fit(rank).unwrap().error_fit;
        let best = family.fitter(&calibration).unwrap();
        let best = best.fit(rank).unwrap().error_fit;
        assert!(own < 0.95 * free, "{name}: {own} {free}");
        assert!(own > 0.999 * best, "{name}: {own} {best}");
    }
    // PW->DW ends with the filters: only its bias is fitted.
    let family = family("pw-dw").unwrap();
    let free = family.factor(&kernel).unwrap().chain(1).unwrap();
    let own = Unfitted(family).fitter(&calibration).unwrap();
    assert_eq!(
        own.fit(1).unwrap().error_fit,
        split.fit.score(&free).unwrap()
    );
}
