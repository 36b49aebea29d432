//! Values of pictures, and the way back to 8 bits.

use sepconv_data::{ChannelOrder, Layout, Preprocess};

use super::raster::Raster;

/// Values of one or three channels.
#[derive(Debug, Clone, Copy)]
pub struct Planes<'v> {
    values: &'v [f64],
    channels: usize,
    height: usize,
    width: usize,
    layout: Layout,
}

/// The way of values to 0 to 255: `(x * std + mean) / scale`, then from `low` to `high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    scale: f64,
    mean: [f64; 3],
    std: [f64; 3],
    /// Blue comes first.
    bgr: bool,
    low: f64,
    high: f64,
}

const PLAIN: Scale = Scale {
    scale: 1.0,
    mean: [0.0; 3],
    std: [1.0; 3],
    bgr: false,
    low: 0.0,
    high: 255.0,
};

impl<'v> Planes<'v> {
    /// Of a sample so laid out; `None` where it is no picture of one or three channels.
    pub fn of(values: &'v [f64], sample: &[usize], layout: Layout) -> Option<Self> {
        let (channels, height, width) = match (layout, sample) {
            (Layout::Nchw, &[c, h, w]) | (Layout::Nhwc, &[h, w, c]) => (c, h, w),
            _ => return None,
        };
        let fits = values.len() == channels * height * width && height > 1 && width > 1;
        (fits && matches!(channels, 1 | 3)).then_some(Self {
            values,
            channels,
            height,
            width,
            layout,
        })
    }

    /// Of an output's sample, channels first or last.
    pub fn of_output(values: &'v [f64], sample: &[usize]) -> Option<Self> {
        let layouts = [Layout::Nchw, Layout::Nhwc].into_iter();
        let mut all = layouts.filter_map(|layout| Self::of(values, sample, layout));
        all.next()
    }

    /// Pixels across.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels down.
    pub fn height(&self) -> usize {
        self.height
    }

    fn at(&self, channel: usize, y: usize, x: usize) -> f64 {
        let place = y * self.width + x;
        self.values[match self.layout {
            Layout::Nchw => channel * self.height * self.width + place,
            Layout::Nhwc => place * self.channels + channel,
        }]
    }

    /// The picture of 8 bits.
    pub fn raster(&self, scale: &Scale) -> Raster {
        Raster::of(self.height, self.width, |y, x| {
            let value = |c: usize| {
                let channel = if self.channels == 1 { 0 } else { c };
                let raw = scale.raw(self.at(channel, y, x), channel);
                // What is not a number is black.
                (255.0 * (raw - scale.low) / (scale.high - scale.low)).round() as u8
            };
            match scale.bgr && self.channels == 3 {
                true => [value(2), value(1), value(0)],
                false => [value(0), value(1), value(2)],
            }
        })
    }
}

impl Scale {
    /// The way back from what a recipe made of pictures.
    pub fn undone(planes: &Planes<'_>, recipe: &Preprocess) -> Self {
        let pick = |list: &[f64], otherwise: f64| {
            [0, 1, 2].map(|c| match list {
                [] => otherwise,
                [one] => *one,
                all => all.get(c).copied().unwrap_or(otherwise),
            })
        };
        let plain = Self {
            scale: recipe.scale,
            mean: pick(&recipe.mean, 0.0),
            std: pick(&recipe.std, 1.0),
            bgr: recipe.channel_order == ChannelOrder::Bgr,
            ..PLAIN
        };
        plain.ranged(planes)
    }

    /// By the values alone.
    pub fn guessed(planes: &Planes<'_>) -> Self {
        PLAIN.ranged(planes)
    }

    fn raw(&self, value: f64, channel: usize) -> f64 {
        (value * self.std[channel] + self.mean[channel]) / self.scale
    }

    /// With the range that the values are of: 0 to 1, with some overshoot, else 0 to 255, else
    /// their own.
    fn ranged(self, planes: &Planes<'_>) -> Self {
        let all = (0..planes.channels).flat_map(|c| {
            let rows = 0..planes.height;
            rows.flat_map(move |y| (0..planes.width).map(move |x| self.raw(planes.at(c, y, x), c)))
        });
        let bounds = (f64::INFINITY, f64::NEG_INFINITY);
        let (least, most) = all.fold(bounds, |(a, b), v| (a.min(v), b.max(v)));
        let (low, high) = match (least, most) {
            _ if least >= -0.5 && most <= 1.5 => (0.0, 1.0),
            _ if least >= -25.0 && most <= 280.0 && least > -0.1 * most => (0.0, 255.0),
            _ if most > least => (least, most),
            _ => (0.0, 255.0),
        };
        Self { low, high, ..self }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pixels(
        values: &[f64],
        sample: &[usize],
        layout: Layout,
        recipe: &Preprocess,
    ) -> Vec<[u8; 3]> {
        let planes = Planes::of(values, sample, layout).unwrap();
        let picture = planes.raster(&Scale::undone(&planes, recipe));
        assert_eq!([picture.height(), picture.width()], [2, 2]);
        picture.pixels().to_vec()
    }

    #[test]
    fn what_a_recipe_did_is_undone() {
        let bytes: [[u8; 3]; 4] = [[0, 10, 255], [30, 40, 50], [200, 7, 8], [9, 90, 91]];
        let recipe = Preprocess {
            scale: 1.0 / 255.0,
            mean: vec![0.4, 0.5, 0.6],
            std: vec![0.2, 0.25, 0.3],
            channel_order: ChannelOrder::Bgr,
            ..Preprocess::default()
        };
        let value = |pixel: &[u8; 3], c: usize| {
            (f64::from(pixel[2 - c]) / 255.0 - recipe.mean[c]) / recipe.std[c]
        };
        let first: Vec<f64> = (0..3)
            .flat_map(|c| bytes.iter().map(move |p| value(p, c)))
            .collect();
        assert_eq!(pixels(&first, &[3, 2, 2], Layout::Nchw, &recipe), bytes);
        let last: Vec<f64> = bytes
            .iter()
            .flat_map(|p| (0..3).map(|c| value(p, c)))
            .collect();
        assert_eq!(pixels(&last, &[2, 2, 3], Layout::Nhwc, &recipe), bytes);
    }

    #[test]
    fn without_a_recipe_the_values_tell_their_range() {
        let grey = |values: [f64; 4]| {
            let all = pixels(&values, &[1, 2, 2], Layout::Nchw, &Preprocess::default());
            all.iter().map(|p| p[0]).collect::<Vec<u8>>()
        };
        assert_eq!(grey([0.0, 0.2, 1.0, 1.1]), [0, 51, 255, 255]);
        assert_eq!(grey([0.0, 20.0, 254.6, 3.0]), [0, 20, 255, 3]);
        assert_eq!(grey([-2.0, 0.0, 2.0, 1.0]), [0, 128, 255, 191]);
        assert_eq!(grey([f64::NAN, 0.0, 1.0, 0.0]), [0, 0, 255, 0]);
        let values = [0.0; 8];
        assert!(Planes::of(&values, &[2, 2, 2], Layout::Nchw).is_none());
        assert!(Planes::of_output(&values[..4], &[2, 2, 1]).is_some());
    }
}
