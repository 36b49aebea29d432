//! Measures of image-to-image models.
//!
//! SSIM: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to
//! structural similarity", IEEE TIP 13(4), 2004, equation 13 with the weights of section III-B.

use std::borrow::Cow;

use sepconv_data::Layout;

use super::measure::{Against, Measure, Metric};

/// Extent of the Gaussian window.
const WINDOW: usize = 11;
/// Standard deviation of the Gaussian window in pixels.
const SIGMA: f64 = 1.5;
const K1: f64 = 0.01;
const K2: f64 = 0.03;

/// Extents and layout of a picture's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    channels: usize,
    rows: usize,
    columns: usize,
    layout: Layout,
}

/// The shape of a sample that is a picture: `[c, h, w]` with at most four channels, or else
/// `[h, w, c]` with 1, 3 or 4, and more than one row and column.
pub(crate) fn picture(sample: &[usize]) -> Option<Shape> {
    let (channels, rows, columns, layout) = match *sample {
        [c @ 1..=4, h, w] => (c, h, w, Layout::Nchw),
        [h, w, c @ (1 | 3 | 4)] => (c, h, w, Layout::Nhwc),
        _ => return None,
    };
    (rows > 1 && columns > 1).then_some(Shape {
        channels,
        rows,
        columns,
        layout,
    })
}

/// Figures of one picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Picture {
    /// In dB; infinite without any difference.
    psnr: f64,
    /// `None` where the picture is smaller than the window.
    ssim: Option<f64>,
}

impl Picture {
    /// Compares a picture with the one wanted; `peak` is the largest value that a picture can have.
    /// Values are taken as they are: nothing is clamped or rounded.
    pub fn of(target: &[f64], output: &[f64], shape: Shape, peak: f64) -> Self {
        let squares = target.iter().zip(output).map(|(a, b)| (a - b) * (a - b));
        let mse = squares.sum::<f64>() / target.len() as f64;
        let large = shape.rows >= WINDOW && shape.columns >= WINDOW;
        let ssim = large.then(|| {
            let of = |c: usize| {
                let (a, b) = (shape.channel(target, c), shape.channel(output, c));
                ssim(&a, &b, shape.columns, peak)
            };
            (0..shape.channels).map(of).sum::<f64>() / shape.channels as f64
        });
        Self {
            psnr: 10.0 * (peak * peak / mse).log10(),
            ssim,
        }
    }
}

impl Shape {
    /// The values of one channel, row by row.
    fn channel<'v>(&self, values: &'v [f64], channel: usize) -> Cow<'v, [f64]> {
        let area = self.rows * self.columns;
        match self.layout {
            Layout::Nchw => Cow::Borrowed(&values[channel * area..][..area]),
            Layout::Nhwc => values[channel..]
                .iter()
                .step_by(self.channels)
                .copied()
                .collect(),
        }
    }
}

/// PSNR and, where every picture is large enough, SSIM: means over pictures.
pub(crate) fn measures(output: &str, against: Against, pictures: &[Picture]) -> Vec<Measure> {
    let mean = |metric, values: &[f64]| Measure::mean(metric, against, output, values);
    let psnr: Vec<f64> = pictures.iter().map(|p| p.psnr).collect();
    let ssim: Option<Vec<f64>> = pictures.iter().map(|p| p.ssim).collect();
    let mut measures = vec![mean(Metric::Psnr, &psnr)];
    measures.extend(ssim.map(|ssim| mean(Metric::Ssim, &ssim)));
    measures
}

