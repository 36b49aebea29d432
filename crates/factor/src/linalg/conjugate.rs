//! Preconditioned conjugate gradients.

use super::dense::{axpy, dot};

/// The end of an iteration.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Products at most.
    pub iterations: usize,
    /// End where the preconditioned norm of the residual has fallen to this share of that of the
    /// right-hand side.
    pub tolerance: f64,
}

/// A matrix `N` that is known by its products, symmetric positive semi-definite, and an approximation
/// of its inverse. Both write into their second argument, which is as long as the first.
#[derive(Debug, Clone, Copy)]
pub struct System<A, P> {
    /// `v` to `N v`.
    pub apply: A,
    /// `v` to about `N^-1 v`, symmetric positive definite.
    pub precondition: P,
}

/// Length of a patch up to which as many products are taken as [`Limits`] say.
const WIDE: usize = 1152;

impl Limits {
    /// For patches of `d` values: a product costs as the square of `d`, so that wide ones get
    /// half as many. The next round of a fit goes on from where they end.
    pub fn of_patches(self, d: usize) -> Self {
        Self {
            iterations: self.iterations.div_ceil(1 + usize::from(d > WIDE)),
            ..self
        }
    }
}

/// Improves `x` `[n]` towards the solution of `N x = rhs` by preconditioned conjugate gradients.
/// `x^T N x - 2 x^T rhs` never rises above its value at the start, however early it ends.
/// Hestenes and Stiefel 1952.
pub fn solve(
    x: &mut [f64],
    rhs: &[f64],
    limits: Limits,
    system: System<impl FnMut(&[f64], &mut [f64]), impl Fn(&[f64], &mut [f64])>,
) {
    let n = x.len().max(1);
    solve_rows(x, rhs, n, limits, system);
}

/// [`solve`] of many systems of the same size at once: row by row of `x` and `rhs` `[rows, n]`,
/// each with its own steps. `apply` multiplies every row by its own matrix. The bytes of a row do
/// not depend on the other rows where those of `apply` and `precondition` do not.
pub fn solve_rows(
    x: &mut [f64],
    rhs: &[f64],
    n: usize,
    limits: Limits,
    system: System<impl FnMut(&[f64], &mut [f64]), impl Fn(&[f64], &mut [f64])>,
) {
    let System {
        mut apply,
        precondition,
    } = system;
    let (mut product, mut z) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let dots = |a: &[f64], b: &[f64]| -> Vec<f64> {
        let rows = a.chunks_exact(n).zip(b.chunks_exact(n));
        rows.map(|(a, b)| dot(a, b)).collect()
    };
    precondition(rhs, &mut z);
    let mut goals: Vec<f64> = dots(rhs, &z)
        .iter()
        .map(|g| g * limits.tolerance * limits.tolerance)
        .collect();
    apply(x, &mut product);
    let mut residual: Vec<f64> = rhs.iter().zip(&product).map(|(b, p)| b - p).collect();
    precondition(&residual, &mut z);
    let mut direction = z.clone();
    let mut energies = dots(&residual, &z);
    for _ in 1..limits.iterations {
        let open: Vec<bool> = energies.iter().zip(&goals).map(|(e, g)| e > g).collect();
        if !open.contains(&true) {
            break;
        }
        apply(&direction, &mut product);
        let curvatures = dots(&direction, &product);
        for (row, curvature) in curvatures.into_iter().enumerate().filter(|(r, _)| open[*r]) {
            if curvature.is_nan() || curvature <= 0.0 {
                goals[row] = f64::INFINITY;
                continue;
            }
            let step = energies[row] / curvature;
            let row = row * n..(row + 1) * n;
            axpy(&mut x[row.clone()], step, &direction[row.clone()]);
            axpy(&mut residual[row.clone()], -step, &product[row]);
        }
        precondition(&residual, &mut z);
        let next = dots(&residual, &z);
        let rows = direction.chunks_exact_mut(n).zip(z.chunks_exact(n));
        for ((d, z), (next, energy)) in rows.zip(next.iter().zip(&energies)) {
            let ratio = if *energy > 0.0 { next / energy } else { 0.0 };
            d.iter_mut().zip(z).for_each(|(d, z)| *d = z + ratio * *d);
        }
        energies = next;
    }
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
            let precondition = |v: &[f64], out: &mut [f64]| out.copy_from_slice(v);
            let system = System {
                apply,
                precondition,
            };
            solve(&mut x, &rhs, limits, system);
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

    #[test]
    fn rows_are_solved_as_if_alone() {
        let n = 9;
        // Every row has its own matrix: a multiple of one, which is not the preconditioner's.
        let times = |row: usize, v: &[f64], out: &mut [f64]| {
            for (i, out) in out.iter_mut().enumerate() {
                let others: f64 = v.iter().sum::<f64>() * 0.3;
                *out = (row + 1) as f64 * ((i + 1) as f64 * v[i] + others);
            }
        };
        let rhs: Vec<f64> = (0..3 * n).map(|i| (i as f64).cos()).collect();
        for iterations in [2, 4, 12] {
            let limits = Limits {
                iterations,
                tolerance: 1e-9,
            };
            let mut all = vec![0.5; 3 * n];
            let apply = |v: &[f64], out: &mut [f64]| {
                let rows = v.chunks_exact(n).zip(out.chunks_exact_mut(n));
                rows.enumerate()
                    .for_each(|(row, (v, out))| times(row, v, out));
            };
            let precondition = |v: &[f64], out: &mut [f64]| out.copy_from_slice(v);
            let system = System {
                apply,
                precondition,
            };
            solve_rows(&mut all, &rhs, n, limits, system);
            for (row, found) in all.chunks_exact(n).enumerate() {
                let mut alone = vec![0.5; n];
                let rhs = &rhs[row * n..][..n];
                let system = System {
                    apply: |v: &[f64], out: &mut [f64]| times(row, v, out),
                    precondition,
                };
                solve(&mut alone, rhs, limits, system);
                let worst = alone.iter().zip(found).map(|(a, b)| (a - b).abs());
                assert!(worst.fold(0.0, f64::max) < 1e-9);
            }
        }
    }
}
