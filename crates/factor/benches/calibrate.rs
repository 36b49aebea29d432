//! Timings behind the choices in `statistics` and `fit`:
//! `cargo bench -p sepconv-factor --bench calibrate`.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use nalgebra::DMatrix;
use sepconv_factor::{
    Calibration, FitOptions, Kernel, KernelShape, SplitStatistics, StatisticsBuilder, family,
};

/// Reproducible noise in `[-1, 1)`.
fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (seed << 20);
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

/// Patches `[n, d]` whose values correlate, and the outputs `[n, Co]` of the kernel on them.
fn positions(kernel: &Kernel, n: usize, seed: u64) -> (Vec<f32>, Vec<f32>) {
    let (d, co) = (
        kernel.data().len() / kernel.shape().out_channels,
        kernel.shape().out_channels,
    );
    let mut x = noise(n * d, seed);
    for row in x.chunks_mut(d) {
        let mut last = 0.0;
        for value in row {
            last = 0.6 * last + *value;
            *value = last;
        }
    }
    let w: Vec<f32> = kernel.data().iter().map(|w| *w as f32).collect();
    let y =
        DMatrix::from_column_slice(d, co, &w).transpose() * DMatrix::from_column_slice(d, n, &x);
    let y = y.as_slice().to_vec();
    (x, y)
}

fn kernel(ci: usize, co: usize) -> Kernel {
    let shape = KernelShape::new(co, ci, 1, [3, 3]).unwrap();
    let data = noise(shape.len(), 1);
    Kernel::new(shape, data).unwrap()
}

/// 60,000 positions; a block of patches is used again, which changes no timing.
fn collect(kernel: &Kernel, n: usize, (x, y): &(Vec<f32>, Vec<f32>)) -> StatisticsBuilder {
    let mut builder = StatisticsBuilder::new(kernel.shape()).unwrap();
    let block = y.len() / kernel.shape().out_channels;
    for _ in 0..n / block {
        builder.push(std::slice::from_ref(x), y).unwrap();
    }
    builder
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .unwrap()
}

/// A block of 512 patches onto its covariance: this crate's triangle of panels against whole
/// products.
fn rank_k(c: &mut Criterion) {
    let mut group = c.benchmark_group("rank_k_update_512");
    for d in [576, 1152, 4608] {
        let n = 512;
        let x: Vec<f64> = noise(n * d, 3).into_iter().map(f64::from).collect();
        let view = MatRef::from_row_major_slice(&x, n, d);
        let mut out = vec![0.0; d * d];
        group.bench_function(BenchmarkId::new("faer_whole", d), |b| {
            b.iter(|| {
                let out = MatMut::from_row_major_slice_mut(&mut out, d, d);
                matmul(out, Accum::Add, view.transpose(), view, 1.0, Par::Seq);
            });
        });
        for width in [48, 96, 192] {
            group.bench_function(BenchmarkId::new(format!("faer_triangle_{width}"), d), |b| {
                b.iter(|| {
                    for (index, panel) in out.chunks_mut(width * d).enumerate() {
                        let (begin, height) = (index * width, panel.len() / d);
                        let out = MatMut::from_row_major_slice_mut(panel, height, d);
                        let out = out.subcols_mut(begin, d - begin);
                        let left = view.subcols(begin, height).transpose();
                        let right = view.subcols(begin, d - begin);
                        matmul(out, Accum::Add, left, right, 1.0, Par::Seq);
                    }
                });
            });
        }
        let columns = DMatrix::from_column_slice(d, n, &x);
        let transposed = columns.transpose();
        let mut product = DMatrix::zeros(d, d);
        group.bench_function(BenchmarkId::new("nalgebra_whole", d), |b| {
            b.iter(|| product.gemm(1.0, black_box(&columns), black_box(&transposed), 1.0));
        });
    }
    group.finish();
}

fn statistics(c: &mut Criterion) {
    let mut group = c.benchmark_group("statistics_60000");
    for (ci, co) in [(64, 64), (128, 128)] {
        let kernel = kernel(ci, co);
        let block = positions(&kernel, 1000, 5);
        for threads in [1, 2] {
            let id = BenchmarkId::new(format!("{threads}_threads"), ci * 9);
            let pool = pool(threads);
            group.bench_function(id, |b| {
                b.iter(|| pool.install(|| collect(&kernel, 60_000, &block).finish().unwrap()));
            });
        }
    }
    group.finish();
}

fn split(kernel: &Kernel) -> SplitStatistics {
    let part = |n, seed| {
        collect(kernel, n, &positions(kernel, n, seed))
            .finish()
            .unwrap()
    };
    SplitStatistics {
        fit: part(6000, 7),
        held_out: part(1000, 8),
    }
}

/// Whole fits with the default options but for `monotone`, and their shared part.
fn fits(c: &mut Criterion) {
    let mut group = c.benchmark_group("fit");
    let cases: [(usize, &[(&str, usize)]); 2] = [
        (
            64,
            &[
                ("dw-pw", 1),
                ("dw-pw", 2),
                ("dw-pw", 3),
                ("dw-pw", 4),
                ("pw-dw", 1),
                ("pw-dw", 2),
                ("pw-dw", 4),
                ("spatial", 32),
                ("channel", 32),
                ("tucker", 32),
                ("cp", 64),
            ],
        ),
        (
            256,
            &[
                ("dw-pw", 2),
                ("pw-dw", 2),
                ("spatial", 128),
                ("channel", 64),
                ("tucker", 128),
            ],
        ),
    ];
    for (channels, families) in cases {
        let kernel = kernel(channels, channels);
        let split = split(&kernel);
        let options = FitOptions {
            monotone: false,
            ..FitOptions::default()
        };
        group.bench_function(BenchmarkId::new("shared", channels), |b| {
            b.iter(|| Calibration::new(&kernel, &split, options).unwrap());
        });
        let calibration = Calibration::new(&kernel, &split, options).unwrap();
        for &(name, rank) in families {
            let family = family(name).unwrap();
            let id = BenchmarkId::new(format!("{name}_{rank}"), channels);
            group.bench_function(id, |b| {
                b.iter_custom(|times| {
                    let begin = Instant::now();
                    for _ in 0..times {
                        black_box(family.fitter(&calibration).unwrap().fit(rank).unwrap());
                    }
                    begin.elapsed()
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = rank_k, statistics, fits
}
criterion_main!(benches);
