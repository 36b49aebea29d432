//! Timings behind the choices in `slice_svd` and `linalg::eigen`:
//! `cargo bench -p sepconv-factor --bench decompose`.
#![allow(missing_docs, clippy::unwrap_used)]

mod jacobi;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use nalgebra::{DMatrix, SMatrix};
use sepconv_factor::linalg::eigen::{Solver, symmetric_eigen_with};
use sepconv_factor::{Kernel, KernelShape, family};

/// `(Ci, Co)` of the 3x3 convolutions of VGG-16.
const VGG16: [(usize, usize); 13] = [
    (3, 64),
    (64, 64),
    (64, 128),
    (128, 128),
    (128, 256),
    (256, 256),
    (256, 256),
    (256, 512),
    (512, 512),
    (512, 512),
    (512, 512),
    (512, 512),
    (512, 512),
];

/// Reproducible noise in `[-1, 1)`.
fn noise(len: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

fn kernel(ci: usize, co: usize) -> Kernel {
    let shape = KernelShape::new(co, ci, 1, [3, 3]).unwrap();
    let data = noise(shape.len());
    Kernel::new(shape, data).unwrap()
}

/// One symmetric eigenproblem of the Gram matrix of a `[4n, n]` slice.
fn eigen(c: &mut Criterion) {
    let mut group = c.benchmark_group("eigen");
    for n in [4, 9, 16, 27, 32, 49, 121] {
        let x = DMatrix::from_iterator(4 * n, n, noise(4 * n * n).into_iter().map(f64::from));
        let gram = x.transpose() * &x;
        let (mut values, mut vectors) = (vec![0.0; n], vec![0.0; n * n]);
        for solver in [Solver::Nalgebra, Solver::Faer] {
            group.bench_function(BenchmarkId::new(format!("{solver:?}"), n), |b| {
                b.iter(|| {
                    let (a, s, v) = (black_box(gram.as_slice()), &mut values, &mut vectors);
                    symmetric_eigen_with(solver, a, n, s, v).unwrap();
                });
            });
        }
        let mut matrix = gram.clone();
        group.bench_function(BenchmarkId::new("Jacobi", n), |b| {
            b.iter(|| {
                matrix.copy_from(black_box(&gram));
                jacobi::diagonalise(matrix.as_mut_slice(), &mut vectors, n)
            });
        });
        if n == 9 {
            let fixed = SMatrix::<f64, 9, 9>::from_column_slice(gram.as_slice());
            group.bench_function(BenchmarkId::new("Nalgebra_static", n), |b| {
                b.iter(|| black_box(fixed).symmetric_eigen());
            });
        }
    }
    group.finish();
}

/// The largest layer of VGG-16, 512x512x3x3: this crate against thin SVDs.
fn layer(c: &mut Criterion) {
    let (ci, co, taps) = (512, 512, 9);
    let kernel = kernel(ci, co);
    let mut group = c.benchmark_group("vgg16_512x512x3x3");
    let slice = |input: usize| {
        DMatrix::from_fn(co, taps, |o, t| kernel.data()[(o * ci + input) * taps + t])
    };
    group.bench_function("thin_svd_nalgebra_1_thread", |b| {
        b.iter(|| {
            for input in 0..ci {
                black_box(slice(input).svd(true, true));
            }
        });
    });
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().unwrap();
        for name in ["dw-pw", "pw-dw"] {
            let family = family(name).unwrap();
            let id = format!("gram_{name}_{threads}_threads");
            group.bench_function(BenchmarkId::new(&id, "factor"), |b| {
                b.iter(|| pool.install(|| family.factor(&kernel).unwrap()));
            });
            let factored = family.factor(&kernel).unwrap();
            for rank in [2, 9] {
                group.bench_function(BenchmarkId::new(&id, format!("chain_k{rank}")), |b| {
                    b.iter(|| pool.install(|| factored.chain(rank).unwrap()));
                });
            }
        }
    }
    group.finish();
}

/// All 13 convolutions of VGG-16 (14.7 M weights): factor, and cut at K = 3.
fn network(c: &mut Criterion) {
    let kernels: Vec<Kernel> = VGG16.iter().map(|&(ci, co)| kernel(ci, co)).collect();
    let mut group = c.benchmark_group("vgg16_all");
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().unwrap();
        for name in ["dw-pw", "pw-dw"] {
            let family = family(name).unwrap();
            group.bench_function(BenchmarkId::new(name, threads), |b| {
                b.iter(|| {
                    pool.install(|| {
                        for kernel in &kernels {
                            black_box(family.factor(kernel).unwrap().chain(3).unwrap());
                        }
                    });
                });
            });
        }
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = eigen, layer, network
}
criterion_main!(benches);
