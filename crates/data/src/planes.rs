//! Pictures as f32 planes: resize, crop, channel order and normalisation.

use sepconv_ir::DType;

use crate::convert;
use crate::dense::width;
use crate::error::DataError;
use crate::layout::Layout;
use crate::preprocess::{ChannelOrder, Preprocess};

/// One picture: `channels` planes of `height` rows of `width` pixels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Planes {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub data: Vec<f32>,
}

impl Planes {
    /// The values as bytes of `dtype`, laid out as `layout` says.
    pub(crate) fn bytes(&self, dtype: DType, layout: Layout) -> Vec<u8> {
        let bytes = convert::from_f32(dtype, &self.data);
        let planar = [self.channels, self.height, self.width];
        Layout::Nchw.turned(layout, bytes, planar, width(dtype))
    }
}

/// The most pixels that a resized picture may have.
const MAX_PIXELS: usize = 1 << 28;

/// The size (height, width) after resize and crop, or an error naming `what`.
pub(crate) fn output_size(
    recipe: &Preprocess,
    what: &str,
    height: usize,
    width: usize,
) -> Result<(usize, usize), DataError> {
    let (height, width) = recipe
        .resize
        .map_or((height, width), |r| r.size(height, width));
    if recipe.resize.is_some() && height.saturating_mul(width) > MAX_PIXELS {
        return Err(DataError::value(
            format!("resize of {what}"),
            format!("at most {MAX_PIXELS} pixels"),
            format!("{width}x{height}"),
        ));
    }
    if let Some(crop) = recipe.crop {
        if crop.height > height || crop.width > width {
            return Err(DataError::value(
                format!("crop of {what}"),
                format!("at most its size of {width}x{height} (width x height)"),
                format!("{}x{}", crop.width, crop.height),
            ));
        }
        return Ok((crop.height, crop.width));
    }
    Ok((height, width))
}

/// Applies the recipe, but for the layout, to one picture.
///
/// `whole` says that the source holds integers: resized values are then
/// rounded to whole numbers, as imaging libraries do with 8-bit pictures.
pub(crate) fn apply(
    recipe: &Preprocess,
    what: &str,
    mut planes: Planes,
    whole: bool,
) -> Result<Planes, DataError> {
    let (height, width) = output_size(recipe, what, planes.height, planes.width)?;
    if let Some(resize) = recipe.resize {
        let (h, w) = resize.size(planes.height, planes.width);
        planes = resized(&planes, h, w, whole);
    }
    if recipe.crop.is_some() {
        planes = cropped(&planes, height, width);
    }
    if recipe.channel_order == ChannelOrder::Bgr && planes.channels == 3 {
        let plane = planes.height * planes.width;
        let (first, rest) = planes.data.split_at_mut(plane);
        first.swap_with_slice(&mut rest[plane..]);
    }
    if recipe.has_affine() {
        let plane = (planes.height * planes.width).max(1);
        for (c, pixels) in planes.data.chunks_exact_mut(plane).enumerate() {
            let (mean, std) = recipe.channel(c);
            for x in pixels {
                *x = ((f64::from(*x) * recipe.scale - mean) / std) as f32;
            }
        }
    }
    Ok(planes)
}

/// What a centre crop to `part` of `all` pixels leaves out at the start; an odd margin is split to the even
/// side, as torchvision does.
pub(crate) fn margin(all: usize, part: usize) -> usize {
    ((all - part) as f64 / 2.0).round_ties_even() as usize
}

/// The centre `height` by `width`.
fn cropped(from: &Planes, height: usize, width: usize) -> Planes {
    let (top, left) = (margin(from.height, height), margin(from.width, width));
    let mut data = Vec::with_capacity(from.channels * height * width);
    for c in 0..from.channels {
        for y in top..top + height {
            let start = (c * from.height + y) * from.width + left;
            data.extend_from_slice(&from.data[start..start + width]);
        }
    }
    Planes {
        channels: from.channels,
        height,
        width,
        data,
    }
}

