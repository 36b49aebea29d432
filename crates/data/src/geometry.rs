//! The way of a picture's pixels to the model: resize, then centre crop.

use crate::error::DataError;
use crate::planes::{margin, output_size};
use crate::preprocess::Preprocess;

/// The way of positions in one picture to the model's input. Pairs are of rows and columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Geometry {
    /// Extents of the picture.
    pub from: [usize; 2],
    /// Extents after the resize.
    resized: [usize; 2],
    /// Rows and columns that the crop leaves out before the first.
    margin: [usize; 2],
    /// Extents of the input.
    pub to: [usize; 2],
}

impl Geometry {
    /// Of a picture of `height` by `width` pixels by a recipe.
    ///
    /// # Errors
    /// [`DataError::Value`] naming `what` for a crop larger than the picture, or a resize to too many pixels.
    pub fn of(
        recipe: &Preprocess,
        what: &str,
        height: usize,
        width: usize,
    ) -> Result<Self, DataError> {
        let to = output_size(recipe, what, height, width)?;
        let resized = recipe
            .resize
            .map_or((height, width), |r| r.size(height, width));
        Ok(Self {
            from: [height, width],
            resized: [resized.0, resized.1],
            margin: [margin(resized.0, to.0), margin(resized.1, to.1)],
            to: [to.0, to.1],
        })
    }

    /// A box by its left, top, width and height in pixels of the picture, as its left, top, right and
    /// bottom in those of the input. Of a box that the crop cuts, what is left; `None` where nothing is.
    pub fn corners(&self, [x, y, width, height]: [f64; 4]) -> Option<[f64; 4]> {
        let at = |value: f64, axis: usize| {
            value * self.resized[axis] as f64 / self.from[axis] as f64 - self.margin[axis] as f64
        };
        let corners = [at(x, 1), at(y, 0), at(x + width, 1), at(y + height, 0)];
        if self.resized == self.to {
            return Some(corners);
        }
        let within = |i: usize| corners[i].clamp(0.0, self.to[1 - i % 2] as f64);
        let cut = [0, 1, 2, 3].map(within);
        (cut[2] > cut[0] && cut[3] > cut[1]).then_some(cut)
    }

    /// A value for every position of the picture, row-major, as one for every position of the input:
    /// that of the nearest.
    pub fn nearest<T: Copy>(&self, values: &[T]) -> Vec<T> {
        if self.from == self.to && self.resized == self.to {
            return values.to_vec();
        }
        let at = |i: usize, axis: usize| {
            let centre = (i + self.margin[axis]) as f64 + 0.5;
            let from = centre * self.from[axis] as f64 / self.resized[axis] as f64;
            (from as usize).min(self.from[axis] - 1)
        };
        let columns: Vec<usize> = (0..self.to[1]).map(|i| at(i, 1)).collect();
        let rows = (0..self.to[0]).map(|i| at(i, 0) * self.from[1]);
        rows.flat_map(|row| columns.iter().map(move |column| values[row + column]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planes::{Planes, apply};

    fn recipe(resize: Option<&str>, crop: Option<&str>) -> Preprocess {
        Preprocess {
            resize: resize.map(|text| text.parse().unwrap()),
            crop: crop.map(|text| text.parse().unwrap()),
            ..Preprocess::default()
        }
    }

    #[test]
    fn boxes_go_where_the_pixels_go() {
        let stretched = Geometry::of(&recipe(Some("40x10"), None), "x", 20, 20).unwrap();
        let corners = stretched.corners([5.0, 10.0, 10.0, 4.0]);
        assert_eq!(corners, Some([10.0, 5.0, 30.0, 7.0]));
        // Past the edge of the picture a box stays what it is, where nothing is cut.
        let outside = stretched.corners([-5.0, 0.0, 10.0, 20.0]);
        assert_eq!(outside, Some([-10.0, 0.0, 10.0, 10.0]));
        let cut = Geometry::of(&recipe(Some("10"), Some("6x8")), "x", 20, 40).unwrap();
        // 10 by 20 after the resize; 8 rows from 1 and 6 columns from 7.
        assert_eq!(
            cut.corners([0.0, 0.0, 40.0, 20.0]),
            Some([0.0, 0.0, 6.0, 8.0])
        );
        assert_eq!(
            cut.corners([16.0, 4.0, 4.0, 4.0]),
            Some([1.0, 1.0, 3.0, 3.0])
        );
        assert_eq!(cut.corners([0.0, 0.0, 14.0, 20.0]), None);
    }

    /// A picture of two halves, and its mask, have the edge at the same place whatever is done to them.
    #[test]
    fn masks_go_where_the_pixels_go() {
        let (height, width) = (24, 32);
        for (resize, crop) in [
            (None, None),
            (Some("64x48"), None),
            (Some("16x12"), None),
            (Some("12"), Some("10x8")),
            (None, Some("20x11")),
        ] {
            let recipe = recipe(resize, crop);
            let value = |i: usize| u8::from(i % width >= 12 && i / width >= 8);
            let mask: Vec<u8> = (0..height * width).map(value).collect();
            let planes = Planes {
                channels: 1,
                height,
                width,
                data: mask.iter().map(|v| f32::from(*v)).collect(),
            };
            let picture = apply(&recipe, "x", planes, false).unwrap();
            let geometry = Geometry::of(&recipe, "x", height, width).unwrap();
            assert_eq!(geometry.to, [picture.height, picture.width]);
            let seen = geometry.nearest(&mask);
            assert_eq!(seen.len(), picture.data.len());
            for (mask, pixel) in seen.iter().zip(&picture.data) {
                // Pixels on the edge are in between.
                assert!(
                    (f32::from(*mask) - pixel).abs() <= 0.5,
                    "{resize:?} {crop:?}"
                );
            }
        }
    }
}