/// Mean structural similarity of two channels of rows of `width`, over the windows that lie
/// within them.
fn ssim(a: &[f64], b: &[f64], width: usize, peak: f64) -> f64 {
    let window = window();
    let product =
        |x: &[f64], y: &[f64]| -> Vec<f64> { x.iter().zip(y).map(|(x, y)| x * y).collect() };
    let blurred = |values: &[f64]| blur(values, width, &window);
    let (mean_a, mean_b) = (blurred(a), blurred(b));
    let (aa, bb, ab) = (
        blurred(&product(a, a)),
        blurred(&product(b, b)),
        blurred(&product(a, b)),
    );
    let (c1, c2) = ((K1 * peak).powi(2), (K2 * peak).powi(2));
    let at = |i: usize| {
        let (ma, mb) = (mean_a[i], mean_b[i]);
        let (va, vb, cov) = (aa[i] - ma * ma, bb[i] - mb * mb, ab[i] - ma * mb);
        (2.0 * ma * mb + c1) * (2.0 * cov + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
    };
    (0..mean_a.len()).map(at).sum::<f64>() / mean_a.len() as f64
}

/// One axis of the Gaussian window; sums to 1.
fn window() -> [f64; WINDOW] {
    let mut weights = [0.0; WINDOW];
    for (i, weight) in weights.iter_mut().enumerate() {
        let x = i as f64 - (WINDOW / 2) as f64;
        *weight = (-x * x / (2.0 * SIGMA * SIGMA)).exp();
    }
    let sum: f64 = weights.iter().sum();
    weights.map(|w| w / sum)
}

/// Weighted means over all windows within a channel, row by row: first along rows, then down
/// columns.
fn blur(values: &[f64], width: usize, window: &[f64; WINDOW]) -> Vec<f64> {
    let inner = width - WINDOW + 1;
    let mut across = Vec::with_capacity(values.len() / width * inner);
    for row in values.chunks_exact(width) {
        across.extend(
            row.windows(WINDOW)
                .map(|x| x.iter().zip(window).map(|(x, w)| x * w).sum::<f64>()),
        );
    }
    let rows = across.len() / inner;
    let mut out = vec![0.0; (rows - WINDOW + 1) * inner];
    for (top, out) in out.chunks_exact_mut(inner).enumerate() {
        for (k, weight) in window.iter().enumerate() {
            let row = &across[(top + k) * inner..(top + k + 1) * inner];
            for (out, x) in out.iter_mut().zip(row) {
                *out += weight * x;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SHAPE: Shape = Shape {
        channels: 2,
        rows: 13,
        columns: 17,
        layout: Layout::Nchw,
    };

    fn shape(sample: [usize; 3]) -> Shape {
        picture(&sample).unwrap()
    }

    /// Two pictures that the Python below makes too.
    fn pictures() -> (Vec<f64>, Vec<f64>) {
        let n = 2 * 13 * 17;
        let a: Vec<f64> = (0..n).map(|i| f64::from(i * 37 % 101) / 100.0).collect();
        let noise = (0..n).map(|i| (f64::from(i * 53 % 89) / 89.0 - 0.5) * 0.2);
        let b = a.iter().zip(noise).map(|(a, e)| a + e).collect();
        (a, b)
    }

    /// The constants are those of scikit-image 0.26.0:
    ///
    /// ```python
    /// import numpy as np
    /// from skimage.metrics import structural_similarity, peak_signal_noise_ratio
    /// i = np.arange(2 * 13 * 17)
    /// a = (i * 37 % 101 / 100).reshape(2, 13, 17)
    /// b = a + ((i * 53 % 89) / 89 - 0.5).reshape(2, 13, 17) * 0.2
    /// for peak in (1.0, 255.0):
    ///     print(np.mean([structural_similarity(x, y, data_range=peak, gaussian_weights=True,
    ///         sigma=1.5, use_sample_covariance=False) for x, y in zip(a, b)]),
    ///         peak_signal_noise_ratio(a, b, data_range=peak))
    /// ```
    #[test]
    fn figures_are_those_of_scikit_image() {
        let (a, b) = pictures();
        let cases = [
            (1.0, 0.980_544_652_498_441, 24.762_651_906_779_777),
            (255.0, 0.999_942_551_899_613, 72.893_455_515_458_88),
        ];
        for (peak, ssim, psnr) in cases {
            let seen = Picture::of(&a, &b, SHAPE, peak);
            assert!((seen.ssim.unwrap() - ssim).abs() < 1e-12, "{seen:?}");
            assert!((seen.psnr - psnr).abs() < 1e-10, "{seen:?}");
        }
    }

    #[test]
    fn channels_last_have_the_same_figures() {
        let (a, b) = pictures();
        let last = |values: &[f64]| -> Vec<f64> {
            let of = |i: usize| values[i % 2 * 13 * 17 + i / 2];
            (0..values.len()).map(of).collect()
        };
        let shape = Shape {
            layout: Layout::Nhwc,
            ..SHAPE
        };
        let (first, seen) = (
            Picture::of(&a, &b, SHAPE, 1.0),
            Picture::of(&last(&a), &last(&b), shape, 1.0),
        );
        assert_eq!(seen.ssim, first.ssim);
        assert!((seen.psnr - first.psnr).abs() < 1e-12);
    }

    #[test]
    fn a_picture_is_like_itself() {
        let (a, _) = pictures();
        let seen = Picture::of(&a, &a, SHAPE, 1.0);
        assert_eq!(seen.psnr, f64::INFINITY);
        assert!((seen.ssim.unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn psnr_by_hand_and_small_pictures_without_ssim() {
        // A mean squared error of 0.01 at a peak of 1 is 20 dB.
        let seen = Picture::of(&[0.0; 4], &[0.1; 4], shape([1, 2, 2]), 1.0);
        assert!((seen.psnr - 20.0).abs() < 1e-12 && seen.ssim.is_none());
        let large = Picture::of(&[0.0; 121], &[1.0; 121], shape([1, 11, 11]), 1.0);
        // Both constant: c1 c2 / ((1 + c1) c2).
        assert!((large.ssim.unwrap() - 1e-4 / 1.0001).abs() < 1e-12);
        let both = measures("y", Against::Target, &[large, large]);
        assert_eq!((both.len(), both[0].value, both[0].n), (2, 0.0, 2));
        assert_eq!(measures("y", Against::Target, &[seen, large]).len(), 1);
    }

    #[test]
    fn what_pictures_are() {
        let of = |sample: [usize; 3]| {
            let s = shape(sample);
            (s.channels, s.rows, s.columns, s.layout)
        };
        assert_eq!(of([3, 8, 9]), (3, 8, 9, Layout::Nchw));
        assert_eq!(of([2, 8, 3]), (2, 8, 3, Layout::Nchw));
        assert_eq!(of([8, 9, 3]), (3, 8, 9, Layout::Nhwc));
        assert_eq!(of([8, 9, 1]), (1, 8, 9, Layout::Nhwc));
        for other in [
            &[64, 8, 8][..],
            &[8, 8, 2],
            &[3, 1, 1],
            &[3, 8],
            &[1, 3, 8, 8],
        ] {
            assert_eq!(picture(other), None);
        }
    }
}
