//! The cyclic Jacobi eigenvalue iteration (Golub and Van Loan, Matrix Computations, 4th ed.,
//! section 8.5), kept to show that it is not the fastest at any size that matters here.

/// Sweeps after which the iteration gives up; in practice it takes 6 to 10.
const MAX_SWEEPS: usize = 60;

/// Diagonalises the symmetric row-major `matrix` `[n, n]` in place; row `r` of `vectors`
/// `[n, n]` becomes the eigenvector of the diagonal entry `r`, in no particular order. Returns
/// whether it converged.
pub fn diagonalise(matrix: &mut [f64], vectors: &mut [f64], n: usize) -> bool {
    match n {
        9 => sweep(matrix, vectors, 9),
        _ => sweep(matrix, vectors, n),
    }
}

#[inline(always)]
fn sweep(a: &mut [f64], v: &mut [f64], n: usize) -> bool {
    v.fill(0.0);
    for i in 0..n {
        v[i * n + i] = 1.0;
    }
    let norm = a[..n * n].iter().map(|x| x * x).sum::<f64>().sqrt();
    let negligible = norm * f64::EPSILON / n as f64;
    for _ in 0..MAX_SWEEPS {
        let mut rotated = false;
        for p in 0..n {
            for q in p + 1..n {
                let apq = a[p * n + q];
                if apq.abs() <= negligible {
                    continue;
                }
                rotated = true;
                let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                let app = a[p * n + p] - t * apq;
                let aqq = a[q * n + q] + t * apq;
                rotate(a, n, p, q, c, s);
                for k in 0..n {
                    a[k * n + p] = a[p * n + k];
                    a[k * n + q] = a[q * n + k];
                }
                a[p * n + p] = app;
                a[q * n + q] = aqq;
                a[p * n + q] = 0.0;
                a[q * n + p] = 0.0;
                rotate(v, n, p, q, c, s);
            }
        }
        if !rotated {
            return true;
        }
    }
    false
}

/// Rotates rows `p < q` of a row-major matrix with `n` columns.
#[inline(always)]
fn rotate(matrix: &mut [f64], n: usize, p: usize, q: usize, c: f64, s: f64) {
    let (head, tail) = matrix.split_at_mut(q * n);
    let rows = head[p * n..][..n].iter_mut().zip(&mut tail[..n]);
    for (x, y) in rows {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}
