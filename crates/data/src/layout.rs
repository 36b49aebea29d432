//! The order of a picture's axes.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// The order of the axes of picture arrays, or of a model's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Sample, channel, row, column: channels first.
    #[default]
    Nchw,
    /// Sample, row, column, channel: channels last.
    Nhwc,
}

impl Layout {
    /// The axis of the channels, of [n, c, h, w] or [n, h, w, c].
    #[must_use]
    pub fn channel_axis(self) -> usize {
        match self {
            Self::Nchw => 1,
            Self::Nhwc => 3,
        }
    }

    /// The layout that the extents `[n, ., ., .]` tell: 1 or 3 channels at one end and not at the
    /// other; else 4 channels, likewise. `None` where both ends or neither could hold channels.
    pub(crate) fn of_extents(dims: &[Option<usize>]) -> Option<Self> {
        let [_, second, _, last] = dims else {
            return None;
        };
        let told = |channels: &[usize]| {
            let is = |extent: &Option<usize>| extent.is_some_and(|e| channels.contains(&e));
            match (is(second), is(last)) {
                (true, false) => Some(Self::Nchw),
                (false, true) => Some(Self::Nhwc),
                _ => None,
            }
        };
        let colours = [*second, *last]
            .iter()
            .flatten()
            .any(|e| matches!(e, 1 | 3));
        if colours { told(&[1, 3]) } else { told(&[4]) }
    }

    /// The channels, rows and columns of a sample so laid out; `None` where it has not three axes.
    pub(crate) fn planar(self, sample: &[usize]) -> Option<[usize; 3]> {
        match (self, sample) {
            (Self::Nchw, &[c, h, w]) | (Self::Nhwc, &[h, w, c]) => Some([c, h, w]),
            _ => None,
        }
    }

    /// The shape of a sample so laid out.
    pub(crate) fn sample(self, [channels, height, width]: [usize; 3]) -> Vec<usize> {
        match self {
            Self::Nchw => vec![channels, height, width],
            Self::Nhwc => vec![height, width, channels],
        }
    }

    /// Samples of [channels, height, width] elements of `size` bytes, turned from this layout to `to`.
    pub(crate) fn turned(
        self,
        to: Self,
        bytes: Vec<u8>,
        planar: [usize; 3],
        size: usize,
    ) -> Vec<u8> {
        let [channels, height, width] = planar;
        let pixels = height * width;
        match (self, to) {
            _ if channels == 1 || self == to => bytes,
            (Self::Nhwc, _) => transposed(&bytes, [pixels, channels], size),
            (Self::Nchw, _) => transposed(&bytes, [channels, pixels], size),
        }
    }
}

/// Matrices of `rows` by `columns` elements of `size` bytes, one after the other, each transposed.
fn transposed(bytes: &[u8], [rows, columns]: [usize; 2], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for matrix in bytes.chunks_exact((rows * columns * size).max(1)) {
        for column in 0..columns {
            for row in matrix.chunks_exact(columns * size) {
                out.extend_from_slice(&row[column * size..(column + 1) * size]);
            }
        }
    }
    out
}

impl FromStr for Layout {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        match text {
            "nchw" => Ok(Self::Nchw),
            "nhwc" => Ok(Self::Nhwc),
            _ => Err(DataError::value(
                "layout",
                "nchw or nhwc",
                format!("'{text}'"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(second: usize, last: usize) -> Option<Layout> {
        let axis = |extent: usize| (extent > 0).then_some(extent);
        Layout::of_extents(&[None, axis(second), Some(32), axis(last)])
    }

    #[test]
    fn channels_are_where_few_are() {
        for channels in [1, 3, 4] {
            assert_eq!(told(channels, 32), Some(Layout::Nchw));
            assert_eq!(told(32, channels), Some(Layout::Nhwc));
            assert_eq!(told(0, channels), Some(Layout::Nhwc));
            assert_eq!(told(channels, 0), Some(Layout::Nchw));
            assert_eq!(told(channels, channels), None);
        }
        assert_eq!(told(3, 4), Some(Layout::Nchw));
        assert_eq!(told(4, 1), Some(Layout::Nhwc));
        for (second, last) in [(3, 1), (16, 16), (0, 0), (0, 64)] {
            assert_eq!(told(second, last), None);
        }
        assert_eq!(Layout::of_extents(&[None, Some(3)]), None);
    }

    #[test]
    fn turning_goes_both_ways() {
        let planes: Vec<u8> = (0..24).collect();
        let (first, last) = (Layout::Nchw, Layout::Nhwc);
        // Two samples of three channels of 1 by 2 pixels, of two bytes an element.
        let turned = first.turned(last, planes.clone(), [3, 1, 2], 2);
        assert_eq!(turned[..12], [0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11]);
        assert_eq!(last.turned(first, turned, [3, 1, 2], 2), planes);
        assert_eq!(first.turned(first, planes.clone(), [3, 1, 2], 2), planes);
    }
}
