//! Gram matrices `X^T X` of tall, narrow matrices.

/// Adds `X^T X` to `gram`, where `X` is row-major `[rows, columns]` and `gram` row-major
/// `[columns, columns]`; only the upper triangle is written (see [`mirror`]).
///
/// The order of the additions depends on nothing but the shape.
pub fn accumulate(gram: &mut [f64], x: &[f64], columns: usize) {
    // A constant width lets the compiler unroll the inner loops.
    match columns {
        3 => accumulate_rows(gram, x, 3),
        9 => accumulate_rows(gram, x, 9),
        25 => accumulate_rows(gram, x, 25),
        27 => accumulate_rows(gram, x, 27),
        _ => accumulate_rows(gram, x, columns),
    }
}

#[inline(always)]
fn accumulate_rows(gram: &mut [f64], x: &[f64], columns: usize) {
    // Four rows at a time quarter the traffic to the Gram matrix.
    let mut quads = x.chunks_exact(4 * columns);
    for quad in &mut quads {
        let (a, rest) = quad.split_at(columns);
        let (b, rest) = rest.split_at(columns);
        let (c, d) = rest.split_at(columns);
        for (i, row) in gram.chunks_exact_mut(columns).enumerate() {
            for j in i..columns {
                row[j] += (a[i] * a[j] + b[i] * b[j]) + (c[i] * c[j] + d[i] * d[j]);
            }
        }
    }
    for a in quads.remainder().chunks_exact(columns) {
        for (i, row) in gram.chunks_exact_mut(columns).enumerate() {
            for j in i..columns {
                row[j] += a[i] * a[j];
            }
        }
    }
}

/// Copies the upper triangle of a row-major `[n, n]` matrix to the lower one.
pub fn mirror(matrix: &mut [f64], n: usize) {
    for i in 0..n {
        for j in 0..i {
            matrix[i * n + j] = matrix[j * n + i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_product_at_every_width_and_height() {
        for columns in [1, 2, 3, 9, 10, 25, 27] {
            for rows in 0..10 {
                let x: Vec<f64> = (0..rows * columns)
                    .map(|i| f64::from((i * 7 % 11) as u32) - 5.0)
                    .collect();
                let mut gram = vec![0.0; columns * columns];
                accumulate(&mut gram, &x, columns);
                mirror(&mut gram, columns);
                for i in 0..columns {
                    for j in 0..columns {
                        let product: f64 = x.chunks(columns).map(|row| row[i] * row[j]).sum();
                        assert_eq!(gram[i * columns + j], product, "{rows}x{columns} {i} {j}");
                    }
                }
            }
        }
    }
}
