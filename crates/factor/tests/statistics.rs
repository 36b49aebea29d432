//! Statistics against sums written out, and the score against the layer itself.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Noise, convolve, kernel, map, same, statistics};
use proptest::prelude::*;
use sepconv_factor::{
    ConvGeometry, FactorError, Kernel, KernelShape, SplitStatisticsBuilder, Statistics,
    StatisticsBuilder, families,
};

/// Two-pass means and covariances of `[n, width]` rows, f64.
fn covariance(a: &[f32], b: &[f32], n: usize) -> Vec<f64> {
    let (p, q) = (a.len() / n, b.len() / n);
    let mean = |x: &[f32], w: usize, c: usize| {
        (0..n).map(|r| f64::from(x[r * w + c])).sum::<f64>() / n as f64
    };
    let mut out = Vec::new();
    for i in 0..p {
        for j in 0..q {
            let (mi, mj) = (mean(a, p, i), mean(b, q, j));
            let products =
                (0..n).map(|r| (f64::from(a[r * p + i]) - mi) * (f64::from(b[r * q + j]) - mj));
            out.push(products.sum::<f64>() / n as f64);
        }
    }
    out
}

fn close(found: &[f64], expected: &[f64], tolerance: f64) -> bool {
    let scale = expected.iter().fold(1e-300_f64, |m, x| m.max(x.abs()));
    found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(f, e)| (f - e).abs() <= tolerance * scale)
}

/// `n` correlated positions of a 2-group kernel: patches a group, outputs.
fn rows(shape: &KernelShape, n: usize, offset: f32) -> (Vec<Vec<f32>>, Vec<f32>) {
    let d = shape.group_in() * shape.taps();
    let mut noise = Noise::new(n as u64);
    let x: Vec<Vec<f32>> = (0..shape.groups)
        .map(|_| {
            let mut last = 0.0;
            let mut next = || {
                last = 0.8 * last + noise.next();
                last + offset
            };
            (0..n * d).map(|_| next()).collect()
        })
        .collect();
    let y = (0..n * shape.out_channels)
        .map(|i| x[0][i % (n * d)] * 0.5 + noise.next())
        .collect();
    (x, y)
}

fn built(shape: &KernelShape, x: &[Vec<f32>], y: &[f32], step: usize) -> Statistics {
    let (d, co) = (shape.group_in() * shape.taps(), shape.out_channels);
    let mut builder = StatisticsBuilder::new(shape).unwrap();
    let n = y.len() / co;
    for begin in (0..n).step_by(step) {
        let end = n.min(begin + step);
        let part: Vec<&[f32]> = x.iter().map(|x| &x[begin * d..end * d]).collect();
        builder.push(&part, &y[begin * co..end * co]).unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn equal_to_the_sums_even_far_from_zero() {
    let shape = KernelShape::new(4, 6, 2, [3]).unwrap();
    for (n, offset) in [(1, 0.0), (40, 0.0), (1300, 0.0), (1300, 250.0), (1300, 1e5)] {
        let (x, y) = rows(&shape, n, offset);
        let found = built(&shape, &x, &y, 100);
        assert_eq!(found.count(), n as u64);
        for group in 0..2 {
            let outputs: Vec<f32> = y
                .chunks(4)
                .flat_map(|row| row[group * 2..][..2].to_vec())
                .collect();
            let c = covariance(&x[group], &x[group], n);
            let b = covariance(&outputs, &x[group], n);
            assert!(
                close(&found.covariance(group).unwrap(), &c, 1e-10),
                "C {n} {offset}"
            );
            assert!(close(found.cross(group), &b, 1e-10), "B {n} {offset}");
            let variances = covariance(&outputs, &outputs, n);
            let diagonal = [variances[0], variances[3]];
            assert!(close(
                &found.variance_y()[group * 2..][..2],
                &diagonal,
                1e-10
            ));
            let mean = x[group].chunks(9).map(|r| f64::from(r[4])).sum::<f64>() / n as f64;
            assert!((found.mean_x(group)[4] - mean).abs() <= 1e-12 * mean.abs().max(1.0));
        }
    }
}

#[test]
fn the_bytes_depend_on_neither_pushes_nor_threads() {
    let shape = KernelShape::new(10, 60, 2, [3, 3]).unwrap();
    let (x, y) = rows(&shape, 1100, 3.0);
    let run = |threads: usize, step| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| built(&shape, &x, &y, step).to_bytes())
    };
    let one = run(1, 1100);
    for (threads, step) in [(1, 7), (2, 1100), (2, 513), (3, 1)] {
        assert!(run(threads, step) == one, "{threads} {step}");
    }
}