/// The taps of one output pixel: the first input pixel and the weights from there.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// The triangle filter from `from` to `to` pixels, widened when it shrinks (antialiasing).
fn triangle(from: usize, to: usize) -> Vec<Taps> {
    let ratio = from as f64 / to as f64;
    let support = ratio.max(1.0);
    (0..to)
        .map(|i| {
            let centre = (i as f64 + 0.5) * ratio;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let last = ((centre + support + 0.5) as usize).clamp(first + 1, from);
            let raw: Vec<f64> = (first..last)
                .map(|j| (1.0 - ((j as f64 + 0.5 - centre) / support).abs()).max(0.0))
                .collect();
            let sum: f64 = raw.iter().sum();
            let weights = raw.iter().map(|w| (w / sum) as f32).collect();
            Taps { first, weights }
        })
        .collect()
}

fn resized(from: &Planes, height: usize, width: usize, whole: bool) -> Planes {
    if (height, width) == (from.height, from.width) {
        return from.clone();
    }
    let (across, down) = (triangle(from.width, width), triangle(from.height, height));
    let mut data = Vec::with_capacity(from.channels * height * width);
    for c in 0..from.channels {
        let plane = &from.data[c * from.height * from.width..][..from.height * from.width];
        let mut narrow = Vec::with_capacity(from.height * width);
        for row in plane.chunks_exact(from.width) {
            for taps in &across {
                let pixels = &row[taps.first..];
                narrow.push(taps.weights.iter().zip(pixels).map(|(w, x)| w * x).sum());
            }
        }
        for taps in &down {
            let start = data.len();
            data.resize(start + width, 0.0f32);
            for (k, w) in taps.weights.iter().enumerate() {
                let row: &[f32] = &narrow[(taps.first + k) * width..][..width];
                for (out, x) in data[start..].iter_mut().zip(row) {
                    *out += w * x;
                }
            }
        }
    }
    if whole {
        for x in &mut data {
            *x = x.round();
        }
    }
    Planes {
        channels: from.channels,
        height,
        width,
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::{Crop, Resize};

    fn ramp(channels: usize, height: usize, width: usize) -> Planes {
        let data = (0..channels * height * width)
            .map(|i| ((i * 37 + i * i / 11) % 256) as f32)
            .collect();
        Planes {
            channels,
            height,
            width,
            data,
        }
    }

    #[test]
    fn resize_agrees_with_the_image_crate() {
        let from = ramp(1, 37, 53);
        let buffer = image::GrayImage::from_raw(
            53,
            37,
            from.data.iter().map(|&x| x as u8).collect::<Vec<u8>>(),
        )
        .unwrap();
        for (h, w) in [(16, 23), (80, 100), (37, 20), (20, 53)] {
            let ours = resized(&from, h, w, true);
            let theirs = image::imageops::resize(
                &buffer,
                w as u32,
                h as u32,
                image::imageops::FilterType::Triangle,
            );
            let worst = ours
                .data
                .iter()
                .zip(theirs.as_raw())
                .map(|(a, &b)| (a - f32::from(b)).abs())
                .fold(0.0, f32::max);
            assert!(worst <= 1.0, "{h}x{w}: {worst}");
        }
    }

    #[test]
    fn crop_takes_the_centre() {
        let from = ramp(2, 5, 6);
        let got = cropped(&from, 3, 2);
        let expected: Vec<f32> = (0..2)
            .flat_map(|c| (1..4).flat_map(move |y| [2, 3].map(|x| (c * 5 + y) * 6 + x)))
            .map(|i| from.data[i])
            .collect();
        assert_eq!(got.data, expected);
    }

    #[test]
    fn the_steps_come_in_order() {
        let recipe = Preprocess {
            scale: 0.5,
            mean: vec![1.0, 2.0, 3.0],
            std: vec![2.0],
            channel_order: ChannelOrder::Bgr,
            crop: Some(Crop {
                width: 1,
                height: 1,
            }),
            ..Preprocess::default()
        };
        let from = Planes {
            channels: 3,
            height: 1,
            width: 1,
            data: vec![10.0, 20.0, 30.0],
        };
        let got = apply(&recipe, "x", from, true).unwrap();
        assert_eq!(got.data, [7.0, 4.0, 1.0]);
    }

    #[test]
    fn a_crop_larger_than_the_picture_is_refused() {
        let recipe = Preprocess {
            resize: Some(Resize::ShortSide(4)),
            crop: "5x4".parse().ok(),
            ..Preprocess::default()
        };
        let error = apply(&recipe, "a.png", ramp(1, 8, 8), true).unwrap_err();
        assert_eq!(
            error.to_string(),
            "crop of a.png: expected at most its size of 4x4 (width x height), found 5x4"
        );
    }
}
