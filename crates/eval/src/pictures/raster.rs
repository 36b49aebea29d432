//! Pictures of 8 bits that are drawn on.

use sepconv_data::encode_png;

/// Extents above this are made smaller.
const MOST: usize = 224;
/// Extents below this are made larger, each pixel a square of them.
const LEAST: usize = 112;

/// Red, green and blue.
pub type Colour = [u8; 3];

/// A picture, row-major.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raster {
    width: usize,
    height: usize,
    pixels: Vec<Colour>,
}

impl Raster {
    /// A picture of `height` by `width` pixels, by row and column.
    pub fn of(height: usize, width: usize, pixel: impl Fn(usize, usize) -> [u8; 3]) -> Self {
        let pixel = &pixel;
        let rows = 0..height;
        Self {
            width,
            height,
            pixels: rows
                .flat_map(|y| (0..width).map(move |x| pixel(y, x)))
                .collect(),
        }
    }

    /// Pixels across.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels down.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Red, green and blue of every pixel, row-major.
    pub fn pixels(&self) -> &[[u8; 3]] {
        &self.pixels
    }

    /// As a PNG file; `None` without pixels.
    pub fn png(&self) -> Option<Vec<u8>> {
        encode_png(self.width, self.height, &self.pixels.concat())
    }

    /// The same in the size of a page: the longer side at most [`MOST`] pixels, by the mean of those that
    /// fall into one, or at least [`LEAST`] where whole squares reach that. With it goes the factor.
    pub(crate) fn fitted(&self) -> (Self, f64) {
        let side = self.width.max(self.height).max(1);
        if side > MOST {
            let factor = MOST as f64 / side as f64;
            return (self.shrunk(factor), factor);
        }
        let times = LEAST.div_ceil(side).min(MOST / side);
        let pixel = |y: usize, x: usize| self.pixels[y / times * self.width + x / times];
        (
            Self::of(self.height * times, self.width * times, pixel),
            times as f64,
        )
    }

    fn shrunk(&self, factor: f64) -> Self {
        let extent = |n: usize| ((n as f64 * factor).round() as usize).max(1);
        let (height, width) = (extent(self.height), extent(self.width));
        let range = |i: usize, from: usize, to: usize| {
            let start = i * from / to;
            start..((i + 1) * from / to).max(start + 1)
        };
        Self::of(height, width, |y, x| {
            let (rows, columns) = (range(y, self.height, height), range(x, self.width, width));
            let count = (rows.len() * columns.len()) as u32;
            let mut sums = [0u32; 3];
            for row in rows {
                for column in columns.clone() {
                    let pixel = self.pixels[row * self.width + column];
                    sums.iter_mut()
                        .zip(pixel)
                        .for_each(|(sum, v)| *sum += u32::from(v));
                }
            }
            sums.map(|sum| ((sum + count / 2) / count) as u8)
        })
    }

    /// Draws the outline of a box by its left, top, right and bottom in pixels, two pixels wide; what is
    /// outside is cut off.
    pub(crate) fn outline(&mut self, corners: [f64; 4], colour: Colour) {
        let last = [self.width, self.height].map(|n| n as f64 - 1.0);
        let [left, top, right, bottom] = [0, 1, 2, 3].map(|i| {
            let value = if corners[i].is_finite() {
                corners[i]
            } else {
                0.0
            };
            value.clamp(0.0, last[i % 2].max(0.0)) as usize
        });
        for y in top..=bottom.max(top) {
            for x in left..=right.max(left) {
                let edge = x < left + 2 || x + 2 > right || y < top + 2 || y + 2 > bottom;
                if edge {
                    self.pixels[y * self.width + x] = colour;
                }
            }
        }
    }

    /// Mixes colours half and half into pixels, by row and column; `None` leaves the pixel.
    pub(crate) fn tint(&mut self, colour: impl Fn(usize, usize) -> Option<Colour>) {
        for (i, pixel) in self.pixels.iter_mut().enumerate() {
            if let Some(colour) = colour(i / self.width, i % self.width) {
                let mixed = |c: usize| u16::midpoint(pixel[c].into(), colour[c].into()) as u8;
                *pixel = [0, 1, 2].map(mixed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pictures_are_fitted_to_the_page() {
        let (small, times) = Raster::of(10, 20, |y, x| [y as u8, x as u8, 0]).fitted();
        assert_eq!((small.height(), small.width(), times), (60, 120, 6.0));
        assert_eq!(small.pixels[6 * 120 + 13], [1, 2, 0]);
        let (large, factor) = Raster::of(448, 896, |_, x| [(x % 4 * 10) as u8; 3]).fitted();
        assert_eq!((large.height(), large.width(), factor), (112, 224, 0.25));
        assert!(large.pixels.iter().all(|p| *p == [15; 3]));
        assert!(large.png().unwrap().starts_with(b"\x89PNG"));
    }

    #[test]
    fn outlines_are_two_pixels_wide_and_within_the_picture() {
        let count = |corners| {
            let mut picture = Raster::of(20, 30, |_, _| [0; 3]);
            picture.outline(corners, [1, 2, 3]);
            picture.pixels.iter().filter(|p| **p == [1, 2, 3]).count()
        };
        // 10 by 8 pixels less 6 by 4.
        assert_eq!(count([5.0, 5.0, 14.0, 12.0]), 80 - 24);
        assert_eq!(count([-50.0, -9.0, 500.0, 90.0]), 600 - 26 * 16);
        assert_eq!(count([f64::NAN, 3.0, 1.0, 3.5]), 2);
        let mut tinted = Raster::of(1, 2, |_, _| [100; 3]);
        tinted.tint(|_, x| (x == 1).then_some([200, 0, 100]));
        assert_eq!(tinted.pixels, [[100; 3], [150, 50, 100]]);
    }
}
