//! Preconditioned conjugate gradients.

use super::dense::{axpy, dot};

/// How long to iterate.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Products at most.
    pub iterations: usize,
    /// End where the preconditioned norm of the residual has fallen to this share of that of the
    /// right-hand side.
    pub tolerance: f64,
}

/// Improves `x` `[n]` towards the solution of `N x = rhs`, where `N` is symmetric positive
/// semi-definite and known by `apply(v, out)`, `precondition(v, out)` approximates its inverse.
/// `x^T N x - 2 x^T rhs` never rises above its value at the start, however early it ends.
///
/// Returns the number of products. Hestenes and Stiefel 1952.
pub fn solve(
    x: &mut [f64],
    rhs: &[f64],
    limits: Limits,
    apply: impl Fn(&[f64], &mut [f64]),
    precondition: impl Fn(&[f64], &mut [f64]),
) -> usize {
    let n = x.len();
    let (mut product, mut z) = (vec![0.0; n], vec![0.0; n]);
    precondition(rhs, &mut z);
    let goal = dot(rhs, &z) * limits.tolerance * limits.tolerance;
    apply(x, &mut product);
    let mut residual: Vec<f64> = rhs.iter().zip(&product).map(|(b, p)| b - p).collect();
    precondition(&residual, &mut z);
    let mut direction = z.clone();
    let mut energy = dot(&residual, &z);
    let mut products = 1;
    while products < limits.iterations && energy > goal {
        apply(&direction, &mut product);
        products += 1;
        let curvature = dot(&direction, &product);
        if curvature.is_nan() || curvature <= 0.0 {
            break;
        }
        let step = energy / curvature;
        axpy(x, step, &direction);
        axpy(&mut residual, -step, &product);
        precondition(&residual, &mut z);
        let next = dot(&residual, &z);
        let ratio = next / energy;
        energy = next;
        for (d, z) in direction.iter_mut().zip(&z) {
            *d = z + ratio * *d;
        }
    }
    products
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solves_and_never_rises() {
        let n = 12;
        let a = |i: usize, j: usize| {
            1.0 / (1.0 + (i as f64 - j as f64).abs()) + f64::from(u8::from(i == j))
        };
        let apply = |v: &[f64], out: &mut [f64]| {
            for (i, out) in out.iter_mut().enumerate() {
                *out = (0..n).map(|j| a(i, j) * v[j]).sum();
            }
        };
        let rhs: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
        let objective = |x: &[f64]| {
            let mut product = vec![0.0; n];
            apply(x, &mut product);
            dot(x, &product) - 2.0 * dot(x, &rhs)
        };
        let mut last = f64::INFINITY;
        for iterations in 1..15 {
            let mut x = vec![1.0; n];
            let limits = Limits {
                iterations,
                tolerance: 1e-12,
            };
            solve(&mut x, &rhs, limits, apply, |v, out| out.copy_from_slice(v));
            let now = objective(&x);
            assert!(now <= last + 1e-12, "{now} {last}");
            last = now;
            if iterations == 14 {
                let mut product = vec![0.0; n];
                apply(&x, &mut product);
                let worst = product.iter().zip(&rhs).map(|(p, b)| (p - b).abs());
                assert!(worst.fold(0.0, f64::max) < 1e-9);
            }
        }
    }
}