#[test]
fn merging_parts_is_adding_positions() {
    let shape = KernelShape::new(4, 6, 2, [3]).unwrap();
    let (x, y) = rows(&shape, 900, 40.0);
    let part = |begin: usize, end: usize| {
        let x: Vec<Vec<f32>> = x.iter().map(|x| x[begin * 9..end * 9].to_vec()).collect();
        built(&shape, &x, &y[begin * 4..end * 4], 64)
    };
    let whole = part(0, 900);
    let merged = part(0, 200).merge(&part(200, 900)).unwrap();
    assert_eq!(merged.count(), 900);
    assert!(close(merged.mean_y(), whole.mean_y(), 1e-12));
    assert!(close(merged.variance_y(), whole.variance_y(), 1e-10));
    for group in 0..2 {
        assert!(close(merged.mean_x(group), whole.mean_x(group), 1e-12));
        assert!(close(
            &merged.covariance(group).unwrap(),
            &whole.covariance(group).unwrap(),
            1e-10
        ));
        assert!(close(merged.cross(group), whole.cross(group), 1e-10));
    }
    let empty = StatisticsBuilder::new(&shape).unwrap().finish().unwrap();
    assert_eq!(empty.merge(&whole).unwrap(), whole);
    assert_eq!(whole.merge(&empty).unwrap(), whole);
    let other = KernelShape::new(4, 6, 1, [3]).unwrap();
    let other = StatisticsBuilder::new(&other).unwrap().finish().unwrap();
    assert!(matches!(
        whole.merge(&other),
        Err(FactorError::Statistics(_))
    ));
}

#[test]
fn stored_and_read_back() {
    let shape = KernelShape::new(4, 6, 2, [3, 1]).unwrap();
    let (x, y) = rows(&shape, 50, 1.0);
    let statistics = built(&shape, &x, &y, 50);
    let bytes = statistics.to_bytes();
    assert_eq!(bytes.len(), 4 + 4 + 8 * 7 + 8 * (8 + 2 * (9 + 45 + 18)));
    assert_eq!(Statistics::from_bytes(&bytes).unwrap(), statistics);
    let text = serde_json::to_string(&statistics).unwrap();
    assert_eq!(
        serde_json::from_str::<Statistics>(&text).unwrap(),
        statistics
    );
    for end in [0, 3, 10, 60, bytes.len() - 1] {
        assert!(Statistics::from_bytes(&bytes[..end]).is_err(), "{end}");
    }
    for at in [0, 4, 16, 24, 40] {
        let mut broken = bytes.clone();
        broken[at + 7] ^= 0x7f;
        broken[at] ^= 0x55;
        assert!(Statistics::from_bytes(&broken).is_err(), "{at}");
    }
}

