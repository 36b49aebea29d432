//! The Gram route against a thin SVD, on slices that make the Gram matrix (nearly) singular, and
//! the conventions of scale and sign.
#![allow(clippy::unwrap_used)]

use nalgebra::DMatrix;
use sepconv_factor::{Kernel, KernelShape, family};

const ROWS: usize = 24;
const TAPS: usize = 9;

/// An orthonormal `[rows, columns]` matrix.
fn orthonormal(rows: usize, columns: usize, seed: usize) -> DMatrix<f64> {
    DMatrix::from_fn(rows, columns, |r, c| {
        (((r * 31 + c * 17 + seed * 7) * 7919 % 10007) as f64).sin()
    })
    .qr()
    .q()
}

/// A `[rows, taps]` matrix with the given singular values.
fn with_values(rows: usize, taps: usize, values: &[f64], seed: usize) -> DMatrix<f64> {
    let n = rows.min(taps);
    let diagonal = DMatrix::from_fn(n, n, |r, c| {
        if r == c {
            values.get(r).copied().unwrap_or(0.0)
        } else {
            0.0
        }
    });
    orthonormal(rows, n, seed) * diagonal * orthonormal(taps, n, seed + 1).transpose()
}

/// Well-conditioned, graded, rank-deficient and zero slices.
fn slices(rows: usize, taps: usize) -> Vec<DMatrix<f64>> {
    let values: [&[f64]; 6] = [
        &[3.0, 2.0, 1.0, 0.5],
        &[1.0, 1e-4, 1e-10],
        &[1.0, 1e-4, 1e-10, 1e-11, 1e-12, 1e-13],
        &[1.0, 1.0],
        &[1e-12],
        &[],
    ];
    let build = |(seed, v): (usize, &&[f64])| with_values(rows, taps, v, seed);
    values.iter().enumerate().map(build).collect()
}

/// A kernel whose slices are `slices`, by output channel (`pw-dw`) or by input channel (`dw-pw`).
fn kernel(slices: &[DMatrix<f64>], by_output: bool) -> Kernel {
    let (rows, taps) = slices[0].shape();
    let (out, input) = if by_output {
        (slices.len(), rows)
    } else {
        (rows, slices.len())
    };
    let shape = KernelShape::new(out, input, 1, [taps]).unwrap();
    let entry = |i: usize| {
        let (o, c, t) = (i / taps / input, i / taps % input, i % taps);
        let (slice, row) = if by_output { (o, c) } else { (c, o) };
        slices[slice][(row, t)] as f32
    };
    Kernel::new(
        shape.clone(),
        (0..shape.len()).map(entry).collect::<Vec<_>>(),
    )
    .unwrap()
}

/// Both families, and slices with more rows than taps and the reverse.
fn cases() -> Vec<(&'static str, Vec<DMatrix<f64>>, Kernel)> {
    let mut cases = Vec::new();
    for (rows, taps) in [(ROWS, TAPS), (TAPS, ROWS), (40, 36)] {
        for (name, by_output) in [("dw-pw", false), ("pw-dw", true)] {
            let slices = slices(rows, taps);
            let kernel = kernel(&slices, by_output);
            cases.push((name, slices, kernel));
        }
    }
    cases
}

#[test]
fn every_slice_is_exact_at_full_rank() {
    for (name, slices, all) in cases() {
        // Each slice alone too, so that a small one cannot hide behind the others.
        let mut kernels = vec![all];
        kernels.extend(
            slices
                .iter()
                .map(|s| kernel(std::slice::from_ref(s), name == "pw-dw")),
        );
        for kernel in kernels {
            let factored = family(name).unwrap().factor(&kernel).unwrap();
            let chain = factored.chain(factored.spectrum().len()).unwrap();
            let error = kernel.relative_error(&chain.compose().unwrap()).unwrap();
            assert!(error < 1e-6, "{name} {}: {error}", kernel.shape());
        }
    }
}

#[test]
fn spectrum_agrees_with_a_thin_svd() {
    for (name, slices, kernel) in cases() {
        let n = slices[0].nrows().min(slices[0].ncols());
        let mut pooled = vec![0.0; n];
        for slice in &slices {
            let rounded = slice.map(|x| f64::from(x as f32));
            let mut values = rounded.singular_values().as_slice().to_vec();
            values.sort_by(|a, b| b.total_cmp(a));
            for (pool, value) in pooled.iter_mut().zip(values) {
                *pool += value * value;
            }
        }
        let factored = family(name).unwrap().factor(&kernel).unwrap();
        let found = factored.spectrum().components();
        for (found, expected) in found.iter().zip(&pooled) {
            assert!(
                (found - expected).abs() < 1e-14 * pooled[0] * n as f64,
                "{name} {found} {expected}"
            );
        }
    }
}

/// `(mixing, filter)` vectors of component `r` of slice `s`.
fn component(kernel: &Kernel, name: &str, s: usize, r: usize) -> (Vec<f64>, Vec<f64>) {
    let factored = family(name).unwrap().factor(kernel).unwrap();
    let rank = factored.spectrum().len();
    let chain = factored.chain(rank).unwrap();
    let (taps, channel) = (kernel.shape().taps(), s * rank + r);
    let (first, second) = (&chain.stages[0].weight, &chain.stages[1].weight);
    if name == "dw-pw" {
        let row = kernel.shape().in_channels * rank;
        let mixing = second.iter().skip(channel).step_by(row).copied().collect();
        (mixing, first[channel * taps..][..taps].to_vec())
    } else {
        let row = kernel.shape().in_channels;
        let mixing = first[channel * row..][..row].to_vec();
        (mixing, second[channel * taps..][..taps].to_vec())
    }
}

#[test]
fn scale_is_split_evenly_and_the_leading_tap_is_positive() {
    let norm = |v: &[f64]| v.iter().map(|x| x.powi(2)).sum::<f64>().sqrt();
    for (name, _, kernel) in cases() {
        for (r, sigma) in [3.0_f64, 2.0, 1.0, 0.5].into_iter().enumerate() {
            let (mixing, filter) = component(&kernel, name, 0, r);
            assert!((norm(&mixing) - sigma.sqrt()).abs() < 1e-5, "{name} {r}");
            assert!((norm(&filter) - sigma.sqrt()).abs() < 1e-5, "{name} {r}");
            let leading = filter
                .iter()
                .copied()
                .max_by(|a, b| a.abs().total_cmp(&b.abs()));
            assert!(leading.unwrap() > 0.0, "{name} {r} {filter:?}");
        }
    }
}