#[test]
fn many_positions_are_summed_in_single_precision_close_to_the_sums() {
    let shape = KernelShape::new(2, 96, 1, [3]).unwrap();
    let (n, d) = (600, 288);
    let (x, y) = rows(&shape, n, 0.0);
    let built = |expected: Option<u64>| {
        let mut builder = SplitStatisticsBuilder::new(&shape, 0, 0).unwrap();
        if let Some(expected) = expected {
            builder = builder.expecting(expected);
        }
        builder.push(0, &x, &y).unwrap();
        builder.finish().unwrap().fit
    };
    let (unknown, few, many) = (built(None), built(Some(575)), built(Some(600)));
    assert_eq!(unknown, few);
    assert_ne!(unknown, many);
    // Sums over patches that are kept are of any number in double precision at first.
    let kept = |expected: u64| {
        let builder = SplitStatisticsBuilder::of_patches(&shape, 0, 0).unwrap();
        let mut builder = builder.expecting(expected);
        builder.push(0, &x, &y).unwrap();
        builder.finish().unwrap()
    };
    assert_eq!(kept(0), kept(600));
    let found = many.covariance(0).unwrap();
    let expected = covariance(&x[0], &x[0], n);
    for i in 0..d {
        for j in 0..d {
            let scale = (expected[i * (d + 1)] * expected[j * (d + 1)]).sqrt();
            let at = i * d + j;
            assert!((found[at] - expected[at]).abs() < 3e-6 * scale, "{i} {j}");
        }
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let shape = KernelShape::new(2, 2, 1, [3]).unwrap();
    let mut builder = StatisticsBuilder::new(&shape).unwrap();
    assert!(builder.push(&[vec![0.0; 6]], &[0.0; 3]).is_err());
    assert!(builder.push(&[vec![0.0; 5]], &[0.0; 2]).is_err());
    assert!(builder.push::<Vec<f32>>(&[], &[0.0; 2]).is_err());
    builder.push(&[vec![f32::NAN; 6]], &[0.0; 2]).unwrap();
    assert!(builder.finish().is_err());
}

/// Relative squared error of a chain run stage by stage over whole maps.
fn measured(original: &Kernel, chain: &sepconv_factor::Chain, geometry: &ConvGeometry) -> f64 {
    let shape = original.shape();
    let input = vec![9; shape.spatial.len()];
    let (mut errors, mut outputs) = (Vec::new(), Vec::new());
    for sample in 0..6 {
        let x = map(shape.in_channels, &input, sample + 1, false);
        let (y, _) = convolve(shape, original.data(), None, geometry, &x, &input);
        let (mut z, mut extents) = (common::disturbed(&x, sample), input.clone());
        for stage in &chain.stages {
            let axis = |a: usize| usize::from(stage.shape.axes[a]);
            let axes = 0..input.len();
            let own = ConvGeometry {
                strides: axes
                    .clone()
                    .map(|a| geometry.strides[a].pow(axis(a) as u32))
                    .collect(),
                dilations: geometry.dilations.clone(),
                pads_begin: axes
                    .clone()
                    .map(|a| geometry.pads_begin[a] * axis(a))
                    .collect(),
                pads_end: axes.map(|a| geometry.pads_end[a] * axis(a)).collect(),
                transposed: None,
            };
            let kernel = &stage.shape.kernel;
            (z, extents) = convolve(kernel, &stage.weight, None, &own, &z, &extents);
        }
        errors.push(
            y.iter()
                .zip(&z)
                .map(|(y, z)| f64::from(*y) - f64::from(*z))
                .collect(),
        );
        outputs.push(y.iter().map(|&y| f64::from(y)).collect::<Vec<f64>>());
    }
    let energy = |maps: &[Vec<f64>]| -> f64 {
        let plane = maps[0].len() / shape.out_channels;
        (0..shape.out_channels)
            .map(|o| {
                let values = maps.iter().flat_map(|m| &m[o * plane..][..plane]);
                let n = (maps.len() * plane) as f64;
                let mean = values.clone().sum::<f64>() / n;
                values.map(|v| (v - mean) * (v - mean)).sum::<f64>()
            })
            .sum()
    };
    energy(&errors) / energy(&outputs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// The score from statistics of all positions is the error of the layer itself, run stage by
    /// stage with strides, padding and dilation.
    #[test]
    fn score_is_the_error_of_the_layer(
        groups in 1..3_usize,
        strides in prop::collection::vec(1..3_usize, 2),
        dilations in prop::collection::vec(1..3_usize, 2),
        spatial in prop::sample::select(vec![vec![3, 3], vec![2, 3]]),
        seed in 0..1000_u64,
    ) {
        let shape = KernelShape::new(4 * groups, 3 * groups, groups, spatial).unwrap();
        let kernel = kernel(&shape, seed);
        let geometry = ConvGeometry { strides, dilations, ..same(&shape) };
        let split = statistics(&kernel, &geometry, &[9, 9], 6, usize::MAX, false);
        let all = split.merged().unwrap();
        for family in families().iter().filter(|f| f.ranks(&shape).is_ok()) {
            let factored = family.factor(&kernel).unwrap();
            for rank in [1, 2] {
                let chain = factored.chain(rank).unwrap();
                let (score, error) = (all.score(&chain).unwrap(), measured(&kernel, &chain, &geometry));
                prop_assert!(
                    (score - error).abs() < 1e-4 * error.max(1e-2),
                    "{} {rank}: {score} {error}", family.name()
                );
            }
        }
    }
}
